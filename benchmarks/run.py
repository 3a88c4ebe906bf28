"""Measure crossfold against what people would write instead, and write ``RESULTS.md``.

``python -m benchmarks.run --data FOLDER --weights FILE --runs 3`` measures every row; ``--quick``
takes a few minutes and needs no files. Rows measured apart are put together in ``results.json``.
"""

import argparse
import datetime
import fnmatch
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import machine, report, results
from benchmarks.inputs import BACKBONE, FULL, QUICK, Inputs
from benchmarks.results import Entry, Results
from benchmarks.rows import Row, all_rows
from benchmarks.sides import Round, Side, all_sides
from folds import cli
from folds.errors import RunError, UserError

HERE = Path(__file__).resolve().parent


def parser() -> argparse.ArgumentParser:
    """Make the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description=(__doc__ or "").replace("``", "")
    )
    made.add_argument("--data", type=Path, help="folder of class folders; default: the demo's")
    made.add_argument("--weights", type=Path, help=f"{BACKBONE}'s .safetensors; default: random")
    made.add_argument("--rows", nargs="+", default=["*"], help="names or patterns, as 'wall-*'")
    made.add_argument("--runs", type=int, default=1, help="measure each row so many times")
    made.add_argument("--quick", action="store_true", help="small sizes, kept in benchmarks/quick")
    made.add_argument("--output", type=Path, help="folder of results.json and the report")
    made.add_argument("--report-only", action="store_true", help="measure nothing")
    return made


def main() -> None:
    """Measure the chosen rows and write the report."""
    options = parser().parse_args()
    folder: Path = options.output or (HERE / "quick" if options.quick else HERE)
    folder.mkdir(parents=True, exist_ok=True)
    failures: dict[str, str] = {}
    if not options.report_only:
        rows = choose(all_rows(QUICK if options.quick else FULL), options.rows)
        with tempfile.TemporaryDirectory(prefix="crossfold-bench-") as made:
            inputs = _inputs(options, Path(made))
            campaign = Campaign(rows, all_sides(inputs), folder / "results.json")
            for number in range(options.runs):
                print(f"run {number + 1} of {options.runs}", flush=True)
                campaign.round()
            failures = campaign.failures
    report.publish(folder)
    print(f"written: {folder / 'RESULTS.md'}")
    if failures:
        raise RunError("; ".join(f"{side}: {reason}" for side, reason in failures.items()))


def choose(rows: Sequence[Row], patterns: Sequence[str]) -> list[Row]:
    """Rows whose names match any pattern, in their own order.

    Raises
    ------
    UserError
        A pattern matches no row.
    """
    for pattern in patterns:
        if not fnmatch.filter([row.name for row in rows], pattern):
            names = ", ".join(row.name for row in rows)
            raise UserError(f"--rows {pattern}: no such row; there are {names}")
    return [row for row in rows if any(fnmatch.fnmatch(row.name, p) for p in patterns)]


def _inputs(options: argparse.Namespace, folder: Path) -> Inputs:
    if options.runs < 1:
        raise UserError(f"--runs {options.runs}: measure at least once")
    for flag in ("data", "weights"):
        path = getattr(options, flag)
        if path is None and not options.quick:
            raise UserError(f"--{flag}: needed for real figures; or take --quick")
        if path is not None and not path.exists():
            raise UserError(f"--{flag} {path}: does not exist; give a path that does")
    return Inputs(
        folder,
        QUICK if options.quick else FULL,
        data=options.data and options.data.resolve(),
        weights=options.weights and options.weights.resolve(),
    )


@dataclass
class Campaign:
    """The rows of one invocation, measured round by round.

    Parameters
    ----------
    rows : list of Row
        What is compared.
    sides : dict of str to Side
        Every command there is.
    path : Path
        ``results.json``; written after each round, so that an interruption loses one at most.

    Notes
    -----
    - a round runs each command that a row needs once, whatever the number of rows;
    - a command that fails is not run again, and rows that need it get no more runs.
    """

    rows: list[Row]
    sides: dict[str, Side]
    path: Path
    failures: dict[str, str] = field(default_factory=dict)
    _new: Results = field(default_factory=dict)

    def round(self) -> None:
        """Run the commands once, one after another, and store what they gave."""
        found: Round = {}
        for name in [name for name in self.sides if self._needed(name)]:
            if self._needed(name):  # a command before it may have failed
                self._measure(name, found)
        for row in self._open_rows():
            self._store(row, {side: found[side] for side in row.sides})
        results.write(self.path, results.merged(results.read(self.path), self._new))

    def _open_rows(self) -> list[Row]:
        return [row for row in self.rows if not self.failures.keys() & row.sides.keys()]

    def _needed(self, side: str) -> bool:
        return any(side in row.sides for row in self._open_rows())

    def _measure(self, name: str, found: Round) -> None:
        try:
            found[name] = self.sides[name].measure(found)
            print(f"  {name:12} {found[name]['wall_s']:8.1f} s", flush=True)
        except RunError as error:
            self.failures[name] = str(error)
            print(f"  {name:12}   failed: {error}", flush=True)

    def _store(self, row: Row, run: Round) -> None:
        key = f"{machine.kind()}/{row.name}"
        if key not in self._new:
            self._new[key] = Entry(
                what=row.what,
                sides=row.sides,
                date=datetime.datetime.now(datetime.UTC).date().isoformat(),
                hardware=machine.hardware(),
                versions=machine.versions(),
                runs=[],
            )
        self._new[key].runs.append(run)


if __name__ == "__main__":
    sys.exit(cli.run(main))
