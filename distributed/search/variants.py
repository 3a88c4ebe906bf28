"""What trials share: images and splits once, first weights once for each backbone."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ray

from distributed.data.loader import LoadedOnce
from distributed.data.localize import localize
from folds.config import Config
from folds.config.spaces import Space
from folds.errors import UserError
from folds.images import ImageSet
from folds.images.external import External
from folds.model.names import resolve
from folds.model.weights import State, state_digest
from folds.prepare import Loader, Prepared, prepare, scheduled
from folds.splits.manifest import SplitManifest
from folds.training.optim import check_optimizer
from folds.training.problem import Problem

MOST = 32  # combinations that are loaded
_SHAPING = {
    "backbone",
    "weights",
    "image_size",
}  # settings that need images or weights of their own


@dataclass(frozen=True)
class Variant:
    """What all trials of one backbone, its first weights and size share.

    Parameters
    ----------
    images, splits, externals : ObjectRef
        Of an `ImageSet`, a `SplitManifest`, and a tuple of `External`.
    size : int
        Side of the network's input in pixels.
    layers : int
        Layer groups of the backbone.
    pretrained : ObjectRef
        Of the first weights, or None.
    weights : str
        `state_digest` of these; empty where they are random.
    backbone : str
        See `folds.training.problem.Problem.backbone`.
    """

    images: Any
    splits: Any
    externals: Any
    size: int
    layers: int
    pretrained: Any
    weights: str
    backbone: str

    def problem(self, config: Config) -> Problem:
        """The problem of a trial, on the machine that asks.

        Raises
        ------
        UserError
            The settings do not fit the images or the backbone.
        """
        images: ImageSet = ray.get(self.images)
        splits: SplitManifest = ray.get(self.splits)
        externals: tuple[External, ...] = ray.get(self.externals)
        pretrained: State | None = ray.get(self.pretrained)
        stages = scheduled(config.train.stages, self.layers, pretrained=bool(self.weights))
        given = images, splits, self.size, stages, pretrained, externals
        return localize(Problem(config, *given, resolved=self.backbone))


def key(config: Config) -> str:
    """What trials with one variant have in common."""
    flat = config.flat()
    return json.dumps({name: flat[name] for name in sorted(_SHAPING)})


def prepared_variants(
    config: Config, space: Space, load: Loader, tell: Callable[[str], None]
) -> dict[str, Prepared]:
    """Prepare every combination of backbone, first weights and image size that a space has.

    Parameters
    ----------
    config : Config
        The settings that the space does not name.
    load : Loader
        Brings in the images; each set is loaded once.
    tell : callable
        Is given a line for the user.

    Returns
    -------
    dict of str to Prepared
        By `key`; the first is that of the space's first values.

    Raises
    ------
    UserError
        Something in it is wrong, or the images of two are not divided alike.
    """
    _check_named(config, space)
    found: dict[str, Prepared] = {}
    once, combinations = LoadedOnce(load), space.grid(only=space.makers(_SHAPING))
    if len(combinations) > MOST:
        raise UserError(
            f"--space: {len(combinations)} combinations of backbone, weights and image_size, each "
            f"of which is loaded before the search; name at most {MOST}"
        )
    for values in combinations:
        settings = {
            n: v for n, v in space.settings(_first(space) | values).items() if n in _SHAPING
        }
        own = Config.from_flat(config.flat() | settings)
        if key(own) not in found:
            found[key(own)] = prepared = prepare(own, load=once, test=False)
            told = set().union(*(one.notices for one in [*found.values()][:-1]))
            for notice in (n for n in prepared.notices if n not in told):
                tell(f"notice: {notice}")
            _check_alike(next(iter(found.values())), prepared)
    return found


def put(
    prepared: Mapping[str, Prepared], splits: SplitManifest | None = None
) -> dict[str, Variant]:
    """Put what is shared into Ray's object store, equal images once.

    Parameters
    ----------
    splits : SplitManifest, optional
        Instead of those that were prepared.
    """
    first = next(iter(prepared.values())).problem
    shared = ray.put(first.images)
    divided = ray.put(splits or first.splits)
    variants = {}
    for name, one in prepared.items():
        problem = one.problem
        alike = problem.images.digest == first.images.digest
        state = problem.pretrained
        variants[name] = Variant(
            shared if alike else ray.put(problem.images),
            divided,
            ray.put(problem.externals),
            problem.size,
            one.layers,
            ray.put(state),
            "" if state is None else state_digest(state),
            problem.backbone,
        )
    return variants


def _first(space: Space) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for parameter in space.parameters:
        if parameter.used(values):
            values[parameter.name] = parameter.ends[0]
    return values


def _check_named(config: Config, space: Space) -> None:
    """Refuse names of backbones and optimizers that timm lacks."""
    checks = {"backbone": resolve, "optimizer": check_optimizer}
    for parameter in space.parameters:
        for name in parameter.choices if parameter.name in checks else ():
            checks[parameter.name](str(name))
    for name, check in checks.items():
        if name in space.fixed:
            check(str(space.fixed[name]))
    check_optimizer(config.optim.optimizer)


def _check_alike(first: Prepared, other: Prepared) -> None:
    if first.problem.splits.digest != other.problem.splits.digest:
        raise UserError(
            f"--space: images of {other.problem.size} px are not divided as those of "
            f"{first.problem.size} px, since other duplicates are found among them; give "
            "--splits FILE, or one --image-size"
        )
