"""``crossfold COMMAND``: every command by one name, as ``python -m`` runs it."""

import runpy
import sys
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

import folds
from folds.beside_dask import refuse_dask
from folds.errors import nearest

COMMANDS = MappingProxyType(
    {
        "cv": ("distributed.cv", "train a model on every fold, and register the best"),
        "tune": ("distributed.tune", "search for better settings, fold by fold"),
        "doctor": ("distributed.doctor", "check the machines of a cluster"),
        "inspect": ("folds.inspect", "look at the images: junk, copies, doubtful labels"),
        "preview": ("folds.preview", "look at what augmentation makes of the images"),
        "compare": ("tracking.compare", "tell two runs apart, beyond noise"),
        "ensemble": ("tracking.ensemble", "make one model of several runs"),
        "promote": ("tracking.promote", "let a candidate become the champion, if it is better"),
        "predict": ("tracking.predict", "classify images with a registered model"),
        "batch": ("distributed.predict", "classify millions of images over a cluster"),
        "export": ("tracking.export", "write a model as one file, ONNX or pt2"),
        "replay": ("tracking.replay", "bring what was recorded without a server to MLflow"),
    }
)


def main() -> None:
    """Run the command that is named first, as ``python -m`` would."""
    refuse_dask(Path(__file__).parents[1] / "distributed")
    name, *words = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h"):
        print(usage())
    elif name == "--version":
        print(f"crossfold {folds.__version__}")
    elif name == "--print-completion":
        sys.exit(_complete(*words))
    elif name in COMMANDS:
        sys.argv = [sys.argv[0], *words]
        runpy.run_module(COMMANDS[name][0], run_name="__main__", alter_sys=True)
    else:
        near = nearest(name, COMMANDS)
        print(f"error: crossfold {name}: is no command{near}; try --help", file=sys.stderr)
        sys.exit(2)


def _complete(shell: str = "", *_: str) -> int:
    """Print what lets a shell complete ``crossfold``; gives back the exit status."""
    from folds import cli  # takes a while, as do the commands

    modules = {name: import_module(module) for name, (module, _) in COMMANDS.items()}
    return cli.run(lambda: print(cli.completion(shell, "crossfold", modules)))


def usage() -> str:
    """What there is, a line each."""
    lines = [f"  {name:<9} {about}" for name, (_, about) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: crossfold COMMAND [OPTIONS]",
            "",
            "Cross-validate image classifiers, and learn which model will hold up.",
            "",
            *lines,
            "",
            "crossfold COMMAND --help says more; each is also python -m of a module, as",
            "python -m distributed.cv. --print-completion bash (zsh, fish) prints a script by",
            "which the shell completes them.",
        ]
    )
