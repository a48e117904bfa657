"""Training without a robot: perception on rendered frames, then control on simulated dynamics."""
