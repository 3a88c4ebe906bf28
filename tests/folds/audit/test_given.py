import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from folds.audit.findings import AuditedImages
from folds.audit.given import with_given_groups
from folds.config import Config, SplitConfig
from folds.prepare import prepare
from folds.splits.make import make_splits
from tests.conftest import small_images
from tests.folds.audit.test_apply import findings

IMAGES = small_images((6, 6), side=8)
COUNT = len(IMAGES)


def partition(numbers):
    """Who is together with whom."""
    return {frozenset(np.flatnonzero(np.array(numbers) == n).tolist()) for n in set(numbers)}


@given(
    st.lists(st.integers(0, 8), min_size=COUNT, max_size=COUNT),
    st.lists(st.integers(0, 8), min_size=COUNT, max_size=COUNT),
    st.permutations(range(COUNT)),
)
def test_groups_are_joined_with_those_of_the_file_and_with_duplicates(known, copies, order):
    manifest = make_splits(IMAGES, SplitConfig(folds=2))
    groups = np.array([f"g{known[int(name[5:])]}" for name in manifest.ids])
    manifest = dataclasses.replace(manifest, groups=manifest.ids)
    object.__setattr__(manifest, "groups", groups)  # as if the folds did not cut them
    first = [copies.index(n) for n in copies]
    audit = AuditedImages(IMAGES.ids, IMAGES.labels, IMAGES.class_names, findings(first))
    images = with_given_groups(IMAGES.take(np.array(order)), manifest, audit)
    joined = dict(zip(images.ids.tolist(), images.groups.tolist(), strict=True))
    together = [joined[name] for name in IMAGES.ids.tolist()]
    for group in partition(known) | partition(copies):
        assert len({together[row] for row in group}) == 1
    links = {frozenset((known[row], 100 + copies[row])) for row in range(COUNT)}
    parts = {frozenset(link) for link in links}
    while any(a & b for a in parts for b in parts if a != b):
        a, b = next((a, b) for a in parts for b in parts if a != b and a & b)
        parts = parts - {a, b} | {a | b}
    assert len(set(together)) == len(parts)


@pytest.fixture
def doubled(make_images, tmp_path):
    """40 images of which 10 are there twice, and folds made without a look at them."""
    images = make_images((20, 20))
    rows = np.r_[np.arange(40), np.arange(10)]
    path = tmp_path / "images.npz"
    np.savez(path, images=images.pixels[rows], labels=images.labels[rows])
    settings = {"data": str(path), "backbone": "test_vit", "weights": "none", "batch_size": 8}
    splits = prepare(Config.from_flat(settings | {"audit": "off"})).problem.splits
    splits.write(tmp_path / "splits.json")
    return settings | {"splits": str(tmp_path / "splits.json")}


def test_clusters_that_given_folds_cut_are_counted_and_named(doubled):
    prepared = prepare(Config.from_flat(doubled))
    (part,) = prepared.problem.splits.fold
    cut = [row for row in range(10) if part[row] != part[40 + row]]
    (notice,) = [line for line in prepared.notices if "clusters of duplicates (" in line]
    assert f"--splits cut {len(cut)} of 10 clusters" in notice
    assert f"(00000{cut[0]:02} and 00000{40 + cut[0]}, " in notice
    assert "10 exact copies, in the folds of --splits" in " ".join(prepared.notices)
    assert not any("in one fold with their originals" in line for line in prepared.notices)


def test_intervals_take_duplicates_together_where_folds_are_given(doubled):
    images = prepare(Config.from_flat(doubled)).problem.images
    assert (images.groups[:10] == images.groups[40:]).all()
    assert len(np.unique(images.groups)) == 40


def test_groups_of_the_file_count_without_an_audit(make_images, tmp_path, doubled):
    first = prepare(Config.from_flat({**doubled, "splits": None})).problem
    first.splits.write(tmp_path / "safe.json")
    again = {**doubled, "splits": str(tmp_path / "safe.json"), "audit": "off"}
    assert (prepare(Config.from_flat(again)).problem.images.groups == first.images.groups).all()
    seen = prepare(Config.from_flat({**again, "audit": "report"}))
    assert not any("--splits cut" in line for line in seen.notices)
