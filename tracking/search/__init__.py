"""A search for hyper-parameters: its description, its page, what the screen and MLflow say."""

from tracking.search.importance import importance
from tracking.search.page import write_search_report
from tracking.search.screen import markdown, print_search
from tracking.search.summary import (
    AuditedStops,
    OuterFold,
    SearchSummary,
    TrialSummary,
)

__all__ = [
    "AuditedStops",
    "OuterFold",
    "SearchSummary",
    "TrialSummary",
    "importance",
    "markdown",
    "print_search",
    "write_search_report",
]
