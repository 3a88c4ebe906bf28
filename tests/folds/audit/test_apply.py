import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from folds.audit import Findings
from folds.audit.apply import apply_findings, summary
from folds.audit.clusters import disagree, duplicate_clusters
from folds.audit.store import audited
from folds.config import Config, SplitConfig
from folds.errors import UserError
from folds.images.groups import merge_groups
from folds.images.pixelfile import PixelFile, PixelWriter
from folds.prepare import prepare
from folds.splits.make import make_splits


def findings(cluster, *, junk=(), exact=()):
    """Findings without pairs."""
    rows = np.arange(len(cluster))
    return Findings(
        np.where(np.isin(rows, junk), 2.0, 0.5).astype(np.float32),
        tuple("unlike every class" if row in junk else "" for row in rows),
        np.array(cluster),
        np.isin(rows, exact),
        np.zeros((0, 2), np.int64),
        np.zeros(0, np.float32),
        np.zeros((len(rows), 3), np.float32),
    )


@pytest.fixture
def images(make_images):
    return make_images((5, 5))


PLAIN = list(range(10))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30)), min_size=1, max_size=30))
def test_neither_groups_nor_clusters_are_cut_and_others_not_joined(drawn):
    groups = np.array([f"g{group}" for group, _ in drawn])
    cluster = np.array([min(pointer, row) for row, (_, pointer) in enumerate(drawn)])
    cluster = np.array([row if cluster[c] != c else c for row, c in enumerate(cluster)])
    joined = merge_groups(groups, cluster)
    for row, first in enumerate(cluster):
        assert joined[row] == joined[first]
        assert len(set(joined[groups == groups[row]])) == 1
    assert set(joined) <= set(groups)
    if (cluster == np.arange(len(cluster))).all():
        np.testing.assert_array_equal(joined, groups)


def test_near_duplicates_share_a_fold(images):
    cluster = [0, 1, 2, 3, 0, 5, 6, 1, 8, 9]
    safe = apply_findings(images, findings(cluster), drop=False)
    fold = make_splits(safe, SplitConfig(folds=2))
    for train, held_out in (fold.parts(0, number, safe.ids) for number in (0, 1)):
        assert not set(np.array(cluster)[train]) & set(np.array(cluster)[held_out])


def test_drop_leaves_out_junk_and_copies_and_nothing_else(images):
    found = findings([0, 1, 2, 3, 0, 0, 6, 7, 8, 9], junk=[2], exact=[4])
    rest = apply_findings(images, found, drop=True)
    assert rest.ids.tolist() == np.delete(images.ids, [2, 4]).tolist()
    assert rest.groups[0] == rest.groups[3] == images.ids[0]  # row 5 is a near-duplicate
    np.testing.assert_array_equal(rest.pixels, np.delete(images.pixels, [2, 4], axis=0))


def test_drop_keeps_images_that_are_in_a_file_there(images, tmp_path):
    with PixelWriter(tmp_path / "pixels.npy", images.pixels.shape) as writer:
        writer.write(np.arange(10), images.pixels)
        filed = dataclasses.replace(images, pixels=writer.finish())
    found = findings(PLAIN, junk=[2, 3])
    rest = apply_findings(filed, found, drop=True)
    assert isinstance(rest.pixels, PixelFile)
    assert rest.digest == apply_findings(images, found, drop=True).digest
    assert len(list(tmp_path.iterdir())) == 1


def test_drop_may_not_empty_a_class(images):
    junk = np.flatnonzero(images.labels == 1)
    with pytest.raises(UserError, match="--audit drop: would leave out every image of class 'cl"):
        apply_findings(images, findings(PLAIN, junk=junk), drop=True)


def test_the_summary_counts_each_thing_once(images):
    cluster = [0, 1, 2, 3, 0, 0, 6, 6, 8, 9]
    found = findings(cluster, junk=[8], exact=[4])
    (line,) = summary(images, found, drop=False, beside="beside them", remedy="do so")
    assert "1 images that look like no class (junk), kept; 1 exact copies" in line
    assert "2 near-duplicates, beside them" in line
    assert line.endswith("(python -m folds.inspect shows them; do so)")
    assert summary(images, findings(PLAIN), drop=False, beside="") == ()
    clash = sum(disagree(images, rows) for rows in duplicate_clusters(images, found))
    assert ("different labels" in line) == bool(clash)
    assert f"{clash} clusters" in line or not clash


