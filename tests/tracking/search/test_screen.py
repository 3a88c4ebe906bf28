import io
from pathlib import Path

import pytest
from rich.console import Console

from tests.tracking.search.made_up import near, race, search
from tracking.search.screen import markdown, print_search
from tracking.search.summary import AuditedStops


def screen(summary, width=100, best_yaml="out/best.yaml"):
    console = Console(file=io.StringIO(), width=width)
    print_search(console, summary, best_yaml=Path(best_yaml))
    return console.file.getvalue()


def line(text, start):
    (only,) = [line for line in text.splitlines() if line.startswith(f"{start:<10}")]
    return only


@pytest.fixture(scope="module")
def full():
    return search()


def test_each_number_says_what_it_is_worth(full):
    text = screen(full)
    own = full.naive
    assert line(text, "naive") == (
        f"naive     macro-F1 {own.value:.3f} ({own.low:.3f} to {own.high:.3f}), best of 20 trials, "
        "which flatters"
    )
    assert f" {full.corrected.value:.3f} (" in line(text, "corrected")
    assert line(text, "nested").endswith("on 3 outer folds that no search has seen")
    assert line(text, "hold-out").endswith(
        "0.941 (0.918 to 0.958), ensemble on 400 images set aside"
    )
    assert line(text, "cost").endswith(
        "of 100 folds trained; 17 min 55 s; racing saved 32% of the folds"
    )
    assert line(text, "stops").endswith("in 1 min 58 s: none would have beaten the winner")
    assert line(text, "tied") == f"tied      {len(full.tied)} other trials cannot be told from it."
    assert text.splitlines()[-1] == "next      python -m distributed.cv --config out/best.yaml"


def test_the_table_has_the_best_five(full):
    text = screen(full)
    for trial in full.complete[:5]:
        assert f" {trial.mean:.3f} " in text
        assert f"{trial.oof.low:.3f} to {trial.oof.high:.3f}" in text
    rows = [row.split("│") for row in text.splitlines() if row.startswith("│")]
    numbers = [row[1].strip() for row in rows if row[1].strip()]
    assert numbers == [str(trial.number) for trial in full.complete[:5]]
    assert rows[0][5].strip() == "winner"
    assert {row[5].strip() for row in rows} <= {"winner", "tied", ""}


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_of_the_table_is_longer_than_the_screen(full, width):
    table = [row for row in screen(full, width).splitlines() if row[:1] in "│┃"]
    assert max(map(len, table)) <= width


def test_without_a_complete_trial_there_is_no_next(full):
    text = screen(search([one for one in race(20) if one.state != "complete"]))
    assert line(text, "winner").endswith("no trial of 11 has done all folds")
    assert "next" not in text
    assert "naive" not in text


def test_what_was_not_measured_is_not_told():
    bare = search(outer=[], outer_score=None, holdout=None, audited=None, racing=False)
    for text in (screen(bare), markdown(bare)):
        assert not any(word in text for word in ("nested", "hold-out", "stops"))
        assert "without racing" in text


def test_stops_that_were_wrong_are_told(full):
    wrong = AuditedStops(finished=4, better=1, largest=0.0031, seconds=60)
    text = screen(full.model_copy(update={"audited": wrong}))
    assert line(text, "stops").endswith("1 would have beaten the winner, by +0.3 points at most")


def test_a_loss_is_told_as_people_know_it(full):
    text = screen(full.model_copy(update={"search_by": "log_loss", "naive": near(-0.25, 0.01)}))
    assert "log loss 0.250 (0.241 to 0.260)" in line(text, "naive")


def test_the_description_says_the_same(full):
    text = markdown(full)
    table = [row for row in text.splitlines() if row.startswith("|")]
    assert len(table) == 2 + 5
    assert {row.count("|") for row in table} == {7}
    assert "report.html" in text
    assert f"naive macro-F1 {full.naive.value:.3f}" in text
    assert len(text) < 5000


def test_names_are_no_markup(full):
    evil = "[red]<b>|x[/nothing]"
    trials = [
        one.model_copy(update={"values": {evil: f"{evil}{one.number}"}}) for one in full.trials
    ]
    summary = full.model_copy(update={"trials": trials, "space": {}, "importance": {}})
    assert evil in screen(summary, width=200, best_yaml=f"{evil}.yaml")
    described = markdown(summary)
    assert "<b>" not in described
    assert {r.replace("\\|", "").count("|") for r in described.splitlines() if r[:1] == "|"} == {7}
