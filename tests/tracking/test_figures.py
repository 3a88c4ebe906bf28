import tracemalloc

import numpy as np
import pytest
from PIL import Image

from folds.training.outcome import EpochReport
from tracking.figures import confusion_figure, curves_figure

HISTORY = [
    EpochReport(e, e // 2, 2.0, 2.1, 1.5, e / 4, e / 5, 1e-3, 10.0, 1.0, e / 5) for e in range(3)
]


@pytest.mark.parametrize("classes", [2, 8, 40])
def test_the_confusion_matrix_shows_every_count(classes, tmp_path):
    counts = np.eye(classes, dtype=np.int64) * 7
    figure = confusion_figure(counts, [f"class {n}" for n in range(classes)], "fold 1")
    figure.savefig(tmp_path / "x.png")
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words == (["7"] * classes if classes <= 30 else [])


@pytest.mark.parametrize("classes", [61, 300, 1000])
def test_a_matrix_of_many_classes_costs_little_and_shows_each(classes, tmp_path):
    """As a picture of 0.62 inch a class, 300 of them took 12.8 GB."""
    counts = np.eye(classes, dtype=np.int64) * 7
    tracemalloc.start()
    try:
        figure = confusion_figure(counts, [f"class {n}" for n in range(classes)], "fold 1")
        figure.savefig(tmp_path / "x.png", dpi=100)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    with Image.open(tmp_path / "x.png") as picture:
        assert max(picture.size) <= 1500
    assert peak < 200e6
    box = figure.axes[0].get_window_extent()
    assert min(box.width, box.height) >= classes
    assert len(figure.axes[0].get_xticklabels()) < 20


def test_names_are_drawn_as_they_are_written(tmp_path):
    names = ["$x", "a_$\\frac$", "Bl\udce4st", "y" * 300]
    figure = confusion_figure(np.eye(4, dtype=np.int64), names, "fold 1")
    figure.savefig(tmp_path / "x.png")
    words = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert words == ["$x", "a_$\\frac$", "Bl?st", "y" * 31 + "…"]


def test_the_curves_mark_the_kept_epoch(tmp_path):
    figure = curves_figure(HISTORY, 1, "fold 1")
    figure.savefig(tmp_path / "x.png")
    lines = {line.get_label(): line for line in figure.axes[1].lines}
    assert list(lines["kept epoch"].get_xdata()) == [2, 2]
    assert list(lines["accuracy"].get_ydata()) == [0, 0.25, 0.5]
