"""Command lines from typed options, and what a user sees when something is wrong."""

import contextlib
import dataclasses
import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import tyro
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.segment import Segment

from folds.config import Config, groups
from folds.errors import RunError, UserError, disk_full, masked, reason
from folds.signals import Interruption
from folds.text import one_line, shown

T = TypeVar("T")
SHELLS = ("bash", "zsh", "fish")  # that a completion can be had for
_TYRO = (tyro.conf.OmitArgPrefixes,)
_METAVARS = {"stages": "SHARE:EPOCHS:LR", "head_layers": "N,N", "tta": "{none,flips,d4,N}",
             "external": "NAME=SOURCE", "data": "SOURCE", "slices": "NAME,NAME"}  # fmt: skip
_REPEATED = {"external"}
_SEVERAL = {"data"}  # one word, or several


Progress = Literal["auto", "plain", "json", "off"]


class Screen(Console):
    """A console that, like `print`, raises BrokenPipeError where nobody reads any more.

    What it is given it shows and never obeys, see `folds.text.shown`.

    Parameters
    ----------
    progress : {"auto", "plain", "json", "off"}
        What is seen of a command's work while it goes on: a live table on a terminal, else lines;
        lines; a line of JSON an event on stdout, while all else goes to stderr; nothing.
    """

    def __init__(self, progress: Progress = "auto", **settings: Any) -> None:
        super().__init__(stderr=progress == "json", **settings)
        self.progress = progress

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        return super()._render_buffer(
            part if part.control else part._replace(text=shown(part.text)) for part in buffer
        )

    def on_broken_pipe(self) -> None:
        """Let the error pass, instead of rich's exit without a word."""
        raise


def parse(options: Callable[..., T], argv: Sequence[str], *, prog: str, description: str) -> T:
    """Fill a dataclass of options from a command line; exits with status 2 on a wrong flag."""
    about = _plain_text(description)
    return _read(options, argv, prog=prog, description=about)


def _read(options: Any, argv: Sequence[str], **settings: Any) -> Any:
    """Have tyro read a command line, and repeat no password from it where it is wrong."""
    public = [masked(word) for word in argv]
    if public != list(argv):
        unseen = io.StringIO()
        with contextlib.suppress(SystemExit), redirect_stdout(unseen), redirect_stderr(unseen):
            return tyro.cli(options, args=argv, config=_TYRO, **settings)
        argv = public  # what is wrong with them, it says of the masked words
    return tyro.cli(options, args=argv, config=_TYRO, **settings)


def _plain_text(docstring: str) -> str:
    return docstring.replace("``", "")


def config_parser(
    defaults: Config, extra: type, argv: Sequence[str], *, prog: str, description: str
) -> tuple[Config, Any]:
    """Read a command line whose flags are the settings of `Config` and of one more dataclass.

    tyro reads the words, pydantic judges the values.

    Parameters
    ----------
    defaults : Config
        Values of flags that are not given.
    extra : type
        A dataclass of options that are not part of the configuration.
    argv : sequence of str
        The command line without the program.

    Raises
    ------
    UserError
        A value is not allowed.
    """
    whole, about = _whole(defaults, extra), _plain_text(description)
    draft = _read(type(whole), argv, prog=prog, description=about, default=whole)
    values = {k: v for n in groups() for k, v in vars(getattr(draft, n)).items()}
    return Config.from_flat(values), draft.command


def _whole(defaults: Config, extra: type) -> Any:
    """An unchecked twin of all settings, and of one more dataclass, under the name command."""
    parts = {n: _draft(n, model, getattr(defaults, n)) for n, model in groups().items()}
    parts["command"] = extra()
    kinds = [(name, type(part)) for name, part in parts.items()]
    return dataclasses.make_dataclass("Options", kinds)(**parts)


def completion(shell: str, prog: str, commands: Mapping[str, ModuleType]) -> str:
    """A script by which a shell completes a program: its commands, their flags, some values.

    Parameters
    ----------
    shell : str
        One of `SHELLS`.
    prog : str
    commands : mapping of str to module
        By name: each has ``Options``, or a ``Command`` beside the settings of `Config`.

    Returns
    -------
    str
        As tyro writes it. It needs a Python, of any kind, when it runs.

    Raises
    ------
    UserError
        There is none for this shell.
    """
    if shell not in SHELLS:
        raise UserError(f"--print-completion {shell!r}: must be one of {', '.join(SHELLS)}")
    kinds: list[Any] = []
    for name, module in commands.items():
        default = _whole(Config(), module.Command) if hasattr(module, "Command") else None
        kind = module.Options if default is None else type(default)
        how = {} if default is None else {"default": default}
        kinds.append(Annotated[kind, tyro.conf.subcommand(name, **how)])
    written = io.StringIO()
    with contextlib.suppress(SystemExit), redirect_stdout(written):
        _read(Union[tuple(kinds)], ["--tyro-write-completion", shell, "-"], prog=prog)  # noqa: UP007
    # the end of a line in a help text would begin another completion
    return re.sub(
        r"^(.*COMPLETION_SPEC = .*)$",
        lambda spec: re.sub(r"\\+n", " ", spec[0]),
        written.getvalue(),
        flags=re.MULTILINE,
    )


