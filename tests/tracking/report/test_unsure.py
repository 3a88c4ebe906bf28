from tests.tracking.report.planted import planted, told
from tracking.decisions import Costs, SetScores
from tracking.report.unsure import other_sets, unsure_words


def test_words_tell_all_that_is_known():
    summary, _ = planted()
    costs = Costs(answered=0.2, most_probable=0.5)
    lab2 = SetScores(images=9, coverage=0.25, size=2.5, single=0.1, empty=0.2)
    rare = [one.model_copy(update={"own": False}) for one in summary.decision.classes[:1]]
    changed = {"costs": costs, "elsewhere": {"lab2": lab2}}
    changed["classes"] = rare + summary.decision.classes[1:]
    decision = summary.decision.model_copy(update=changed)
    text = "\n".join(unsure_words(summary.model_copy(update={"decision": decision})))
    assert "90.0% asked for" in text
    assert "too few images for a threshold of its own: class 0" in text
    assert "worst glass blur, 40.0%" in text
    assert "on lab2 sets hold it in 25.0%, 2.50 classes a set" in text
    assert "--abstain 0.98 answers" in text
    assert "cost 0.200 an image, the most probable 0.500" in text


def test_an_accuracy_that_none_is_sure_to_reach_is_not_promised():
    summary, _ = planted(count=20, classes=2)
    assert any("no threshold is sure" in line for line in unsure_words(summary))


def test_an_older_run_says_nothing():
    assert unsure_words(told()) == other_sets(told()) == []


def test_other_sets_are_the_worst_corruption_first():
    summary, _ = planted()
    one = summary.decision.shift["glass_blur"]
    worse = one.model_copy(update={"coverage": 0.1})
    decision = summary.decision.model_copy(update={"shift": {"a": one, "b": worse}})
    found = other_sets(summary.model_copy(update={"decision": decision}))
    assert [name for name, _ in found] == ["as they are", "b", "a"]
