"""Robot logs of other formats as streams of episodes, and the verb that turns them into a dataset."""
