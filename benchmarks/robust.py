"""Compare configurations on clean images, on corrupted ones and on another laboratory's.

Run: python -m benchmarks.robust --data images/ --weights mobilenetv2_100.safetensors
     --external lab2=other/ --configurations light strong "strong ema=0.99" --adapt none auto

A configuration is a policy of augmentation and, if you like, settings by flag name. Each fold's
model is scored on its own validation part, as it is and under the corruptions of
`folds.corruptions`; the folds are pooled. External images are classified by the ensemble of the
folds' models, as the registered model would. A policy trains on some of the corruptions itself:
those are marked, and a mean is over the corruptions that none of the compared policies contains.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import TypeAdapter
from scipy.stats import spearmanr

from benchmarks.inputs import settings_of
from benchmarks.markdown import table_line
from folds import cli
from folds.arrays import Floats
from folds.augment.draws import AUG_MIX, RAND, TRIVIAL
from folds.config import Config
from folds.config.corruptions import CORRUPTIONS
from folds.config.policies import canonical, entries
from folds.corruptions.corrupt import TABLE
from folds.errors import UserError
from folds.evaluation.shift import shift_scores
from folds.images.external import External
from folds.model.predictor import Predictor
from folds.prepare import Prepared, prepare
from folds.runtime.device import Runtime
from folds.training.fit import fit_fold
from folds.training.problem import Problem
from folds.training.result import FoldResult
from folds.training.together import write_ensemble

_CHAINS = {"rand_augment": RAND, "trivial_augment": TRIVIAL, "aug_mix": AUG_MIX}
_ROW = "row.json"
_FEW = 4  # configurations, of which no rank says anything


@dataclass(frozen=True)
class Row:
    """Accuracies of a configuration.

    Parameters
    ----------
    clean : float
        Out of fold.
    shift : dict of str to float
        By corruption.
    adapted : tuple of float
        With ``--adapt auto``: of clean and of corrupted images, means over folds; None where the
        configuration says ``adapt=none``, which spares most of the time.
    external : dict of str to dict of str to float
        Of the ensemble, by name of the images and ``--adapt``.
    """

    clean: float
    shift: dict[str, float]
    adapted: tuple[float, float] | None
    external: dict[str, dict[str, float]]


def parser() -> argparse.ArgumentParser:
    """Make the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.robust", description=(__doc__ or "").splitlines()[0]
    )
    made.add_argument("--data", required=True, help="images, as for distributed.cv")
    made.add_argument("--external", nargs="+", default=[], help="NAME=SOURCE, another laboratory's")
    made.add_argument("--adapt", nargs="+", default=["none", "auto"], help="for external images")
    made.add_argument("--weights", default="auto", help="as for distributed.cv")
    made.add_argument("--backbone", default="mobilenetv2_100")
    made.add_argument(
        "--configurations", nargs="+", default=["light", "strong"],
        help="a policy each, or 'POLICY setting=value ...'",
    )  # fmt: skip
    made.add_argument("--images", type=int, default=2000, help="a stratified subset of so many")
    made.add_argument("--stages", nargs="+", default=["0:3:1e-3", "1:6:1e-3"])
    made.add_argument("--folds", type=int, default=5)
    made.add_argument("--only-folds", type=int, nargs="+", help="train these, numbered from 0")
    made.add_argument("--batch-size", type=int, default=32)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--shift", choices=("fast", "full"), default="fast")
    made.add_argument("--keep", type=Path, help="folder for ensembles and scores; known ones stay")
    made.add_argument("--out", type=Path, help="markdown file to write, anew after each of them")
    return made


def main() -> None:
    """Train, score, print a table and write it."""
    options = parser().parse_args()
    rows: dict[str, Row] = {}
    for text in options.configurations:
        kept = None if options.keep is None else options.keep / _short(text).replace(" ", "_")
        rows[text] = row = _known(kept) or _measured(_prepared(options, text), options.adapt, kept)
        said = f"{row.clean:.3f} clean, {np.mean(list(row.shift.values())):.3f} corrupted"
        each = [(name, *found) for name, own in row.external.items() for found in own.items()]
        others = (f", {name} ({adapt}) {value:.3f}" for name, adapt, value in each)
        print(f"{text}: {said}{''.join(others)}", file=sys.stderr, flush=True)
        if kept is not None:
            (kept / _ROW).write_bytes(TypeAdapter(Row).dump_json(row))
        if options.out is not None:
            options.out.write_text(table(rows) + "\n", encoding="utf-8")
    print(table(rows))


def _known(kept: Path | None) -> Row | None:
    """What an earlier call has measured."""
    if kept is None or not (kept / _ROW).exists():
        return None
    return TypeAdapter(Row).validate_json((kept / _ROW).read_bytes())


def contained(policy: str) -> set[str]:
    """Corruptions that a policy trains on in the same form, whatever the strength."""
    try:
        found = entries(canonical(policy))
    except ValueError as error:
        raise UserError(f"--configurations {policy!r}: {error}") from None
    ops = {op for entry in found for op in _CHAINS.get(entry.op, {entry.op: None})}
    return {name for name, corruption in TABLE.items() if corruption.op in ops}


def read(text: str) -> tuple[str, dict[str, Any]]:
    """A configuration's policy, and its other settings by flag name."""
    if text.startswith("["):  # a list of operations has spaces of its own
        return text, {}
    policy, *others = text.split()
    return policy, settings_of(others)


