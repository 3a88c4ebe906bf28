"""What a source's name stands for: images that are built in, a set of MedMNIST, a path."""

from collections.abc import Callable, Mapping
from pathlib import Path

from folds.errors import UserError, nearest
from folds.files import expanded, is_file, is_folder
from folds.images import demo, hub, medmnist, table
from folds.images.class_names import writable
from folds.images.imageset import ImageSet
from folds.text import shortened

BUILT_IN: dict[str, Callable[[], ImageSet]] = {
    "demo": demo.load,
    "demo-lab2": demo.load_lab2,
    "digits": demo.load_digits,
}


def path_of(source: str) -> Path | None:
    """Where a source lies; None if it is built in, or a set of MedMNIST.

    Raises
    ------
    UserError
        There is no such source.
    """
    if source in BUILT_IN or medmnist.named(source) is not None:
        return None
    if not writable(source):
        raise UserError(f"--data {source!r}: the path is not UTF-8; rename it")
    path = expanded(source)
    if is_folder(path) or (is_file(path) and path.suffix.lower() in (".npz", *table.SUFFIXES)):
        return path
    if is_file(path):
        raise UserError(
            f"--data {source}: not an .npz file; give one, a .csv or .parquet table, a folder of "
            f"class folders, or {' or '.join(BUILT_IN)}"
        )
    if path.name in hub.parts_of(path.parent):
        return path
    beside = path.parent.iterdir() if is_folder(path.parent) else ()
    source = shortened(source)
    known = [*BUILT_IN, *medmnist.CLASSES, *(str(path.parent / entry.name) for entry in beside)]
    raise UserError(f"--data {source}: no such file or folder{nearest(source, known)}")


def hub_parts(path: Path, *, train: bool = True) -> tuple[hub.Parts, tuple[str, ...]]:
    """The parts of a data set of the hub that a path names.

    Parameters
    ----------
    path : Path
        A folder, or a part in it as ``FOLDER/test``.
    train : bool
        Of a folder those that are trained on; else all.

    Returns
    -------
    parts : mapping of str to sequence of Path
        Empty where the path is no such data set.
    notices : tuple of str
        Of parts that are in no fold.
    """
    whole = hub.parts_of(path)
    if not whole:
        around: Mapping = {} if is_folder(path) else hub.parts_of(path.parent)
        return ({path.name: around[path.name]} if path.name in around else {}), ()
    parts = hub.trained_on(whole) if train else whole
    others = sorted(set(whole) - set(parts))
    return parts, tuple(f"the data set's part {name!r} is in no fold" for name in others)


def own_test(source: str) -> str | None:
    """The source of the test part that comes with another source; None where there is none."""
    if source in BUILT_IN:
        return None
    if (one := medmnist.named(source)) is not None:
        return None if one.part else f"{source}/{medmnist.TEST}"
    path = expanded(source)
    parts = hub.parts_of(path)
    return f"{source}/{hub.TEST}" if hub.TEST in parts and len(parts) > 1 else None
