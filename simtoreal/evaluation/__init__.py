"""Evaluation: the runner, the one statistics module, results on disk, and the report people look at."""
