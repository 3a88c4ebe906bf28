"""Images that models are scored on and never trained on: another laboratory's, say."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from folds.config.data import DataConfig
from folds.errors import UserError, nearest
from folds.images.imageset import ImageSet, digests
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
    """
    externals = []
    for name, source in sources.items():
        settings = config.model_copy(update={"data": source, "limit": None, "image_size": size})
        try:
            images = load(settings, seed=0, largest=size)
        except UserError as error:
            reason = str(error).removeprefix(f"--data {source}: ")
            raise UserError(f"--external {name}={source}: {reason}") from None
        externals.append(External(name, source, _named(images, class_names, f"{name}={source}")))
    return tuple(externals)


def _named(images: ImageSet, class_names: tuple[str, ...], flag: str) -> ImageSet:
    """The images with labels that number the classes trained on."""
    for name in images.class_names:
        if name not in class_names:
            near = nearest(name, class_names) or f"; there are: {', '.join(class_names[:12])}"
            raise UserError(f"--external {flag}: class {name!r} is none of those trained on{near}")
    number = np.array([class_names.index(name) for name in images.class_names], np.int64)
    return replace(images, labels=number[images.labels], class_names=class_names)


def overlap(images: ImageSet, others: tuple[External, ...]) -> list[str]:
    """Tell the user of external images whose very pixels are trained on, too: they leak.

    Returns
    -------
    list of str
        A line for each set with such images.
    """
    if not others:
        return []
    known = set(digests(images.pixels))
    notices = []
    for other in others:
        shared = sum(digest in known for digest in digests(other.images.pixels))
        if shared:
            notices.append(
                f"--external {other.name}: {shared} of its {len(other.images)} images are also "
                "among those trained on, pixel by pixel; its scores flatter"
            )
    return notices
