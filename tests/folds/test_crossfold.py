"""The one name of all commands."""

import importlib
import shutil
import subprocess
import sys

import pytest

import folds
from folds import crossfold
from folds.cli import SHELLS
from folds.config import Config

PRESS = """source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
read -r _ _ function _ < <(complete -p crossfold)
"$function"; printf '%s\n' "${COMPREPLY[@]}"
"""


def run(monkeypatch, capsys, *words):
    """Exit status and output of ``crossfold`` in this process."""
    monkeypatch.setattr(sys, "argv", ["crossfold", *words])
    try:
        crossfold.main()
        status = 0
    except SystemExit as end:
        status = end.code
    return status, capsys.readouterr()


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_what_there_is_is_told(monkeypatch, capsys, words):
    status, told = run(monkeypatch, capsys, *words)
    assert status == 0
    assert all(f"  {name} " in told.out for name in crossfold.COMMANDS)
    assert max(map(len, told.out.splitlines())) <= 80


def test_the_version_is_that_of_the_package(monkeypatch, capsys):
    assert run(monkeypatch, capsys, "--version")[1].out == f"crossfold {folds.__version__}\n"


def test_a_word_that_is_no_command_is_refused_with_the_nearest(monkeypatch, capsys):
    status, told = run(monkeypatch, capsys, "prodict", "--data", "x")
    assert status == 2
    assert told.err.startswith("error: crossfold prodict: is no command; nearest: predict")


@pytest.mark.parametrize("name", crossfold.COMMANDS)
def test_each_is_a_module_with_a_command(name):
    module = importlib.import_module(crossfold.COMMANDS[name][0])
    assert callable(module.main)


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("predict", "--data", "nowhere.csv", "--abstain", "2"), 2, "error: --abstain 2.0: must"),
        (("cv", "--folds", "1"), 2, "--folds"),
        (("compare", "--help"), 0, "usage: python -m tracking.compare"),
    ],
)
def test_it_does_what_the_module_does(tmp_path, words, status, told):
    command = "from folds.crossfold import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == status
    assert told in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """What completes ``crossfold``, a file for each shell."""
    folder = tmp_path_factory.mktemp("completion")
    command = "from folds.crossfold import main; main()"
    for shell in SHELLS:
        argv = [sys.executable, "-c", command, "--print-completion", shell]
        with (folder / shell).open("w") as file:
            subprocess.run(argv, stdout=file, check=True)
    return folder


@pytest.fixture
def pressed(scripts, tmp_path):
    """What bash offers where Tab is pressed at the end of the last word."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")

    def press(*words):
        done = subprocess.run(
            [bash, "--norc", "-c", PRESS, "bash", scripts / "bash", "crossfold", *words],
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stderr == ""
        return done.stdout.split("\n")[:-1]

    return press


class TestCompletion:
    def test_commands(self, pressed):
        assert set(pressed("")) == {*crossfold.COMMANDS, "-h", "--help"}
        assert sorted(pressed("pr")) == ["predict", "preview", "promote"]

    @pytest.mark.parametrize("name", crossfold.COMMANDS)
    def test_flags_of_each(self, pressed, name):
        offered = pressed(name, "--")
        module = importlib.import_module(crossfold.COMMANDS[name][0])
        trains = hasattr(module, "Command")
        kinds = (module.Command if trains else module.Options).__annotations__
        own = {flag for flag, kind in kinds.items() if "Positional" not in str(kind)}
        own |= set(Config().flat()) if trains else set()
        assert {f"--{flag.replace('_', '-')}" for flag in own} <= set(offered)
        assert all(word.startswith("--") for word in offered)

    def test_values(self, pressed, tmp_path):
        assert pressed("cv", "--folds", "3", "--audit", "") == ["off", "report", "drop"]
        (tmp_path / "labels.csv").touch()
        assert pressed("inspect", "--relabel", "la") == ["labels.csv"]

    @pytest.mark.parametrize("shell", SHELLS)
    def test_other_shells_can_read_their_scripts(self, scripts, shell):
        text = (scripts / shell).read_text()
        assert "--relabel" in text
        if (program := shutil.which(shell)) is None:
            pytest.skip(f"no {shell}")
        subprocess.run([program, "-n", scripts / shell], check=True)

    @pytest.mark.parametrize("words", [(), ("tcsh",)])
    def test_a_shell_that_has_none(self, monkeypatch, capsys, words):
        status, told = run(monkeypatch, capsys, "--print-completion", *words)
        assert status == 2
        assert told.err.endswith(": must be one of bash, zsh, fish\n")
