"""Success against the number of real episodes, and what pretraining saved."""
