"""Which images, and how they are divided.

`DataConfig`: the source, what is left out of it, groups, the size. `SplitConfig`: folds, repeats,
the seed, a hold-out.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from folds.config.named import by_name, check_name, check_named, check_unique, words
from folds.config.section import Auto, Section

_KNOWN = frozenset(
    "path label labels group groups id ids images class_names site sites".split()  # noqa: SIM905
)


def check_pattern(pattern: str) -> str:
    """Give a pattern back that can tell groups by image ids.

    Raises
    ------
    ValueError
        It is no regular expression, or has no parentheses to take the group from.
    """
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"no regular expression ({error}); mend it") from None
    if not groups:
        raise ValueError("has no parentheses; put them around the part that is the name")
    return pattern


def check_data(given: object) -> object:
    """Give one source back as it is, several if each is ``NAME=SOURCE`` and has its own name.

    Raises
    ------
    ValueError
        One of several has no name, or another's; or there is none.
    """
    if isinstance(given, str) or not isinstance(given, Sequence):
        return given
    words = tuple(str(word) for word in given)
    if len(words) == 1:
        return words[0]
    if not words:
        raise ValueError("names no images; give a source")
    for word in words:
        try:
            check_named(word)
        except ValueError as error:
            raise ValueError(f"of several {word!r} {error}") from None
    return check_unique(words)


def _check_slice(name: str) -> str:
    if name in _KNOWN:
        raise ValueError("has a meaning of its own; sites and classes have their scores anyway")
    return check_name(name)


class DataConfig(Section):
    """Which images."""

    data: Annotated[str | tuple[str, ...], BeforeValidator(check_data)] = Field(
        "demo",
        description="Images: an .npz file (AN2DL or MedMNIST layout), a folder of class folders, "
        "a .csv or .parquet table (columns path, label and, if you like, group and site), a folder "
        "of the Hugging Face hub (save_to_disk, or Parquet), a set of MedMNIST as bloodmnist or "
        "bloodmnist:224 (the test part of these two is scored as --external test), 'demo' "
        "(rendered blood cells), 'demo-lab2' (another laboratory's) or 'digits' (scikit-learn's). "
        "Or several as NAME=SOURCE, each a site, whose classes are united by name.",
    )
    limit: int | None = Field(
        None,
        ge=1,
        description="Use a stratified subset of this many images; of several sources each gives "
        "its share.",
    )
    skip_broken: bool = Field(
        False, description="Leave out image files that cannot be read, and record them."
    )
    relabel: str | None = Field(
        None,
        description="A CSV file of corrected labels, as the page of folds.inspect --oof saves it: "
        "columns id, label (a class; empty: the image is left out) and was (its label in --data, "
        "which is never changed).",
    )
    audit: Literal["off", "report", "drop"] = Field(
        "report",
        description="Look for junk and duplicates: report tells what there is and keeps "
        "near-duplicates in one fold; drop also leaves out junk and exact copies, but none of a "
        "hold-out; off does not look, also not for one picture in several formats or sizes, which "
        "may then stand on both sides of a fold.",
    )
    group_regex: Annotated[str, AfterValidator(check_pattern)] | None = Field(
        None,
        description="Regular expression that is searched in each image's id (its path): the part "
        "in its first parentheses, or in (?P<group>...), is the image's group (patient, slide), "
        "which stays in one fold. External images are grouped by it, too.",
    )
    site_regex: Annotated[str, AfterValidator(check_pattern)] | None = Field(
        None,
        description="The same for the image's site (laboratory, scanner), in the first parentheses "
        "or in (?P<site>...): scores are told for each site, and --split-by site leaves whole "
        "sites out.",
    )
    slices: Annotated[
        tuple[Annotated[str, AfterValidator(_check_slice)], ...],
        BeforeValidator(words),
        AfterValidator(check_unique),
    ] = Field(
        (),
        description="Further columns of a table, or arrays of an .npz file, by whose values scores "
        "are told, as sex,scanner; an empty value counts in none.",
    )
    levels: float | None = Field(
        None,
        gt=0,
        description="Of image files with more than 8 bits a channel: the value that becomes 255, "
        "as do all above it, such as 4095 of a camera's 12 bits. Without it: the greatest of the "
        "type, 1 of floating-point numbers. Files of 8 bits are as they are.",
    )
    image_size: Auto | Annotated[int, Field(ge=8, le=4096)] = Field(
        "auto",
        description="Side of the network's input in pixels, to which each image's centre square is "
        "brought; auto: the shorter side of the images where they all have one size, at most the "
        "backbone's; where sizes differ, or the backbone takes no other size, the backbone's.",
    )

    @property
    def sources(self) -> dict[str, str]:
        """Several sources by the names of their sites; empty where there is one, without a name."""
        return {} if isinstance(self.data, str) else by_name(self.data)

    @property
    def words(self) -> tuple[str, ...]:
        """What stands after ``--data``."""
        return (self.data,) if isinstance(self.data, str) else self.data

    @property
    def told(self) -> str:
        """The same in one line."""
        return " ".join(self.words)


class SplitConfig(Section):
    """How the images are divided."""

    folds: int = Field(5, ge=2, description="Number of folds (k).")
    repeats: int = Field(1, ge=1, description="Repetitions of the k folds, each with other splits.")
    seed: int = Field(
        0, ge=0, lt=2**32, description="Seed of splits, weights, batches and augmentation."
    )
    only_folds: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None, min_length=1, description="Train only these of the folds, numbered from 0."
    )
    split_by: Literal["group", "site"] = Field(
        "group",
        description="What folds and a hold-out never cut. site: each leaves whole sites out, with "
        "--folds as many as there are sites one site each, so that scores are those of a site that "
        "no model has seen; groups stay whole within them.",
    )
    splits: str | None = Field(
        None, description="A splits.json of an earlier run, used instead of new splits."
    )
    holdout: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Share of the images set aside as a test part, stratified and in whole groups; "
        "scored once at the end, never used for choosing; 200 images or more fit the temperature.",
    )
