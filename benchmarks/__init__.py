"""What crossfold is compared with, and how: ``python -m benchmarks.run --help``."""
