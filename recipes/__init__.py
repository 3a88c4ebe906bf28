"""Whole configurations by name: ``python -m distributed.cv --recipe NAME``."""
