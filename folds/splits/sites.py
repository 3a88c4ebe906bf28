"""Whole sites: what folds must not cut where each leaves sites out."""

import numpy as np
from numpy.typing import NDArray

from folds.config import SplitConfig
from folds.errors import UserError, counted, listed
from folds.images import ImageSet
from folds.images.groups import merge_groups

Names = NDArray[np.str_]


def units(images: ImageSet, config: SplitConfig) -> Names:
    """Names of what folds keep whole (N,): groups, or with ``--split-by site`` sites.

    Raises
    ------
    UserError
        No sites are known.

    Notes
    -----
    No group is in two of them: one that spans sites joins these.
    """
    if config.split_by == "group":
        return images.groups
    return _joined(known_sites(images), images.groups)


def known_sites(images: ImageSet) -> Names:
    """The site of each image (N,).

    Raises
    ------
    UserError
        No sites are known.
    """
    if images.sites is None:
        raise UserError(
            "--split-by site: no sites are known; give --data a column site (an array sites), "
            "several --data NAME=SOURCE, or --site-regex"
        )
    return images.sites


def check_sites(images: ImageSet, rest: NDArray[np.int64], config: SplitConfig) -> None:
    """Refuse more folds than there are whole sites, and repeats that would be all the same.

    Parameters
    ----------
    rest : ndarray of int64
        Rows of the images beside the hold-out.
    """
    sites = known_sites(images)[rest]
    names, whole = np.unique(sites), np.unique(units(images, config)[rest])
    if len(whole) < config.folds:
        joined = f", {len(whole)} where groups span them" if len(whole) < len(names) else ""
        beside = " beside the hold-out" if config.holdout else ""
        lower = f"lower --folds to {len(whole)}" if len(whole) > 1 else "--split-by group"
        raise UserError(
            f"--split-by site: {counted(len(names), 'site')} ({listed(names)}){joined}{beside}, "
            f"fewer than --folds {config.folds}: {lower}, or add sites"
        )
    if config.repeats > 1 and len(whole) == config.folds:
        raise UserError(
            f"--repeats {config.repeats}: with --split-by site and as many --folds as sites there "
            "is one way alone to divide them; leave --repeats out"
        )


def site_notices(images: ImageSet, fold: NDArray[np.int64]) -> list[str]:
    """What the user must know of folds (repeats, N) that leave sites out.

    Groups that join sites; and classes that a fold has no training image of.
    """
    sites = known_sites(images)
    pairs = np.unique(np.stack([images.groups, sites]), axis=1)
    names, count = np.unique(pairs[0], return_counts=True)
    notices = []
    if (spanning := names[count > 1]).size:
        notices.append(
            f"--split-by site: {counted(len(spanning), 'group')} of images span sites "
            f"({listed(spanning)}), which therefore stay in one fold"
        )
    for part in np.unique(fold[fold >= 0]).tolist():
        left = images.labels[fold[0] != part]
        unseen = [n for label, n in enumerate(images.class_names) if label not in left]
        if unseen:
            notices.append(
                f"--split-by site: all images of {listed(map(repr, unseen), most=5)} are at sites "
                f"that fold {part + 1} leaves out, whose model cannot know them; add images of "
                "other sites, or use --split-by group"
            )
    return notices


def _joined(sites: Names, groups: Names) -> Names:
    """Sites, those that groups span joined under the least of their names."""
    _, first, number = np.unique(groups, return_index=True, return_inverse=True)
    return merge_groups(sites, first[number])
