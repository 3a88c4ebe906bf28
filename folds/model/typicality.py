"""How typical an image is of those that a model was trained on: "none of these" in a number."""

from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from folds.arrays import Doubles, Floats, Ints
from folds.errors import reason

FEWEST = 100  # images, of which one in a hundred can be told apart
_SHRUNK = 0.5  # share of the covariance that is the same in all directions
_DIRECTIONS = 128  # of the covariance that are told apart
_TINY = 1e-12


class Typicality(nn.Module):
    """P-values of features: how often an image like training's lies as far from its class.

    Features are those of the middle of a network, see `folds.model.backbone.Classifier.halfway`.

    Parameters
    ----------
    means : Tensor of float32, shape (C, F)
        Of the classes' features of unit length.
    directions : Tensor of float32, shape (K, F)
        Orthonormal: where the features of a class vary most.
    precisions : Tensor of float32, shape (K + 1,)
        One over the variance along each, and along all others.
    distances : Tensor of float32, shape (M,)
        Of images that the numbers above do not come from.

    Notes
    -----
    - the distance is Mahalanobis's to the nearest class, with a covariance that the classes share
      and that is shrunk by half;
    - of M distances the p-value is (1 + those as great) / (M + 1): at most a share `a` of images
      that are drawn like training's has one of `a` or less;
    - features are brought to unit length, since their length says more of an image's contrast
      than of its kind;
    - those at the end of a network would tell less: it is trained to drop what does not tell
      classes apart, so a blank slide ends near a class.

    References
    ----------
    Lee et al., A simple unified framework for detecting out-of-distribution samples and adversarial
    attacks, NeurIPS 2018, for the distance; Bates et al., Testing for outliers with conformal
    p-values, Annals of Statistics 2023, for the p-value.
    """

    means: Tensor
    directions: Tensor
    precisions: Tensor
    distances: Tensor

    def __init__(
        self, means: Tensor, directions: Tensor, precisions: Tensor, distances: Tensor
    ) -> None:
        super().__init__()
        if {means.shape[1:], directions.shape[1:]} != {means.shape[-1:]} or (
            precisions.shape != (len(directions) + 1,) or distances.ndim != 1
        ):
            raise ValueError("its parts do not fit together")
        self.register_buffer("means", means)
        self.register_buffer("directions", directions)
        self.register_buffer("precisions", precisions)
        self.register_buffer("distances", distances)

    def forward(self, features: Tensor) -> Tensor:
        """P-values (B,), float32 in (0, 1], of features (B, F)."""
        found = self._distance(features)
        as_far = (self.distances >= found[:, None]).sum(dim=1)
        return (1 + as_far).float() / (1 + len(self.distances))

    def adapted(self, features: Tensor) -> Self:
        """That for a table of images from elsewhere, most of which are of the classes.

        Parameters
        ----------
        features : Tensor of float32, shape (B, F)
            Of the table, or of a sample of it.

        Notes
        -----
        - the classes' means are moved by the median of what features differ from the nearest;
        - what distances are greater then than training's, by their lower quartiles, is put down to
          the laboratory by half, in logarithms: variances grow by the root of the ratio, which is
          taken as 1 or more;
        - the median and the quartile bear some junk in the table, not a table of junk.
        """
        nearest = self.means[self._distances(features).argmin(dim=1)]
        means = self.means + (_unit(features) - nearest).median(dim=0).values
        moved = type(self)(means, self.directions, self.precisions, self.distances)
        table, training = (
            one.quantile(0.25) for one in (moved._distance(features), self.distances)
        )
        grown = (table / training.clamp(min=_TINY)).clamp(min=1).sqrt()
        return type(self)(means, self.directions, self.precisions / grown, self.distances)

    def _distance(self, features: Tensor) -> Tensor:
        """Squared distance (B,) of features (B, F) to the nearest class."""
        return self._distances(features).amin(dim=1)

    def _distances(self, features: Tensor) -> Tensor:
        """Squared distances (B, C) of features (B, F) to the classes."""
        features = _unit(features)
        along, centres = features @ self.directions.T, self.means @ self.directions.T
        # in this form the differences (B, C, F) are never made
        whole = _squares(features, self.means)
        inside = _squares(along, centres)
        scale = self.precisions[:-1].sqrt()
        weighted = _squares(along * scale, centres * scale)
        return weighted + (whole - inside).clamp(min=0) * self.precisions[-1]

    @classmethod
    def fit(cls, features: Floats, labels: Ints) -> Self | None:
        """That of a model by features of images that it was not trained on.

        Parameters
        ----------
        features : ndarray of float32, shape (N, F)
            See `folds.model.backbone.Classifier.halfway`.
        labels : ndarray of int64, shape (N,)

        Returns
        -------
        Typicality or None
            None for fewer than `FEWEST` images, or features that hardly vary.

        Notes
        -----
        Distances are of each half of the images by what the other half gives; what is kept is of
        all, so that p-values err to the cautious side.
        """
        if len(features) < FEWEST:
            return None
        half = np.zeros(len(labels), bool)
        half[np.argsort(labels, kind="stable")[::2]] = True
        shapes = [_shape(features[own], labels[own]) for own in (half, ~half)]
        whole = _shape(features, labels)
        if whole is None or shapes[0] is None or shapes[1] is None:
            return None
        none = torch.zeros(0)
        rest = [torch.from_numpy(features[own]).float() for own in (~half, half)]
        distances = [
            cls(*shape, none)._distance(own)
            for shape, own in zip(shapes, rest, strict=True)
            if shape is not None
        ]
        return cls(*whole, torch.cat(distances))

    def saved(self) -> bytes:
        """As a safetensors file."""
        return save({name: tensor.contiguous() for name, tensor in self.state_dict().items()})

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read what `saved` gives.

        Raises
        ------
        ValueError
            It is damaged.
        """
        try:
            return cls(**load_file(file))
        except (SafetensorError, TypeError, ValueError) as error:
            raise ValueError(f"{file.name}: is damaged ({reason(error)})") from None


def _unit(features: Tensor) -> Tensor:
    """Features (B, F) of length 1."""
    return features / features.norm(dim=1, keepdim=True).clamp(min=_TINY)


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances (B, C) of rows."""
    squares = (a * a).sum(dim=1)[:, None] + (b * b).sum(dim=1) - 2 * (a @ b.T)
    return squares.clamp(min=0)


def _shape(features: Floats, labels: Ints) -> tuple[Tensor, Tensor, Tensor] | None:
    """Means, directions and precisions of features; None where they do not vary."""
    unit = features.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True).clip(min=_TINY)
    classes, codes = np.unique(labels, return_inverse=True)
    means = np.stack([unit[codes == code].mean(axis=0) for code in range(len(classes))])
    variances, directions = _spread(unit - means[codes], len(unit) - len(classes))
    mean = variances.sum() / unit.shape[1]
    if not mean > _TINY:
        return None
    kept = variances[:_DIRECTIONS]
    others = (variances.sum() - kept.sum()) / max(unit.shape[1] - len(kept), 1)
    shrunk = (1 - _SHRUNK) * np.append(kept, others) + _SHRUNK * mean
    each = (means, directions[: len(kept)], 1 / shrunk)
    first, second, third = (torch.from_numpy(np.ascontiguousarray(a)).float() for a in each)
    return first, second, third


def _spread(centred: Doubles, freedom: int) -> tuple[Doubles, Doubles]:
    """Variances (K,), falling, and the directions (K, F) they are along."""
    _, scales, directions = np.linalg.svd(centred, full_matrices=False)
    return scales**2 / max(freedom, 1), directions
