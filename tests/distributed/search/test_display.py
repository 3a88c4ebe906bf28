"""What is seen while trials race."""

import io

import pytest
from rich.console import Console

from distributed.search.display import Display
from distributed.search.trials import Trial


@pytest.mark.parametrize("width", [80, 140])
def test_the_live_table_leaves_the_scores_room_beside_long_values(width):
    console = Console(width=width, file=io.StringIO())
    display = Display(console, 40, 3)
    values = {f"setting_{number}": 0.25 for number in range(20)}
    trial = Trial(7, values)
    trial.scores.append(0.5)
    display.show(trial)
    console.print(display._table())
    row = next(line for line in console.file.getvalue().splitlines() if "setting_0" in line)
    assert [cell.strip() for cell in row.split("│")[1:5]] == ["7", "1/3", "0.500", "running"]
