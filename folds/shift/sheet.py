"""See the corruption suite on an image."""

import torch
from PIL import Image
from torch import Tensor

from folds.preview import contact_sheet
from folds.shift.corruptions import corrupt
from folds.suite import CORRUPTIONS, SEVERITIES


def sheet(image: Tensor, key: Tensor) -> Image.Image:
    """Draw an image under each corruption (rows) at each severity (columns).

    Parameters
    ----------
    image : Tensor of float32, shape (3, S, S)
        In [0, 1], on the CPU.
    key : Tensor of int64, shape (1,)
        Of `keys_of`.

    Returns
    -------
    PIL.Image.Image
        RGB; the first column is the image itself.
    """
    looks = [image.expand(len(CORRUPTIONS), -1, -1, -1)]
    for severity in SEVERITIES:
        found = [corrupt(image[None], key, name, severity) for name in CORRUPTIONS]
        looks.append(torch.cat(found))
    names = [name.replace("_", " ") for name in CORRUPTIONS]
    heads = ["original", *(f"severity {severity}" for severity in SEVERITIES)]
    return contact_sheet(looks, names, heads, "corruptions")
