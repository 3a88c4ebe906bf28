"""Configurations race over folds: a search on Ray Tune."""
