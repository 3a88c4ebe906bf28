"""Spaces that ``distributed.tune --space`` searches, by name."""
