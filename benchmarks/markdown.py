"""What tables of benchmarks are written with."""

from collections.abc import Iterable


def table_line(cells: Iterable[str]) -> str:
    """A line of a markdown table."""
    return f"| {' | '.join(cells)} |"
