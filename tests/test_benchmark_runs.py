"""The benchmark suite at work: commands measured, campaigns, baselines; and, slowly, all of it."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks import baseline, measure, results, run
from benchmarks.inputs import QUICK, Inputs
from benchmarks.sides import Side, all_sides
from folds.errors import RunError, UserError
from tests.test_benchmarks import COMMANDS, ROWS, entry


class TestMeasure:
    def test_a_command_is_timed_and_its_memory_sampled(self):
        done = measure.run("timeit", ["-n", "1", "-r", "5", "sum(range(10**7))"], sample=True)
        assert done.wall_s > 0
        assert done.output.startswith("1 loop")
        assert done.peaks["driver_rss"] >= done.peaks["driver_uss"] > 1e6
        assert "worker_rss" not in done.peaks

    def test_what_commands_remember_is_not_the_users_nor_kept(self):
        code = "import os; print(os.environ['XDG_CACHE_HOME'])"
        places = {measure.run("timeit", ["-n", "1", "-r", "1", code]).output.splitlines()[0]
                  for _ in range(2)}  # fmt: skip
        assert places == {measure._cache().name}
        assert places != {os.environ["XDG_CACHE_HOME"]}

    def test_a_run_is_planned_once_so_that_its_probe_is_remembered(self, monkeypatch):
        ran = []
        monkeypatch.setattr(measure, "run", lambda module, flags: ran.append((module, flags)))
        for _ in range(2):
            measure.remember(("--folds", "3"))
        assert ran == [("distributed.cv", ["--folds", "3", "--plan"])]

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
