from types import SimpleNamespace

import pytest

from distributed import job
from distributed.run import Stopwatch
from distributed.workspace import Workspace


def test_a_run_whose_output_nobody_reads_any_more_is_stopped_and_says_how_to_go_on(
    tmp_path, monkeypatch
):
    def settle(*_):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(job, "settle", settle)
    ended = []
    recorder = SimpleNamespace(store=SimpleNamespace(again=""), close=ended.append)
    space = Workspace(tmp_path / "resnet-1")
    with pytest.raises(BrokenPipeError) as stop:
        job.execute(None, None, space, recorder, None, Stopwatch())
    assert stop.value.errno is None
    assert str(stop.value) == (
        "nobody reads the output any more; to go on: python -m distributed.cv --resume resnet-1"
    )
    assert ended == ["KILLED"]
