from concurrent.futures import ThreadPoolExecutor

import mlflow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from folds.errors import RunError
from tracking import limits
from tracking.promotion.attempts import ATTEMPTS, USES, Count, Trial, _counted, count


@pytest.fixture
def client(store):
    found = mlflow.MlflowClient()
    found.create_registered_model("cells")
    for number in range(1, 3):
        found.create_model_version("cells", f"s3://nowhere/{number}")
    return found


def trial(candidate, champion="1", question="1f0a", **unseen):
    return Trial(candidate, champion, question, unseen)


@given(words=st.lists(st.integers(1, 30).map(str), min_size=1))
def test_each_is_counted_once_and_keeps_its_number(words):
    value, numbers = "0: ", {}
    for word in words:
        number, total, value = _counted("tag", value, word)
        assert numbers.setdefault(word, len(numbers) + 1) == number
        assert total == len(numbers)


def test_a_tag_that_is_full_forgets_the_oldest_and_counts_on():
    value = "0: "
    for number in range(1, 2001):
        *_, value = _counted("tag", value, f"{number}-1f0a")
        assert len(value) <= limits.MODEL_TAG
    assert _counted("tag", value, "2000-1f0a")[:2] == (2000, 2000)
    assert _counted("tag", value, "1999-1f0a")[:2] == (1999, 2000)
    assert _counted("tag", value, "1-1f0a")[:2] == (2001, 2001)


def test_attempts_are_of_a_champion_and_uses_of_images(client):
    assert count("cells", trial("7", lab="aa")) == Count(1, {"lab": 1})
    assert count("cells", trial("8", lab="aa")) == Count(2, {"lab": 2})
    assert count("cells", trial("7", lab="aa")) == Count(1, {"lab": 2})
    assert count("cells", trial("9", "2", lab="aa")) == Count(1, {"lab": 3})
    assert count("cells", trial("9", "2", lab="bb")) == Count(1, {"lab": 1})
    assert client.get_model_version("cells", "1").tags == {ATTEMPTS: "2: 7-1f0a 8-1f0a"}
    tags = client.get_registered_model("cells").tags
    assert tags == {f"{USES}.aa": "3: 7 8 9", f"{USES}.bb": "1: 9"}


def test_of_several_at_once_no_two_get_the_same_number(client):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: count("cells", trial(str(n))).attempt, range(4)))
    assert sorted(found) == [1, 2, 3, 4]


def test_a_tag_that_is_no_count_is_told_with_a_remedy(client):
    client.set_model_version_tag("cells", "1", ATTEMPTS, "many")
    with pytest.raises(RunError, match=r"tag crossfold.attempts is 'many', not a count; delete it"):
        count("cells", trial("2"))
