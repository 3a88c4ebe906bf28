import contextlib

import mlflow
import pytest

from folds.errors import RunError, UserError
from tracking.models import log_model
from tracking.promotion import registry
from tracking.promotion.lock import locked


@pytest.fixture
def three_versions(store):
    client = mlflow.MlflowClient()
    client.create_registered_model("cells")
    for number in range(1, 4):
        client.create_model_version("cells", f"s3://nowhere/{number}")
    client.set_registered_model_alias("cells", "candidate", "3")
    return client


def aliases(client):
    found = client.get_registered_model("cells").aliases
    return {alias: str(version) for alias, version in found.items()}


def test_every_model_is_one_new_version_and_the_candidate(store, bundle):
    experiment = mlflow.create_experiment("test", store.artifact_root)
    for number in range(1, 3):
        with mlflow.start_run(experiment_id=experiment):
            model = log_model(bundle, name="fold")
        about = registry.VersionNotes({"crossfold.candidate": "ensemble"}, "A card.")
        for _ in range(2):  # the first time it may not have been heard that it was done
            assert registry.register(model, "cells", about) == str(number)
    client = mlflow.MlflowClient()
    assert aliases(client) == {"candidate": "2"}
    version = client.get_model_version("cells", "2")
    assert version.run_id
    assert version.tags == {"crossfold.candidate": "ensemble"}
    assert version.description == "A card."


def test_promotion_keeps_the_last_champion_and_rollback_swaps(three_versions):
    assert registry.promote("cells", "1", None) == registry.Move("1", None)
    candidate, champion = registry.contenders("cells")
    assert [str(one.version) for one in (candidate, champion)] == ["3", "1"]
    assert registry.promote("cells", "3", "1") == registry.Move("3", "1")
    assert aliases(three_versions) == {"candidate": "3", "champion": "3", "previous": "1"}
    assert registry.rollback("cells") == registry.Move("1", "3")
    assert aliases(three_versions) == {"candidate": "3", "champion": "1", "previous": "3"}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: registry.contenders("cell"), "nearest: cells"),
        (lambda: registry.contenders("cells", "9"), "no such version; it has 1, 2, 3"),
        (lambda: registry.rollback("cells"), "no previous champion"),
    ],
)
def test_what_is_not_there_is_refused(three_versions, call, words):
    with pytest.raises(UserError, match=words):
        call()


def test_the_champion_is_not_promoted_twice(three_versions):
    registry.promote("cells", "2", None)
    with pytest.raises(UserError, match="is the champion of cells already"):
        registry.contenders("cells", "2")


def test_tags_are_written_and_removed(three_versions):
    registry.promote("cells", "1", None, {"crossfold.forced": "a reason", "a": "b"})
    registry.promote("cells", "2", "1")
    registry.promote("cells", "1", "2", {"crossfold.forced": None, "never.there": None})
    assert three_versions.get_model_version("cells", "1").tags == {"a": "b"}


@pytest.mark.parametrize("call", ["promote", "rollback"])
def test_a_change_of_the_champion_meanwhile_is_told(three_versions, monkeypatch, call):
    registry.promote("cells", "1", None), registry.promote("cells", "2", "1")
    before = aliases(three_versions)
    real = registry.locked

    @contextlib.contextmanager
    def late(name):
        three_versions.set_registered_model_alias("cells", "champion", "3")
        with real(name) as lock:
            yield lock

    monkeypatch.setattr(registry, "locked", late)
    with pytest.raises(RunError, match="version 3 was promoted meanwhile; run the command again"):
        registry.rollback("cells") if call == "rollback" else registry.promote("cells", "1", "2")
    assert aliases(three_versions) == before | {"champion": "3"}


def test_no_lock_stays_and_none_is_proposed(three_versions):
    with pytest.raises(UserError, match=r"there are: cells$"), locked("cells"):
        registry.contenders("zzzzzz")
    assert [model.name for model in three_versions.search_registered_models()] == ["cells"]


def test_a_name_with_a_quote_is_promoted(store):
    client = mlflow.MlflowClient()
    client.create_registered_model("o'brien")
    client.create_model_version("o'brien", "s3://nowhere/1")
    candidate, champion = registry.contenders("o'brien", "1")
    assert (str(candidate.version), champion) == ("1", None)
    with pytest.raises(UserError, match=r"--version 7: o'brien has no such version; it has 1"):
        registry.contenders("o'brien", "7")
