"""A network that adapts to a table of images, as far as the table bears it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from folds.adaptation import Appearance, bring, looks_of, unlike
from folds.config.adaptation import AUTO, asked_kinds
from folds.model.layer_groups import BatchNorm
from folds.model.soup import renew

LOOKED_AT = 512  # images of a table that decide, and that batch norm's statistics are of
FEWEST = 32  # images that batch norm and class shares are adapted to
_BATCH = 64
_TRAININGS = 16.0  # images that training's statistics count for
_FEWEST_CLASSES = 1.5  # as `_effective` counts them, and half as many as in training
_WHOLE = ("bn", "prior")  # what takes a table as a whole

Sample = Callable[[], Sequence[Tensor]]  # asked only where it matters
Answer = Callable[[Tensor], Tensor]  # from images (B, 3, S, S) to probabilities (B, C)


def looked_at(count: int) -> slice:
    """The images of a table that are looked at, evenly spread over its order."""
    return slice(None, None, max(1, -(-count // LOOKED_AT)))


@dataclass(frozen=True)
class Plan:
    """What is done for a table.

    Parameters
    ----------
    kinds : tuple of str
        Of `folds.config.adaptation.KINDS`.
    told : str, optional
        What was asked for and is not done, and why.
    whole : bool
        Whether the table is taken as a whole.
    """

    kinds: tuple[str, ...]
    told: str | None = None
    whole: bool = False


def settle(
    networks: Iterable[nn.Module],
    answer: Answer,
    sample: Sample,
    count: int,
    appearance: Appearance,
    adapt: str,
) -> Plan:
    """Settle what is done for a table: what was asked for, less what the table does not bear.

    Parameters
    ----------
    networks : iterable of Module
    answer : callable
        What they say together.
    sample : callable
        Gives images (B, 3, S, S) of the table, float32 in [0, 1], those that `looked_at` names.
    count : int
        Images of the table.
    adapt : str
        As `folds.config.adaptation.check_adapt` gives it.

    Notes
    -----
    - with ``auto`` nothing is done for a table of which most images look like training's;
    - with ``auto`` class shares are left alone where there is no batch norm;
    - a table of fewer than 32 images, or of less than half as many classes as training's, gets
      none in any case: what its classes look like would count for what the laboratory does.
    """
    kinds = asked_kinds(adapt)
    whole = [kind for kind in kinds if kind in _WHOLE]
    if not whole:
        return Plan(kinds)
    if count < FEWEST:
        flaw: str | None = f"{count} images are too few; give {FEWEST} or more at once"
    elif adapt == AUTO and _alike(sample(), appearance):
        return Plan((), f"--adapt {adapt}: nothing, since most images look like those of training")
    else:
        flaw = _flaw(answer, sample(), appearance, kinds)
    if flaw is None and (adapt != AUTO or any(_norms(networks))):
        return Plan(kinds, whole=True)
    left = tuple(kind for kind in kinds if kind not in whole)
    why = flaw or "the network has no batch norm"
    return Plan(left, f"--adapt {adapt}: without {' and '.join(whole)}, since {why}", flaw is None)


def _alike(sample: Sequence[Tensor], appearance: Appearance) -> bool:
    """Whether most images look like training's."""
    looks = [unlike(looks_of(batch), appearance) for batch in sample]
    return float(torch.cat([colour | framing for colour, framing in looks]).float().mean()) <= 0.5


def _flaw(
    answer: Answer, sample: Sequence[Tensor], appearance: Appearance, kinds: Sequence[str]
) -> str | None:
    """Why a table as a whole cannot be adapted to; None where it can."""
    shares = torch.cat([answer(bring(batch, appearance, kinds)) for batch in sample]).mean(dim=0)
    found = _effective(shares)
    trained = _effective(torch.tensor(appearance.shares))
    if found < max(_FEWEST_CLASSES, trained / 2):
        return f"the images seem to be of {found:.1f} classes, training's of {trained:.1f}"
    return None


def _effective(shares: Tensor) -> float:
    """How many equally frequent classes are as diverse: the exponential of the entropy."""
    return float(torch.special.entr(shares.double() / shares.double().sum()).sum().exp())


@contextmanager
def table_norms(
    networks: Sequence[nn.Module], sample: Sample, appearance: Appearance, plan: Plan
) -> Iterator[None]:
    """Let networks have batch norm statistics of a table for a while, where it is planned.

    Parameters
    ----------
    networks : sequence of Module
        From images (B, 3, S, S); nothing of them is folded.
    sample : callable
        See `settle`.

    References
    ----------
    Schneider et al., Improving robustness against common corruptions by covariate shift adaptation,
    NeurIPS 2020, for the blend of training's statistics with the table's.
    """
    norms = [norm for _, norm in _norms(networks)] if "bn" in plan.kinds else []
    own = [{name: tensor.clone() for name, tensor in norm.named_buffers()} for norm in norms]
    if norms:
        images = torch.cat([bring(batch, appearance, plan.kinds) for batch in sample()])
        batches = torch.split(images, _BATCH)
        whole = [batch for batch in batches if len(batch) == _BATCH] or batches
        for network in networks:
            renew(network, [name for name, _ in _norms([network])], whole)
        trainings = _TRAININGS / (len(images) + _TRAININGS)
        for norm, before in zip(norms, own, strict=True):
            for name in ("running_mean", "running_var"):
                getattr(norm, name).lerp_(before[name], trainings)
    try:
        yield
    finally:
        for norm, before in zip(norms, own, strict=True):
            for name, tensor in before.items():
                getattr(norm, name).copy_(tensor)


def _norms(networks: Iterable[nn.Module]) -> Iterator[tuple[str, Any]]:
    """Batch norms that keep statistics, by their names in their networks."""
    for network in networks:
        for name, module in network.named_modules():
            if isinstance(module, BatchNorm) and module.track_running_stats:
                yield name, module
