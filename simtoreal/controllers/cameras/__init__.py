"""Drivers of cameras, each against its own package, which is imported when the camera is connected."""
