import mlflow
import pytest

from folds.errors import UserError
from tracking import places
from tracking import store as tracking_store
from tracking.models import load_model, log_model


def at(folder):
    return tracking_store.connect(f"sqlite:///{folder}/mlflow.db")


@pytest.fixture
def moved(tmp_path, bundle):
    """A folder with a registered model that has been moved from A to B."""
    (tmp_path / "A").mkdir()
    store = at(tmp_path / "A")
    experiment = mlflow.create_experiment("cells", store.artifact_root)
    with mlflow.start_run(experiment_id=experiment):
        model = log_model(bundle, name="fold")
    mlflow.register_model(f"models:/{model}", "cells")
    places.check_experiment(store, "cells")
    load_model("models:/cells/1")
    (tmp_path / "A").rename(tmp_path / "B")
    return tmp_path


def test_an_experiment_that_was_moved_is_refused_and_the_remedy_works(moved):
    store = at(moved / "B")
    remedy = f"if that folder was moved, `ln -s {moved}/B {moved}/A` finds them again"
    with pytest.raises(UserError) as refused:
        places.check_experiment(store, "cells")
    assert str(refused.value) == (
        f"--experiment cells: keeps its files in {moved}/A/mlruns, which is not there; {remedy}, "
        "or give a new --experiment"
    )
    assert not (moved / "A").exists()
    places.check_experiment(store, "another")
    with pytest.raises(UserError, match=rf"loaded: its files are not in {moved}/A/mlruns/"):
        load_model("models:/cells/1")
    (moved / "A").symlink_to(moved / "B")
    places.check_experiment(store, "cells")
    load_model("models:/cells/1")


def test_a_place_of_ones_own_is_no_moved_one(tmp_path, store):
    mlflow.create_experiment("cells", (tmp_path / "files" / "here").as_uri())
    places.check_experiment(store, "cells")
    mlflow.create_experiment("elsewhere", "s3://bucket/mlruns")
    places.check_experiment(store, "elsewhere")
    mlflow.create_experiment("closed", "file:///proc/closed")
    with pytest.raises(UserError, match=r"closed: keeps its files in /proc/closed: /pr"):
        places.check_experiment(store, "closed")


def test_a_database_that_cannot_be_written_is_refused(store, monkeypatch):
    monkeypatch.setattr(places.os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match=r"mlflow.db: cannot be written to; run in a folder that"):
        places.check_experiment(store, "cells")


def test_a_model_that_never_was_is_not_called_lost(store):
    assert places.lost("models:/cells/1") is None
