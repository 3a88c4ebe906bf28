"""Findings on the screen."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from distributed.health.checks import Finding
from folds.errors import masked

_STYLES = {"ok": "green", "notice": "yellow", "broken": "bold red"}


def show(console: Console, findings: Sequence[Finding]) -> None:
    """Print a table, the remedies below what they are for."""
    grid = Table()
    for column in ("check", "state", "what was seen, and what to do"):
        grid.add_column(column)
    for finding in findings:
        words = masked(finding.seen) + (f"\n-> {masked(finding.remedy)}" if finding.remedy else "")
        state = Text(finding.state, style=_STYLES[finding.state])
        grid.add_row(finding.check, state, Text(words))
    console.print(grid)


def line(finding: Finding) -> str:
    """A finding in one line."""
    remedy = f"; {finding.remedy}" if finding.remedy else ""
    return f"{finding.check}: {finding.seen}{remedy}"
