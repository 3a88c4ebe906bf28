import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.report.gallery import average_by_image, confident_mistakes, least_certain

NAMES = ("ant", "bee", "cat")


def plain(rows):
    """Each image in the one colour that tells its row."""
    return np.broadcast_to(rows.astype(np.uint8)[:, None, None, None], (len(rows), 8, 8, 3))


def random(count, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 3, count), rng.dirichlet(np.ones(3), count).astype(np.float32)


@given(st.integers(1, 40), st.integers(0, 10_000))
def test_mistakes_are_the_most_confident_ones(count, seed):
    labels, likely = random(count, seed)
    ids = np.array([f"i{row:03d}" for row in range(count)])
    found = confident_mistakes(average_by_image(labels, likely, ids), NAMES, plain, most=5)
    wrong = [row for row in range(count) if likely[row].argmax() != labels[row]]
    best = sorted(wrong, key=lambda row: -float(likely[row].max()))[:5]
    assert [tile.id for tile in found.tiles] == [ids[row] for row in best]
    assert found.total == len(wrong)
    assert all(tile.true != tile.predicted for tile in found.tiles)
    assert all(tile.confidence >= tile.second_confidence for tile in found.tiles)


@given(st.integers(1, 40), st.integers(0, 10_000))
def test_the_least_certain_have_the_smallest_margin(count, seed):
    labels, likely = random(count, seed)
    ids = np.array([f"i{row:03d}" for row in range(count)])
    found = least_certain(average_by_image(labels, likely, ids), NAMES, plain, most=5)
    shown = [tile.confidence - tile.second_confidence for tile in found.tiles]
    margins = np.sort(likely, axis=1)
    assert shown == pytest.approx(sorted((margins[:, 2] - margins[:, 1]).tolist())[:5], abs=1e-6)
    assert found.total == count


def test_repeats_are_one_opinion_and_its_picture_is_the_right_one():
    ids = np.array(["b", "a", "a", "b"])
    likely = np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.7, 0.3, 0], [0.5, 0.5, 0]], np.float32)
    found = average_by_image(np.array([0, 0, 0, 0]), likely, ids)
    assert found.ids.tolist() == ["b", "a"]
    assert found.rows.tolist() == [0, 1]
    assert found.probabilities == pytest.approx(np.array([[0.7, 0.3, 0], [0.45, 0.55, 0]]))
    asked = []
    gallery = confident_mistakes(
        found, NAMES, lambda rows: (asked.append(rows.tolist()), plain(rows))[1]
    )
    assert asked == [[1]]
    (tile,) = gallery.tiles
    assert (tile.id, tile.true, tile.predicted, tile.second) == ("a", "ant", "bee", "ant")
    assert tile.picture.startswith("data:image/png;base64,")


@pytest.mark.parametrize("choose", [confident_mistakes, least_certain])
def test_heat_is_asked_for_the_class_that_was_predicted(choose):
    labels, likely = random(20, 3)
    found = average_by_image(labels, likely, np.array([f"i{row:03d}" for row in range(20)]))
    asked = []

    def heat(rows, pixels, classes):
        np.testing.assert_array_equal(pixels, plain(rows))
        asked.extend(zip(rows.tolist(), classes.tolist(), strict=True))
        return np.ones((len(rows), 2, 2), np.float32)

    tiles = choose(found, NAMES, plain, heat, most=5).tiles
    told = [(f"i{row:03d}", NAMES[number]) for row, number in asked]
    assert told == [(tile.id, tile.predicted) for tile in tiles]
    assert all(tile.heat.startswith("data:image/png;base64,") for tile in tiles)
    alone = choose(found, NAMES, plain, lambda *asked: None, most=5)
    assert not alone.heated
    assert alone == choose(found, NAMES, plain, most=5)


def test_without_mistakes_no_image_is_read():
    found = average_by_image(np.array([0]), np.array([[1.0, 0, 0]], np.float32), np.array(["x"]))
    gallery = confident_mistakes(found, NAMES, lambda rows: pytest.fail("read"))
    assert (gallery.tiles, gallery.total) == ([], 0)
