"""How often a champion was challenged, and how often images have judged: tags that count.

A tag's value is the count and the latest of what was counted, such as ``3: 8-1f0a 9-1f0a 12-1f0a``.
What it names already is not counted again.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mlflow import MlflowClient

from folds.errors import RunError
from tracking import limits
from tracking.promotion.lock import locked

ATTEMPTS = "crossfold.attempts"  # of the champion's version
USES = "crossfold.uses"  # of the registered model, with the digest of the images


@dataclass(frozen=True)
class Trial:
    """A comparison of two versions that can be made.

    Parameters
    ----------
    candidate, champion : str
        Versions.
    question : str
        Equal where the two are compared by the same score on the same images.
    unseen : mapping of str to str
        Digests of the images that no fold trained on and that have a say, by the set's name.
    """

    candidate: str
    champion: str
    question: str
    unseen: Mapping[str, str]


@dataclass(frozen=True)
class Count:
    """Numbers, from 1, of a comparison.

    Parameters
    ----------
    attempt : int
        Among those with the same champion.
    uses : mapping of str to int
        Candidates that each set of unseen images has judged, this one among them.
    """

    attempt: int
    uses: Mapping[str, int]


def count(name: str, trial: Trial) -> Count:
    """Number a comparison, and remember it.

    Parameters
    ----------
    name : str
        Registered model.

    Raises
    ------
    RunError
        A tag that counts is damaged.

    Notes
    -----
    - The same question about the same candidate is counted once: its answer is the same.
    - Of several at once no two get the same number: the tags are written under the lock of the
      model's aliases.
    """
    client = MlflowClient()
    with locked(name) as lock:
        tags = client.get_model_version(name, trial.champion).tags
        old = tags.get(ATTEMPTS, "0: ")
        attempt, _, new = _counted(ATTEMPTS, old, f"{trial.candidate}-{trial.question}")
        lock.check()
        if new != old:
            client.set_model_version_tag(name, trial.champion, ATTEMPTS, new)
        uses, tags = {}, client.get_registered_model(name).tags
        for images, digest in trial.unseen.items():
            key = f"{USES}.{digest}"
            old = tags.get(key, "0: ")
            _, uses[images], new = _counted(key, old, trial.candidate)
            if new != old:
                client.set_registered_model_tag(name, key, new)
    return Count(attempt, uses)


def _counted(key: str, value: str, word: str) -> tuple[int, int, str]:
    """The number of a word in a tag's value, how many there are with it, and the value with it."""
    head, _, rest = value.partition(":")
    if not head.isdecimal():
        raise RunError(f"tag {key} is {value[:40]!r}, not a count; delete it, counting starts anew")
    number, words = int(head), rest.split()
    if word in words:
        return number - len(words) + words.index(word) + 1, number, value
    words.append(word)
    while len(text := f"{number + 1}: {' '.join(words)}") > limits.MODEL_TAG:
        del words[0]  # if it comes again it counts again: too many rather than too few
    return number + 1, number + 1, text
