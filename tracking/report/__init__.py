"""The page of a run: `write_report` writes what a `Report` tells as one HTML file."""

from tracking.report.facts import Report
from tracking.report.gallery import confident_mistakes, least_certain, opinions
from tracking.report.page import write_report

__all__ = ["Report", "confident_mistakes", "least_certain", "opinions", "write_report"]
