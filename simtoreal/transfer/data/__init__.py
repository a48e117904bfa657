"""Recorded frames that teach: labelled, seen as the policy sees, disturbed, and put into batches."""
