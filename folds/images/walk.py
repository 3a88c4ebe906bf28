"""Image files below a folder, and a count of everything there that is not read."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from folds.errors import UserError, counted

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
READ = ", ".join(sorted(SUFFIXES))


@dataclass
class Passed:
    """What was passed over.

    Parameters
    ----------
    kinds : Counter of str
        Files that are no images, by the ends of their names.
    hidden : int
        Files whose name, or whose folder's, begins with a dot or with ``__MACOSX``.
    links : Counter of str
        Links, by why they were not followed.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    hidden: int = 0
    links: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Passed") -> None:
        """Count what was passed over elsewhere, too."""
        self.kinds.update(other.kinds)
        self.links.update(other.links)
        self.hidden += other.hidden

    @property
    def told(self) -> str:
        """The kinds, the most frequent first, as in ``3 files are .gif, 1 has no suffix``."""
        parts = []
        for kind, count in sorted(self.kinds.items(), key=lambda entry: (-entry[1], entry[0])):
            verb = ("is" if count == 1 else "are") if kind else "has" if count == 1 else "have"
            parts.append(f"{counted(count, 'file')} {verb} {kind or 'no suffix'}")
        return ", ".join(parts)

    @property
    def notices(self) -> list[str]:
        """A line for each sort of thing."""
        lines = []
        if self.kinds:
            total = counted(self.kinds.total(), "file")
            lines.append(f"{total} skipped: {self.told}; read are {READ}")
        if self.hidden:
            lines.append(f"{counted(self.hidden, 'hidden file')} skipped")
        for reason, count in sorted(self.links.items()):
            lines.append(f"{counted(count, 'link')} not followed: {reason}")
        return lines


def images_below(root: Path, top: Path) -> tuple[list[Path], Passed]:
    """Find the image files in a folder, at any depth and behind links.

    Parameters
    ----------
    root : Path
        The folder to search.
    top : Path
        The folder that is read as a whole: `root`, or above it.

    Returns
    -------
    files : list of Path
        Sorted; in `root`, also where a link led out of it.
    passed : Passed
        All else.

    Raises
    ------
    UserError
        A folder cannot be read.

    Notes
    -----
    Each folder is read once, however many links lead to it, and links to a folder that they lie in
    are not followed: there is an end to it.
    """
    files: list[Path] = []
    passed, seen = Passed(), {root.resolve()}
    folders, links = [root], list[Path]()
    while folders or links:
        # what lies there comes before what is linked there: a folder keeps its own name
        folder = folders.pop() if folders else links.pop(0)
        if folder != root and not _is_new(folder, root, seen, passed):
            continue
        for entry in _entries(folder, top):
            path = folder / entry.name
            kind = _kind(entry)
            if kind == "hidden":
                passed.hidden += _files_in(entry, top)
            elif kind == "folder":
                (links if entry.is_symlink() else folders).append(path)
            elif kind == "dead link":
                passed.links["they lead nowhere"] += 1
            elif kind == "file" and path.suffix.lower() in SUFFIXES:
                files.append(path)
            else:
                passed.kinds[path.suffix.lower()] += 1
    return sorted(files), passed


def class_folders(root: Path) -> tuple[list[Path], Passed, int]:
    """The folders right in a folder, by name; what is passed over; and how many images beside."""
    passed, folders, loose = Passed(), [], 0
    for entry in _entries(root, root):
        path, kind = root / entry.name, _kind(entry)
        if kind == "hidden":
            passed.hidden += _files_in(entry, root)
        elif kind == "folder":
            folders.append(path)
        elif kind == "dead link":
            passed.links["they lead nowhere"] += 1
        else:
            loose += path.suffix.lower() in SUFFIXES
    return folders, passed, loose


def _is_new(folder: Path, root: Path, seen: set[Path], passed: Passed) -> bool:
    """Whether a folder, or the one that a link leads to, was not read and does not hold it."""
    target = folder.resolve()
    if any(place.resolve().is_relative_to(target) for place in (folder.parent, root)):
        passed.links["they lead to a folder that they lie in"] += 1
    elif target in seen:
        passed.links["their folder is read already"] += 1
    else:
        seen.add(target)
        return True
    return False


def _entries(folder: Path, top: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, by name."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(
            f"--data {top}: folder {folder} cannot be read ({error.strerror}); allow it, or move "
            "it elsewhere"
        ) from None


def _kind(entry: os.DirEntry[str]) -> str:
    """``hidden`` (a dot file, or macOS's own), ``folder``, ``file``, ``dead link`` or ``other``."""
    if entry.name.startswith((".", "__MACOSX")):
        return "hidden"
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
    except OSError:  # a link that leads to itself
        return "dead link"
    return "dead link" if entry.is_symlink() else "other"


def _files_in(entry: os.DirEntry[str], top: Path) -> int:
    """How many files a hidden entry is; links are not followed."""
    if not entry.is_dir(follow_symlinks=False):
        return 1
    return sum(_files_in(inner, top) for inner in _entries(Path(entry.path), top))
