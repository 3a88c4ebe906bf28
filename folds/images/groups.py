"""Groups of images (patients, slides) that are told by their names."""

import re
from dataclasses import replace

import numpy as np

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
    compiled, ids = re.compile(pattern), images.ids.tolist()
    key: str | int = "group" if "group" in compiled.groupindex else 1
    groups = [match[key] if (match := compiled.search(name)) else None for name in ids]
    missing = [name for name, group in zip(ids, groups, strict=True) if not group]
    if missing:
        raise UserError(
            f"--group-regex {pattern!r}: names no group in {len(missing)} of {len(ids)} ids "
            f"({listed(missing)}); change it so that it matches every id"
        )
    return replace(images, groups=np.array(groups, dtype=np.str_))
