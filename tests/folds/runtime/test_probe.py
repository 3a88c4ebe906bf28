"""The probe measures, remembers, and does what it was told."""

import dataclasses
import json
import math

import pytest
import torch

from folds.runtime import probe as probing
from folds.runtime.device import Runtime
from folds.runtime.probe import measure, probe, remembered
from folds.runtime.trial import WORTH_STEPS, Trial

CPU = Runtime.choose("cpu", "auto")
TRIAL = Trial(
    backbone="test_resnet", classes=3, size=32, batch_size=4, frozen_norm="frozen",
    precision="auto", compile="off", threads=1, stages=1, images=100,
)  # fmt: skip


def trial(**changes):
    return dataclasses.replace(TRIAL, **changes)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "crossfold" / "probe"


@pytest.fixture
def seconds(monkeypatch):
    """Steps take as long as told, by (precision, channels_last, compiled)."""
    table, asked = {}, []

    def race(trial, *runtimes, until=0.0):
        asked.extend(tuple(runtime.settings.values()) for runtime in runtimes)
        return [table.get(tuple(runtime.settings.values()), 1.0) for runtime in runtimes]

    def compiled(trial, runtime):
        return table.get("warm", 0.0), *race(trial, runtime)

    monkeypatch.setattr(Runtime, "half", "bf16")  # whatever processor this is
    monkeypatch.setattr(probing, "_race", race)
    monkeypatch.setattr(probing, "_compiled_seconds", compiled)
    return table, asked


def test_measures_real_steps(cache):
    found = probe(TRIAL, CPU)
    assert found.rates.train > 0
    assert found.rates.forward > 0
    assert found.rates.step_bytes > 0
    assert found.rates.busy == 1.0
    assert found.runtime.precision in ("fp32", "bf16")


def test_remembers(seconds):
    table, asked = seconds
    table["bf16", True, False] = 0.5
    assert remembered(TRIAL, CPU) is None
    first = probe(TRIAL, CPU)
    tried = len(asked)
    assert first.runtime.precision == "bf16"
    assert probe(TRIAL, CPU) == first == remembered(TRIAL, CPU)
    assert len(asked) == tried


@pytest.mark.parametrize(
    "change",
    [{"backbone": "test_vit"}, {"size": 64}, {"batch_size": 8}, {"threads": 2},
     {"precision": "fp32"}, {"images": 100_000}],
)  # fmt: skip
def test_measures_again_for_something_else(seconds, change):
    probe(TRIAL, CPU)
    assert remembered(trial(**change), CPU) is None


def test_a_spoilt_memory_is_measured_again(cache, seconds):
    first = probe(TRIAL, CPU)
    for content in ("", "{", json.dumps({"settings": {"wheels": 4}, "rates": {}})):
        for path in cache.iterdir():
            path.write_text(content)
        assert probe(TRIAL, CPU).runtime == first.runtime
        assert remembered(TRIAL, CPU) is not None


def test_goes_on_where_nothing_can_be_written(tmp_path, monkeypatch, seconds):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert probe(TRIAL, CPU).rates.train > 0


def test_a_busy_moment_does_not_choose(monkeypatch):
    """Every second step of either way is disturbed; the fastest of each is compared."""
    clock = iter([9.0, 9.0, 1.0, 9.0, 9.0, 0.5, 1.0, 9.0])
    monkeypatch.setattr(probing, "_stepper", lambda trial, runtime: None)
    monkeypatch.setattr(probing, "_timed", lambda step, runtime: next(clock))
    assert probing._race(TRIAL, CPU, CPU, until=math.inf) == [1.0, 0.5]


def test_a_slow_network_is_not_tried_for_longer_than_the_limit(monkeypatch):
    """Of each way one step counts after its first; a second way is not begun."""
    clock, begun = [0.0], []

    def timed(step, runtime):
        clock[0] += 4.0
        begun.append(runtime)
        return 4.0

    monkeypatch.setattr(Runtime, "half", "bf16")
    monkeypatch.setattr(probing, "_stepper", lambda trial, runtime: None)
    monkeypatch.setattr(probing, "_timed", timed)
    monkeypatch.setattr(probing, "_forward_seconds", lambda trial, runtime: 1.0)
    monkeypatch.setattr(probing.time, "perf_counter", lambda: clock[0])
    assert measure(TRIAL, CPU).runtime == CPU
    assert len(begun) == 4
    assert all(runtime.channels_last for runtime in begun)


def test_a_processor_is_not_made_to_imitate_bf16(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    assert list(probing._changes(TRIAL, CPU)) == [{"channels_last": False}]
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    assert {"precision": "bf16"} in probing._changes(TRIAL, CPU)


def test_only_a_run_that_is_long_enough_asks():
    long = 4 * WORTH_STEPS
    assert trial(images=long).worth(CPU)
    assert not trial(images=long - 4).worth(CPU)
    assert trial(images=1, compile="on").worth(CPU)
    assert trial(images=1).worth(Runtime(torch.device("cuda"), "fp32"))


class TestChoice:
    def test_is_the_fastest_in_each_respect(self, seconds):
        table, _ = seconds
        table |= {("bf16", True, False): 0.6, ("bf16", False, False): 0.3}
        assert measure(TRIAL, CPU).runtime.settings == {
            "precision": "bf16", "channels_last": False, "compiled": False,
        }  # fmt: skip

    def test_noise_does_not_choose(self, seconds):
        table, _ = seconds
        table |= {("bf16", True, False): 0.95, ("fp32", False, False): 0.95}
        assert measure(TRIAL, CPU).runtime == CPU

    def test_precision_that_was_asked_for_stays(self, seconds):
        table, asked = seconds
        table["bf16", True, False] = 0.1
        found = measure(trial(precision="fp32"), CPU)
        assert found.runtime.precision == "fp32"
        assert all(precision == "fp32" for precision, _, _ in asked)

    def test_compiles_when_a_long_run_gains(self, seconds):
        table, asked = seconds
        table |= {("fp32", True, True): 0.5, "warm": 60.0}
        assert not measure(trial(compile="auto"), CPU).runtime.compiled
        assert not any(compiled for _, _, compiled in asked)  # not even tried in a short run
        long = trial(compile="auto", images=6000)  # 1500 s in steps of 4 images
        assert measure(long, CPU).runtime.compiled
        table["warm"] = 800.0
        assert not measure(long, CPU).runtime.compiled

    def test_compiles_when_told_and_never_when_told_not_to(self, seconds):
        table, _ = seconds
        table |= {("fp32", True, True): 2.0}
        assert measure(trial(compile="on"), CPU).runtime.compiled
        table |= {("fp32", True, True): 0.1}
        assert not measure(trial(compile="off", images=10**6), CPU).runtime.compiled

    @pytest.mark.parametrize(("native", "tried"), [(True, "fp32"), (False, "fp16")])
    def test_tries_the_half_precision_that_a_gpu_has(self, monkeypatch, native, tried):
        """A GPU with bf16 begins with it, one without begins with fp32."""
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: native)
        first = "bf16" if native else "fp32"
        gpu = Runtime(torch.device("cuda"), first)
        changes = list(probing._changes(TRIAL, gpu))
        assert changes == [{"precision": tried}, {"channels_last": False}]
