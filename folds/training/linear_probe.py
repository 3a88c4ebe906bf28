"""How far features alone go: logistic regression on frozen features, cross-validated.

All models, one for each set of folds that is left out, are fitted at once: the features are there
once, and a product of matrices serves all of them. What a model does not see has weight 0.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from folds.arrays import Doubles, Floats, Ints

STRENGTHS = tuple(np.logspace(0.5, -3.5, 7).tolist())
"""L2 penalties to choose from, of the mean loss, from strong to weak."""

FEWEST_FOLDS = 3  # two that are left out, and one to learn from
# Largest gradient at which a fit ends: to choose a penalty by, and to predict with.
_ROUGHLY, _WELL = 1e-4, 1e-5
_MOST = 300  # steps
_FLOOR = 0.3  # least standard deviation of a feature, in root mean squares of all of them
_MEMORY = 10  # pairs of steps and changes of the gradient that L-BFGS keeps
_HALVINGS, _SUFFICIENT = 12, 1e-4  # of a line search: the most, and Armijo's share of the slope


@dataclass(frozen=True)
class LinearProbe:
    """What a linear probe gave.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (N, C)
        Of each image by the model that was fitted without its fold; rows sum to 1.
    strengths : tuple of float, length k
        The L2 penalty chosen for each fold.
    """

    probabilities: Floats
    strengths: tuple[float, ...]


def linear_probe(
    features: Floats,
    labels: Ints,
    fold: Ints,
    classes: int,
    *,
    device: torch.device | None = None,
    strengths: Sequence[float] = STRENGTHS,
) -> LinearProbe:
    """Cross-validate a multinomial logistic regression with L2 penalty on features.

    Parameters
    ----------
    features : ndarray of float32, shape (N, F)
        Finite.
    labels : ndarray of int64, shape (N,)
        0 to C - 1.
    fold : ndarray of int64, shape (N,)
        Which of k folds, 0 to k - 1, each image is in.
    classes : int
        C.
    device : torch.device, optional
        Default: the processor.
    strengths : sequence of float
        L2 penalties from strong to weak, all above 0.

    Raises
    ------
    ValueError
        There are fewer than three folds.

    Notes
    -----
    - a model for fold f, its penalty included, does not depend on the labels of fold f;
    - the penalty of fold f is chosen by the log loss over the other folds, each predicted by a
      model fitted without it and f, so that groups stay whole; the model without f and g serves
      both. Log loss, since accuracy has ties among few images and does not see confidence; of
      equal ones the stronger penalty;
    - features are standardised by the mean and standard deviation of what each model is fitted to;
      one that hardly varies there is not blown up, since an image that has it would decide all.

    References
    ----------
    Kornblith, Shlens, Le: Do better ImageNet models transfer better?, CVPR 2019, for ranking
    networks so. Nocedal, Wright: Numerical Optimization, 2006, chapter 7, for L-BFGS.
    """
    folds = int(fold.max()) + 1
    if folds < FEWEST_FOLDS:
        raise ValueError(f"{folds} folds: a probe needs {FEWEST_FOLDS} or more to choose by")
    data = _Data.of(features, labels, classes, device or torch.device("cpu"))
    chosen = [strengths[best] for best in _inner_losses(data, fold, strengths).argmin(axis=0)]
    left_out = [(number,) for number in range(folds)]
    fits = _Fits(data, _kept(fold, left_out, data.x.device))
    weights = fits.solve(fits.start(), torch.tensor(chosen, device=data.x.device), _WELL)
    logs = fits.log_probabilities(weights)
    own = logs[torch.arange(len(fold)), torch.from_numpy(fold)]
    return LinearProbe(own.double().exp().float().numpy(), tuple(chosen))


def _inner_losses(data: "_Data", fold: Ints, strengths: Sequence[float]) -> Doubles:
    """Mean log loss (S, k) over all folds but one, by models that saw neither."""
    folds = int(fold.max()) + 1
    pairs = list(combinations(range(folds), 2))
    fits = _Fits(data, _kept(fold, pairs, data.x.device))
    weights, losses = fits.start(), np.zeros((len(strengths), folds))
    labels = data.labels.cpu().numpy()
    for row, strength in enumerate(strengths):
        penalty = torch.full((len(pairs),), strength, device=data.x.device)
        weights = fits.solve(weights, penalty, _ROUGHLY)
        logs = fits.log_probabilities(weights).double().numpy()
        nll = -np.take_along_axis(logs, labels[:, None, None], axis=2)[..., 0]  # (N, pairs)
        for model, (one, other) in enumerate(pairs):
            losses[row, one] += nll[fold == other, model].sum()
            losses[row, other] += nll[fold == one, model].sum()
    others = len(fold) - np.bincount(fold, minlength=folds)
    mean: Doubles = losses / others
    return mean


def _kept(fold: Ints, left_out: Sequence[tuple[int, ...]], device: torch.device) -> Tensor:
    """What each model is fitted to: float32 (N, M), 1 or 0."""
    seen = np.stack([~np.isin(fold, each) for each in left_out], axis=1)
    return torch.from_numpy(seen.astype(np.float32)).to(device)


@dataclass(frozen=True)
class _Data:
    """Features (N, F) and labels (N,) on the device."""

    x: Tensor
    labels: Tensor
    classes: int

    @classmethod
    def of(cls, features: Floats, labels: Ints, classes: int, device: torch.device) -> "_Data":
        """Shift features for the sake of rounding alone: each model standardises them anew."""
        x = features.astype(np.float64)
        x = x - x.mean(axis=0)
        x = x / (x.std() or 1.0)
        return cls(
            torch.from_numpy(x.astype(np.float32)).to(device),
            torch.from_numpy(labels).to(device),
            classes,
        )


class _Fits:
    """M regressions on the same features, each on rows of its own.

    Their parameters are one tensor (F + 1, M, C), the last row holding the biases.
    """

    def __init__(self, data: _Data, kept: Tensor) -> None:
        self._data, self._count = data, kept.sum(dim=0)
        self._share = kept / self._count  # (N, M)
        share, x = self._share.double(), data.x.double()
        mean = x.T @ share  # (F, M)
        variance = (x.square().T @ share - mean.square()).clamp_min(0)
        spread = variance.sqrt().clamp_min(_FLOOR * variance.mean(dim=0).sqrt())
        spread = torch.where(spread > 0, spread, 1.0)  # all features are constant
        self._mean, self._spread = (part.float().unsqueeze(2) for part in (mean, spread))
        rows = torch.arange(len(data.labels), device=data.x.device)
        self._own = (rows, slice(None), data.labels)  # of an array (N, M, C)

    def start(self) -> Tensor:
        """Parameters of 0."""
        features, models = self._mean.shape[:2]
        return self._mean.new_zeros(features + 1, models, self._data.classes)

    def log_probabilities(self, weights: Tensor) -> Tensor:
        """Of all rows by all models, float32 (N, M, C), on the CPU."""
        return self._logits(weights).log_softmax(dim=2).cpu()

    def solve(self, weights: Tensor, penalty: Tensor, tolerance: float) -> Tensor:
        """Minimise mean loss plus half the penalty (M,) times the squared weights, by L-BFGS.

        Each model takes its own steps, so it does not depend on the others.
        """
        value, gradient = self._evaluate(weights, penalty)
        history: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=_MEMORY)
        active = torch.ones_like(penalty, dtype=torch.bool)
        for _ in range(_MOST):
            active &= gradient.abs().amax(dim=(0, 2)) > tolerance
            if not active.any():
                break
            direction = -_descent(gradient, history)
            slope = _dot(direction, gradient)
            step = active.to(value.dtype)
            if not history:
                step = step / gradient.abs().sum(dim=(0, 2)).clamp_min(1.0)
            for _ in range(_HALVINGS):
                trial = weights + _each(step) * direction
                new_value, new_gradient = self._evaluate(trial, penalty)
                rounding = 1e-7 * value
                good = new_value <= value + _SUFFICIENT * step * slope + rounding
                if good.all():
                    break
                step = torch.where(good, step, step / 2)
            active &= good
            change, bend = trial - weights, new_gradient - gradient
            product = _dot(change, bend)
            inverse = torch.where(product > 0, 1 / product, 0.0)
            history.append((change, bend, inverse))
            weights, value, gradient = trial, new_value, new_gradient
        return weights

    def _logits(self, weights: Tensor) -> Tensor:
        """Shape (N, M, C): the standardisation is moved into the weights."""
        scaled = weights[:-1] / self._spread
        offset = weights[-1] - (self._mean * scaled).sum(dim=0)
        return (self._data.x @ scaled.flatten(1)).view(-1, *offset.shape) + offset

    def _evaluate(self, weights: Tensor, penalty: Tensor) -> tuple[Tensor, Tensor]:
        """Value (M,) as float64, and gradient, shaped as the weights."""
        logs = self._logits(weights).log_softmax(dim=2)
        loss = -(logs[self._own].double() * self._share).sum(dim=0)
        squares = weights[:-1].double().square().sum(dim=(0, 2))
        residual = logs.exp_()
        residual[self._own] -= 1
        residual *= self._share.unsqueeze(2)
        of_offset = residual.sum(dim=0)
        inner = (self._data.x.T @ residual.flatten(1)).view_as(weights[:-1])
        inner = (inner - self._mean * of_offset) / self._spread
        gradient = torch.cat([inner + _each(penalty) * weights[:-1], of_offset[None]])
        return loss + penalty / 2 * squares, gradient


def _descent(gradient: Tensor, history: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """The gradient by the inverse of the curvature that the last steps have seen (two loops)."""
    rest, factors = gradient, []
    for change, bend, inverse in reversed(history):
        factors.append(inverse * _dot(change, rest))
        rest = rest - _each(factors[-1]) * bend
    if history:
        _, bend, inverse = history[-1]
        size = inverse * _dot(bend, bend)
        rest = rest * _each(torch.where(size > 0, 1 / size, 1.0))
    for (change, bend, inverse), factor in zip(history, reversed(factors), strict=True):
        rest = rest + _each(factor - inverse * _dot(bend, rest)) * change
    return rest


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """Inner product (M,) of each model's parameters, as float64."""
    return (one * other).sum(dim=(0, 2), dtype=torch.float64)


def _each(values: Tensor) -> Tensor:
    """A number (M,) of each model, to be multiplied with parameters."""
    return values.float()[None, :, None]
