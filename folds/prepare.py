"""From a configuration to everything the folds need: checks first, cheapest first."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from folds.audit.apply import apply_findings, drop_beside
from folds.audit.confounding import confounding
from folds.audit.elsewhere import looks_told
from folds.audit.findings import AuditedImages
from folds.audit.given import with_given_groups
from folds.audit.overlap import looked_at
from folds.audit.store import audited
from folds.config import Config, DataConfig
from folds.config.selection import SelectBy
from folds.config.stages import Stage, without_pretraining
from folds.errors import UserError
from folds.evaluation.slices import check_columns
from folds.images import ImageSet, load
from folds.images.external import load_externals
from folds.images.groups import merge_groups, named_groups, named_sites
from folds.images.places import own_test
from folds.images.relabel import Relabelled, relabelled
from folds.model.backbone import check_size, create_backbone, fixed_input, input_size, native_size
from folds.model.layer_groups import BatchNorm
from folds.model.lora import check_adapters
from folds.model.names import resolve
from folds.model.weights import load_pretrained
from folds.splits.fold_balance import split_notices
from folds.splits.make import held_out, make_splits, tasks
from folds.splits.manifest import SplitManifest, fingerprint
from folds.training.curve import check_curve
from folds.training.optim import check_optimizer
from folds.training.problem import Problem

_TEST = "test"
SEEN = (
    "--weights {}: this model was trained on these very images, so that every fold validates on "
    "what its first weights have seen and all scores flatter; start from weights of other images"
)


@dataclass(frozen=True)
class Prepared:
    """A checked run, ready to be planned.

    Parameters
    ----------
    problem : Problem
        What the folds share.
    folds : list of (repeat, fold)
        Which are to be trained.
    weights : str
        Source of the first weights.
    layers : int
        Layer groups of the backbone.
    notices : tuple of str
        What the user must be told.
    audit : AuditedImages, optional
        What was found in the images.
    relabelled : Relabelled, optional
        What ``--relabel`` has done to them.
    """

    problem: Problem
    folds: list[tuple[int, int]]
    weights: str
    layers: int
    notices: tuple[str, ...]
    audit: AuditedImages | None = None
    relabelled: Relabelled | None = None

    @property
    def names(self) -> list[str]:
        """Names of all tasks, as people see them: folds count from 1."""
        if self.problem.splits.repeats == 1:
            names = [f"fold {fold + 1}" for _, fold in self.folds]
        else:
            names = [f"repeat {repeat + 1} fold {fold + 1}" for repeat, fold in self.folds]
        whole = [self.whole] if self.refit else []
        return [*names, *whole, *(f"{name}, {share:g}" for share in self.curve for name in names)]

    @property
    def whole(self) -> str:
        """What a model of all images is: a refit, or a student of the folds' models."""
        return "student" if self.problem.config.tracking.distill else "refit"

    @property
    def refit(self) -> bool:
        """Whether a model is trained on all images, once the folds are finished."""
        return self.problem.config.tracking.trains_on_all

    @property
    def curve(self) -> tuple[float, ...]:
        """Shares of their training parts that the folds are trained on as well, descending."""
        return self.problem.config.tracking.learning_curve

    @property
    def first_of_curve(self) -> int:
        """Number of tasks that are no part of the learning curve, whose own come after them."""
        return len(self.folds) + self.refit

    def tasks_of_curve(self, share: float) -> range:
        """Numbers of the tasks that train on a share, in the order of the folds."""
        first = self.first_of_curve + self.curve.index(share) * len(self.folds)
        return range(first, first + len(self.folds))

    @property
    def tasks(self) -> list[tuple[int, int]]:
        """All that is trained, by repeat and fold: the number of folds stands for none of them."""
        whole = [(0, self.problem.splits.folds)] if self.refit else []
        return [*self.folds, *whole, *self.folds * len(self.curve)]

    @cached_property
    def batch_norm(self) -> bool:
        """Whether the network has batch norm."""
        if self.problem.config.model.head_norm == "batch":
            return True
        network = create_backbone(self.problem.backbone, self.problem.size)
        return any(isinstance(m, BatchNorm) for m in network.modules())

    @property
    def digests(self) -> dict[str, str]:
        """Digests of settings, images, splits and new labels, and the source of the weights."""
        problem, new = self.problem, self.relabelled
        return {
            "config_digest": problem.config.digest,
            "data_digest": problem.images.digest,
            "splits_digest": problem.splits.digest,
            "weights": self.weights,
            **({} if new is None else {"relabel_digest": new.by.digest}),
        }


class Loader(Protocol):
    """What brings in the images, see `folds.images.load`."""

    def __call__(self, config: DataConfig, *, seed: int, largest: int) -> ImageSet:
        """Load what a configuration names."""
        ...


