"""MedMNIST by name: ``bloodmnist``, ``bloodmnist:64``, ``bloodmnist:64/test``.

The two-dimensional sets of MedMNIST v2 (Yang et al., Scientific Data 10, 2023) and MedMNIST+ are an
.npz file each and size, in the folder where the package ``medmnist`` keeps them; that package
fetches a file that is not there.
"""

import contextlib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from folds.errors import UserError, reason
from folds.files import is_file

SIZES = (28, 64, 128, 224)
TRAIN, TEST = ("train", "val"), "test"
_NAME = re.compile(r"(?P<set>[a-z]+mnist(3d)?)(:(?P<size>\d+))?(/(?P<part>train|val|test))?")
_RECORD = "https://zenodo.org/records/10519652/files"
_ORGANS = (
    "bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver",
    "lung-left", "lung-right", "pancreas", "spleen",
)  # fmt: skip
# classes in the order of their labels
CLASSES: dict[str, tuple[str, ...]] = {
    "bloodmnist": (
        "basophil", "eosinophil", "erythroblast", "immature granulocyte", "lymphocyte", "monocyte",
        "neutrophil", "platelet",
    ),
    "breastmnist": ("malignant", "normal or benign"),
    "dermamnist": (
        "actinic keratosis or intraepithelial carcinoma", "basal cell carcinoma",
        "benign keratosis-like lesion", "dermatofibroma", "melanoma", "melanocytic nevus",
        "vascular lesion",
    ),
    "octmnist": (
        "choroidal neovascularization", "diabetic macular edema", "drusen", "normal",
    ),
    "organamnist": _ORGANS,
    "organcmnist": _ORGANS,
    "organsmnist": _ORGANS,
    "pathmnist": (
        "adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle",
        "normal colon mucosa", "cancer-associated stroma", "colorectal adenocarcinoma epithelium",
    ),
    "pneumoniamnist": ("normal", "pneumonia"),
    "retinamnist": ("0", "1", "2", "3", "4"),
    "tissuemnist": (
        "collecting duct or connecting tubule", "distal convoluted tubule",
        "glomerular endothelial cells", "interstitial endothelial cells", "leukocytes",
        "podocytes", "proximal tubule segments", "thick ascending limb",
    ),
}  # fmt: skip
_ORDERED = "retinamnist"
_GRADES = "the grades of retinamnist are trained as classes, their order is not used"
_OTHERS = {
    "chestmnist": "has several labels an image, and crossfold gives one",
    **dict.fromkeys(
        (f"{kind}mnist3d" for kind in ("adrenal", "fracture", "nodule", "organ", "synapse",
                                       "vessel")),
        "holds volumes, and crossfold reads images",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class MedMNIST:
    """A set of a size, all of it or a part.

    Parameters
    ----------
    name : str
        As ``bloodmnist``.
    size : int
        Side in pixels, of `SIZES`.
    part : str, optional
        ``train``, ``val`` or ``test``; None: what is trained on, the first two.
    """

    name: str
    size: int
    part: str | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that are read."""
        return TRAIN if self.part is None else (self.part,)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes."""
        return CLASSES[self.name]

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user must know of it."""
        return (_GRADES,) if self.name == _ORDERED else ()

    def file(self) -> Path:
        """Its .npz file, fetched by the package ``medmnist`` where it is not there.

        Raises
        ------
        UserError
            It is not there and cannot be fetched.
        """
        suffix = "" if self.size == SIZES[0] else f"_{self.size}"
        path = folder() / f"{self.name}{suffix}.npz"
        if not is_file(path):
            self._fetch(path)
        return path

    def _fetch(self, path: Path) -> None:
        by_hand = f"put {_RECORD}/{path.name} there"
        try:
            import medmnist
        except ImportError:
            raise UserError(
                f"--data {self.name}: there is no {path}; {by_hand}, or pip install medmnist, "
                "which fetches it"
            ) from None
        made = getattr(medmnist, medmnist.INFO[self.name]["python_class"])
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                made(split=TEST, download=True, size=self.size, root=str(path.parent))
        except Exception as error:  # of the network, of checksums, of the disk
            raise UserError(
                f"--data {self.name}: there is no {path}, and medmnist could not fetch it "
                f"({reason(error)}); {by_hand}"
            ) from None


def folder() -> Path:
    """Where the files lie: ``MEDMNIST_ROOT``, or else ``~/.medmnist``, the package's own."""
    return Path(os.environ.get("MEDMNIST_ROOT") or "~/.medmnist").expanduser()


def named(source: str) -> MedMNIST | None:
    """The set that a source names; None if it names none.

    Raises
    ------
    UserError
        It is a set of another kind, or has another size.
    """
    match = _NAME.fullmatch(source)
    if match is None or match["set"] not in {*CLASSES, *_OTHERS}:
        return None
    if why := _OTHERS.get(match["set"]):
        raise UserError(f"--data {source}: {match['set']} {why}; there are: {', '.join(CLASSES)}")
    size = int(match["size"] or SIZES[0])
    if size not in SIZES:
        raise UserError(f"--data {source}: of {match['set']} there are the sizes {_listed()}")
    return MedMNIST(match["set"], size, match["part"])


def _listed() -> str:
    return ", ".join(map(str, SIZES))
