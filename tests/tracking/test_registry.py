import mlflow
import pytest

from folds.errors import UserError
from tracking import registry
from tracking.models import log_model


@pytest.fixture
def three_versions(store, bundle):
    experiment = mlflow.create_experiment("test", store.artifact_root)
    for number in range(3):
        with mlflow.start_run(experiment_id=experiment):
            registry.register(log_model(bundle, name=f"fold-{number}"), "cells")
    return mlflow.MlflowClient()


def aliases(client):
    found = client.get_registered_model("cells").aliases
    return {alias: str(version) for alias, version in found.items()}


def test_every_registration_is_a_new_version_and_the_candidate(three_versions):
    assert aliases(three_versions) == {"candidate": "3"}
    version = three_versions.get_model_version("cells", "3")
    assert version.run_id


def test_promotion_keeps_the_last_champion_and_rollback_swaps(three_versions):
    assert registry.promote("cells", "1") == registry.Move("1", None)
    assert registry.promote("cells") == registry.Move("3", "1")
    assert aliases(three_versions) == {"candidate": "3", "champion": "3", "previous": "1"}
    assert registry.rollback("cells") == registry.Move("1", "3")
    assert aliases(three_versions) == {"candidate": "3", "champion": "1", "previous": "3"}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: registry.promote("cell"), "nearest: cells"),
        (lambda: registry.promote("cells", "9"), "no such version; it has 1, 2, 3"),
        (lambda: registry.rollback("cells"), "no previous champion"),
    ],
)
def test_what_is_not_there_is_refused(three_versions, call, words):
    with pytest.raises(UserError, match=words):
        call()


def test_the_champion_is_not_promoted_twice(three_versions):
    registry.promote("cells", "2")
    with pytest.raises(UserError, match="is the champion of cells already"):
        registry.promote("cells", "2")
