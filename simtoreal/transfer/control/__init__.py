"""The policy head: where the gap sits, and ways to train the head anew."""
