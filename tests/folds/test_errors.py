import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folds.config import Config
from folds.errors import LOGIN, disk_full, masked, reason

LETTERS = st.characters(exclude_categories=("Z", "C"))  # an address has no spaces


@given(st.text(LETTERS), st.text(LETTERS, min_size=1).filter(lambda text: text[0] != "/"))
def test_no_login_survives_whatever_its_letters(password, user):
    text = f"API request to http://{user}:{password}@db.example:5000/api failed"
    assert masked(text) == "API request to http://db.example:5000/api failed"
    assert masked(masked(text)) == masked(text)


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////home/me@work/mlflow.db", "models:/cells@champion", "http://127.0.0.1:5000/#/a",
        "mail me@work", "C:\\data@home", "",
    ],
)  # fmt: skip
def test_what_holds_no_login_is_left_as_it_is(text):
    assert masked(text) == text


def test_a_hint_keeps_its_words_for_user_and_password():
    hint = f"to go on: --resume x --tracking-uri http://{LOGIN}host:5000"
    assert masked(hint) == hint
    assert masked(f"http://{LOGIN}pw@host:5000") == "http://host:5000"
    assert masked("http://alice:pw@host", LOGIN) == f"http://{LOGIN}host"


def test_a_password_among_the_options_of_a_database_is_masked():
    uri = "postgresql://db/runs?user=alice&password=pw&sslmode=require"
    assert masked(uri) == "postgresql://db/runs?user=***&password=***&sslmode=require"


def test_a_reason_ends_after_a_whole_word_and_before_the_statement():
    error = OSError("(sqlite3.OperationalError) database or disk is full [SQL: INSERT] (x)")
    assert reason(error) == "(sqlite3.OperationalError) database or disk is full"
    assert reason(OSError("many words here"), most=14) == "many words..."
    assert reason(OSError()) == "OSError"


def test_settings_that_are_kept_have_no_login():
    config = Config.from_flat({"tracking_uri": "http://alice:pw@host:5000", "folds": 3})
    public = config.without_passwords()
    assert public.flat() == config.flat() | {"tracking_uri": "http://host:5000"}
    assert public.digest == config.digest
    assert Config().without_passwords() == Config()


def test_a_full_disk_is_known_behind_other_errors():
    behind = ValueError("the model was not logged")
    behind.__context__ = OSError(errno.ENOSPC, "")
    assert disk_full(behind)
    assert disk_full(RuntimeError("(sqlite3.OperationalError) database or disk is full"))
    assert not disk_full(OSError(errno.EACCES, "Permission denied"))
