"""The page of a run: `write_report` writes what a `Report` tells as one HTML file."""
