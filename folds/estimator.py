"""Cross-validated fine-tuning as a scikit-learn classifier."""

import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, check_array, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from folds.arrays import Floats
from folds.config import Config, ModelConfig, OptimConfig, TrainConfig
from folds.errors import UserError, nearest
from folds.evaluation.intervals import intervals
from folds.evaluation.predictions import Predictions
from folds.images.given import as_pixels, given, image_set
from folds.model.predictor import Predictor
from folds.prepare import Prepared, prepare
from folds.runtime.device import Runtime
from folds.training.fit import fit_fold
from folds.training.frozen import kept_in_memory
from folds.training.result import FoldResult
from folds.training.together import write_ensemble

Pixels = NDArray[np.uint8]
_SHARED = 2**31  # bytes, of what a frozen backbone makes of the images, for all folds
_PARAMETERS = frozenset(
    "backbone weights batch_size stages augment balance optimizer tta".split()  # noqa: SIM905
)
_SETTINGS = (
    frozenset({"audit", "device", "repeats"}).union(
        *(group.model_fields for group in (ModelConfig, TrainConfig, OptimConfig))
    )
    - _PARAMETERS
)


class CrossfoldClassifier(ClassifierMixin, BaseEstimator):
    """The folds of a cross-validation, fine-tuned one after another in this process.

    `fit` trains a network on each of `folds` stratified folds and scores it on images that it has
    not seen; `predict` takes the mean of their probabilities. ``crossfold cv`` trains the same
    folds on a cluster.

    Parameters
    ----------
    backbone : str
        Name of a timm classifier, see ``--backbone``.
    weights : str
        First weights, see ``--weights``; ``"none"``: random ones.
    image_size : int or "auto"
        Side of the network's input in pixels, see ``--image-size``.
    levels : float, optional
        The value of X that is white; above it all is white. Default: 255 of whole numbers, 1 of
        floating-point ones.
    folds : int
        k, at least 2.
    batch_size : int
        Images.
    stages : sequence of str
        Gradual unfreezing, see ``--stages``.
    augment : str
        Augmentation of training images, see ``--augment``.
    balance : str
        What is done about unequal classes, see ``--balance``.
    optimizer : str
        See ``--optimizer``.
    tta : str
        Test-time augmentation, see ``--tta``.
    random_state : int, RandomState or None
        Of splits, weights, batches and augmentation; an int is that of ``--seed``.
    settings : dict, optional
        Further settings by flag name (``{"head_layers": [128], "ema": 0.99}``): those of the
        network, of its training and optimizer, and ``repeats``, ``audit``, ``device``.

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
    n_features_in_ : int
        Values of an image: height times width times channels.
    oof_probabilities_ : ndarray of float32, shape (N, C)
        Of each image, by the models that have not seen it (of several repeats the mean); NaN for
        images that ``audit="drop"`` left out.
    fold_scores_ : dict of str to ndarray of float64, shape (K,)
        Each fold's scores on its own validation part, by the names of `folds.config.scores`.
    score_interval_ : folds.evaluation.intervals.Interval
        Out-of-fold accuracy and its 95% interval, by a bootstrap over groups.
    notices_ : tuple of str
        What the user must know; each is a warning of `fit`, too.
    bundle_ : dict of str to bytes
        The files of the fitted model, see `save`.

    Notes
    -----
    - X is uint8 images (N, H, W, 3) or (N, H, W); of other numbers see `levels`. A 2-D X has one
      flattened square image a row, grey or RGB (channels last), see `folds.images.given.as_pixels`.
    - Equal X, y, groups and parameters, with an int as `random_state`, give equal results on one
      machine.
    - A flaw in the data or a setting is a ValueError of one line that names the flag.
    - What a frozen backbone makes of the images is computed once for all folds.
    """

    def __init__(
        self,
        backbone: str = "resnet10t",
        *,
        weights: str = "auto",
        image_size: int | str = "auto",
        levels: float | None = None,
        folds: int = 5,
        batch_size: int = 32,
        stages: Sequence[str] = ("0:3:0.001", "0.5:3:0.0003", "1:6:0.0001"),
        augment: str = "light",
        balance: str = "none",
        optimizer: str = "adamw",
        tta: str = "none",
        random_state: Any = 0,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.backbone = backbone
        self.weights = weights
        self.image_size = image_size
        self.levels = levels
        self.folds = folds
        self.batch_size = batch_size
        self.stages = stages
        self.augment = augment
        self.balance = balance
        self.optimizer = optimizer
        self.tta = tta
        self.random_state = random_state
        self.settings = settings

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Train the folds.

        Parameters
        ----------
        X : array, shape (N, H, W, 3), (N, H, W) or (N, F)
            Images.
        y : array, shape (N,)
            Classes.
        groups : array, shape (N,), optional
            Patients, slides: images of one are never divided between folds.

        Raises
        ------
        ValueError
            Images, labels, groups or a setting are not as they should be.
        """
        pixels = self._pixels(X, y=y, reset=True)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        check_consistent_length(pixels, y, groups)
        self.classes_, labels = np.unique(y, return_inverse=True)
        with _as_value_errors():
            config = self._config()
            images = image_set(pixels, labels, [str(name) for name in self.classes_], groups)
            prepared = prepare(config, load=given(images))
            runtime = Runtime.choose(config.cluster.device, config.train.precision)
            problem = prepared.problem
            shared = kept_in_memory(problem, runtime, _SHARED)
            results = [
                fit_fold(problem, *task, runtime=runtime, frozen_features=shared)
                for task in prepared.folds
            ]
        self._remember(prepared, results, len(labels))
        self._open()
        for notice in prepared.notices:
            warnings.warn(notice, UserWarning, stacklevel=2)
        return self

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Class probabilities (N, C), the mean of the folds' models, in the order of `classes_`."""
        check_is_fitted(self)
        return self._predictor.predict(self._pixels(X, reset=False))

    def predict(self, X: ArrayLike) -> NDArray:
        """The most probable class of each image, shape (N,)."""
        rows = self.predict_proba(X).argmax(axis=1)
        return self.classes_[rows]

    def save(self, folder: str | Path) -> None:
        """Write safetensors and JSON, which `folds.model.predictor.Predictor` opens."""
        check_is_fitted(self)
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, content in self.bundle_.items():
            (Path(folder) / name).write_bytes(content)

    def _config(self) -> Config:
        """The settings of a run that the parameters say."""
        values = {**self.get_params(deep=False), **_checked(self.settings or {})}
        seed = values.pop("random_state")
        if not isinstance(seed, Integral):
            seed = check_random_state(seed).randint(np.iinfo(np.int32).max)
        said = {
            name: value.item() if isinstance(value, np.generic) else value  # of a grid of numpy's
            for name, value in values.items()
            if name != "settings" and value is not None
        }
        return Config.from_flat({"shift": "off", "seed": int(seed), **said})

    def _pixels(self, X: ArrayLike, *, y: ArrayLike | None = None, reset: bool) -> Pixels:
        """Check images and read them; with `reset` what they are like is remembered."""
        array: NDArray
        checks = {"dtype": None, "ensure_min_samples": 2 if reset else 1}
        if np.ndim(X) > 2:
            array = check_array(X, allow_nd=True, input_name="X", estimator=self, **checks)
            if reset:
                self.n_features_in_ = int(np.prod(array.shape[1:]))
        elif reset:
            array, _ = validate_data(self, X, y, reset=True, **checks)
        else:
            array = validate_data(self, X, reset=False, **checks)
        with _as_value_errors():
            return as_pixels(array, self.levels)

    def _remember(self, prepared: Prepared, results: Sequence[FoldResult], count: int) -> None:
        """Keep what the folds have found, for `count` images."""
        images, problem = prepared.problem.images, prepared.problem
        rows = np.concatenate([result.rows for result in results])
        found = np.concatenate([result.probabilities for result in results])
        sizes = [len(result.rows) for result in results]
        pooled = Predictions(
            images.labels[rows],
            found,
            images.groups[rows],
            np.repeat([result.fold for result in results], sizes),
            np.repeat([result.repeat for result in results], sizes),
        )
        places = images.ids.astype(int)[rows]
        sums = np.zeros((count, found.shape[1]), np.float32)
        np.add.at(sums, places, found)
        times = np.bincount(places, minlength=count)[:, None]
        self.oof_probabilities_ = np.where(times, sums / np.maximum(times, 1), np.nan)
        self.fold_scores_ = {
            name: np.array([result.scores[name] for result in results])
            for name in results[0].scores
        }
        self.score_interval_ = intervals(pooled).pooled["accuracy"]
        self.notices_ = prepared.notices
        with tempfile.TemporaryDirectory() as folder:
            write_ensemble(Path(folder), problem, results)
            self.bundle_ = {file.name: file.read_bytes() for file in Path(folder).iterdir()}

    def _open(self) -> None:
        """Put the fitted model to work."""
        self._folder = tempfile.TemporaryDirectory(prefix="crossfold-")
        self.save(self._folder.name)
        self._predictor = Predictor(Path(self._folder.name))

    def __getstate__(self) -> dict[str, Any]:
        """What a copy is made from: all but the opened model."""
        state = dict(super().__getstate__())
        state.pop("_folder", None)
        state.pop("_predictor", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "bundle_" in state:
            self._open()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def _checked(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give further settings back if they change a fold and are no parameters of their own."""
    for name in settings:
        if name in _PARAMETERS:
            raise UserError(f"settings: {name!r} is a parameter of its own; pass {name}=...")
        if name not in _SETTINGS:
            near = nearest(name, _SETTINGS) or f"; there are: {', '.join(sorted(_SETTINGS))}"
            raise UserError(f"settings: {name!r} has no effect here{near}")
    return settings


@contextmanager
def _as_value_errors() -> Iterator[None]:
    """Raise bad input as scikit-learn does."""
    try:
        yield
    except UserError as error:
        raise ValueError(str(error)) from None
