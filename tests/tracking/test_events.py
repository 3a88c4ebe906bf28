import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folds.training.outcome import EpochReport
from tracking.events import EpochEnded, Failed, Finished, Started, from_line, to_line

numbers = st.floats(allow_nan=False)
common = {"task": st.integers(0, 50), "time": st.integers(0, 2**42)}
reports = st.builds(
    EpochReport,
    **{field.name: numbers for field in fields(EpochReport)}
    | {"epoch": st.integers(0, 500), "averaged": st.booleans(), "ema_loss": st.none() | numbers},
)
names = st.text(max_size=8)
events = st.one_of(
    st.builds(
        Started, **common, lane=st.integers(0, 9), train=st.integers(1), held_out=st.integers(0),
        host=names, precision=names,
        balance=st.dictionaries(names, st.dictionaries(names, numbers, max_size=3), max_size=3),
    ),
    st.builds(EpochEnded, **common, report=reports),
    st.builds(
        Finished, **common, kept_epoch=st.integers(0), scores=st.dictionaries(names, numbers)
    ),
    st.builds(Failed, **common, cause=st.text()),
)  # fmt: skip


@given(event=events)
def test_an_event_is_one_line_that_reads_back_as_the_same(event):
    line = to_line(event)
    assert line.endswith("\n")
    assert len(line.splitlines()) == 1
    assert from_line(line) == event


def test_a_report_is_not_nested_so_that_journals_stay_flat():
    report = EpochReport(3, 0, 1.0, 1.1, 1.0, 0.5, 0.5, 1e-3, 10.0, 1.0, 0.5)
    line = json.loads(to_line(EpochEnded(task=1, time=5, report=report)))
    assert (line["kind"], line["task"], line["time"], line["epoch"]) == ("epoch", 1, 5, 3)
    assert "report" not in line


def test_an_unknown_kind_is_an_error():
    with pytest.raises(KeyError):
        from_line('{"kind": "paused", "task": 0, "time": 1}')
