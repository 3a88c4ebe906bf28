"""Groups of images (patients, slides) that are told by their names."""

import re
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from folds.errors import UserError, listed
from folds.images.imageset import ImageSet


def named_groups(images: ImageSet, pattern: str | None) -> ImageSet:
    """Take each image's group from its id.

    Parameters
    ----------
    images : ImageSet
        Whose images are groups of their own.
    pattern : str, optional
        Regular expression that is searched in each id; its group called ``group``, or else its
        first one, is the image's group. None: nothing changes.

    Raises
    ------
    UserError
        Ids do not match, or the images have groups already.
    """
    if pattern is None:
        return images
    if (images.groups != images.ids).any():
        raise UserError(
            f"--group-regex {pattern!r}: --data names groups itself; leave the flag out, or the "
            "groups of --data"
        )
    groups = groups_in(images.ids, pattern)
    missing = images.ids[groups == ""]
    if len(missing):
        raise UserError(
            f"--group-regex {pattern!r}: names no group in {len(missing)} of {len(images)} ids "
            f"({listed(missing)}); change it so that it matches every id"
        )
    return replace(images, groups=groups)


def groups_in(ids: NDArray[np.str_], pattern: str) -> NDArray[np.str_]:
    """What a pattern, see `named_groups`, finds in each id; empty where it finds nothing."""
    compiled = re.compile(pattern)
    key: str | int = "group" if "group" in compiled.groupindex else 1
    found = (compiled.search(name) for name in ids.tolist())
    return np.array([(match[key] or "") if match else "" for match in found], dtype=np.str_)
