"""``python -m folds.inspect``: look for junk, duplicates and suspect labels.

Writes a report to be opened in a browser, and on request a cleaned file. The source is never
changed. Suspect labels need the predictions of a run, see --oof.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import folds.early  # noqa: F401  (first: what follows takes a second)
from folds.cli import Screen, parse, run, tell
from folds.config import Config, DataConfig
from folds.errors import UserError
from folds.files import check_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from folds.audit import Findings
    from folds.audit.overview import Overview
    from folds.audit.suspects import Suspects
    from folds.images import ImageSet
    from folds.images.relabel import Relabelled

_LARGEST = 224  # pixels
_ON_SCREEN = 20  # suspect labels


@dataclass
class Options:
    """Which images, and what to write."""

    data: tuple[str, ...] = ()
    """Images: what --data of distributed.cv takes."""
    out: Path = Path("inspect")
    """Folder for report.html, findings.csv and suspects.csv; made if it is not there."""
    clean_to: Path | None = None
    """File (.npz) for the images without junk and duplicates; a manifest beside it says what was
    left out, and why."""
    oof: Path | None = None
    """Predictions of a run, its oof.npz or its --output folder: ranks labels that are likely
    wrong. Without --data only a table is written."""
    backbone: str | None = None
    """A timm model whose features are used beside pixel statistics."""
    weights: str = "hub"
    """Weights of --backbone: hub, auto (the hub if it answers, else random), none, or a file."""
    limit: int | None = None
    """Look at a stratified subset of this many images."""
    image_size: int = _LARGEST
    """Side in pixels that larger images, and files of mixed sizes, are brought to."""
    relabel: str | None = None
    """What --relabel of distributed.cv takes; what the page saves then has its lines, too."""
    levels: float | None = None
    """What --levels of distributed.cv takes."""
    group_regex: str | None = None
    """What --group-regex of distributed.cv takes."""
    site_regex: str | None = None
    """What --site-regex of distributed.cv takes."""
    slices: str = ""
    """What --slices of distributed.cv takes: columns that a cleaned file keeps."""
    skip_broken: bool = False
    """Leave out image files that cannot be read."""


def main() -> None:
    """Audit the images, rank suspect labels, print both and write them to ``--out``."""
    options = parse(Options, sys.argv[1:], prog="python -m folds.inspect", description=__doc__)
    _check(options)
    from folds.audit.suspects import find_suspects, match, read_predictions
    from folds.audit.tables import write_suspects

    predictions = read_predictions(options.oof) if options.oof else None
    with _images(options) as (images, new):
        if predictions and images:
            predictions = match(predictions, images)
        suspects = find_suspects(predictions) if predictions else None
        if images:
            _audit(options, images, new, suspects)
    if suspects is not None:
        write_suspects(options.out / "suspects.csv", suspects)
        _show_suspects(options, suspects)


def _check(options: Options) -> None:
    """Refuse what cannot work, before anything is read."""
    if not options.data and options.oof is None:
        raise UserError("nothing to look at: give --data SOURCE, or --oof with a run's predictions")
    for name in ("clean_to", "relabel"):
        if not options.data and (path := getattr(options, name)):
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} {path}: name the images too, with --data")
    if options.clean_to:
        _check_clean_to(options.clean_to, options)
    if options.weights != "hub" and options.backbone is None:
        raise UserError(f"--weights {options.weights}: name their model too, with --backbone")
    check_folder(f"--out {options.out}", options.out)
    if options.backbone:
        from folds.model.names import check_backbone

        check_backbone(options.backbone)


def _check_clean_to(path: Path, options: Options) -> None:
    if path.suffix != ".npz":
        raise UserError(f"--clean-to {path}: name it .npz, so that --data can read it")
    data = _config(options)
    given = {Path(source) for source in data.sources.values() or data.words}
    if path.is_dir() or path.resolve() in {source.resolve() for source in given}:
        raise UserError(f"--clean-to {path}: name a file of its own; --data is never changed")
    if options.limit is not None:
        raise UserError(
            f"--limit {options.limit}: a cleaned file is made of all images; leave out --limit or "
            "--clean-to"
        )
    check_folder(f"--clean-to {path}", path.absolute().parent)


@contextmanager
def _images(options: Options) -> Iterator[tuple["ImageSet | None", "Relabelled | None"]]:
    """The images, if any are named, and what new labels have done to them."""
    if not options.data:
        yield None, None
        return
    from folds.images.groups import named_groups, named_sites
    from folds.images.ondisk import opened
    from folds.images.relabel import relabelled

    data = _config(options).model_copy(update={"image_size": "auto"})
    with opened(data, seed=0, largest=options.image_size) as images:
        images, new = relabelled(images, data.relabel, limited=data.limit is not None)
        yield named_sites(named_groups(images, data.group_regex), data.site_regex), new


def _config(options: Options) -> DataConfig:
    """The settings of the images.

    Raises
    ------
    UserError
        One of them is not allowed.
    """
    names = (
        "data", "limit", "image_size", "skip_broken", "levels", "group_regex", "site_regex",
        "slices", "relabel",
    )  # fmt: skip
    return Config.from_flat({name: getattr(options, name) for name in names}).data


def _audit(
    options: Options, images: "ImageSet", new: "Relabelled | None", suspects: "Suspects | None"
) -> None:
    """Audit images; write the report, the table and, if asked for, the cleaned file."""
    from folds.audit import audit
    from folds.audit.confounding import confounding
    from folds.audit.overview import overview
    from folds.audit.report import write_report
    from folds.audit.statistics import sizes
    from folds.audit.tables import write_findings

    findings = audit(images, deep=_deep(options, images))
    write_findings(options.out / "findings.csv", images, findings)
    data = _config(options)
    own_sizes = sizes(data, images)
    report = options.out / "report.html"
    earlier = new.by.labels if new else {}
    write_report(report, data.words, images, findings, own_sizes, suspects, earlier)
    _tell(*images.notices, *confounding(images), *findings.notices)
    _show(options, overview(images, findings))
    if options.clean_to:
        _clean(options.clean_to, images, new, findings)


def _deep(options: Options, images: "ImageSet") -> "NDArray[np.float32] | None":
    """Features of the backbone, if there is one."""
    if options.backbone is None:
        return None
    from folds.audit.deep import deep_features
    from folds.model.backbone import check_size, input_size
    from folds.model.names import resolve
    from folds.model.weights import load_pretrained
    from folds.runtime.device import Runtime

    side = min(images.pixels.shape[1:3])
    backbone = resolve(options.backbone)
    check_size(backbone, input_size(backbone, "auto", side))
    weights = load_pretrained(options.backbone, options.weights)
    if weights.state is None:
        _tell(f"--backbone {options.backbone}: its weights are random, its features say little")
    return deep_features(images, backbone, weights.state, Runtime.choose("auto", "auto"))


def _clean(path: Path, images: "ImageSet", new: "Relabelled | None", findings: "Findings") -> None:
    from folds.audit.clean import manifest_path, select, write_clean

    selection = select(images, findings)
    write_clean(path, images, findings, selection, new.rows if new else None)
    kept = int(selection.kept.sum())
    print(
        f"cleaned     {path}: {kept:,} images; the {len(images) - kept:,} left out are in "
        f"{manifest_path(path)}"
    )


def _show(options: Options, counts: "Overview") -> None:
    """Print what was found, and what to type next."""
    from folds.audit.overview import remedies
    from folds.pages.templates import number

    junk = number(counts.junk_pictures, "picture") if counts.junk else "none"
    exact = number(counts.exact, "exact copy", "exact copies")
    rows = {
        "images": (counts.images, f"{number(counts.classes, 'class', 'classes')}, the greatest "
                   f"{counts.imbalance:.1f} times the smallest"),
        "junk": (counts.junk, junk),
        "duplicates": (counts.duplicates, f"{number(counts.clusters, 'cluster')}, {exact}"),
        "conflicts": (counts.conflicts, "clusters whose images carry different labels"),
    }  # fmt: skip
    for what, (count, note) in rows.items():
        print(f"{what:11} {count:>7,}  {note}")
    print(f"look        {options.out / 'report.html'}, {options.out / 'findings.csv'}")
    for what, command in remedies(options.data, counts).items():
        print(f"to {what}:\n    {command}")


def _show_suspects(options: Options, suspects: "Suspects") -> None:
    """Print the most suspect labels."""
    from rich.markup import escape
    from rich.table import Table

    from folds.audit.tables import suspect_rows
    from folds.pages.templates import number

    if len(suspects):
        table = Table(title="suspect labels, the most suspect first", title_justify="left")
        for name in ("id", "given", "suggested"):
            table.add_column(name)
        table.add_column("probability of given", justify="right")
        for row in islice(suspect_rows(suspects), _ON_SCREEN):
            table.add_row(*(escape(word) for word in row))
        Screen().print(table)
    print(f"{number(len(suspects), 'suspect label')}: {options.out / 'suspects.csv'}")


def _tell(*lines: str) -> None:
    for line in lines:
        tell(f"note: {line}")


if __name__ == "__main__":
    sys.exit(run(main))
