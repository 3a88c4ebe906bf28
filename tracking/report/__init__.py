"""The page of a run: `write_report` makes one HTML file of a `Summary` and its `Visuals`."""

from tracking.report.gallery import (
    HeatMaps,
    average_by_image,
    confident_mistakes,
    least_certain,
)
from tracking.report.page import write_report
from tracking.report.visuals import FeatureMap, Visuals

__all__ = [
    "FeatureMap",
    "HeatMaps",
    "Visuals",
    "average_by_image",
    "confident_mistakes",
    "least_certain",
    "write_report",
]
