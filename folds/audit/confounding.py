"""What a model may learn in place of the classes: who took the images, and where.

A class that nearly one group or site alone has, and a site whose colours give it away, let a model
be right for the wrong reason, which no score on the same groups and sites shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from folds.arrays import Doubles, Ints
from folds.errors import listed
from folds.images.imageset import ImageSet, stratified
from folds.images.pixelfile import pieces

NEARLY = 0.95
"""Share of a class's images in one group or site from which it lies nearly within that."""
TOLD = 0.9
"""AUC from which colours tell a site.

Of an image of the site and one of another, both of one class, the right one is then the likelier
in nine of ten pairs. Parts of one laboratory's images that were drawn at random gave 0.47 to 0.54,
of 120 images 0.31 to 0.67; two laboratories 1.00 (LOG.md).
"""
_LOOKED_AT = 2000  # images, whose colours are measured in a second
_FEWEST = 20  # images of a site that is judged
_OF_CLASS = 5  # images of a class, at the site and elsewhere, that are compared
_FOLDS = 3
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
Texts = NDArray[np.str_]


@dataclass(frozen=True)
class Within:
    """A class that lies (nearly) within one group or site.

    Parameters
    ----------
    name : str
        Of the class.
    place : str
        The group or site.
    share : float
        Of the class's images that are there.
    """

    name: str
    place: str
    share: float

    def __str__(self) -> str:
        share = "all" if self.share == 1 else f"{self.share:.1%}"
        return f"{self.name!r} ({share} in {self.place})"


def confounding(images: ImageSet) -> list[str]:
    """Tell what models may learn in place of the classes, before anything is trained.

    Parameters
    ----------
    images : ImageSet
        With the groups and sites that the user named.

    Returns
    -------
    list of str
        Notices, each with what it means and what to do; none where neither groups nor sites are
        known, or nothing is odd.
    """
    notices = []
    if len(np.unique(images.groups)) < len(images):
        notices += _told("group", classes_within(images, images.groups))
    if images.sites is not None:
        notices += _told("site", classes_within(images, images.sites))
        notices += _coloured(site_aucs(images, images.sites))
    return notices


def classes_within(images: ImageSet, places: Texts) -> list[Within]:
    """Classes that lie (nearly) within one of several places.

    Parameters
    ----------
    places : ndarray of str, shape (N,)
        Group or site of each image.

    Notes
    -----
    A class that is partly elsewhere is told only where the others are not there as well: a place
    that has nearly all images has nearly all of each class.
    """
    names, place = np.unique(places, return_inverse=True)
    counts = np.zeros((len(images.class_names), len(names)))
    np.add.at(counts, (images.labels, place), 1)
    found: list[Within] = []
    if len(names) < 2:
        return found
    for label, own in enumerate(counts):
        most = int(own.argmax())
        others = counts.sum(axis=0) - own
        share, usual = own[most] / own.sum(), others[most] / others.sum()
        if own.sum() > 1 and (share == 1 or share >= NEARLY > usual):
            found.append(Within(images.class_names[label], str(names[most]), float(share)))
    return found


def _told(what: str, within: Sequence[Within]) -> list[str]:
    if not within:
        return []
    count = f"{len(within)} classes lie" if len(within) > 1 else "a class lies"
    return [
        f"{count} (nearly) within one {what}: {listed(map(str, within), most=5)}; a model may "
        f"learn that {what}'s looks in place of the class, and no score here tells; "
        f"add images of other {what}s, or do not trust the scores of these classes elsewhere"
    ]


def site_aucs(images: ImageSet, sites: Texts) -> dict[str, float]:
    """How well colours alone tell each site from the others, at equal class.

    Returns
    -------
    dict of str to float
        Area under the ROC curve, 0.5 for chance, of a logistic regression on colour statistics;
        out of fold, in whole groups where each site has enough of them. The mean over the classes
        that are at the site and elsewhere, by their images at the site; sites without such, and
        those of few images, are left out.

    Notes
    -----
    It depends on neither the order of the images nor a clock: of more than 2,000 images those are
    taken that a fixed seed draws in the order of the ids.
    """
    names, counts = np.unique(sites, return_counts=True)
    order = np.argsort(images.ids, kind="stable")
    rows = order[np.isin(sites[order], names[counts >= _FEWEST])]
    names, site = np.unique(sites[rows], return_inverse=True)
    if len(names) < 2:
        return {}
    rows = rows[chosen := stratified(site, tuple(names.tolist()), _LOOKED_AT, seed=0)]
    site = site[chosen]
    probabilities = _out_of_fold(colour_statistics(images, rows), site, images.groups[rows])
    labels = images.labels[rows]
    each = {
        name: _within_classes(site == number, probabilities[:, number], labels)
        for number, name in enumerate(names.tolist())
    }
    return {name: auc for name, auc in each.items() if auc is not None}


def colour_statistics(images: ImageSet, rows: Ints) -> Doubles:
    """Quantiles (M, 15) of red, green and blue of each image, from 0 to 1."""
    found = np.empty((len(rows), 3 * len(_QUANTILES)))
    for piece in pieces((len(rows), *images.pixels.shape[1:])):
        pixels = images.pixels[rows[piece]]
        flat = pixels.reshape(len(pixels), -1, 3)[:, :: max(1, pixels[0].size // 12288)]
        quantiles = np.quantile(flat, _QUANTILES, axis=1)
        found[piece] = quantiles.transpose(1, 0, 2).reshape(len(pixels), -1) / 255
    return found


def _out_of_fold(colours: Doubles, site: Ints, groups: Texts) -> Doubles:
    """Probabilities (M, S) of the sites."""
    pairs = np.unique(np.stack([site.astype(np.str_), groups]), axis=1)[0]
    alone = np.unique(pairs, return_counts=True)[1].min() < _FOLDS
    cv = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    own = np.arange(len(site)) if alone else groups
    found: Doubles = cross_val_predict(
        model, colours, site, groups=own, cv=cv, method="predict_proba"
    )
    return found


def _within_classes(here: NDArray[np.bool_], value: Doubles, labels: Ints) -> float | None:
    """AUC of a value within each class, averaged by the images that are here."""
    aucs, weights = [], []
    for label in np.unique(labels):
        own = labels == label
        count = int(here[own].sum())
        if min(count, own.sum() - count) >= _OF_CLASS:
            aucs.append(roc_auc_score(here[own], value[own]))
            weights.append(count)
    return float(np.average(aucs, weights=weights)) if aucs else None


def _coloured(aucs: dict[str, float]) -> list[str]:
    told = {name: auc for name, auc in aucs.items() if auc >= TOLD}
    if not told:
        return []
    best = sorted(told, key=lambda name: -told[name])
    names = listed((f"{name} (AUC {told[name]:.2f})" for name in best), most=5)
    return [
        f"colours alone tell {len(told)} of {len(aucs)} sites from the others, at equal class: "
        f"{names}; 0.5 is chance. A model may go by a site's colours, and another laboratory's "
        "will be unlike all of them: try --augment strong, and let --split-by site show what is "
        "lost there"
    ]
