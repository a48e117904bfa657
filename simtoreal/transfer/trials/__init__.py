"""Which episodes judge, which strategy is chosen by them, and the arms of a ledger."""
