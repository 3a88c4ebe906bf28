import numpy as np
import pytest

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


def test_the_curves_mark_the_kept_epoch(tmp_path):
    figure = curves_figure(HISTORY, 1, "fold 1")
    figure.savefig(tmp_path / "x.png")
    lines = {line.get_label(): line for line in figure.axes[1].lines}
    assert list(lines["kept epoch"].get_xdata()) == [2, 2]
    assert list(lines["accuracy"].get_ydata()) == [0, 0.25, 0.5]
