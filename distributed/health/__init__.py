"""What may be wrong with a cluster, found before folds are trained on it."""
