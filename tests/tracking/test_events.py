import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folds.files import sealed_json
from folds.training.outcome import EpochReport
from tracking.events import (
    EpochEnded,
    Failed,
    Finished,
    Lost,
    Retried,
    Started,
    from_lines,
    lost,
    to_line,
)

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
    st.builds(Retried, **common, cause=st.text(), parts=st.integers(1, 64), rate=numbers),
)  # fmt: skip


@given(event=events)
def test_an_event_is_one_line_that_reads_back_as_the_same(event):
    line = to_line(event)
    assert line.endswith("\n")
    assert len(line.splitlines()) == 1
    assert from_lines(line.encode()) == [event]


@given(some=st.lists(events, min_size=1, max_size=5), data=st.data())
def test_a_damaged_line_is_lost_and_no_other(some, data):
    """Whatever becomes of a byte, also of one that ends a line; of the last none stands for it."""
    lines = bytearray("".join(to_line(e, n) for n, e in enumerate(some)).encode())
    place = data.draw(st.integers(0, len(lines) - 1))
    lines[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != lines[place]))
    found = from_lines(bytes(lines))
    found += [Lost()] * (len(some) - len(found))
    assert len(found) == len(some)
    assert all(one in (event, Lost()) for one, event in zip(found, some, strict=True))
    assert lost(found) <= 2  # two lines where one byte ended the first of them


@given(some=st.lists(events, max_size=5), data=st.data())
def test_a_journal_that_was_cut_off_has_its_beginning(some, data):
    lines = "".join(to_line(e, n) for n, e in enumerate(some)).encode()
    found = from_lines(lines[: data.draw(st.integers(0, len(lines)))])
    assert found == some[: len(found)]


def test_a_report_is_not_nested_so_that_journals_stay_flat():
    report = EpochReport(3, 0, 1.0, 1.1, 1.0, 0.5, 0.5, 1e-3, 10.0, 1.0, 0.5)
    line = json.loads(to_line(EpochEnded(task=1, time=5, report=report)))
    assert (line["kind"], line["task"], line["time"], line["epoch"]) == ("epoch", 1, 5, 3)
    assert "report" not in line


def test_an_unknown_kind_is_an_error():
    with pytest.raises(KeyError):
        from_lines(sealed_json({"kind": "paused", "task": 0, "time": 1, "number": 0}).encode())
