"""One fine-tuning of the perception encoder: strategies, what they are made of, and how well a net sees."""
