"""What is seen while trials race."""

import io
import json

import pytest
from rich.console import Console

from distributed.search.display import Display
from distributed.search.trials import Trial
from folds.cli import Screen


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


def test_a_program_gets_a_line_of_json_a_trial_that_ends(capsys):
    display = Display(Screen("json", file=io.StringIO()), 40, 3)
    trial = Trial(7, {"lr": 0.5})
    trial.scores.append(0.25)
    display.show(trial)
    trial.state = "complete"
    display.show(trial)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "event": "trial", "trial": 7, "state": "complete", "values": {"lr": 0.5}, "scores": [0.25],
    }  # fmt: skip
