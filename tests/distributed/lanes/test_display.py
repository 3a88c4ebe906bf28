import io
import json
from dataclasses import replace

import pytest

from distributed.lanes.display import Display
from folds.cli import Screen
from folds.config.stages import Stage
from folds.training.outcome import EpochReport
from tracking.events import EpochEnded, Failed, Finished, Started

STARTED = Started(task=0, train=80, held_out=20, lane=0, host="here", precision="fp32")
EPOCH = EpochEnded(
    task=0,
    report=EpochReport(
        epoch=1, stage=0, train_loss=1.25, first_loss=2.3, val_loss=0.5, val_accuracy=0.75,
        val_macro_f1=0.7, learning_rate=1e-3, images_per_second=321.4, seconds=2.0, score=0.7,
    ),
)  # fmt: skip


def shown(events, *, terminal, progress="auto"):
    screen = io.StringIO()
    console = Screen(progress, file=screen, force_terminal=terminal, width=100)
    with Display(console, ["fold 1", "fold 2"], [Stage(1, 4, 1e-3)], 1) as display:
        for event in events:
            display.show(event)
    return screen.getvalue()


def test_a_file_gets_one_line_an_event_without_control_characters():
    text = shown([STARTED, EPOCH], terminal=False)
    lines = text.splitlines()
    assert lines[0] == "fold 1  starts: 80 images to train on, 20 to validate"
    assert "epoch 2/4" in lines[1]
    assert "accuracy 0.750" in lines[1]
    assert "images/s 321" in lines[1]
    assert "left 00:02" in lines[1]
    assert "\x1b" not in text


def test_a_terminal_gets_a_row_a_fold():
    text = shown([STARTED, EPOCH], terminal=True)
    assert "fold 1" in text
    assert "waiting" in text
    assert "0.750" in text


def test_below_the_table_stands_what_is_awaited_and_in_the_end_nothing():
    ended = [Finished(task=task, kept_epoch=2, scores={}) for task in (0, 1)]
    assert "starting the workers" in shown([STARTED], terminal=True)
    last = [shown(events, terminal=True).splitlines()[-2:] for events in ([EPOCH], ended)]
    assert "about 00:06 left" in "".join(last[0])
    assert "left" not in "".join(last[1])
    assert "starting" not in "".join(last[1])


def test_ends_are_told():
    finished = Finished(task=0, kept_epoch=2, scores={"accuracy": 0.9, "macro_f1": 0.8})
    failed = Failed(task=1, cause="the loss became nan")
    text = shown([finished, failed], terminal=False)
    assert "finished: epoch 3, accuracy 0.900" in text
    assert "fold 2  failed: the loss became nan" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_a_program_gets_a_line_of_json_an_event_on_stdout(capsys, terminal):
    undefined = replace(EPOCH.report, val_loss=float("nan"))
    finished = Finished(task=1, kept_epoch=2, scores={"accuracy": 0.9, "macro_f1": float("inf")})
    events = [STARTED, EPOCH, EpochEnded(task=0, report=undefined), finished]
    assert shown(events, terminal=terminal, progress="json") == ""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["started", "epoch", "epoch", "finished"]
    assert [line["fold"] for line in lines] == ["fold 1", "fold 1", "fold 1", "fold 2"]
    assert (lines[1]["epoch"], lines[1]["val_accuracy"]) == (1, 0.75)
    assert lines[2]["val_loss"] is None
    assert lines[3]["scores"] == {"accuracy": 0.9, "macro_f1": None}


def test_a_terminal_may_get_lines_or_nothing(capsys):
    plain = shown([STARTED], terminal=True, progress="plain")
    assert plain == "fold 1  starts: 80 images to train on, 20 to validate\n"
    assert shown([STARTED, EPOCH], terminal=True, progress="off") == ""
    assert capsys.readouterr().out == ""


def test_the_table_fits_80_columns():
    screen = io.StringIO()
    console = Screen("off", file=screen, width=80)
    names = [f"repeat {repeat}, fold 10" for repeat in (1, 2)]
    display = Display(console, names, [Stage(1, 100, 1e-3)] * 3, 1)
    display.show(EPOCH)
    console.print(display._table())
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert all(word in text for word in (*names, "waiting", "2/300", "0.750", "321"))
    assert "…" not in text
