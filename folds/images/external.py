"""Images that models are scored on and never trained on: another laboratory's, say."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from folds.config.data import DataConfig
from folds.errors import UserError, listed, nearest
from folds.images.groups import groups_in
from folds.images.imageset import ImageSet
from folds.images.source import load


@dataclass(frozen=True)
class External:
    """Images from elsewhere.

    Parameters
    ----------
    name : str
        As the user calls them.
    source : str
        Where they are.
    images : ImageSet
        Labels and class names are those of the images that are trained on.
    """

    name: str
    source: str
    images: ImageSet


def load_externals(
    sources: Mapping[str, str], class_names: tuple[str, ...], config: DataConfig, *, size: int
) -> tuple[External, ...]:
    """Load the images of all ``--external`` flags.

    Parameters
    ----------
    sources : mapping of str to str
        By name.
    class_names : tuple of str
        Classes of the images that are trained on; they need not all be there.
    config : DataConfig
        Of which the groups' pattern, levels and `skip_broken` count.
    size : int
        Side of the network's input in pixels, to which the images are brought as those are that
        are trained on.

    Raises
    ------
    UserError
        As `folds.images.load`, or a class is none of those that are trained on.

    Notes
    -----
    Groups are those that the source names, or else what the pattern finds in the ids; where it
    finds nothing an image is its own group, and a notice tells how many are.
    """
    externals = []
    for name, source in sources.items():
        only = {"data": source, "limit": None, "image_size": size, "slices": ()}
        settings = config.model_copy(update=only)
        try:
            images = load(settings, seed=0, largest=size)
        except UserError as error:
            reason = str(error).removeprefix(f"--data {source}: ")
            raise UserError(f"--external {name}={source}: {reason}") from None
        images = _grouped(images, config.group_regex)
        externals.append(External(name, source, _named(images, class_names, f"{name}={source}")))
    return tuple(externals)


def _grouped(images: ImageSet, pattern: str | None) -> ImageSet:
    """The images with groups that a pattern finds in their ids, unless they have some."""
    if pattern is None or (images.groups != images.ids).any():
        return images
    found = groups_in(images.ids, pattern)
    alone = found == ""
    groups = np.where(alone, images.ids, found)
    if not alone.any():
        return replace(images, groups=groups)
    told = (
        f"--group-regex {pattern!r} names no group in {int(alone.sum())} of {len(images)} ids "
        f"({listed(images.ids[alone])}); each is taken for a group of its own"
    )
    return replace(images, groups=groups, notices=(*images.notices, told))


def _named(images: ImageSet, class_names: tuple[str, ...], flag: str) -> ImageSet:
    """The images with labels that number the classes trained on."""
    for name in images.class_names:
        if name not in class_names:
            near = nearest(name, class_names) or f"; there are: {', '.join(class_names[:12])}"
            raise UserError(f"--external {flag}: class {name!r} is none of those trained on{near}")
    number = np.array([class_names.index(name) for name in images.class_names], np.int64)
    return replace(images, labels=number[images.labels], class_names=class_names)