def run(command: Callable[[], None]) -> int:
    """Run a command and turn its end into an exit status.

    Returns
    -------
    int
        0; 2 for bad input and 1 for a run that failed or a full disk, each with one line on
        stderr; when interrupted 130 (Ctrl-C), 143 (SIGTERM) or 129 (the terminal went away), 141
        when nobody reads the output.
    """
    _open_closed()
    for stream in (sys.stdout, sys.stderr):  # names that the terminal's encoding lacks
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with Interruption() as interruption:
        return _status(command, interruption)


def _status(command: Callable[[], None], interruption: Interruption) -> int:
    try:
        command()
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        return _interrupted(str(stop), interruption)
    except Exception as error:
        if interruption.heard:  # at a moment at which a library made something else of it
            return _interrupted(interruption.advice, interruption)
        return _failed(error)
    return 0


def _interrupted(told: str, interruption: Interruption) -> int:
    print(f"interrupted{': ' + _told(told) if told else ''}", file=sys.stderr)
    return interruption.status


def _failed(error: Exception) -> int:
    """The exit status of an error that is the user's or the run's; raises any other."""
    match error:
        case UserError():
            print(f"error: {_told(error)}", file=sys.stderr)
            return 2
        case RunError():
            print(f"failed: {_told(error)}", file=sys.stderr)
            return 1
        case BrokenPipeError():  # the reader of our output has seen enough, as `head` does
            _drop_output()
            if error.errno is None:  # not the system's: it says how to go on
                print(f"interrupted: {_told(error)}", file=sys.stderr)
            return 141
        case OSError() if disk_full(error):
            _drop_output()
            print(f"failed: the disk is full ({reason(error)}); make room", file=sys.stderr)
            return 1
    raise error


def _told(error: BaseException | str) -> str:
    """What an error says, on one line that shows names of others and obeys none, no password."""
    return one_line(masked(str(error)))


def tell(line: str) -> None:
    """Tell the user, on stderr, a line in which names of others may stand."""
    print(one_line(masked(line)), file=sys.stderr)


def _open_closed() -> None:
    """Give a command that was started without output (``>&-``) one that goes nowhere.

    The next file that it opens would take the number of the one that is missing.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("r" if name == "stdin" else "w"))  # noqa: SIM115


def _drop_output() -> None:
    """Write out what can be, and let the interpreter not try again when it ends."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    with contextlib.suppress(OSError):  # where it is no file at all
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _draft(name: str, model: type[BaseModel], defaults: BaseModel) -> Any:
    """An unchecked twin of a group of settings, with its words for ``--help``."""
    fields = []
    for field, info in model.model_fields.items():
        value = getattr(defaults, field)
        if field in _SEVERAL and isinstance(value, str):
            value = (value,)
        if isinstance(value, tuple):
            value = tuple(str(part) for part in value)
        if isinstance(value, dict):
            value = ",".join(f"{key}={number}" for key, number in value.items())
        fields.append((field, _annotation(field, info), dataclasses.field(default=value)))
    kind = dataclasses.make_dataclass(name.capitalize(), fields)
    kind.__doc__ = model.__doc__
    return kind()


def _annotation(field: str, info: FieldInfo) -> Any:
    """The type that tyro shall parse, with its help; bounds are left to pydantic."""
    kind: Any = tuple[str, ...] if field in _SEVERAL else _plain(info.annotation)
    about = tyro.conf.arg(help=info.description, metavar=_METAVARS.get(field))
    if kind is bool:
        return Annotated[kind, about, tyro.conf.FlagCreatePairsOff]
    if field in _REPEATED:
        return Annotated[kind, about, tyro.conf.UseAppendAction]
    return Annotated[kind, about]


def _plain(annotation: Any) -> Any:
    if get_origin(annotation) is tuple:
        return tuple[str, ...]
    if get_origin(annotation) is dict:
        return str
    arguments = get_args(annotation)
    if get_origin(annotation) is Literal or not arguments:
        return annotation
    if hasattr(annotation, "__metadata__"):
        return _plain(annotation.__origin__)
    return Union[tuple(_plain(argument) for argument in arguments)]  # noqa: UP007
