"""Controllers beside the simulated cells: a fake arm, a recorded log, and what finds any of them by name."""
