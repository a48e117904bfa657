"""Drivers of arms, each against its vendor's own Python package, which is imported when the arm is connected."""
