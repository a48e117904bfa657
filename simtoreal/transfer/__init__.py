"""Fine-tuning a policy on few recorded episodes, and the ledger that says whether it helped."""
