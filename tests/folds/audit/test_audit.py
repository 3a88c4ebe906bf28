import dataclasses
import json

import numpy as np
import pytest

from folds.audit import audit
from folds.config import DataConfig
from folds.images import load
from folds.images.demo import cells
from tests.folds.audit.junkyard import KINDS, hidden, junk


@pytest.fixture(scope="module")
def blood(shared):
    return load(DataConfig(data=str(shared / "data" / "pbc96"), limit=500), seed=0, largest=96)


@pytest.fixture(scope="module")
def demo():
    return cells(600)


@pytest.fixture(scope="module")
def found(shared):
    images = load(DataConfig(data=str(shared / "data/an2dl_like.npz")), seed=0, largest=96)
    truth = json.loads((shared / "data/an2dl_like.truth.json").read_text())
    return images, audit(images), truth


class TestChallenge:
    """The file in the format of the challenge, whose truth is known."""

    def test_all_junk_is_found_and_hardly_anything_else(self, found):
        _, findings, truth = found
        bad = np.isin(np.arange(len(findings.junk)), truth["junk"])
        assert findings.junk[bad].all()
        assert findings.junk[~bad].mean() <= 0.01

    def test_duplicates_are_found_and_nothing_else(self, found):
        _, findings, truth = found
        real = {frozenset((int(copy), row)) for copy, row in truth["duplicate_of"].items()}
        told = {frozenset(pair) for pair in findings.pairs.tolist()}
        assert len(told & real) / len(real) >= 0.95
        assert len(told & real) / len(told) >= 0.95

    def test_reasons_say_how_often_a_frame_is_repeated(self, found):
        _, findings, truth = found
        assert all("the same picture" in findings.reasons[row] for row in truth["junk"])

    def test_order_does_not_matter(self, found):
        images, findings, _ = found
        order = np.random.default_rng(3).permutation(len(images))
        other = audit(images.take(order))
        np.testing.assert_array_equal(other.junk, findings.junk[order])
        np.testing.assert_array_equal(other.exact, findings.exact[order])
        np.testing.assert_array_equal(order[other.cluster], findings.cluster[order])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("source", "share"), [("demo", 0.1), ("blood", 0.01), ("blood", 0.3)])
def test_junk_is_found(request, source, kind, share):
    images = request.getfixturevalue(source)
    count = round(len(images) * share / (1 - share))
    both, bad = hidden(images, junk(kind, count, images.pixels.shape[1]))
    findings = audit(both)
    hazy = 0.02 if (source, kind) == ("demo", "photographs") else 0  # as pale as rendered cells
    assert findings.junk[bad].mean() >= 1 - hazy
    assert findings.junk[~bad].mean() <= 0.01


@pytest.mark.parametrize("source", ["demo", "blood"])
def test_there_need_not_be_junk(request, source):
    findings = audit(request.getfixturevalue(source))
    assert findings.junk.mean() <= 0.005


def test_a_class_that_looks_like_nothing_else_is_no_junk(demo):
    noise = junk("noise", 80, demo.pixels.shape[1])
    both, odd = hidden(demo, noise)
    names = (*demo.class_names, "artefact")
    labels = np.where(odd, len(demo.class_names), both.labels)
    findings = audit(dataclasses.replace(both, labels=labels, class_names=names))
    assert findings.junk.mean() <= 0.01


def test_few_images_are_not_judged(make_images):
    findings = audit(make_images((6, 6)))
    assert not findings.junk.any()
    assert "fewer than 30" in findings.notices[0]
