"""Compare policies of augmentation on clean and on corrupted images.

Run: python -m benchmarks.robust --data images/ --weights mobilenetv2_100.safetensors

Each fold's model is scored on its own validation part, as it is and under the corruptions of
`folds.corruptions`; the folds are pooled. A policy trains on some of the corruptions itself: those
are marked, and the last mean is over the corruptions that none of the compared policies contains.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from folds import cli
from folds.augment.draws import AUG_MIX, RAND, TRIVIAL
from folds.config import Config
from folds.config.corruptions import CORRUPTIONS
from folds.config.policies import canonical, entries
from folds.corruptions.corrupt import TABLE
from folds.errors import UserError
from folds.evaluation.shift import ShiftScores, shift_scores
from folds.prepare import Prepared, prepare
from folds.runtime.device import Runtime
from folds.training.fit import fit_fold

Row = tuple[float, ShiftScores]  # accuracy of clean images, and what corruptions make of it
_CHAINS = {"rand_augment": RAND, "trivial_augment": TRIVIAL, "aug_mix": AUG_MIX}


def parser() -> argparse.ArgumentParser:
    """Make the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.robust", description=(__doc__ or "").splitlines()[0]
    )
    made.add_argument("--data", required=True, help="images, as for distributed.cv")
    made.add_argument("--weights", default="auto", help="as for distributed.cv")
    made.add_argument("--backbone", default="mobilenetv2_100")
    made.add_argument("--policies", nargs="+", default=["light", "strong"])
    made.add_argument("--images", type=int, default=2000, help="a stratified subset of so many")
    made.add_argument("--stages", nargs="+", default=["0:3:1e-3", "1:6:1e-3"])
    made.add_argument("--folds", type=int, default=5)
    made.add_argument("--only-folds", type=int, nargs="+", help="train these, numbered from 0")
    made.add_argument("--batch-size", type=int, default=32)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--shift", choices=("fast", "full"), default="fast")
    made.add_argument("--out", type=Path, help="markdown file to write")
    return made


def main() -> None:
    """Train, score, print a table and write it."""
    options = parser().parse_args()
    rows: dict[str, Row] = {}
    for policy in options.policies:
        rows[policy] = _measured(_prepared(options, policy))
        clean, shifted = rows[policy]
        said = f"{clean:.3f} clean, {shifted.mean_accuracy:.3f} corrupted"
        print(f"{policy}: {said}", file=sys.stderr, flush=True)
    text = table(rows)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")


def contained(policy: str) -> set[str]:
    """Corruptions that a policy trains on in the same form, whatever the strength."""
    try:
        found = entries(canonical(policy))
    except ValueError as error:
        raise UserError(f"--policies {policy!r}: {error}") from None
    ops = {op for entry in found for op in _CHAINS.get(entry.op, {entry.op: None})}
    return {name for name, corruption in TABLE.items() if corruption.op in ops}


def table(rows: dict[str, Row]) -> str:
    """Accuracies in percent as a markdown table, a column for each policy."""
    own = {policy: contained(policy) for policy in rows}
    unseen = [name for name in CORRUPTIONS if not any(name in names for names in own.values())]
    lines = [
        f"| accuracy, % | {' | '.join(rows)} |",
        "|---|" + "--:|" * len(rows),
        _line("clean", (f"{100 * clean:.1f}" for clean, _ in rows.values())),
        _line("mean of corruptions", (_percent(found, CORRUPTIONS) for _, found in rows.values())),
        _line(
            f"mean of {len(unseen)} that no policy contains",
            (_percent(found, unseen) for _, found in rows.values()),
        ),
    ]
    for name in CORRUPTIONS:
        cells = (
            _percent(found, [name]) + ("*" if name in own[policy] else "")
            for policy, (_, found) in rows.items()
        )
        lines.append(_line(name.replace("_", " "), cells))
    return "\n".join([*lines, "", r"\* the policy contains it in the same form."])


def _line(name: str, cells: Iterator[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def _percent(found: ShiftScores, names: Sequence[str]) -> str:
    """Mean accuracy under some corruptions."""
    return f"{100 * np.mean([found.accuracies[name] for name in names]):.1f}" if names else "-"


def _prepared(options: argparse.Namespace, policy: str) -> Prepared:
    settings = {
        "data": options.data,
        "limit": options.images,
        "folds": options.folds,
        "only_folds": options.only_folds,
        "seed": options.seed,
        "backbone": options.backbone,
        "weights": options.weights,
        "stages": options.stages,
        "augment": policy,
        "batch_size": options.batch_size,
        "shift": options.shift,
    }
    return prepare(Config.from_flat({n: v for n, v in settings.items() if v is not None}))


def _measured(prepared: Prepared) -> Row:
    """Train the folds and score their pooled predictions."""
    problem, runtime = prepared.problem, Runtime.choose("auto", "auto")
    results = [fit_fold(problem, *task, runtime=runtime) for task in prepared.folds]
    rows = np.concatenate([result.rows for result in results])
    found = np.concatenate([result.probabilities for result in results]).argmax(axis=1)
    parts = [result.corrupted for result in results]
    predicted = np.concatenate([part.predicted for part in parts], axis=1)
    labels = problem.images.labels
    return (
        float((found == labels[rows]).mean()),
        shift_scores(
            labels[np.concatenate([part.rows for part in parts])],
            dict(zip(parts[0].cases, predicted, strict=True)),
        ),
    )


if __name__ == "__main__":
    sys.exit(cli.run(main))
