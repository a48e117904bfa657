"""Where a camera is and what lens it has: measured with a ChArUco board, checked in seconds, kept in `camera.yaml`."""
