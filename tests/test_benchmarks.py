"""The benchmark suite: its rows, what it stores and what it reports."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks import picture, report, results, run
from benchmarks.inputs import FULL, QUICK, Inputs
from benchmarks.measure import Finished
from benchmarks.results import Entry
from benchmarks.rows import all_rows
from benchmarks.sides import all_sides, frozen_stage, speed
from folds.errors import RunError, UserError

ROWS = {row.name: row for row in all_rows(FULL)}
MACHINE = {"CPU": "Model Z", "cores": "2", "memory": "24 GiB", "GPU": "none"}
VERSIONS = {"Python": "3.11.7", "torch": "2.15.0", "crossfold": "abc1234"}
WAY = {"precision": "bf16", "channels_last": True, "compiled": False}
COMMANDS = {
    "ours": {"wall_s": 100.0, "accuracy": 0.950, "macro_f1": 0.94},
    "plain": {"wall_s": 300.0, "accuracy": 0.946, "macro_f1": 0.93},
    "lightning": {"wall_s": 240.0, "accuracy": 0.960, "macro_f1": 0.95},
    "ours-long": {"wall_s": 50.0, "accuracy": 0.95},
    "plain-long": {"wall_s": 250.0, "accuracy": 0.95},
}


def entry(name, *, scale=(1.0,), **changes):
    """A measured row; a run for each factor on the wall time of all but crossfold."""
    row = ROWS[name]
    if "runs" in changes:
        return Entry(row.what, row.sides, "2026-11-21", MACHINE, VERSIONS, **changes)

    def slower(side, factor):
        numbers = COMMANDS[side]
        wall = numbers["wall_s"] * (1.0 if side.startswith("ours") else factor)
        return {**numbers, "wall_s": wall}

    runs = [{side: slower(side, factor) for side in row.sides} for factor in scale]
    made = Entry(row.what, row.sides, "2026-11-21", MACHINE, VERSIONS, runs)
    return replace(made, **changes)


def line_of(text, name):
    return next(line for line in text.splitlines() if line.startswith(f"| {name} |"))


class TestReport:
    def test_a_row_tells_runs_figures_value_target_and_verdict(self):
        found = {"cpu/wall-plain": entry("wall-plain", scale=(0.9, 1.0, 1.2))}
        line = line_of(report.render(found), "wall-plain")
        assert "| 3 | A |" in line
        assert "crossfold: 100.0 s (100.0 to 100.0)" in line
        assert "plain PyTorch: 300.0 s (270.0 to 360.0)" in line
        assert "**3.00 (2.70 to 3.60)** | ≥ 2.5 | met |" in line

    def test_a_missed_target_is_said(self):
        found = {"cpu/wall-lightning": entry("wall-lightning")}
        line = line_of(report.render(found), "wall-lightning")
        assert "**2.40** | ≥ 2.5 | **missed** |" in line

    @pytest.mark.parametrize(
        ("side", "value", "verdict"),
        [("plain", "**0.004**", " met "), ("lightning", "**-0.010**", " **missed** ")],
    )
    def test_scores_may_be_a_little_lower(self, side, value, verdict):
        name = f"score-{side}"
        line = line_of(report.render({f"cpu/{name}": entry(name)}), name)
        assert value in line
        assert line.split("|")[-2] == verdict

    def test_a_trainer_tells_what_it_computed_with(self):
        run = {"trainer": {"images_per_s": 92.0, **WAY}, "bare": {"images_per_s": 100.0}}
        line = line_of(report.render({"cpu/trainer": entry("trainer", runs=[run])}), "trainer")
        assert "crossfold: 92 images/s, bf16 channels-last<br>bare step: 100 images/s" in line
        assert "**0.92** | ≥ 0.92 | met |" in line

    def test_what_was_not_measured_is_listed_for_cpu_and_gpu(self):
        text = report.render({"cpu/wall-plain": entry("wall-plain")})
        assert text.count("not yet measured") == 2 * len(ROWS) - 1
        assert "not yet measured" in text.partition("## On a GPU")[2]

    def test_machines_are_told_apart(self):
        text = report.render(
            {
                "cpu/wall-plain": entry("wall-plain"),
                "cpu/wall-long": entry("wall-long"),
                "gpu/wall-plain": entry("wall-plain", hardware=MACHINE | {"GPU": "a GPU"}),
            }
        )
        assert "| measured on | A | B |" in text
        assert "| GPU | a GPU | none |" in text
        assert "| 1 | B |" in line_of(text, "wall-long")

    def test_notes_end_the_report(self):
        assert report.render({}, "## Causes\n\nA slow disk.").endswith("A slow disk.\n")

    def test_publish_writes_the_report_and_its_picture(self, tmp_path):
        results.write(tmp_path / "results.json", {"cpu/wall-plain": entry("wall-plain")})
        report.publish(tmp_path)
        assert "](RESULTS.png)" in (tmp_path / "RESULTS.md").read_text()
        with Image.open(tmp_path / "RESULTS.png") as image:
            assert image.width > 800

    def test_without_wall_times_there_is_no_picture(self, tmp_path):
        report.publish(tmp_path)
        assert "RESULTS.png" not in (tmp_path / "RESULTS.md").read_text()
        assert not (tmp_path / "RESULTS.png").exists()

    @given(st.lists(st.integers(1, 10**6), min_size=2, max_size=9))
    def test_spread_holds_least_median_and_greatest(self, values):
        text = report.spread(values)
        middle, least, greatest = map(float, re.findall(r"[\d.]+", text))
        assert (least, greatest) == (min(values), max(values))
        assert middle == np.median(values)


def test_a_run_that_rows_share_is_one_run_of_the_bar():
    found = {f"cpu/{name}": entry(name) for name in ("wall-plain", "wall-lightning", "wall-long")}
    first, second = picture.bars_by_group(found).values()
    assert [(bar.label, bar.seconds) for bar in first] == [
        ("crossfold", (100.0,)), ("plain PyTorch", (300.0,)), ("Lightning", (240.0,)),
    ]  # fmt: skip
    assert [bar.label for bar in second] == ["crossfold", "plain PyTorch"]


def test_bars_of_two_machines_stand_apart():
    other = entry("wall-lightning", hardware=MACHINE | {"CPU": "Model Y"})
    found = {"cpu/wall-plain": entry("wall-plain"), "cpu/wall-lightning": other}
    first, second = picture.bars_by_group(found)
    assert ("Model Z" in first, "Model Y" in second) == (True, True)


class TestResults:
    def test_written_rows_are_read_again(self, tmp_path):
        found = {"cpu/wall-plain": entry("wall-plain", scale=(1.0, 1.1))}
        results.write(tmp_path / "results.json", found)
        assert results.read(tmp_path / "results.json") == found

    def test_a_row_measured_again_replaces_its_older_runs(self):
        old = {"cpu/wall-plain": entry("wall-plain"), "gpu/wall-plain": entry("wall-plain")}
        new = {"cpu/wall-plain": entry("wall-plain", date="2026-12-01")}
        both = results.merged(old, new)
        assert both["cpu/wall-plain"].date == "2026-12-01"
        assert both["gpu/wall-plain"].date == "2026-11-21"

    @pytest.mark.parametrize("text", ["{", "{}", '{"format": "other/1", "rows": {}}', "[]"])
    def test_another_file_is_refused(self, tmp_path, text):
        (tmp_path / "results.json").write_text(text)
        with pytest.raises(UserError, match="move it away"):
            results.read(tmp_path / "results.json")


class TestRows:
    def test_every_row_has_its_commands(self, tmp_path):
        sides = all_sides(Inputs(tmp_path, QUICK, data=tmp_path, weights=tmp_path))
        for row in all_rows(QUICK):
            assert set(row.sides) <= set(sides)

    def test_patterns_choose_rows_in_their_own_order(self):
        chosen = run.choose(all_rows(FULL), ["score-plain", "wall-*"])
        names = [row.name for row in chosen]
        assert names == ["wall-plain", "wall-lightning", "wall-skorch", "score-plain", "wall-long"]

    def test_an_unknown_row_is_refused_with_the_known_ones(self):
        with pytest.raises(UserError, match=r"--rows wal: no such row; there are wall-plain"):
            run.choose(all_rows(FULL), ["wal"])

    def test_memory_is_held_against_the_bytes_of_the_images(self):
        found = {
            "many": {"driver_rss": 900.0, "worker_rss": 700.0, "image_bytes": 300.0},
            "few": {"driver_rss": 600.0, "worker_rss": 400.0, "image_bytes": 3.0},
        }
        values = {n: row.value(found) for n, row in ROWS.items() if n.startswith("memory")}
        assert values == {"memory-driver": 3, "memory-driver-growth": 1, "memory-worker": 1}


def finished(summary=None, output=""):
    return Finished(wall_s=1.0, output=output, summary=summary or {}, peaks={})


class TestNumbers:
    def test_frozen_stage_is_shared_features_and_the_heads_over_the_lanes(self):
        folds = [{"stage_seconds": [2.0, 50.0]}, {"stage_seconds": [4.0, 50.0]}]
        summary = {"seconds": {"shared features": 5.0}, "folds": folds, "lanes": 2}
        assert frozen_stage(finished(summary)) == {"frozen_s": 8.0}

    def test_speed_is_the_median_fold(self):
        folds = [{"images_per_second": value} for value in (90.0, 100.0, 200.0)]
        found = speed(finished({"folds": folds, "runtime": WAY | {"device": "cpu"}}))
        assert found == {"images_per_s": 100.0, **WAY}

    def test_no_precision_is_guessed(self):
        with pytest.raises(RunError, match="no 'runtime'"):
            speed(finished({"folds": [{"images_per_second": 90.0}]}))

    def test_a_value_that_the_summary_lacks_is_named(self):
        summary = {"folds": [{"fold": 0}], "seconds": {}}
        with pytest.raises(RunError, match=r"no 'folds\.0\.images_per_second', .* newer crossfold"):
            speed(finished(summary))

    def test_memory_without_a_worker_is_refused(self, tmp_path):
        sides = all_sides(Inputs(tmp_path, QUICK, data=tmp_path, weights=tmp_path))
        with pytest.raises(RunError, match="no process titled RayTrainWorker"):
            sides["many"].read(finished())

    def test_a_script_without_its_line_is_told(self):
        with pytest.raises(RunError, match="no line of JSON"):
            finished(output="hello\n").last_line()

    def test_the_bare_step_takes_the_precision_that_the_trainer_chose(self, tmp_path):
        sides = all_sides(Inputs(tmp_path, QUICK, data=tmp_path, weights=tmp_path))
        flags = sides["bare"].flags({"trainer": WAY})
        assert flags[flags.index("--precision") + 1] == "bf16"
        assert "--compile" not in flags
        assert "--compile" in sides["bare"].flags({"trainer": WAY | {"compiled": True}})