def table(rows: dict[str, Row]) -> str:
    """Accuracies in percent as markdown: configurations by kind of images, then by corruption."""
    own = {text: contained(read(text)[0]) for text in rows}
    unseen = [name for name in CORRUPTIONS if not any(name in names for names in own.values())]
    first = next(iter(rows.values()))
    heads = [
        "accuracy, %", "clean", "corrupted", f"{len(unseen)} unseen",
        "clean, adapted", "corrupted, adapted",
        *(f"{name}, {adapt}" for name, own in first.external.items() for adapt in own),
    ]  # fmt: skip
    lines = [table_line(heads), "|---|" + "--:|" * (len(heads) - 1)]
    for number, (text, row) in enumerate(rows.items(), start=1):
        cells = [100 * row.clean, _percent(row.shift, CORRUPTIONS), _percent(row.shift, unseen)]
        cells += [100 * value for value in row.adapted or (np.nan, np.nan)]
        cells += [100 * value for own in row.external.values() for value in own.values()]
        lines.append(table_line([f"{number}. {_short(text)}", *(f"{cell:.1f}" for cell in cells)]))
    lines += ["", table_line(["corruption", *map(str, range(1, len(rows) + 1))])]
    lines.append("|---|" + "--:|" * len(rows))
    for name in CORRUPTIONS:
        lines.append(
            table_line(
                [
                    name.replace("_", " "),
                    *(_cell(row, name, own[text]) for text, row in rows.items()),
                ]
            )
        )
    return "\n".join([*lines, "", r"\* the policy contains it in the same form.", *agreement(rows)])


def agreement(rows: dict[str, Row]) -> list[str]:
    """Lines that say how well scores at home rank configurations elsewhere."""
    if len(rows) < _FEW:
        return []
    home = {
        "accuracy": [row.clean for row in rows.values()],
        "shift.accuracy": [float(np.mean(list(row.shift.values()))) for row in rows.values()],
    }
    home["0.5*accuracy+0.5*shift.accuracy"] = list(np.mean(list(home.values()), axis=0))
    lines = ["", f"Rank correlation (Spearman) over {len(rows)} configurations:", ""]
    for name, own in next(iter(rows.values())).external.items():
        for adapt in own:
            away = [row.external[name][adapt] for row in rows.values()]
            each = (f"{score} {spearmanr(values, away)[0]:.2f}" for score, values in home.items())
            lines.append(f"- with {name}, --adapt {adapt}: {', '.join(each)}")
    return lines


def _short(text: str) -> str:
    """A configuration as the head of a row."""
    policy, *others = text.split() if not text.startswith("[") else [text]
    if policy.startswith("["):
        policy = " + ".join(line["op"] for line in yaml.safe_load(policy))
    return " ".join([Path(policy).stem, *others])


def _cell(row: Row, name: str, own: set[str]) -> str:
    """Accuracy under one corruption, marked where the policy trains on it."""
    return f"{_percent(row.shift, [name]):.1f}" + ("*" if name in own else "")


def _percent(found: dict[str, float], names: Sequence[str]) -> float:
    """Mean accuracy under some corruptions, NaN for none of them."""
    return 100 * float(np.mean([found[name] for name in names])) if names else np.nan


def _prepared(options: argparse.Namespace, text: str) -> Prepared:
    policy, others = read(text)
    settings = {
        "data": options.data,
        "external": options.external,
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
        "adapt": "auto",
        **others,
    }
    return prepare(Config.from_flat({n: v for n, v in settings.items() if v is not None}))


def _measured(prepared: Prepared, adaptations: Sequence[str], kept: Path | None) -> Row:
    """Train the folds and score their pooled predictions."""
    problem, runtime = prepared.problem, Runtime.choose("auto", "auto")
    results = [fit_fold(problem, *task, runtime=runtime) for task in prepared.folds]
    rows = np.concatenate([result.rows for result in results])
    found = np.concatenate([result.probabilities for result in results]).argmax(axis=1)
    parts = [result.corrupted for result in results]
    predicted = np.concatenate([part.predicted for part in parts], axis=1)
    labels = problem.images.labels
    adapted = [
        (result.other_view_scores["adapted"]["accuracy"], result.measured["adapted.shift.accuracy"])
        for result in results
        if problem.config.model.adapt != "none"
    ]
    return Row(
        float((found == labels[rows]).mean()),
        shift_scores(
            labels[np.concatenate([part.rows for part in parts])],
            dict(zip(parts[0].cases, predicted, strict=True)),
        ).accuracies,
        tuple(np.mean(adapted, axis=0)) if adapted else None,
        _elsewhere(problem, results, adaptations, kept),
    )


def _elsewhere(
    problem: Problem,
    results: Sequence[FoldResult],
    adaptations: Sequence[str],
    kept: Path | None,
) -> dict[str, dict[str, float]]:
    """Accuracies of external images, as the registered ensemble gives them."""
    with tempfile.TemporaryDirectory() as scratch:
        whole = kept or Path(scratch)
        write_ensemble(whole, problem, results)
        predictor = Predictor(whole)
        return {
            other.name: {
                adapt: _accuracy(predictor.predict(other.images.pixels[:], adapt=adapt), other)
                for adapt in adaptations
            }
            for other in problem.externals
        }


def _accuracy(probabilities: Floats, other: External) -> float:
    return float((probabilities.argmax(axis=1) == other.images.labels).mean())


if __name__ == "__main__":
    sys.exit(cli.run(main))
