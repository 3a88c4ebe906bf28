"""Compare policies of augmentation on clean and on corrupted images.

Run: python -m benchmarks.robust --data images/ --weights mobilenetv2_100.safetensors

Each fold's model is scored on its own validation part, as it is and under the corruptions of
`folds.shift`; the folds are pooled. A policy trains on some of the corruptions itself: those are
marked, and the last mean is over the corruptions that none of the compared policies contains.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from folds import cli
from folds.augment import to_input
from folds.augment.draws import AUG_MIX, RAND, TRIVIAL
from folds.backbone import Classifier
from folds.config import Config
from folds.device import Runtime
from folds.errors import UserError
from folds.evaluate import Floats, quick_scores
from folds.fit import FoldResult, fit_fold
from folds.policies import canonical, entries
from folds.prepare import Prepared, prepare
from folds.problem import Problem
from folds.shift import CORRUPTIONS, ShiftScores, corrupt, keys_of, shift_scores, suite
from folds.shift.corruptions import TABLE

Case = tuple[str, int] | None  # a corruption and its severity; None: as it is
Row = tuple[float, ShiftScores]  # accuracy of clean images, and what corruptions make of it
_CHAINS = {"rand_augment": RAND, "trivial_augment": TRIVIAL, "aug_mix": AUG_MIX}
_BATCH = 100


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
        rows[policy] = _measured(_prepared(options, policy), suite(options.shift))
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
    }
    return prepare(Config.from_flat({n: v for n, v in settings.items() if v is not None}))


def _measured(prepared: Prepared, cases: Sequence[tuple[str, int]]) -> Row:
    """Train the folds and score their pooled predictions."""
    problem, runtime = prepared.problem, Runtime.choose("auto", "auto")
    labels, logits = [], []
    for repeat, fold in prepared.tasks:
        result = fit_fold(problem, repeat, fold, runtime=runtime)
        labels.append(problem.images.labels[result.rows])
        logits.append(_predicted(problem, result, runtime, cases))
    truth = np.concatenate(labels)
    pooled = {case: np.concatenate([fold[case] for fold in logits]) for case in (None, *cases)}
    clean = quick_scores(truth, pooled[None])["accuracy"]
    return clean, shift_scores(truth, {case: pooled[case] for case in cases})


@torch.inference_mode()
def _predicted(
    problem: Problem, result: FoldResult, runtime: Runtime, cases: Sequence[tuple[str, int]]
) -> dict[Case, Floats]:
    """Logits (V, C) of a fold's validation part, as it is and in each case."""
    card = problem.card
    model = Classifier(card.backbone, classes=len(card.class_names), size=card.size).eval()
    model.load_state_dict(result.weights)
    runtime.place(model)
    found: dict[Case, list[Floats]] = {case: [] for case in (None, *cases)}
    for rows in np.array_split(result.rows, len(result.rows) // _BATCH + 1):
        pixels = np.ascontiguousarray(problem.images.pixels[rows])
        image = to_input(torch.from_numpy(pixels).to(runtime.device), problem.size)
        keys = keys_of(problem.images.ids[rows])
        for case, parts in found.items():
            seen = image if case is None else corrupt(image, keys, *case)
            with runtime.autocast():
                parts.append(model(seen).float().cpu().numpy())
    return {case: np.concatenate(parts) for case, parts in found.items()}


if __name__ == "__main__":
    sys.exit(cli.run(main))
