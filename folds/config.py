"""The configuration of a run: one typed, frozen object.

A YAML file fills it, flags override it (see `folds.cli`), the run records it whole. Checks that
need only the configuration are here; checks that need the images or the cluster are made where
these are known.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic
import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, PlainSerializer

from folds.balance import Method, parse_weights
from folds.errors import UserError, nearest
from folds.groups import check_pattern
from folds.model_config import ModelConfig
from folds.optim_config import OptimConfig
from folds.policies import canonical
from folds.section import Section
from folds.stages import Stage

Auto = Literal["auto"]
Stages = Annotated[
    tuple[Annotated[Stage, BeforeValidator(Stage.parse), PlainSerializer(str)], ...],
    Field(min_length=1),
]
ClassWeights = Annotated[dict[str, float], BeforeValidator(parse_weights)]


class DataConfig(Section):
    """Which images."""

    data: str = Field(
        "demo",
        description="Images: an .npz file (AN2DL or MedMNIST layout), a folder of class folders, "
        "a .csv or .parquet table (columns path, label and, if you like, group), 'demo' (rendered "
        "blood cells) or 'digits' (scikit-learn's).",
    )
    limit: int | None = Field(
        None, ge=1, description="Use a stratified subset of this many images."
    )
    skip_broken: bool = Field(
        False, description="Leave out image files that cannot be read, and record them."
    )
    audit: Literal["off", "report", "drop"] = Field(
        "report",
        description="Look for junk and duplicates: report tells what there is and keeps "
        "near-duplicates in one fold; drop also leaves out junk and exact copies.",
    )
    group_regex: Annotated[str, AfterValidator(check_pattern)] | None = Field(
        None,
        description="Regular expression that is searched in each image's id (its path): the part "
        "in its first parentheses, or in (?P<group>...), is the image's group (patient, slide), "
        "which stays in one fold.",
    )
    image_size: Auto | Annotated[int, Field(ge=8, le=4096)] = Field(
        "auto",
        description="Side of the network's input in pixels; auto: the images' own size, at most "
        "the backbone's.",
    )


class SplitConfig(Section):
    """How the images are divided."""

    folds: int = Field(5, ge=2, description="Number of folds (k).")
    repeats: int = Field(1, ge=1, description="Repetitions of the k folds, each with other splits.")
    seed: int = Field(
        0, ge=0, lt=2**32, description="Seed of splits, weights, batches and augmentation."
    )
    only_folds: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None, min_length=1, description="Train only these of the folds, numbered from 0."
    )
    splits: str | None = Field(
        None, description="A splits.json of an earlier run, used instead of new splits."
    )
    holdout: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Share of the images set aside as a test part, stratified and in whole groups; "
        "scored once at the end, never used for choosing.",
    )


class TrainConfig(Section):
    """How a fold is trained."""

    batch_size: int = Field(
        32, ge=2, description="Global batch in images, whatever the number of workers."
    )
    stages: Stages = Field(
        (Stage(0.0, 3, 1e-3), Stage(0.5, 3, 3e-4), Stage(1.0, 6, 1e-4)),
        description="Gradual unfreezing, a stage each: unfrozen share of the backbone from its "
        "head (0 to 1) or its last blocks (3blocks), epochs, learning rate; then, if you like, "
        ":bn=frozen or :bn=train for all batch norm of the backbone.",
    )
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Factor of the learning rate from a block of the backbone to the one below "
        "it, the head having 1.",
    )
    warmup: float = Field(
        0.0,
        ge=0,
        description="Epochs in which blocks that a stage unfreezes rise to its learning rate.",
    )
    weight_decay: float = Field(
        0.05,
        ge=0,
        description="Weight decay: decoupled in adamw, lion, muon and others, L2 in adam and sgd.",
    )
    label_smoothing: float = Field(
        0.1, ge=0, lt=1, description="Share of the target spread over all classes."
    )
    balance: Method = Field(
        "none",
        description="For unequal classes. In the loss: weights (n / k n_c) or effective (number of "
        "samples). In an epoch: oversample to the largest class, undersample to the smallest, or "
        "hybrid, both to the median one.",
    )
    class_weights: ClassWeights = Field(
        {},
        description="Weights of classes in the loss by hand, as NAME=W,NAME=W; the others have 1.",
    )
    metric: Literal["accuracy", "macro_f1", "loss"] = Field(
        "macro_f1", description="Validation metric that picks the best epoch and the best fold."
    )
    patience: int = Field(
        10, ge=1, description="Stop after this many epochs of the last stage without improvement."
    )
    frozen_norm: Literal["frozen", "train"] = Field(
        "frozen", description="Batch norm of frozen layers: keep its statistics, or update them."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="Arithmetic of the network, of fp16 with scaled gradients; auto: the fastest "
        "here, measured in a few steps.",
    )
    augment: Annotated[str, BeforeValidator(canonical)] = Field(
        "light",
        description="Augmentation of training images: none, light, rand, trivial, augmix, strong; "
        "names joined by +; a .yaml file or a list of operations, see the README.",
    )

    @pydantic.field_validator("class_weights")
    @classmethod
    def _given_or_computed(
        cls, given: dict[str, float], info: pydantic.ValidationInfo
    ) -> dict[str, float]:
        method = info.data.get("balance")
        if given and method in ("weights", "effective"):
            raise ValueError(f"--balance {method} computes weights; leave one of the two out")
        return given


class ClusterConfig(Section):
    """Where the folds run. Results do not depend on it, but for batch norm with several workers."""

    address: str | None = Field(
        None, description="Ray cluster to join ('auto', host:port); default: RAY_ADDRESS, or local."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Device of the workers.")
    workers_per_fold: Auto | Annotated[int, Field(ge=1)] = Field(
        "auto",
        description="Data-parallel (DDP) workers that share one fold; batch norm sees the part of "
        "the batch that its worker has.",
    )
    sync_bn: bool = Field(
        False,
        description="Let batch norm that trains see all workers' parts of the batch: slower, and "
        "scores that do not depend on --workers-per-fold.",
    )
    concurrent_folds: Auto | Annotated[int, Field(ge=1)] = Field(
        "auto", description="Folds trained at the same time (lanes)."
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Compile the network; auto: if that is measured to save time in a long run.",
    )
    cache_budget: Auto | Annotated[float, Field(ge=0)] = Field(
        "auto",
        description="GB for outputs of frozen layers, computed once for all folds; 0: none; auto: "
        "half of Ray's object store.",
    )
    lanes_per_gpu: Auto | Annotated[int, Field(ge=1)] = Field(
        "auto",
        description="Folds that share a GPU at the same time, each with one worker; auto: more "
        "than 1 only where a measured fold leaves its GPU waiting and the memory suffices.",
    )
    stream: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Keep the images in a file and read each batch from it, instead of keeping "
        "them in memory; auto: if they would take more than 40% of the memory that is free.",
    )
    stream_dir: str | None = Field(
        None,
        description="Folder for that file, on every machine; default: ~/.cache/crossfold. What a "
        "run puts there goes when it ends.",
    )
    checkpoint_every: int = Field(1, ge=1, description="Epochs between a fold's checkpoints.")
    max_failures: int = Field(2, ge=0, description="Lost workers a fold may survive.")


class TrackingConfig(Section):
    """What is remembered, and where."""

    experiment: str = Field("crossfold", min_length=1, description="MLflow experiment.")
    tracking_uri: str | None = Field(
        None,
        description="MLflow store; default: MLFLOW_TRACKING_URI, or sqlite:///mlflow.db here.",
    )
    model_name: str = Field(
        "crossfold", pattern=r"^[^/:]+$", description="Registered model that gets a new version."
    )
    output: str | None = Field(
        None,
        description="Folder that receives summary.json, splits.json and oof.npz (and holdout.npz).",
    )


class Config(Section):
    """Everything that defines a run.

    Notes
    -----
    `digest` covers the groups that may change a fold's result and none of the others, so two
    runs with equal digests on equal data give equal results whatever they ran on (law 1).
    """

    data: DataConfig = DataConfig()
    split: SplitConfig = SplitConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    optim: OptimConfig = OptimConfig()
    cluster: ClusterConfig = ClusterConfig()
    tracking: TrackingConfig = TrackingConfig()

    @property
    def science(self) -> dict[str, Any]:
        """The part of the configuration that results depend on, as plain data."""
        return self.model_dump(mode="json", exclude={"cluster", "tracking"})

    @property
    def digest(self) -> str:
        """SHA-256 of `science`, first 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.science, sort_keys=True).encode()).hexdigest()[:16]

    def flat(self) -> dict[str, Any]:
        """All settings by flag name (``batch_size``), without their groups."""
        groups = self.model_dump(mode="json").values()
        return {name: value for group in groups for name, value in group.items()}

    @classmethod
    def from_flat(cls, values: dict[str, Any]) -> Self:
        """Build and check a configuration from settings by flag name.

        Raises
        ------
        UserError
            A name is unknown or a value is not allowed; names the flag, value and remedy.
        """
        home = {name: group for group, model in groups().items() for name in model.model_fields}
        nested: dict[str, dict[str, Any]] = {group: {} for group in groups()}
        for name, value in values.items():
            if name not in home:
                raise UserError(f"unknown setting {name!r}{nearest(name, home)}")
            nested[home[name]][name] = value
        try:
            return cls.model_validate(nested)
        except pydantic.ValidationError as error:
            raise UserError(_explain(error)) from None


