"""Ray Train's worker groups at work, the ledger that hands out folds, and who watches them."""
