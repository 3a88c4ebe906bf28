import dataclasses
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from folds.cli import config_parser, parse, run
from folds.config import Config
from folds.config.stages import Stage
from folds.errors import DivergenceError, RunError, UserError
from folds.signals import Interruption


class TestRun:
    @pytest.mark.parametrize(
        ("error", "status", "line"),
        [
            (UserError("--folds 1: too few"), 2, "error: --folds 1: too few\n"),
            (RunError("lost"), 1, "failed: lost\n"),
            (DivergenceError("nan"), 1, "failed: nan\n"),
            (BrokenPipeError("to go on: x"), 141, "interrupted: to go on: x\n"),
            (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, ""),
            (
                OSError(errno.ENOSPC, "No space left on device"),
                1,
                "failed: the disk is full ([Errno 28] No space left on device); make room\n",
            ),
            (KeyboardInterrupt(), 130, "interrupted\n"),
            (KeyboardInterrupt("resume it"), 130, "interrupted: resume it\n"),
        ],
    )
    def test_a_bad_end_is_one_line_and_a_status(self, capsys, error, status, line):
        def command():
            raise error

        assert run(command) == status
        out, err = capsys.readouterr()
        assert err == line
        assert out == ""

    def test_a_good_end_is_0_and_silent(self, capsys):
        assert run(lambda: None) == 0
        assert capsys.readouterr() == ("", "")

    def test_a_bug_is_not_hidden(self):
        with pytest.raises(ZeroDivisionError):
            run(lambda: 1 / 0)

    @pytest.mark.parametrize(
        ("number", "status"),
        [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    )
    def test_a_signal_is_an_interruption_with_its_own_status(self, capsys, number, status):
        assert run(lambda: os.kill(os.getpid(), number)) == status
        assert capsys.readouterr().err == "interrupted\n"

    @pytest.mark.parametrize("error", [SystemError, RunError])
    def test_what_a_library_makes_of_it_is_the_interruption(self, capsys, monkeypatch, error):
        monkeypatch.setattr(Interruption, "advice", "to go on: x")

        def command():
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                raise error("returned a result with an exception set") from None

        assert run(command) == 130
        assert capsys.readouterr().err == "interrupted: to go on: x\n"

    def test_the_same_signal_at_once_again_is_the_same(self):
        """As `timeout` sends it, and a shell whose terminal is closed."""

        def tidied_up():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        assert run(tidied_up) == 143

    def test_what_was_ignored_stays_ignored(self, monkeypatch):
        monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_IGN)
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            assert run(lambda: os.kill(os.getpid(), signal.SIGHUP)) == 0
        finally:
            signal.signal(signal.SIGHUP, before)

    def test_twice_ends_even_where_python_hears_nothing(self):
        """The main thread waits in C, as for a locked database."""
        script = (
            "import ctypes, sys\n"
            "from folds import cli\n"
            "cli.Interruption.advice = 'to go on: x'\n"
            "def wait():\n"
            "    print('begun', flush=True)\n"
            "    while True:\n"
            "        ctypes.CDLL(None).sleep(60)\n"
            "def command():\n"
            "    try:\n"
            "        wait()\n"
            "    finally:\n"
            "        wait()\n"
            "sys.exit(cli.run(command))\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=10)
        assert process.returncode == 130
        assert told == "interrupted twice: ended at once; to go on: x\n"


@dataclasses.dataclass
class Extra:
    """Options that are no settings."""

    dry_run: bool = False


def read(*argv, defaults=None):
    return config_parser(defaults or Config(), Extra, argv, prog="cv", description="d")


class TestConfigParser:
    def test_nothing_given_is_the_defaults(self):
        assert read() == (Config(), Extra())
        changed = Config.from_flat(
            {
                "folds": 3, "stages": ["1:2:0.1"], "limit": 9, "skip_broken": True,
                "image_size": 32, "class_weights": {"a, b": 1 / 3, "c": 2}, "head_layers": [64, 8],
                "only_folds": [1],
            }
        )  # fmt: skip
        assert read(defaults=changed)[0] == changed

    def test_flags_override_defaults(self):
        defaults = Config.from_flat({"folds": 3, "batch_size": 8})
        config, _ = read("--folds", "4", defaults=defaults)
        assert (config.split.folds, config.train.batch_size) == (4, 8)

    def test_every_kind_of_value(self):
        config, extra = read(
            "--data", "x.npz", "--limit", "50", "--image-size", "32", "--skip-broken",
            "--stages", "0:1:1e-3", "1:2:1e-4", "--select-by", "log_loss", "--augment", "rand",
            "--workers-per-fold", "2", "--address", "auto", "--dry-run",
            "--balance", "hybrid", "--class-weights", "a=2,b=0.5",
            "--pool", "avgmax", "--head-layers", "512,128", "--tta", "9", "--layer-decay", "0.7",
        )  # fmt: skip
        assert config == Config.from_flat(
            {
                "data": "x.npz", "limit": 50, "image_size": 32, "skip_broken": True,
                "stages": [Stage(0, 1, 1e-3), Stage(1, 2, 1e-4)], "select_by": "log_loss",
                "augment": "rand", "workers_per_fold": 2, "address": "auto", "balance": "hybrid",
                "class_weights": {"a": 2.0, "b": 0.5}, "pool": "avgmax", "head_layers": [512, 128],
                "tta": "9", "layer_decay": 0.7,
            }
        )  # fmt: skip
        assert extra.dry_run

    def test_every_setting_has_a_flag_with_help(self, capsys):
        with pytest.raises(SystemExit) as caught:
            read("--help")
        assert caught.value.code == 0
        text = capsys.readouterr().out
        for name in Config().flat():
            assert f"--{name.replace('_', '-')}" in text

    @pytest.mark.parametrize(
        "argv", [["--traking-uri"], ["--tracking-ury=http"], ["--folds", "5", "--seed"]]
    )
    def test_a_wrong_command_line_is_told_without_its_password(self, argv, capsys):
        *first, last = argv
        secret = "://alice:s3cr3tpw@host.example:5000/runs"
        words = [f"{last}{secret}"] if "=" in last else [last, f"http{secret}"]
        with pytest.raises(SystemExit) as caught:
            read(*first, *words)
        assert caught.value.code == 2
        told = "".join(capsys.readouterr())
        assert "s3cr3t" not in told
        assert last.partition("=")[0] in told
        with pytest.raises(SystemExit) as caught:
            parse(Extra, [*words], prog="x", description="d")
        assert "s3cr3t" not in "".join(capsys.readouterr())

    def test_a_password_in_a_right_command_line_stays(self):
        uri = "http://alice:s3cr3tpw@host:5000"
        assert read("--tracking-uri", uri)[0].tracking.tracking_uri == uri

    def test_limits_are_pydantics(self):
        with pytest.raises(UserError, match="--folds 1: must be greater than or equal to 2"):
            read("--folds", "1")
        with pytest.raises(UserError, match="--stages '3:1:1': share 3"):
            read("--stages", "3:1:1")

    @pytest.mark.parametrize(
        "argv", [["--fold", "3"], ["--folds", "many"], ["--shift", "slow"], ["--folds"], ["x"]]
    )
    def test_words_that_do_not_fit_exit_with_2(self, argv, capsys):
        with pytest.raises(SystemExit) as caught:
            read(*argv)
        assert caught.value.code == 2
        assert capsys.readouterr().err


def test_parse_fills_a_dataclass():
    assert parse(Extra, ["--dry-run"], prog="x", description="y") == Extra(dry_run=True)


JOB = "import sys; from folds import cli; sys.exit(cli.run(lambda: print('done')))"


def test_a_command_without_output_does_its_work_and_takes_no_file_for_it(tmp_path):
    job = "lambda: (open('f', 'w').write('kept'), print('lost'))"
    shell = f'"{sys.executable}" -c "{JOB}" >&- 2>&-'.replace("lambda: print('done')", job)
    assert subprocess.run(["sh", "-c", shell], cwd=tmp_path, env=here()).returncode == 0
    assert (tmp_path / "f").read_text() == "kept"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_output_for_which_the_disk_has_no_room_is_one_line():
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-c", JOB], stdout=full, stderr=subprocess.PIPE, text=True, env=here()
        )
    assert ran.returncode == 1
    assert ran.stderr == (
        "failed: the disk is full ([Errno 28] No space left on device); make room\n"
    )


def here():
    """The environment, with this checkout before others and output kept until the end."""
    known = {"PYTHONPATH": str(Path(__file__).parents[2])}
    return {n: v for n, v in os.environ.items() if n != "PYTHONUNBUFFERED"} | known


@pytest.mark.parametrize("show", ["print", "cli.Screen().print"])
def test_output_that_nobody_reads_ends_without_a_traceback(show):
    script = f"import sys; from folds import cli\ndef job():\n  while True: {show}('x' * 9999)\n"
    script += "sys.exit(cli.run(job))"
    writer = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    writer.stdout.read(10)
    writer.stdout.close()
    errors = writer.stderr.read()
    writer.stderr.close()
    assert (writer.wait(), errors) == (141, b"")
