"""`simtoreal deploy`: a policy on a robot, checked before it moves, guarded while it moves, recorded all along."""
