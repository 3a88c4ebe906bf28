"""Training one fold, from its images to its result; `folds.training.fit` is the way in."""
