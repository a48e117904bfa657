"""Recorded episodes: LeRobotDataset v3 in and out, importers, hindsight labels, inspection."""
