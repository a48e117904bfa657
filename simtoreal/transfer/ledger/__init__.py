"""What a fine-tuning brought and cost, what it is judged to be, and how that is shown."""
