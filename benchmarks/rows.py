"""What is compared: ratios of the measured commands, and their targets."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from benchmarks.inputs import BACKBONE, FOLDS, Sizes
from benchmarks.sides import Round


@dataclass(frozen=True)
class Target:
    """What a row's value should be."""

    sign: Literal[">=", "<="]
    value: float

    def met(self, value: float) -> bool:
        """Whether a value is good enough."""
        return value >= self.value if self.sign == ">=" else value <= self.value


@dataclass(frozen=True)
class Row:
    """One comparison.

    Parameters
    ----------
    name : str
        For ``--rows`` and ``results.json``.
    what : str
        What was timed.
    sides : dict of str to str
        Names of the commands, and what people call them.
    shown : tuple of str
        Numbers of each command that the report shows, if it gives them.
    value, formula : callable, str
        The row's value in one round, and how it is made.
    unit : str
        Of the value; empty for a ratio.
    target : Target, optional
        None: shown only for comparison.
    charted : bool
        Whether the picture shows the row's wall times.
    """

    name: str
    what: str
    sides: dict[str, str]
    shown: tuple[str, ...]
    value: Callable[[Round], float]
    formula: str
    target: Target | None
    unit: str = ""
    charted: bool = False


BASELINES = {"plain": "plain PyTorch", "lightning": "Lightning", "skorch": "skorch"}


def all_rows(sizes: Sizes) -> tuple[Row, ...]:
    """Every comparison, in the order of the report."""
    return (
        *(_wall(sizes, side, label) for side, label in BASELINES.items()),
        *(_score(side, label) for side, label in BASELINES.items()),
        _wall_long(sizes),
        _folds(sizes),
        _frozen(sizes),
        _trainer(sizes),
        _fixed_cost(),
        *_memory(sizes),
    )


def ratio(
    top: str, bottom: str, number: str = "wall_s", below: str | None = None
) -> Callable[[Round], float]:
    """Quotient of a number of one command and the same (or the one `below`) of another."""
    return lambda found: found[top][number] / found[bottom][below or number]


def _setting(sizes: Sizes, epochs: tuple[int, int]) -> str:
    return (
        f"{sizes.images:,} images of {sizes.side} px, {BACKBONE}, batch {sizes.batch}, "
        f"{epochs[0]} frozen + {epochs[1]} full epochs"
    )


def _wall(sizes: Sizes, side: str, label: str) -> Row:
    return Row(
        f"wall-{side}",
        f"Whole command, {_setting(sizes, sizes.main)}, {FOLDS} folds",
        {"ours": "crossfold", side: label},
        ("wall_s",),
        ratio(side, "ours"),
        f"{label} / crossfold",
        Target(">=", 2.5),
        charted=True,
    )


def _score(side: str, label: str) -> Row:
    return Row(
        f"score-{side}",
        f"Out-of-fold accuracy and macro-F1 of wall-{side}'s runs, of each fold's last epoch",
        {"ours": "crossfold", side: label},
        ("accuracy", "macro_f1"),
        lambda found: found["ours"]["accuracy"] - found[side]["accuracy"],
        f"accuracy of crossfold - {label}",
        Target(">=", -0.005),
    )


def _wall_long(sizes: Sizes) -> Row:
    return Row(
        "wall-long",
        f"Whole command, {_setting(sizes, sizes.long)}, {FOLDS} folds",
        {"ours-long": "crossfold", "plain-long": "plain PyTorch"},
        ("wall_s", "accuracy"),
        ratio("plain-long", "ours-long"),
        "plain PyTorch / crossfold",
        Target(">=", 4.0),
        charted=True,
    )


def _folds(sizes: Sizes) -> Row:
    return Row(
        "folds",
        f"Whole command of crossfold, {_setting(sizes, sizes.main)}",
        {"ours": f"{FOLDS} folds", "ours-1": "1 fold"},
        ("wall_s",),
        ratio("ours", "ours-1"),
        f"{FOLDS} folds / 1 fold",
        Target("<=", 4.2),
    )


def _frozen(sizes: Sizes) -> Row:
    return Row(
        "frozen",
        f"Frozen stage of crossfold (shared features + heads / lanes), "
        f"{_setting(sizes, sizes.frozen)}",
        {"frozen-5": f"{FOLDS} folds", "frozen-1": "1 fold"},
        ("frozen_s",),
        ratio("frozen-5", "frozen-1", "frozen_s"),
        f"{FOLDS} folds / 1 fold",
        Target("<=", 1.15),
    )


def _trainer(sizes: Sizes) -> Row:
    return Row(
        "trainer",
        "Full stage of crossfold in one lane, median epoch, against a bare loop of steps on random "
        f"tensors in memory; {BACKBONE}, {sizes.side} px, batch {sizes.batch}; the bare loop: same "
        "precision, compilation and threads, always channels-last",
        {"trainer": "crossfold", "bare": "bare step"},
        ("images_per_s",),
        ratio("trainer", "bare", "images_per_s"),
        "crossfold / bare step",
        Target(">=", 0.92),
    )


def _fixed_cost() -> Row:
    return Row(
        "fixed",
        f"Whole command, {FOLDS} folds of one step each, test_resnet on 100 digits; plain Ray: a "
        "TorchTrainer a fold, default settings, nothing recorded",
        {"fixed": "crossfold", "plain-ray": "plain Ray"},
        ("wall_s",),
        lambda found: found["fixed"]["wall_s"],
        "crossfold",
        Target("<=", 20.0),
        unit="s",
    )


def _memory(sizes: Sizes) -> tuple[Row, ...]:
    """Rows of memory: peaks of resident pages, over the bytes of the many images' pixels."""
    about = f"{sizes.side} px from an .npz file, test_resnet, 1 epoch, 2 folds"
    sides = {"many": f"{sizes.many:,} images", "few": f"{sizes.few:,} images"}
    driver, worker = ("driver_rss", "driver_uss"), ("worker_rss", "worker_uss")
    formula = "growth of RSS / bytes of the images"
    return (
        Row(
            "memory-driver",
            f"Peak memory of the command's own process, {about}",
            sides,
            driver,
            ratio("many", "many", "driver_rss", "image_bytes"),
            "RSS / bytes of the images",
            None,
        ),
        Row(
            "memory-driver-growth",
            "The same, without what few images need",
            sides,
            driver,
            _growth("driver_rss"),
            formula,
            Target("<=", 1.1),
        ),
        Row(
            "memory-worker",
            f"Peak memory of the greatest worker process, {about}; without what few images need",
            sides,
            worker,
            _growth("worker_rss"),
            formula,
            Target("<=", 1.0),
        ),
    )


def _growth(number: str) -> Callable[[Round], float]:
    """What many images need more than few, over the bytes of the many."""
    return lambda found: (
        (found["many"][number] - found["few"][number]) / found["many"]["image_bytes"]
    )
