"""Runs against each other: what was predicted, what follows, as a table and as a page."""
