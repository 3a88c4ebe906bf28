"""The page of a run: `write_report` writes what a `Report` tells as one HTML file."""

from tracking.report.facts import Report
from tracking.report.gallery import average_by_image, confident_mistakes, least_certain
from tracking.report.page import write_report

__all__ = ["Report", "average_by_image", "confident_mistakes", "least_certain", "write_report"]
