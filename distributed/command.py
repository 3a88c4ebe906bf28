"""What the commands that train have in common: where their settings come from."""

from collections.abc import Sequence

from distributed import workspace
from folds.config import Config, read_yaml, recipes
from folds.errors import UserError


def expanded(argv: Sequence[str]) -> list[str]:
    """Let ``--resume`` stand alone, and ``-v`` for ``--verbose``."""
    words = ["--verbose" if word == "-v" else word for word in argv]
    for index, word in enumerate(words):
        if word == "--resume" and (index + 1 == len(words) or words[index + 1].startswith("-")):
            return [*words[: index + 1], "latest", *words[index + 1 :]]
    return words


def value_of(argv: Sequence[str], flag: str) -> str | None:
    """The value of a flag on a command line, if it is there."""
    for index, word in enumerate(argv):
        if word == flag and index + 1 < len(argv):
            return argv[index + 1]
        if word.startswith(flag + "="):
            return word.removeprefix(flag + "=")
    return None


def first_settings(
    argv: Sequence[str], kind: workspace.Kind
) -> tuple[Config, workspace.Workspace | None]:
    """Settings before flags: of the run to go on with, or of a recipe and a YAML file.

    Raises
    ------
    UserError
        There is no such run, recipe or file, or a flag does not go with ``--resume``.
    """
    if (name := value_of(argv, "--resume")) is not None:
        for flag in ("--config", "--recipe"):
            if value_of(argv, flag) is not None:
                raise UserError(
                    f"{flag}: --resume goes on with the run's own settings; leave it out"
                )
        space = workspace.find(name, kind)
        return Config.from_flat(workspace.read_settings(space)), space
    recipe, path = value_of(argv, "--recipe"), value_of(argv, "--config")
    settings = recipes.read(recipe) if recipe is not None else {}
    return Config.from_flat(settings | (read_yaml(path) if path is not None else {})), None


def check_unchanged(config: Config, before: Config, resumed: str) -> None:
    """Refuse settings that would change the results of a run that goes on, or what it trains.

    Raises
    ------
    UserError
        Names the flags.
    """
    now, then = config.tracking, before.tracking
    curves = now.learning_curve, then.learning_curve
    if curves[0] != curves[1] or (any(curves) and now.trains_on_all != then.trains_on_all):
        raise UserError(
            f"--resume {resumed}: its folds of --learning-curve are numbered by what it began "
            "with; leave out --learning-curve, --refit, --distill and --candidate"
        )
    if config.digest == before.digest:
        return
    old = {name: value for part in before.science.values() for name, value in part.items()}
    changed = [name for name, value in config.flat().items() if old.get(name, value) != value]
    raise UserError(
        f"--resume {resumed}: goes on with the run's own settings, and "
        f"--{', --'.join(changed).replace('_', '-')} would change its results; leave it out"
    )
