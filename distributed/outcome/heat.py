"""Heat maps of images by the folds' models that had not seen them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import ray
from numpy.typing import NDArray
from safetensors.torch import load

from distributed.run import Run
from folds.arrays import Floats, Ints
from folds.augment import to_input
from folds.errors import reason
from folds.evaluation.predictions import Predictions
from folds.model.backbone import Classifier
from folds.model.bundle import ModelCard
from folds.model.occlusion import heat_maps
from folds.runtime.device import Runtime, as_tensor

_PATIENCE = 600.0  # seconds that a worker with a GPU may take, or be waited for


@dataclass
class FoldHeat:
    """What spoke for a class, to the model of the fold that an image was validated in.

    Parameters
    ----------
    run : Run
        Whose folder has the models; they look at the images one after another, on this processor,
        or on a worker where the run's lanes have GPUs.
    oof : Predictions
        Whose rows are asked for.
    """

    run: Run
    oof: Predictions
    _failed: bool = field(default=False, init=False)

    def __call__(self, rows: Ints, pixels: NDArray[np.uint8], classes: Ints) -> Floats | None:
        """Make heat maps (n, side, side) of some rows, see `folds.model.occlusion.heat_maps`.

        Parameters
        ----------
        rows : ndarray of int64, shape (n,)
        pixels : ndarray of uint8, shape (n, H, W, 3)
        classes : ndarray of int64, shape (n,)

        Returns
        -------
        ndarray of float32, shape (n, side, side), or None
            None where they cannot be made: no run fails for want of them, a notice says so, once.
        """
        if self._failed:
            return None
        try:
            return self._maps(rows, pixels, classes)
        except Exception as error:  # whatever a network of a thousand may raise, or a worker
            self._failed = True
            self.run.notify(f"the report has no heat maps: {reason(error)}")
            return None

    def _maps(self, rows: Ints, pixels: NDArray[np.uint8], classes: Ints) -> Floats:
        assert self.oof.repeat is not None
        assert self.oof.fold is not None
        folds = list(zip(self.oof.repeat[rows].tolist(), self.oof.fold[rows].tolist(), strict=True))
        found: dict[int, Floats] = {}
        for fold in sorted(set(folds)):
            mine = [place for place, own in enumerate(folds) if own == fold]
            task = self.run.prepared.folds.index(fold)
            maps = self._look(task, pixels[mine], classes[mine].tolist())
            found |= dict(zip(mine, maps, strict=True))
        return np.stack([found[place] for place in range(len(rows))])

    def _look(self, task: int, pixels: NDArray[np.uint8], classes: Sequence[int]) -> Floats:
        """Have the model of a fold look at images."""
        bundle, resources = self.run.space.bundle(task), self.run.plan.resources_per_worker
        card = ModelCard.read(bundle / "model.json")
        weights = (bundle / card.files[0]).read_bytes()
        given = (card, weights, self.run.runtime, pixels, classes)
        if not resources.get("GPU"):
            return look(*given)
        worker = ray.remote(look).options(num_cpus=resources["CPU"], num_gpus=resources["GPU"])
        return ray.get(worker.remote(*given), timeout=_PATIENCE)


def look(
    card: ModelCard,
    weights: bytes,
    runtime: Runtime,
    pixels: NDArray[np.uint8],
    classes: Sequence[int],
) -> Floats:
    """Make heat maps by the network of a bundle, in its plain view and in float32.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (n, H, W, 3)
    classes : sequence of int, length n
    """
    count = len(card.class_names)
    network = Classifier(card.backbone, classes=count, size=card.size, head=card.head)
    network.load_state_dict(load(weights))
    runtime.place(network)
    return heat_maps(network, to_input(as_tensor(pixels), card.size).to(runtime.device), classes)
