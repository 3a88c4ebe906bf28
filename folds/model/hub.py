"""The Hugging Face hub: asked where it answers, else only what is kept on disk of it."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from huggingface_hub import constants


@contextmanager
def asking_hub() -> Iterator[None]:
    """Let the block ask the hub; without a network only its cache on disk.

    Raises
    ------
    ConnectionError
        The block failed, and the hub cannot be reached.
    """
    offline = not _answers()
    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, offline or constants.HF_HUB_OFFLINE
    try:
        yield
    except Exception as error:
        if offline:
            raise ConnectionError("it cannot be reached") from error
        raise
    finally:
        constants.HF_HUB_OFFLINE = before


def _answers() -> bool:
    """Whether the hub's host takes a connection; its client would try for a minute."""
    if any(name in os.environ for name in ("HTTPS_PROXY", "https_proxy")):
        return True
    address = urlsplit(constants.ENDPOINT)
    try:
        with socket.create_connection((address.hostname, address.port or 443), timeout=5):
            return True
    except OSError:
        return False
