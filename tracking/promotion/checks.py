"""Checks that are left out where the two runs have not measured the same."""

from dataclasses import replace

import numpy as np

from folds.evaluation.gate import NO_SLICE_DROPS, Check, no_slice_drops, no_worse_under_shift
from tracking.promotion.common_images import Contender, PairedPredictions, corrupted_by_both

_UNDER_SHIFT = "no worse under shift"
_MEAN_UNDER_SHIFT = "shift.macro_f1"


def slice_checks(
    pair: PairedPredictions, candidate: Contender, champion: Contender, max_slice_drop: float
) -> list[Check]:
    """The check of sites and slices, where either run knows some."""
    if pair.columns:
        return [no_slice_drops(pair.champion, pair.candidate, pair.columns, max_slice_drop)]
    if candidate.evidence.columns or champion.evidence.columns:
        return [Check(NO_SLICE_DROPS, None, "not known of the same images in both runs")]
    return []


def shift_check(new: Contender, old: Contender, confidence: float) -> Check:
    """The check under shift; it is left out, not failed, where the candidate could not help it."""
    candidate, champion = new.evidence, old.evidence
    a, b = champion.shift, candidate.shift
    if a is None:
        return Check(_UNDER_SHIFT, None, "not measured in the champion's run")
    if candidate.run == champion.run:
        return Check(_UNDER_SHIFT, None, "not told apart: both are of one run, its folds' models")
    if b is None or not np.array_equal(a.corruptions, b.corruptions):
        what = "not measured" if b is None else "other corruptions than in the champion's run"
        kind = "full" if len(a.corruptions) > len(np.unique(a.corruptions)) else "fast"
        return Check(_UNDER_SHIFT, False, f"{what}; train with --shift {kind}")
    pair = corrupted_by_both(champion, candidate)
    if pair is None:
        return Check(_UNDER_SHIFT, None, "not the same images as in the champion's run")
    result = no_worse_under_shift(*pair, confidence)
    count = len(np.intersect1d(champion.shift_ids, candidate.shift_ids))
    flatters = new.flattering([_MEAN_UNDER_SHIFT])
    also = ", which chose the candidate's epochs and so flatter it" if flatters else ""
    return replace(result, text=f"{result.text}; of {count} images{also}")
