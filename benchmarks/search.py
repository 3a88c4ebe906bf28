"""What racing saves, and what an Optuna loop by hand takes: ``python -m benchmarks.search``.

Each seed is searched with racing and without, caches empty, by the command; the winner that racing
found is held against that of the full search on the same folds (corrected t test). The plain loop
trains the very configurations of the full search, fold after fold in one process with all cores.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
import yaml

from distributed.search.options import read_space
from distributed.search.request import trial_settings
from folds.config import Config
from folds.config.space_parser import parse_space
from folds.config.spaces import Space
from folds.evaluation.significance import corrected_t
from folds.files import write_whole
from folds.images import load
from folds.prepare import prepare
from folds.runtime.device import Runtime
from folds.training.fit import fit_fold

DIGITS = """
optimizer: {choice: [adamw, sgd]}
weight_decay: {loguniform: [1e-4, 1e-1]}
label_smoothing: {choice: [0, 0.1]}
rate: {loguniform: [1e-4, 3e-2]}
epochs: {int: [2, 5]}
stages: ["1:{epochs}:{rate}"]
"""


@dataclass(frozen=True)
class Case:
    """Images, and the space that is searched on them.

    Parameters
    ----------
    name : str
    flags : dict of str to object
        Settings that all trials share, by flag name.
    space : mapping
    """

    name: str
    flags: dict[str, Any]
    space: dict[str, Any]

    def space_of(self, seed: int) -> tuple[Config, Space]:
        """The trials' common settings and the space."""
        config = trial_settings(Config.from_flat(self.flags | {"seed": seed}), "macro_f1")
        return config, parse_space(self.space, config)


def parser() -> argparse.ArgumentParser:
    """Make the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.search", description=(__doc__ or "").replace("``", "")
    )
    made.add_argument("--data", type=Path, help="folder of class folders; without it: digits")
    made.add_argument("--weights", type=Path, help="folder of weights by the backbones' names")
    made.add_argument("--backbones", nargs="+", default=["mobilenetv2_100"])
    made.add_argument("--limit", type=int, default=1000, help="images")
    made.add_argument("--trials", type=int, default=20)
    made.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    made.add_argument("--plain", type=int, nargs="*", default=[], help="seeds of the plain loop")
    made.add_argument("--out", type=Path, default=Path("search"), help="folder of the searches")
    return made


def main() -> None:
    """Search, and print a line for each seed."""
    options = parser().parse_args()
    case = _case(options)
    rows = []
    for seed in options.seeds:
        raced, full = (_searched(case, options, seed, way) for way in ((), ("--no-racing",)))
        plain = _plain(case, full, seed) if seed in options.plain else None
        rows.append(_row(seed, raced, full, plain))
        print(json.dumps(rows[-1]), flush=True)
    for name in ("folds", "seconds"):
        shares = [row[f"raced_{name}"] / row[f"full_{name}"] for row in rows]
        middle, spread = statistics.median(shares), f"{min(shares):.2f} to {max(shares):.2f}"
        print(f"{case.name}: {name} of racing, share of none: median {middle:.2f} ({spread})")
    write_whole(options.out / f"{case.name}.json", json.dumps(rows, indent=2).encode())


def _case(options: argparse.Namespace) -> Case:
    if options.data is None:
        flags = {"data": "digits", "backbone": "test_resnet", "weights": "none"}
        return Case("digits", flags | {"limit": options.limit}, yaml.safe_load(DIGITS))
    networks = [
        {"backbone": name, "weights": str((options.weights / f"{name}.safetensors").resolve())}
        for name in options.backbones
    ]
    flags = {"data": str(options.data.resolve()), "limit": options.limit, **networks[0]}
    space = dict(read_space("head"))
    if len(networks) > 1:
        space["network"] = {"choice": networks}
    return Case(options.data.name, flags, space)


def _searched(
    case: Case, options: argparse.Namespace, seed: int, way: tuple[str, ...]
) -> dict[str, Any]:
    """Run the command with empty caches; its summary, and the seconds it took."""
    folder = options.out.absolute() / f"{case.name}-{seed}{''.join(way)}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "space.yaml").write_text(yaml.safe_dump(case.space), encoding="utf-8")
    flags = [
        word for name, value in case.flags.items()
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]  # fmt: skip
    argv = ["--space", "space.yaml", "--trials", str(options.trials), "--seed", str(seed)]
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "distributed.tune", *flags, *argv, *way, "--output", "out"],
        cwd=folder, env=environment, check=True, stdout=(folder / "log").open("w"),
    )  # fmt: skip
    seconds = time.perf_counter() - start
    found: dict[str, Any] = json.loads((folder / "out" / "search.json").read_text("utf-8"))
    return found | {"wall": seconds}


def _plain(case: Case, full: dict[str, Any], seed: int) -> float:
    """Seconds of a loop by hand over the same configurations and folds, all cores for each."""
    start = time.perf_counter()
    config, space = case.space_of(seed)
    runtime = Runtime.choose("cpu", "fp32")
    torch.set_num_threads(os.cpu_count() or 1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    for number, trial in enumerate(full["trials"]):
        study.enqueue_trial({"number": number})
        asked = study.ask({"number": optuna.distributions.IntDistribution(0, number)})
        flat = config.flat() | space.settings(trial["values"])
        problem = prepare(Config.from_flat(flat), load=load).problem
        scores = [
            fit_fold(problem, 0, fold, runtime=runtime).scores["macro_f1"]
            for fold in range(problem.splits.folds)
        ]
        study.tell(asked, sum(scores) / len(scores))
    return time.perf_counter() - start


def _row(
    seed: int, raced: dict[str, Any], full: dict[str, Any], plain: float | None
) -> dict[str, Any]:
    one, best = (found["trials"][found["winner"] - 1] for found in (raced, full))
    gaps = [a - b for a, b in zip(one["scores"], best["scores"], strict=True)]
    test = corrected_t(gaps, 1 / len(gaps))
    seconds = [sum(trial["seconds"]) for trial in full["trials"]]
    return {
        "seed": seed,
        "raced_folds": raced["folds_trained"],
        "full_folds": full["folds_trained"],
        "raced_seconds": round(raced["wall"], 1),
        "full_seconds": round(full["wall"], 1),
        "plain_seconds": None if plain is None else round(plain, 1),
        "raced_mean": one["mean"],
        "full_mean": best["mean"],
        "p": test.p,
        "first_trial": round(seconds[0], 2),
        "later_trials": round(statistics.median(seconds[2:]), 2),
        "naive": full["naive"]["value"],
        "corrected": full["corrected"]["value"],
    }


if __name__ == "__main__":
    main()
