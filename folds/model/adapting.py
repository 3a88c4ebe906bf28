"""A network that adapts to a table of images, as far as the table bears it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

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
_MOST_ALIKE = 2.0  # classes, by the entropy of their shares: fewer are no table to adapt to

Answer = Callable[[Tensor], Tensor]  # from images (B, 3, S, S) to probabilities (B, C)


@dataclass(frozen=True)
class Plan:
    """What is done for a table.

    Parameters
    ----------
    kinds : tuple of str
        Of `folds.config.adaptation.KINDS`.
    told : tuple of str
        What was asked for and is not done, and why.
    """

    kinds: tuple[str, ...]
    told: tuple[str, ...] = ()


@contextmanager
def adapting(
    networks: Sequence[nn.Module],
    answer: Answer,
    sample: Sequence[Tensor],
    count: int,
    appearance: Appearance,
    adapt: str,
) -> Iterator[Plan]:
    """Settle what is done for a table, and give the networks its batch norm statistics meanwhile.

    Parameters
    ----------
    networks : sequence of Module
        From images (B, 3, S, S); nothing of them is folded.
    answer : callable
        What they say together.
    sample : sequence of Tensor of float32, shape (B, 3, S, S)
        Images of the table, at most `LOOKED_AT`, in its order.
    count : int
        Images of the table.
    adapt : str
        As `folds.config.adaptation.check_adapt` gives it.

    Notes
    -----
    - with ``auto`` a table of which most images look like training's gets no batch norm and no
      class shares of its own;
    - a table of fewer than 32 images, or of hardly more than one class, gets none in any case.

    References
    ----------
    Schneider et al., Improving robustness against common corruptions by covariate shift adaptation,
    NeurIPS 2020, for the blend of training's statistics with the table's.
    """
    plan = _settled(answer, sample, count, appearance, adapt)
    norms = [m for one in networks for m in one.modules() if isinstance(m, BatchNorm)]
    norms = [norm for norm in norms if norm.track_running_stats] if "bn" in plan.kinds else []
    own = [{name: tensor.clone() for name, tensor in norm.named_buffers()} for norm in norms]
    if norms:
        images = torch.cat([bring(batch, appearance, plan.kinds) for batch in sample])
        _renew(networks, images)
        part = len(images) / (len(images) + _TRAININGS)
        for norm, before in zip(norms, own, strict=True):
            for name in ("running_mean", "running_var"):
                getattr(norm, name).lerp_(before[name], 1 - part)
    try:
        yield plan
    finally:
        for norm, before in zip(norms, own, strict=True):
            for name, tensor in before.items():
                getattr(norm, name).copy_(tensor)


def _renew(networks: Sequence[nn.Module], images: Tensor) -> None:
    """Let batch norm take its statistics from images, each network from its own layers' outputs."""
    batches = torch.split(images, _BATCH)
    whole = [batch for batch in batches if len(batch) == _BATCH] or list(batches)
    for network in networks:
        tracked = (
            name
            for name, module in network.named_modules()
            if isinstance(module, BatchNorm) and module.track_running_stats
        )
        renew(network, list(tracked), whole)


def _settled(
    answer: Answer, sample: Sequence[Tensor], count: int, appearance: Appearance, adapt: str
) -> Plan:
    """What is done: what was asked for, less what the table does not bear."""
    kinds = asked_kinds(adapt)
    whole = [kind for kind in kinds if kind in ("bn", "prior")]
    if not whole:
        return Plan(kinds)
    flaw = _flaw(answer, sample, count, appearance, kinds, adapt)
    if flaw is None:
        return Plan(kinds)
    left = tuple(kind for kind in kinds if kind not in whole)
    return Plan(left, (f"--adapt {adapt}: without {' and '.join(whole)}, since {flaw}",))


def _flaw(
    answer: Answer,
    sample: Sequence[Tensor],
    count: int,
    appearance: Appearance,
    kinds: Sequence[str],
    adapt: str,
) -> str | None:
    """Why a table as a whole cannot be adapted to; None where it can."""
    if count < FEWEST:
        return f"{count} images are too few; give {FEWEST} or more at once"
    if adapt == AUTO:
        looks = [unlike(looks_of(batch), appearance) for batch in sample]
        other = torch.cat([colour | framing for colour, framing in looks])
        if float(other.float().mean()) <= 0.5:
            return "most images look like those of training"
    shares = torch.cat([answer(bring(batch, appearance, kinds)) for batch in sample]).mean(dim=0)
    classes = float(torch.special.entr(shares.double()).sum().exp())
    if classes < _MOST_ALIKE:
        return "the images seem to be of hardly more than one class"
    return None
