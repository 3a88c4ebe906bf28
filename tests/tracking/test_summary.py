from pathlib import Path

from folds.evaluation.intervals import Interval
from tracking.summary import estimated, over_folds, schema, to_scores

DOCS = Path(__file__).parents[2] / "docs" / "summary.schema.json"


def test_the_documented_schema_is_the_real_one():
    assert DOCS.read_text() == schema(), "run `make schema`"


def test_a_score_that_is_not_defined_becomes_null_and_has_no_mean():
    values = {"accuracy": 1.0, "balanced_accuracy": 1.0, "macro_f1": 1.0}
    values |= {"log_loss": 0.1, "brier": 0.1, "ece": 0.1}
    scores = [to_scores(values | {"roc_auc": auc}) for auc in (float("nan"), 0.9)]
    assert scores[0].roc_auc is None
    assert "roc_auc" not in over_folds(scores)
    assert over_folds(scores)["accuracy"].std == 0


def test_an_interval_of_what_is_not_defined_is_null():
    nan = float("nan")
    assert set(estimated(Interval(nan, nan, nan)).model_dump().values()) == {None}
