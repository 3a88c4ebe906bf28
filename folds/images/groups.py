"""Groups of images (patients, slides), and their sites, that are told by their names."""

import re
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from folds.errors import UserError, listed
from folds.images.imageset import SITE, ImageSet


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
    return replace(images, groups=_found(images.ids, pattern, "group"))


def named_sites(images: ImageSet, pattern: str | None) -> ImageSet:
    """Take each image's site from its id, as `named_groups` its group; its name there: ``site``.

    Raises
    ------
    UserError
        Ids do not match, or the images have sites already.
    """
    if pattern is None:
        return images
    if images.sites is not None:
        raise UserError(
            f"--site-regex {pattern!r}: --data names sites itself; leave the flag out, or the "
            "sites of --data"
        )
    return replace(images, columns={SITE: _found(images.ids, pattern, SITE), **images.columns})


def _found(ids: NDArray[np.str_], pattern: str, what: str) -> NDArray[np.str_]:
    """What a pattern finds in each id.

    Raises
    ------
    UserError
        It finds nothing in some.
    """
    found = groups_in(ids, pattern, what)
    missing = ids[found == ""]
    if len(missing):
        raise UserError(
            f"--{what}-regex {pattern!r}: names no {what} in {len(missing)} of {len(ids)} ids "
            f"({listed(missing)}); change it so that it matches every id"
        )
    return found


def groups_in(ids: NDArray[np.str_], pattern: str, name: str = "group") -> NDArray[np.str_]:
    """What a pattern, see `named_groups`, finds in each id; empty where it finds nothing."""
    compiled = re.compile(pattern)
    key: str | int = name if name in compiled.groupindex else 1
    found = (compiled.search(name) for name in ids.tolist())
    return np.array([(match[key] or "") if match else "" for match in found], dtype=np.str_)


def merge_groups(groups: NDArray[np.str_], cluster: NDArray[np.int64]) -> NDArray[np.str_]:
    """Groups that no cluster crosses.

    Parameters
    ----------
    groups : ndarray of str, shape (N,)
        Patients, slides; or each image its own.
    cluster : ndarray of int64, shape (N,)
        Row of an image that each one belongs together with: the first of its cluster.

    Returns
    -------
    ndarray of str, shape (N,)
        Where clusters join groups, the least of their names.
    """
    names, group = np.unique(groups, return_inverse=True)
    linked = coo_array((np.ones(len(group)), (group, group[cluster])), shape=(len(names),) * 2)
    number = connected_components(linked, directed=False)[1]
    _, least = np.unique(number, return_index=True)  # names are sorted
    return names[least[number[group]]]
