"""Simulated worlds: scenes, objects, randomization, sensors, planner, and the Gymnasium environments over them."""