def groups() -> dict[str, type[BaseModel]]:
    """The groups of `Config` by name, in the order of ``--help``."""
    return {
        name: field.annotation
        for name, field in Config.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }


def read_yaml(path: str) -> dict[str, Any]:
    """Read settings by flag name from a YAML file; sections are only for the eye.

    Raises
    ------
    UserError
        The file is missing, is not YAML, or is not a mapping.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--config {path}: {error.strerror}; give a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"--config {path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict | None):
        raise UserError(f"--config {path}: must be a mapping of settings, such as 'folds: 5'")
    flat: dict[str, Any] = {}
    for name, value in (content or {}).items():
        section = name in groups() and isinstance(value, dict | None)
        flat.update((value or {}) if section else {name: value})
    return {str(name).replace("-", "_"): value for name, value in flat.items()}


def _explain(error: pydantic.ValidationError) -> str:
    """Turn the first of pydantic's complaints into one line.

    Of the complaints about "'auto' or a number", the one about the number says more.
    """
    errors = error.errors()
    first = next((e for e in errors if e["type"] != "literal_error"), errors[0])
    flag = str(first["loc"][1] if len(first["loc"]) > 1 else first["loc"][0]).replace("_", "-")
    reason = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return f"--{flag} {first['input']!r}: {reason}"
