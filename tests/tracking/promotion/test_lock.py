import contextlib
import multiprocessing
import sqlite3
import threading

import mlflow
import pytest

from folds.errors import RunError
from tests.servers import mlflow_server
from tracking import store
from tracking.promotion import lock, registry
from tracking.promotion.lock import locked

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def client(store):
    """Of an sqlite store with versions 1 to 3 of `cells`, of which the first is the champion."""
    return filled()


def filled():
    client = mlflow.MlflowClient()
    client.create_registered_model("cells")
    for number in range(1, 4):
        client.create_model_version("cells", f"s3://nowhere/{number}")
    client.set_registered_model_alias("cells", "champion", "1")
    return client


def age(folder, seconds):
    """Make all locks older."""
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        database.execute(
            "UPDATE registered_models SET creation_time = creation_time - ? WHERE name LIKE ?",
            (1000 * seconds, f"{lock.PREFIX}%"),
        )


def names(client):
    return sorted(model.name for model in client.search_registered_models())


def rival(uri, version, ready, told):
    """Promote a version after both have seen the same champion."""
    store.connect(uri)
    candidate, champion = registry.contenders("cells", version)
    ready.wait(timeout=120)
    try:
        registry.promote("cells", str(candidate.version), str(champion.version))
        told.put((version, "promoted"))
    except RunError as error:
        told.put((version, str(error)))


def race(uri):
    """The winner's version, and what the other was told."""
    ready, told = SPAWN.Barrier(2), SPAWN.Queue()
    processes = [
        SPAWN.Process(target=rival, args=(uri, version, ready, told)) for version in ("2", "3")
    ]
    for one in processes:
        one.start()
    found = [told.get(timeout=240) for _ in processes]
    for one in processes:
        one.join()
    (winner,) = (version for version, what in found if what == "promoted")
    (words,) = (what for _, what in found if what != "promoted")
    return winner, words


def check_race(client, uri):
    winner, words = race(uri)
    assert words == (
        f"version {winner} was promoted meanwhile; run the command again to hold it against the "
        "new champion"
    )
    aliases = client.get_registered_model("cells").aliases
    assert {name: str(version) for name, version in aliases.items()} == {
        "champion": winner,
        "previous": "1",
    }
    assert names(client) == ["cells"]


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(client, store):
    check_race(client, store.uri)


@pytest.mark.slow
def test_so_it_is_with_a_server(tmp_path, monkeypatch):
    files = "--artifacts-destination", str(tmp_path / "files")
    with mlflow_server(tmp_path, f"sqlite:///{tmp_path}/server.db", *files) as uri:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        store.connect(uri)
        check_race(filled(), uri)


def test_many_hold_it_one_after_the_other(client):
    inside, most = [], []

    def enter():
        with locked("cells"):
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert most == [1] * 6
    assert names(client) == ["cells"]


class TestLeftOver:
    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch):
        monkeypatch.setattr(lock, "_PATIENCE", 0.0)

    def leave(self, client, name="crossfold-lock-cells"):
        client.create_registered_model(name, {"crossfold.owner": "crashed"})

    def test_is_broken_after_a_minute(self, client, tmp_path):
        self.leave(client), age(tmp_path, 61)
        registry.promote("cells", "2", "1")
        assert names(client) == ["cells"]

    def test_is_broken_by_one_of_several(self, client, tmp_path):
        self.leave(client), age(tmp_path, 61)
        test_many_hold_it_one_after_the_other(client)

    def test_one_that_was_to_break_it_may_have_crashed_too(self, client, tmp_path):
        self.leave(client), self.leave(client, "crossfold-lock-cells-crashed")
        age(tmp_path, 61)
        registry.promote("cells", "2", "1")
        assert names(client) == ["cells"]

    def test_is_respected_until_then(self, client, tmp_path):
        """It grows old while somebody waits for it, and tries to break it."""
        tries, real = [], lock._break

        def tried(left):
            assert "crossfold-lock-cells" in names(client)
            tries.append(left)
            real(left)
            if len(tries) == 2:
                age(tmp_path, 61)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lock, "_break", tried)
            self.leave(client), age(tmp_path, 30)
            registry.promote("cells", "2", "1")
        assert len(tries) == 3

    def test_who_lost_it_does_not_go_on(self, client):
        with locked("cells") as held:
            client.delete_registered_model(held.name)
            self.leave(client)
            with pytest.raises(RunError, match="took more than a minute"):
                held.check()
        assert names(client) == ["cells", "crossfold-lock-cells"]
