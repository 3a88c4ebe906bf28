"""The benchmark suite: what it runs, stores and reports; and, slowly, that it runs at all."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks import baseline, measure, picture, report, results, run
from benchmarks.inputs import FULL, QUICK, Inputs
from benchmarks.measure import Finished
from benchmarks.results import Entry
from benchmarks.rows import all_rows
from benchmarks.sides import Side, all_sides, frozen_stage, speed
from folds.errors import RunError, UserError

ROWS = {row.name: row for row in all_rows(FULL)}
MACHINE = {"CPU": "Model Z", "cores": "2", "memory": "24 GiB", "GPU": "none"}
VERSIONS = {"Python": "3.11.7", "torch": "2.15.0", "crossfold": "abc1234"}
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

    def test_speed_is_the_median_fold_and_fp32_unless_told(self):
        folds = [{"images_per_second": value} for value in (90.0, 100.0, 200.0)]
        assert speed(finished({"folds": folds})) == {"images_per_s": 100.0, "precision": "fp32"}

    def test_a_value_that_the_summary_lacks_is_named(self):
        summary = {"folds": [{"fold": 0}], "seconds": {}}
        with pytest.raises(RunError, match=r"no 'folds\.0\.images_per_second', .* newer crossfold"):
            speed(finished(summary))

    def test_a_script_without_its_line_is_told(self):
        with pytest.raises(RunError, match="no line of JSON"):
            finished(output="hello\n").last_line()

    def test_the_bare_step_takes_the_precision_that_the_trainer_chose(self, tmp_path):
        sides = all_sides(Inputs(tmp_path, QUICK, data=tmp_path, weights=tmp_path))
        flags = sides["bare"].flags({"trainer": {"precision": "bf16"}})
        assert flags[flags.index("--precision") + 1] == "bf16"


class TestMeasure:
    def test_a_command_is_timed_and_its_memory_sampled(self):
        done = measure.run("timeit", ["-n", "1", "-r", "5", "sum(range(10**7))"], sample=True)
        assert done.wall_s > 0
        assert done.output.startswith("1 loop")
        assert done.peaks["driver_rss"] >= done.peaks["driver_uss"] > 1e6
        assert "worker_rss" not in done.peaks

    def test_a_framed_message_is_told_in_one_line(self):
        assert measure._last_words("╭─ Wrong ─╮\n│ no --x  │\n╰─────────╯") == "Wrong no --x"

    def test_a_failure_says_the_last_thing_that_was_printed(self):
        with pytest.raises(RunError, match=r"status 1: .*No module named benchmarks\.nothing"):
            measure.run("benchmarks.nothing", [])


class Fake(Side):
    """A command that only writes down that it ran."""

    def __init__(self, name, log, *, fails_in=()):
        super().__init__(name, lambda earlier: [])
        object.__setattr__(self, "log", log)
        object.__setattr__(self, "fails_in", fails_in)

    def measure(self, earlier):
        self.log.append(self.module)
        if self.log.count(self.module) in self.fails_in:
            raise RunError("broken")
        return COMMANDS[self.module]


class TestCampaign:
    names = ("ours", "plain", "lightning")

    def campaign(self, tmp_path, log, **faults):
        sides = {name: Fake(name, log, fails_in=faults.get(name, ())) for name in self.names}
        rows = [ROWS["wall-plain"], ROWS["score-plain"], ROWS["wall-lightning"]]
        return run.Campaign(rows, sides, tmp_path / "results.json")

    def test_commands_alternate_and_shared_ones_run_once_a_round(self, tmp_path):
        log = []
        campaign = self.campaign(tmp_path, log)
        for _ in range(2):
            campaign.round()
        assert log == [*self.names, *self.names]
        stored = results.read(campaign.path)
        assert {len(entry.runs) for entry in stored.values()} == {2}
        assert len(stored) == 3

    def test_a_failure_ends_only_the_rows_that_need_the_command(self, tmp_path):
        log = []
        campaign = self.campaign(tmp_path, log, plain=(2,))
        for _ in range(3):
            campaign.round()
        assert log == [*self.names, *self.names, "ours", "lightning"]
        assert campaign.failures == {"plain": "broken"}
        runs = {name[4:]: len(entry.runs) for name, entry in results.read(campaign.path).items()}
        assert runs == {"wall-plain": 1, "score-plain": 1, "wall-lightning": 3}

    def test_rows_of_earlier_invocations_stay(self, tmp_path):
        old = {"gpu/folds": entry("wall-plain")}
        results.write(tmp_path / "results.json", old)
        self.campaign(tmp_path, []).round()
        assert results.read(tmp_path / "results.json")["gpu/folds"] == old["gpu/folds"]


class TestBaseline:
    @pytest.fixture
    def folder(self, tmp_path):
        rng = np.random.default_rng(0)
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            for row in range(10):
                pixels = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / name / f"{row}.png")
        return tmp_path

    def train(self, folder, capsys, *flags):
        parts = []

        def train_fold(options, train, valid, classes):
            parts.append((train, valid))
            assert classes == 2
            return valid.labels

        argv = ["--data", str(folder), "--weights", "none", "--image-size", "16", *flags]
        baseline.cross_validate(train_fold, baseline.parser("").parse_args(argv))
        return parts, json.loads(capsys.readouterr().out)

    def test_every_image_is_validated_once(self, folder, capsys):
        parts, told = self.train(folder, capsys)
        paths = [path for _, valid in parts for path in valid.paths]
        assert sorted(paths) == sorted(folder.glob("*/*"))
        assert all(not set(train.paths) & set(valid.paths) for train, valid in parts)
        assert told["accuracy"] == told["macro_f1"] == 1

    def test_some_folds_alone_are_the_same_folds(self, folder, capsys):
        everything, _ = self.train(folder, capsys)
        some, told = self.train(folder, capsys, "--only-folds", "1", "3")
        assert [v.paths for _, v in some] == [everything[fold][1].paths for fold in (1, 3)]
        assert told["accuracy"] == 1

    def test_images_reach_the_network_in_its_size(self, folder, capsys):
        parts, _ = self.train(folder, capsys, "--limit", "10")
        assert sum(len(valid) for _, valid in parts) == 10
        for part in parts[0]:
            image, label = part[0]
            assert image.shape == (3, 16, 16)
            assert label in (0, 1)


def command(*argv):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.run", *argv],
        cwd=measure.ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr.strip()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ((), "--data: needed for real figures; or take --quick"),
        (("--quick", "--runs", "0"), "--runs 0: measure at least once"),
        (("--quick", "--data", "nowhere"), "--data nowhere: does not exist"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(tmp_path, monkeypatch, argv, says):
    monkeypatch.setattr(sys, "argv", ["run", "--output", str(tmp_path), *argv])
    with pytest.raises(UserError, match=f"^{re.escape(says)}"):
        run.main()
    assert not list(tmp_path.iterdir())


def test_the_report_alone_measures_nothing(tmp_path, monkeypatch):
    results.write(tmp_path / "results.json", {"cpu/wall-plain": entry("wall-plain")})
    monkeypatch.setattr(sys, "argv", ["run", "--output", str(tmp_path), "--report-only"])
    run.main()
    assert "**3.00**" in (tmp_path / "RESULTS.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nothing_has_become_many_times_slower(tmp_path):
    status, told = command("--quick", "--rows", "trainer", "frozen", "--output", str(tmp_path))
    assert status == 0, told
    stored = results.read(tmp_path / "results.json")
    values = {n.partition("/")[2]: [ROWS[n.partition("/")[2]].value(r) for r in e.runs]
              for n, e in stored.items()}  # fmt: skip
    assert min(values["trainer"]) >= 0.5
    assert max(values["frozen"]) <= 2.0


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("library", ["plain", "lightning", "skorch"])
def test_every_baseline_runs(tmp_path, library):
    if library != "plain":
        pytest.importorskip(library, reason=f"needs {library}: pip install '.[bench]'")
    side = all_sides(Inputs(tmp_path, QUICK, data=None, weights=None))[library]
    assert 0 <= side.measure({})["accuracy"] <= 1