def prepare(config: Config, *, load: Loader = load, test: bool = True) -> Prepared:
    """Load and check everything that a run depends on.

    Parameters
    ----------
    config : Config
        The settings.
    load : Loader
        Brings in the images.
    test : bool
        Whether the test part that images may come with is scored. It may be once: not by each
        trial of a search.

    Raises
    ------
    UserError
        Something in it is wrong.
    """
    backbone = resolve(config.model.backbone)
    check_optimizer(config.optim.optimizer)
    wanted = sized(config.data, backbone)
    loaded = load(wanted, seed=config.split.seed, largest=native_size(backbone))
    limited = config.data.limit is not None
    loaded, new_labels = relabelled(loaded, config.data.relabel, limited=limited)
    named = named_sites(named_groups(loaded, config.data.group_regex), config.data.site_regex)
    select, slices = SelectBy.parse(config.evaluation.select_by), config.data.slices
    empty = check_columns(named.columns, select, slices)
    images, audit, aside = _audit(named, config)
    splits = make_splits(images, config.split, aside=aside)
    if config.split.splits is not None:
        images = with_given_groups(images, splits, audit)
    size = input_size(backbone, wanted.image_size, images.pixels.shape[1])
    names = images.class_names
    externals = load_externals(_external_sources(config, test=test), names, config.data, size=size)
    externals, told = looked_at(images, externals, config.data)
    if config.data.audit != "off":
        unlike = {other.name: looks_told(images, other.images, size) for other in externals}
        advice = "; --adapt auto may help" if config.model.adapt == "none" else ""
        told += [f"--external {name}: {line}{advice}" for name in unlike for line in unlike[name]]
    layers = check_size(backbone, size, config.model.head, config.model.drop_path)
    weights = load_pretrained(config.model.backbone, config.model.weights)
    pretrained = weights.state is not None
    if config.model.lora is not None:
        check_adapters(backbone, size, config.model.lora, pretrained=pretrained)
    stages = scheduled(config.train.stages, layers, pretrained=pretrained)
    notices = [
        *images.notices,
        *empty,
        *confounding(named),
        *split_notices(splits, images),
        *told,
        *([weights.notice] if weights.notice else []),
        *([SEEN.format(config.model.weights)] if weights.saw(fingerprint(images)) else []),
    ]
    if stages != scheduled(config.train.stages, layers, pretrained=True):
        notices.append(f"without pretrained weights: one stage, everything unfrozen ({stages[0]})")
    given = images, splits, size, stages, weights.state, externals
    problem = Problem(config, *given, resolved=backbone)
    chosen = _chosen(splits, config)
    check_curve(problem, chosen)
    found = tuple(notices), audit, new_labels
    return Prepared(problem, chosen, weights.source, layers, *found)


def _external_sources(config: Config, *, test: bool) -> dict[str, str]:
    """Sources of external images by name, if wanted with the test part that the images come with.

    That part is called ``test``. It can be nothing that models are chosen by: what they may be
    chosen by stands in the settings.

    Raises
    ------
    UserError
        Others are called so.
    """
    given = config.evaluation.externals
    source = own_test(config.data.told) if test and not config.data.sources else None
    if source is None:
        return given
    if _TEST in given:
        raise UserError(
            f"--external {_TEST}={given[_TEST]}: the test part of --data {config.data.told} has "
            "that name; give yours another"
        )
    return {_TEST: source, **given}


def sized(config: DataConfig, backbone: str) -> DataConfig:
    """Settings of images in which a backbone that takes one size alone asks for that."""
    if config.image_size == "auto" and fixed_input(backbone):
        return config.model_copy(update={"image_size": native_size(backbone)})
    return config


def scheduled(stages: tuple[Stage, ...], layers: int, *, pretrained: bool) -> tuple[Stage, ...]:
    """The schedule that is trained: one stage where the first weights are random.

    Parameters
    ----------
    stages : tuple of Stage
        The configured ones.
    layers : int
        Layer groups of the backbone.
    pretrained : bool

    Raises
    ------
    UserError
        A stage names more blocks than the backbone has.
    """
    try:
        own = tuple(stage.of(layers) for stage in stages)
    except ValueError as error:
        raise UserError(f"--stages {' '.join(map(str, stages))}: {error}") from None
    return own if pretrained else without_pretraining(own)


def _audit(
    images: ImageSet, config: Config
) -> tuple[ImageSet, AuditedImages | None, NDArray[np.str_] | None]:
    """Images that were looked at, and the ids of a hold-out that had to be settled before.

    Given splits are asked first what groups they keep.
    """
    if config.data.audit == "off":
        return images, None, None
    findings = audited(images)
    audit = AuditedImages(images.ids, images.labels, images.class_names, findings)
    drop, given = config.data.audit == "drop", config.split.splits is not None
    where = {"beside": "in the folds of --splits"} if given else {}
    if not (drop and config.split.holdout):
        return apply_findings(images, findings, drop=drop, group=not given, **where), audit, None
    if not given:
        images = replace(images, groups=merge_groups(images.groups, findings.cluster))
    aside = held_out(images, config.split)
    return drop_beside(images, findings, aside), audit, images.ids[aside]


def _chosen(splits: SplitManifest, config: Config) -> list[tuple[int, int]]:
    """The folds to train, of every repeat."""
    only = config.split.only_folds
    unknown = [fold for fold in only or () if fold >= splits.folds]
    if unknown:
        raise UserError(
            f"--only-folds {unknown[0]}: the folds are numbered 0 to {splits.folds - 1}"
        )
    return [task for task in tasks(splits) if only is None or task[1] in only]
