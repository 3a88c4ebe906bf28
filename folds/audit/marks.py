"""What a page needs to know so that people can correct labels on it, see ``marks.html.j2``."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from folds.audit.suspects import Suspects
from folds.images.relabel import NewLabel


def marks(suspects: Suspects, count: int, earlier: Mapping[str, NewLabel]) -> dict[str, Any]:
    """Describe the images that can be marked, as plain values for JSON.

    Parameters
    ----------
    suspects : Suspects
    count : int
        Of them that are shown.
    earlier : mapping of str to NewLabel
        New labels that the images have already, by id: they are saved again, so that one file says
        all that is different from the source.

    Returns
    -------
    dict
        ``names``, of the classes; ``images``, a list of id, given class and suggested class, in
        the order of the pictures; ``earlier``, of id, label and what it was; ``key``, under which
        a browser keeps the marks: that of another page is another.
    """
    columns = suspects.ids, suspects.given, suspects.suggested
    said = {
        "names": list(suspects.class_names),
        "images": list(zip(*(column[:count].tolist() for column in columns), strict=True)),
        "earlier": [(name, new.label, new.was) for name, new in earlier.items()],
    }
    digest = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]
    return said | {"key": f"crossfold-{digest}"}
