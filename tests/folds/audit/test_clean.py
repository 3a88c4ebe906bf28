import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from folds.audit import Findings
from folds.audit.clean import manifest_path, select, write_clean
from folds.audit.clusters import disagree, duplicate_clusters, junk_clusters
from folds.config import DataConfig
from folds.errors import RunError
from folds.images import ImageSet, load
from tests.folds.audit.planted import REPEATED, brute_force, planted


@pytest.fixture(scope="module")
def images():
    return planted()


@pytest.fixture(scope="module")
def findings(images):
    return brute_force(images)


class TestClusters:
    def test_duplicates_are_good_images_the_greatest_cluster_first(self, images, findings):
        assert [rows.tolist() for rows in duplicate_clusters(images, findings)] == [
            [2, 44, 45], [0, 42], [1, 43],
        ]  # fmt: skip

    def test_frames_are_junk_with_its_repetitions(self, images, findings):
        assert sorted(map(len, junk_clusters(images, findings))) == [1, REPEATED]

    def test_only_different_labels_disagree(self, images, findings):
        assert [disagree(images, rows) for rows in duplicate_clusters(images, findings)] == [
            True, False, False,
        ]  # fmt: skip

    def test_nothing_found_is_nothing(self, images, findings):
        clean = images.take(np.arange(36))
        found = brute_force(clean)
        assert duplicate_clusters(clean, found) == junk_clusters(clean, found) == []


class TestSelect:
    def test_the_most_frequent_label_of_a_cluster_is_kept(self, images, findings):
        chosen = select(images, findings)
        assert chosen.kept[44]
        assert not chosen.kept[[2, 45]].any()
        assert chosen.why[2].startswith("copy of image0044, which is labelled ")
        assert chosen.why[45] == "copy of image0044"
        assert chosen.why[43] == "near-duplicate of image0001"
        assert chosen.duplicate_of[[2, 45, 43]].tolist() == [44, 44, 1]

    def test_junk_is_left_out_with_its_reason(self, images, findings):
        chosen = select(images, findings)
        assert [chosen.why[row] for row in range(36, 42)] == ["black and white"] * 6
        assert (chosen.duplicate_of[36:42] == -1).all()

    @given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 2)), min_size=2))
    def test_kept_and_left_out_are_everything_and_one_of_each_cluster_stays(self, drawn):
        number, clean, labels = (np.array(part) for part in zip(*drawn, strict=True))
        junk = ~clean[np.array([np.flatnonzero(number == n)[0] for n in number])]
        count = len(drawn)
        ids = np.array([f"{row:03d}" for row in range(count)])
        pixels = np.zeros((count, 2, 2, 3), np.uint8)
        images = ImageSet(pixels, labels.astype(np.int64), ("a", "b", "c"), ids, ids)
        first = np.array([np.flatnonzero(number == n)[0] for n in number])
        found = Findings(
            2 * junk.astype(np.float32), tuple("x" * bad for bad in junk.tolist()), first,
            np.zeros(count, bool), np.empty((0, 2), np.int64), np.empty(0, np.float32),
            np.zeros((count, 1), np.float32),
        )  # fmt: skip
        chosen = select(images, found)
        assert ((chosen.duplicate_of >= 0) | junk | chosen.kept).all()
        assert not (chosen.kept & (junk | (chosen.duplicate_of >= 0))).any()
        for n in set(number[~junk].tolist()):
            rows = np.flatnonzero(number == n)
            (stays,) = rows[chosen.kept[rows]]
            counts = np.bincount(labels[rows], minlength=3)
            assert counts[labels[stays]] == counts.max()


class TestWriteClean:
    def test_round_trip(self, images, findings, tmp_path):
        path = tmp_path / "clean.npz"
        chosen = select(images, findings)
        write_clean(path, images, findings, chosen)
        again = load(DataConfig(data=str(path)), seed=0, largest=64)
        with np.load(path) as arrays:
            rows = arrays["original_indices"]
            assert arrays["ids"].tolist() == images.ids[rows].tolist()
            assert rows.dtype == np.int64
        assert (again.pixels == images.pixels[rows]).all()
        assert again.labels.tolist() == images.labels[rows].tolist()
        assert again.class_names == images.class_names
        second = brute_force(again)
        assert not second.junk.any()
        assert duplicate_clusters(again, second) == []
        with manifest_path(path).open(newline="", encoding="utf-8") as file:
            left_out = list(csv.DictReader(file))
        gone = [int(line["original_index"]) for line in left_out]
        assert sorted([*gone, *rows.tolist()]) == list(range(len(images)))
        assert all(
            line["why"] and line["id"] == images.ids[i]
            for line, i in zip(left_out, gone, strict=True)
        )
        assert {line["duplicate_of"] for line in left_out} == {
            "", "image0000", "image0001", "image0044",
        }  # fmt: skip
        assert sorted(entry.name for entry in tmp_path.iterdir()) == [
            "clean.manifest.csv", "clean.npz",
        ]  # fmt: skip

    def test_a_file_that_cannot_be_written_leaves_nothing(self, images, findings, tmp_path):
        (tmp_path / "clean.npz").mkdir()
        with pytest.raises(RunError, match=r"clean\.npz: cannot be written"):
            write_clean(tmp_path / "clean.npz", images, findings, select(images, findings))
        assert [entry.name for entry in tmp_path.iterdir()] == ["clean.npz"]
