"""How folds are laid over machines, and what that costs."""
