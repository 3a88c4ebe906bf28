"""Are the numbers still the same? Digests of small runs, before and after a change.

::

    python -m tests.goldens write goldens.json     # before
    python -m tests.goldens check goldens.json     # after: exit status 1 where a number moved

A digest is of every bit of a run's out-of-fold probabilities, so it holds on one machine with one
set of versions only, and is no test of the suite. The runs go through the command line, so they
outlive every change of the code behind it.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import save_file

COMMON = [
    "--data", "digits", "--limit", "240", "--folds", "3", "--backbone", "test_resnet",
    "--batch-size", "32", "--precision", "fp32", "--compile", "off", "--shift", "off",
    "--device", "cpu", "--audit", "off",
]  # fmt: skip
RUNS = {
    "two stages, images mixed": [
        "--weights", "none.safetensors", "--stages", "0.5:1:1e-3", "1:2:1e-3",
        "--augment", "light+cutmix+mixup", "--cache-budget", "0",
    ],
    "frozen stage from shared features": [
        "--weights", "none.safetensors", "--stages", "0:3:1e-2", "1:1:1e-3", "--holdout", "0.2",
    ],
    "two workers a fold": [
        "--weights", "none.safetensors", "--stages", "0.5:1:1e-3", "1:1:1e-3",
        "--workers-per-fold", "2", "--concurrent-folds", "1", "--sync-bn", "--ema", "0.9",
        "--balance", "oversample", "--loss", "focal", "--accumulate", "2",
    ],
}  # fmt: skip


def main(what: str, file: str) -> int:
    """Write or check the digests of all runs."""
    with tempfile.TemporaryDirectory() as folder:
        found = {name: digest(Path(folder), flags) for name, flags in RUNS.items()}
    if what == "write":
        Path(file).write_text(json.dumps(found, indent=2) + "\n")
        return 0
    before = json.loads(Path(file).read_text())
    for name, now in found.items():
        print(f"{'same' if before[name] == now else 'CHANGED'}: {name}: {before[name]} {now}")
    return int(found != before)


def digest(folder: Path, flags: list[str]) -> dict[str, str]:
    """Run the main job; digest what it predicted, and how it computed."""
    torch.manual_seed(0)
    weights = timm.create_model("test_resnet", num_classes=0).state_dict()
    save_file(weights, folder / "none.safetensors")
    command = [sys.executable, "-m", "distributed.cv", *COMMON, *flags, "--output", "out"]
    drop = ("RAY_ADDRESS", "MLFLOW_TRACKING_URI")
    environment = {k: v for k, v in os.environ.items() if k not in drop}
    environment["XDG_CACHE_HOME"] = str(folder / "cache")  # one memory layout for all runs
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(ran.stdout + ran.stderr)
    with np.load(folder / "out" / "oof.npz", allow_pickle=False) as arrays:
        content = [np.ascontiguousarray(arrays[n]) for n in ("ids", "fold", "probabilities")]
    summary = json.loads((folder / "out" / "summary.json").read_text())
    return {
        "oof": hashlib.sha256(b"".join(a.tobytes() for a in content)).hexdigest()[:16],
        "runtime": json.dumps(summary["runtime"], sort_keys=True),
    }


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
