"""What ``--backbones`` may say."""

from folds.errors import UserError, listed
from folds.files import expanded, is_file
from folds.model.names import check_backbone, is_elsewhere


def read_backbones(text: str) -> list[str]:
    """Read which backbones are to be compared.

    Parameters
    ----------
    text : str
        ``A,B,C``, or a file with one a line, where what follows ``#`` is a comment. Each is a timm
        model, ``MODEL=WEIGHTS`` with what ``--weights`` takes, ``hf-hub:ORG/MODEL`` or
        ``local-dir:FOLDER``.

    Returns
    -------
    list of str
        As they stand there.

    Raises
    ------
    UserError
        There is none, one stands there twice, or timm does not have it (names the nearest).
    """
    path = expanded(text)
    if "," not in text and is_file(path):
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise UserError(f"--backbones {text}: no text; give one backbone a line") from None
        parts = [line.partition("#")[0] for line in lines]
    else:
        parts = text.split(",")
    entries = [part.strip() for part in parts if part.strip()]
    if not entries:
        raise UserError(f"--backbones {text}: names none; give A,B,C or a file with one a line")
    if twice := [entry for entry in dict.fromkeys(entries) if entries.count(entry) > 1]:
        raise UserError(f"--backbones {text}: {listed(twice)} stands there twice; name each once")
    for entry in entries:
        check_backbone(named(entry)[0])
    return entries


def named(entry: str) -> tuple[str, str | None]:
    """Backbone and, where it says so, weights of an entry.

    Examples
    --------
    >>> named("resnet18=own.pth"), named("local-dir:nets/a=b")
    (('resnet18', 'own.pth'), ('local-dir:nets/a=b', None))
    """
    if is_elsewhere(entry):
        return entry, None
    name, _, weights = entry.partition("=")
    return name.strip(), weights.strip() or None
