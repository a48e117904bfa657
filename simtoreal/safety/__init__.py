"""What stands between a policy and an arm: limits, the watch over observations, stops, and the retreat.

It knows nothing of simulators, and it is no substitute for the safety functions of the robot: see docs/safety.md.
"""
