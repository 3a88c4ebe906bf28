import json

import pytest

from distributed import workspace
from folds.config import Config
from folds.errors import UserError
from tests.conftest import small_images

IMAGES = small_images()
DIGESTS = {"data_digest": "d", "weights": "random"}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_interrupted_run_is_found_by_the_beginning_of_its_name(here):
    space = workspace.open_run(None, Config(), DIGESTS, IMAGES)
    assert workspace.find("latest") == space
    assert workspace.find(space.name[:12]) == space
    with pytest.raises(UserError, match="no such interrupted run"):
        workspace.find("other")


def test_a_run_that_is_still_going_is_not_taken_over(here):
    space = workspace.open_run(None, Config(), DIGESTS, IMAGES)
    held = workspace.hold(space)
    with pytest.raises(UserError, match="still going"):
        workspace.hold(space)
    with pytest.raises(UserError, match="no interrupted run"):
        workspace.find("latest")
    held.close()
    assert workspace.find("latest") == space


def test_other_weights_are_refused(here):
    space = workspace.open_run(None, Config(), DIGESTS, IMAGES)
    assert workspace.open_run(space.name, Config(), DIGESTS, IMAGES) == space
    with pytest.raises(UserError, match="weights differ from when the run began"):
        workspace.open_run(space.name, Config(), DIGESTS | {"weights": "e"}, IMAGES)


def test_a_run_of_another_version_is_refused_in_one_line(here):
    space = workspace.open_run(None, Config(), DIGESTS, IMAGES)
    assert Config.from_flat(workspace.read_settings(space)) == Config()
    path = space.folder / "run.json"
    path.write_text(json.dumps({"config": Config().flat(), "digests": DIGESTS}))  # as before 2
    path.with_name("run.before.json").unlink()  # which is newer than 2
    with pytest.raises(UserError, match="another version of crossfold began it") as caught:
        workspace.read_settings(space)
    assert "\n" not in str(caught.value)


def test_the_last_run_takes_the_root_along(here):
    space = workspace.open_run(None, Config(), DIGESTS, IMAGES)
    stored = json.loads((space.folder / "run.json").read_text())
    assert Config.from_flat(stored["config"]) == Config()
    space.remove()
    assert not list(here.iterdir())
