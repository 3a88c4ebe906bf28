"""Stratified folds and a test part that never cut a group."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from folds.config import SplitConfig
from folds.errors import UserError, listed
from folds.images import ImageSet
from folds.splits.grouped import TRIES, grouped_split
from folds.splits.manifest import HOLDOUT, SplitManifest, fingerprint
from folds.splits.sites import check_sites, known_sites, units


def held_out(images: ImageSet, config: SplitConfig) -> NDArray[np.bool_]:
    """Which images are the hold-out: that of ``config.splits``, or a new one.

    Raises
    ------
    UserError
        It would be empty, or the file is damaged.
    """
    if config.splits is not None:
        manifest = SplitManifest.read(config.splits)
        return np.isin(images.ids, manifest.ids[manifest.fold[0] == HOLDOUT])
    order = np.argsort(images.ids, kind="stable")
    aside = np.empty(len(order), dtype=bool)
    aside[order] = _set_aside(images.labels[order], units(images, config)[order], config)
    return aside


def make_splits(
    images: ImageSet, config: SplitConfig, *, aside: NDArray[np.str_] | None = None
) -> SplitManifest:
    """Divide images into stratified folds, or take the folds of ``config.splits``.

    Parameters
    ----------
    images : ImageSet
    config : SplitConfig
    aside : ndarray of str, optional
        Ids of the hold-out, if it is settled already.

    Returns
    -------
    SplitManifest
        scikit-learn's StratifiedKFold where every image is its own group, else `grouped_split`,
        which does what its StratifiedGroupKFold does, with groups or whole sites; repeat r is
        shuffled with seed + r. The hold-out is set aside before, by `grouped_split`.

    Raises
    ------
    UserError
        A class has fewer images (or groups) than folds, there are fewer sites than folds that
        leave sites out, or the file does not match.

    Notes
    -----
    Without groups each class's count differs by at most one between folds, and is within one
    image of its share in the hold-out.
    """
    if config.splits is not None:
        return _matching(SplitManifest.read(config.splits), images, config)
    order = np.argsort(images.ids, kind="stable")  # the folds do not depend on that of the images
    ids, labels, whole = images.ids[order], images.labels[order], units(images, config)[order]
    settled = _set_aside(labels, whole, config) if aside is None else np.isin(ids, aside)
    rest = np.flatnonzero(~settled)
    by_site = config.split_by == "site"
    if by_site:
        check_sites(images, order[rest], config)
    else:
        _check_counts(images, labels[rest], whole[rest], config)
    grouped = by_site or len(np.unique(whole)) < len(whole)
    fold = np.full((config.repeats, len(ids)), HOLDOUT)
    for repeat in range(config.repeats):
        seed, among = config.seed + repeat, whole[rest] if grouped else None
        fold[repeat, rest] = _folds(labels[rest], among, config.folds, seed=seed)
    sites = known_sites(images)[order] if by_site else None
    method, data = _method(config, grouped=grouped), fingerprint(images)
    return SplitManifest(ids, images.groups[order], fold, config.folds, method, data, sites)


def _method(config: SplitConfig, *, grouped: bool) -> str:
    """How the folds are made, in words."""
    even = (
        f"{'whole sites' if config.split_by == 'site' else 'groups'}, most even of {TRIES} orders"
    )
    how = f"stratified {even}" if grouped else "StratifiedKFold"
    test_part = f"; hold-out {config.holdout:g}" if config.holdout else ""
    return f"{how} (shuffle, seed {config.seed}){test_part}"


def tasks(manifest: SplitManifest) -> Iterator[tuple[int, int]]:
    """Every (repeat, fold) to train, in order."""
    return ((r, f) for r in range(manifest.repeats) for f in range(manifest.folds))


def _set_aside(labels: NDArray, groups: NDArray, config: SplitConfig) -> NDArray[np.bool_]:
    """Which images are the hold-out."""
    if not config.holdout:
        return np.zeros(len(labels), dtype=bool)
    shares = np.array([config.holdout, 1 - config.holdout])
    aside = grouped_split(labels, groups, shares, seed=config.seed) == 0
    if not aside.any():
        raise UserError(
            f"--holdout {config.holdout:g}: less than one {config.split_by} of the images; raise "
            "it, or leave it out"
        )
    return aside


def _folds(labels: NDArray, groups: NDArray | None, folds: int, *, seed: int) -> NDArray[np.int64]:
    """The fold of each image."""
    if groups is not None:
        return grouped_split(labels, groups, np.full(folds, 1 / folds), seed=seed)
    fold = np.empty(len(labels), dtype=np.int64)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for number, (_, held_out) in enumerate(splitter.split(labels, labels)):
        fold[held_out] = number
    return fold


def _check_counts(images: ImageSet, labels: NDArray, groups: NDArray, config: SplitConfig) -> None:
    """Refuse folds that would outnumber the images of a class."""
    for label, name in enumerate(images.class_names):
        count = len(np.unique(groups[labels == label]))
        if count < config.folds:
            what = "image" if count == 1 else "images"
            beside = " beside the hold-out" if config.holdout else ""
            lower = "--folds or --holdout" if config.holdout else "--folds"
            raise UserError(
                f"class {name!r} has {count} {what} (groups counted once){beside}, fewer "
                f"than --folds {config.folds}: add images, lower {lower}, or leave the class out"
            )


def _matching(manifest: SplitManifest, images: ImageSet, config: SplitConfig) -> SplitManifest:
    """Refuse a manifest that was made for other images, another number of folds or hold-out."""
    _check_images(manifest, images, config)
    if (manifest.folds, manifest.repeats) != (config.folds, config.repeats):
        raise UserError(
            f"--splits {config.splits}: holds {manifest.folds} folds, {manifest.repeats} repeats; "
            f"pass --folds {manifest.folds} --repeats {manifest.repeats}"
        )
    share = len(manifest.holdout(images.ids)) / len(images)
    if bool(share) != bool(config.holdout):
        remedy = f"pass --holdout {share:.2g}" if share else "leave --holdout out, or --splits"
        raise UserError(
            f"--splits {config.splits}: has {share:.0%} of the images as hold-out and --holdout "
            f"is {config.holdout:g}; {remedy}"
        )
    return manifest


def _check_images(manifest: SplitManifest, images: ImageSet, config: SplitConfig) -> None:
    """Refuse other ids, other contents under the same ids, and groups that the folds cut."""
    missing = np.setdiff1d(images.ids, manifest.ids)
    unknown = np.setdiff1d(manifest.ids, images.ids)
    if len(missing) or len(unknown):
        raise UserError(
            f"--splits {config.splits}: does not match the images: {len(missing)} images are not "
            f"in it and {len(unknown)} of its ids are not in --data "
            f"({listed([*missing, *unknown])}); use the data it was made from"
        )
    for name, digest in fingerprint(images).items():
        if manifest.data.get(name, digest) != digest:
            what = "labels" if name == "labels" else "pixels"
            raise UserError(
                f"--splits {config.splits}: does not match the images: the ids are the same and "
                f"the {what} have changed; use the data it was made from, or make new splits"
            )
    place = {name: row for row, name in enumerate(images.ids.tolist())}
    groups = images.groups[[place[name] for name in manifest.ids.tolist()]]
    replace(manifest, groups=groups)  # refuses folds that cut a group of the images
    if config.split_by == "site":
        sites = known_sites(images)[[place[name] for name in manifest.ids.tolist()]]
        replace(manifest, sites=sites)  # or a site
