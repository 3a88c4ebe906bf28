import json
from pathlib import Path

import pytest

from folds.errors import UserError
from folds.evaluation.intervals import Interval
from tests.tracking.conftest import FORMAT_1
from tests.tracking.report.planted import planted
from tracking.summary import over_folds, partial_tags, schema
from tracking.summary_file import read_summary
from tracking.summary_parts import Estimate, Missing, Scores

DOCS = Path(__file__).parents[2] / "docs" / "summary.schema.json"


def test_the_documented_schema_is_the_real_one():
    assert DOCS.read_text() == schema(), "run `make schema`"


def test_a_score_that_is_not_defined_becomes_null_and_has_no_mean():
    values = {"accuracy": 1.0, "balanced_accuracy": 1.0, "macro_f1": 1.0}
    values |= {"log_loss": 0.1, "brier": 0.1, "ece": 0.1}
    scores = [Scores.of(values | {"roc_auc": auc}) for auc in (float("nan"), 0.9)]
    assert scores[0].roc_auc is None
    assert scores[0].defined == values
    assert "roc_auc" not in over_folds(scores)
    assert over_folds(scores)["accuracy"].std == 0


def test_an_interval_of_what_is_not_defined_is_null():
    nan = float("nan")
    assert set(Estimate.of(Interval(nan, nan, nan)).model_dump().values()) == {None}


def test_what_was_written_is_read_again(tmp_path):
    summary, _ = planted()
    (tmp_path / "summary.json").write_text(summary.model_dump_json())
    assert read_summary(tmp_path / "summary.json") == summary


class TestFormat1:
    def test_keys_have_their_new_names_and_what_was_not_told_is_null(self):
        old, summary = json.loads(FORMAT_1.read_text()), read_summary(FORMAT_1)
        assert (old["format"], summary.format) == ("crossfold-summary/1", "crossfold-summary/2")
        assert [fold.name for fold in summary.folds] == ["fold 1", "fold 2"]
        assert summary.oof.model_dump() == old["oof"]
        assert summary.oof_shift.clean is None
        assert (summary.date, summary.scored, summary.software) == (None, None, None)
        assert (summary.class_images, summary.groups) == (None, None)

    def test_other_views_repeats_and_no_shift(self, tmp_path):
        old = json.loads(FORMAT_1.read_text())
        old |= {"oof_beside": {"tta": old["oof"]}, "oof_shift": None}
        old["config"]["repeats"] = 2
        old["folds"][0]["beside"] = {"tta": old["oof"]}
        old["folds"][1]["repeat"] = 1
        path = tmp_path / "summary.json"
        path.write_text(json.dumps(old))
        summary = read_summary(path)
        assert summary.oof_other_views == summary.folds[0].other_views == {"tta": summary.oof}
        assert [fold.name for fold in summary.folds] == ["repeat 1 fold 1", "repeat 2 fold 2"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        ("{", "Expecting property name"),
        ("[]", "list indices must be integers"),
        ("{}", "no 'format'"),
        ('{"format": "crossfold-summary/1"}', "no 'oof_beside'"),
        ('{"format": "crossfold-summary/2"}', "name: Field required"),
        ('{"format": "crossfold-summary/9"}', "format: Input should be 'crossfold-summary/2'"),
    ],
)
def test_what_is_no_summary_is_refused_in_one_line(tmp_path, content, reason):
    path = tmp_path / "summary.json"
    if content is not None:
        path.write_text(content)
    for source, start in ((None, str(path)), ("RUN x: its summary.json", "RUN x: its summary")):
        with pytest.raises(UserError, match="give what a finished run wrote") as caught:
            read_summary(path, source)
        message = str(caught.value)
        assert message.startswith(start)
        assert reason in message
        assert "\n" not in message


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"folds": [0.5]}, "has no attribute"), ({"a\nb": 1}, r"a\nb: Extra inputs")],
    ids=["no object", "a name of two lines"],
)
def test_values_that_were_changed_are_refused_in_one_line(tmp_path, changes, reason):
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(json.loads(FORMAT_1.read_text()) | changes))
    with pytest.raises(UserError, match="give what a finished run wrote") as caught:
        read_summary(path)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


class TestPartial:
    def missing(self, **changed):
        usual = {"name": "fold 3", "repeat": 0, "fold": 2, "images": 100, "cause": "it broke"}
        return Missing(**usual | changed)

    def test_a_whole_run_says_nothing(self):
        summary, _ = planted()
        assert (summary.partial, summary.causes, partial_tags(summary)) == ("", [], {})

    def test_it_says_what_is_missing_why_and_what_the_scores_are_of(self):
        summary, _ = planted(missing=[self.missing(), self.missing(name="fold 4", cause="lost")])
        words = "fold 3, fold 4 are missing; scores are of 400 of 600 images"
        assert summary.partial == words
        tag = f"{words} (fold 3: it broke; fold 4: lost)"
        assert partial_tags(summary) == {"crossfold.partial": tag}

    def test_with_repeats_predictions_are_counted_since_an_image_has_several(self):
        plain, _ = planted(missing=[self.missing()])
        summary = plain.model_copy(update={"config": plain.config | {"repeats": 2}})
        assert summary.partial == "fold 3 is missing; scores are of 400 of 500 predictions"

    def test_without_a_refit_the_scores_are_of_all(self):
        refit = self.missing(name="refit", repeat=None, fold=None, images=0)
        assert planted(missing=[refit])[0].partial == "refit is missing"

    def test_the_folds_that_failed_count(self):
        summary, _ = planted(folds=3, missing=[self.missing(fold=3)])
        assert summary.fold_count == 4