class TestMemory:
    def test_is_read_and_gives_the_same(self, images, monkeypatch):
        first = audited(images)
        monkeypatch.setattr("folds.audit.store.audit", lambda _: pytest.fail("audited again"))
        again = audited(images)
        for field in dataclasses.fields(first):
            np.testing.assert_array_equal(getattr(again, field.name), getattr(first, field.name))

    def test_does_not_depend_on_the_order_of_the_images(self, make_images):
        images = make_images((20, 20))
        pixels = images.pixels.copy()
        pixels[[3, 17]] = pixels[30]
        images = dataclasses.replace(images, pixels=pixels)
        order = np.random.default_rng(0).permutation(40)
        found, again = audited(images), audited(images.take(order))
        assert {tuple(sorted(pair)) for pair in found.pairs.tolist()} == {(3, 17), (3, 30)}
        np.testing.assert_array_equal(order[again.cluster], found.cluster[order])
        np.testing.assert_array_equal(again.exact, found.exact[order])

    def test_is_mended_when_damaged(self, images, monkeypatch, tmp_path):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        audited(images)
        (file,) = (tmp_path / "crossfold" / "audit").iterdir()
        file.write_bytes(file.read_bytes()[:100])
        assert not audited(images).junk.any()
        assert len(file.read_bytes()) > 100

    def test_is_done_without_where_nothing_can_be_written(self, images, monkeypatch, tmp_path):
        (tmp_path / "crossfold").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert not audited(images).junk.any()


@pytest.mark.parametrize(("mode", "count"), [("off", 130), ("report", 130), ("drop", 100)])
def test_a_run_is_prepared_with_what_was_found(make_images, tmp_path, mode, count):
    images = make_images((50, 50))
    rows = np.r_[np.arange(100), np.arange(30)]
    path = tmp_path / "images.npz"
    np.savez(path, images=images.pixels[rows], labels=images.labels[rows])
    settings = {"data": str(path), "audit": mode, "backbone": "test_vit", "weights": "none"}
    prepared = prepare(Config.from_flat(settings))
    assert len(prepared.problem.images) == count
    assert len(np.unique(prepared.problem.images.groups)) == (130 if mode == "off" else 100)
    assert any("30 exact copies" in notice for notice in prepared.notices) == (mode != "off")


class TestDropBesideAHoldout:
    """`--audit drop --holdout`: what is dropped must not depend on the hold-out."""

    @pytest.fixture
    def settings(self, make_images, tmp_path):
        good = make_images((60, 60), side=16)
        noise = np.random.default_rng(1).choice([0, 255], (20, 16, 16, 3)).astype(np.uint8)
        images = np.concatenate([good.pixels, noise, good.pixels[:20]])
        labels = np.r_[good.labels, np.arange(20) % 2, good.labels[:20]]
        np.savez(tmp_path / "images.npz", images=images, labels=labels)
        return {
            "data": str(tmp_path / "images.npz"), "audit": "drop", "holdout": 0.25, "folds": 2,
            "backbone": "test_vit", "weights": "none", "batch_size": 8,
        }  # fmt: skip

    def test_nothing_of_the_holdout_is_dropped_and_the_others_junk_and_copies_are(self, settings):
        prepared = prepare(Config.from_flat(settings))
        problem = prepared.problem
        kept = problem.images.ids.astype(int)
        held = kept[problem.splits.holdout(problem.images.ids)]
        assert len(held) == 40  # a quarter of all images, as they come
        others = np.setdiff1d(kept, held)
        assert not ((others >= 120) & (others < 140)).any()
        assert not set(others[others >= 140] - 140) & set(others)
        odd = ((held >= 120) & (held < 140)).sum()
        assert odd > 0
        told = f"the 40 images of the hold-out all stay, {odd} of them like no class (junk)"
        assert any(told in line for line in prepared.notices)

    def test_labels_of_the_holdout_do_not_matter(self, settings, monkeypatch):
        first = prepare(Config.from_flat(settings)).problem
        aside = first.splits.holdout(first.images.ids)
        rows = first.images.ids[aside].astype(int)
        with np.load(settings["data"]) as arrays:
            images, labels = arrays["images"], arrays["labels"]
        labels[rows] = 1 - labels[rows]
        np.savez(settings["data"], images=images, labels=labels)
        monkeypatch.setattr(
            "folds.prepare.held_out", lambda seen, _: np.isin(seen.ids, first.images.ids[aside])
        )
        again = prepare(Config.from_flat(settings)).problem
        assert again.images.ids.tolist() == first.images.ids.tolist()

    def test_given_splits_drop_the_same(self, settings, tmp_path):
        first = prepare(Config.from_flat(settings)).problem
        first.splits.write(tmp_path / "splits.json")
        again = Config.from_flat({**settings, "splits": str(tmp_path / "splits.json")})
        assert prepare(again).problem.images.ids.tolist() == first.images.ids.tolist()
