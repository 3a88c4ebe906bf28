import json

import numpy as np
import pytest

from folds.audit.suspects import RunPredictions, find_suspects, match, read_predictions, rows_of
from folds.errors import UserError
from tests.folds.audit.planted import planted, save_opinions


@pytest.fixture(scope="module")
def images():
    return planted()


def noisy(count=600, classes=4, flips=30, seed=0):
    """Predictions that are right four times in five, and labels of which some were flipped."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, count)
    logits = rng.normal(0, 1, (count, classes)) + 4 * np.eye(classes)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    flipped = rng.permutation(count)[:flips]
    labels = truth.copy()
    labels[flipped] = (truth[flipped] + rng.integers(1, classes, flips)) % classes
    ids = np.array([f"{row:04d}" for row in range(count)])
    return RunPredictions("x", ids, labels, probabilities, tuple("abcd")), ids[flipped], truth


class TestFindSuspects:
    @pytest.mark.parametrize("seed", range(3))
    def test_planted_flips_are_ranked_first(self, seed):
        predictions, flipped, truth = noisy(seed=seed)
        suspects = find_suspects(predictions)
        found = np.isin(suspects.ids, flipped)
        assert found.sum() >= 0.8 * len(flipped)
        assert found[:20].all()
        right = suspects.suggested == truth[np.searchsorted(predictions.ids, suspects.ids)]
        assert right[found].mean() > 0.9

    def test_they_are_in_order_and_disagree_with_the_label(self):
        suspects = find_suspects(noisy()[0])
        assert (np.diff(suspects.quality) >= 0).all()
        assert (suspects.given != suspects.suggested).all()
        assert (suspects.confidence > suspects.quality).all()

    def test_good_labels_are_not_suspect(self, images, tmp_path):
        path = save_opinions(tmp_path / "oof.npz", images)
        assert len(find_suspects(read_predictions(path))) == 0

    def test_a_class_that_nobody_carries(self, images, tmp_path):
        few = images.take(np.flatnonzero(images.labels != 1))
        row = np.flatnonzero(few.labels == 2)[0]
        path = save_opinions(tmp_path / "oof.npz", few, flipped=[row])
        assert find_suspects(read_predictions(path)).ids.tolist() == [few.ids[row]]


class TestReadOpinions:
    def test_repeats_are_averaged(self, tmp_path):
        np.savez(
            tmp_path / "oof.npz",
            ids=np.array(["b", "a", "a", "b"]), labels=np.array([1, 0, 0, 1]),
            probabilities=np.array([[0.2, 0.8], [1, 0], [0.5, 0.5], [0.4, 0.6]], np.float32),
        )  # fmt: skip
        predictions = read_predictions(tmp_path)
        assert predictions.ids.tolist() == ["a", "b"]
        assert predictions.labels.tolist() == [0, 1]
        assert np.allclose(predictions.probabilities, [[0.75, 0.25], [0.3, 0.7]])
        assert predictions.class_names == ("0", "1")

    def test_names_are_the_runs(self, images, tmp_path):
        save_opinions(tmp_path / "oof.npz", images)
        (tmp_path / "summary.json").write_text(json.dumps({"class_names": ["x", "y", "z"]}))
        assert read_predictions(tmp_path).class_names == ("x", "y", "z")

    @pytest.mark.parametrize("content", ["[]", "{", '{"class_names": ["x"]}', '{"class_names": 1}'])
    def test_a_summary_that_does_not_fit_is_done_without(self, images, tmp_path, content):
        save_opinions(tmp_path / "oof.npz", images)
        (tmp_path / "summary.json").write_text(content)
        assert read_predictions(tmp_path).class_names == ("0", "1", "2")

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"ids": np.arange(4)}, "ids has dtype int64"),
            ({"labels": np.array([0, 1, 2, 0])}, "a label is not among its 2 classes"),
            ({"labels": np.array([0.0, 1, 1, 0])}, "labels has dtype float64"),
            ({"labels": np.array([0, 1, 1])}, "have shapes"),
            ({"labels": np.array([0, 0, 0, 1])}, "an id has two labels"),
            ({"probabilities": np.full((4, 2), np.nan)}, "negative or not a number"),
            ({"probabilities": np.zeros((4, 2))}, "are all 0"),
            ({"probabilities": np.ones((4, 1))}, "at least two classes"),
            ({"probabilities": np.array([{}] * 4)}, "pickle"),
        ],
    )
    def test_what_is_no_opinion_is_refused(self, tmp_path, change, words):
        arrays = {
            "ids": np.array(["b", "a", "a", "b"]), "labels": np.array([1, 0, 0, 1]),
            "probabilities": np.full((4, 2), 0.5), **change,
        }  # fmt: skip
        np.savez(tmp_path / "oof.npz", **arrays)
        with pytest.raises(UserError, match=words) as caught:
            read_predictions(tmp_path)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(f"--oof {tmp_path}: ")

    def test_missing_and_damaged_files(self, images, tmp_path):
        with pytest.raises(UserError, match=r"give an oof\.npz"):
            read_predictions(tmp_path)
        path = save_opinions(tmp_path / "oof.npz", images)
        path.write_bytes(path.read_bytes()[:500])
        with pytest.raises(UserError, match=r"not a readable oof\.npz"):
            read_predictions(path)
        np.savez(path, ids=images.ids)
        with pytest.raises(UserError, match="labels"):
            read_predictions(path)


class TestMatch:
    def test_takes_the_names_of_the_images(self, images, tmp_path):
        predictions = read_predictions(
            save_opinions(tmp_path / "oof.npz", images.take(np.arange(30)))
        )
        assert match(predictions, images).class_names == images.class_names

    def test_rows_are_found_in_any_order(self, images):
        shuffled = images.take(np.random.default_rng(0).permutation(len(images)))
        rows = rows_of(images.ids[5:9], shuffled)
        assert shuffled.ids[rows].tolist() == images.ids[5:9].tolist()

    def test_other_images_labels_and_classes_are_refused(self, images, tmp_path):
        predictions = read_predictions(save_opinions(tmp_path / "oof.npz", images))
        with pytest.raises(UserError, match="6 of its 46 ids are not in --data"):
            match(predictions, images.take(np.arange(40)))
        relabelled = images.take(np.arange(46))
        relabelled.labels[3] = (relabelled.labels[3] + 1) % 3
        with pytest.raises(UserError, match="1 labels differ"):
            match(predictions, relabelled)
        names = ("a", "b", "c", "d")
        with pytest.raises(UserError, match="3 classes, --data has 4"):
            match(
                predictions,
                type(images)(images.pixels, images.labels, names, images.ids, images.ids),
            )
