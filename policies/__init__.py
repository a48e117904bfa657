"""From image to motion: views, grasp maps, encoders, heads, and their composition into a policy."""
