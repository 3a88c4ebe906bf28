"""The configuration of a run: one typed, frozen object, `Config`.

A YAML file fills it, flags override it (see `folds.cli`), the run records it whole. Each group of
settings is a module here, each setting a field whose description is the text of ``--help``; no
setting has the name of another, so a flag needs no group. Checks that need only the configuration
are here; checks that need the images or the cluster are made where these are known.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Self

import pydantic
from pydantic import BaseModel

from folds.config.cluster import ClusterConfig, TrackingConfig
from folds.config.data import DataConfig, SplitConfig
from folds.config.evaluation import EvaluationConfig
from folds.config.model import ModelConfig
from folds.config.optim import OptimConfig
from folds.config.section import Section
from folds.config.selection import SelectBy
from folds.config.train import TrainConfig
from folds.documents import DocumentError, read_yaml_file
from folds.errors import UserError, masked, nearest, reason
from folds.text import shortened

__all__ = [
    "ClusterConfig",
    "Config",
    "DataConfig",
    "EvaluationConfig",
    "ModelConfig",
    "OptimConfig",
    "SplitConfig",
    "TrackingConfig",
    "TrainConfig",
    "groups",
    "read_yaml",
]


class Config(Section):
    """Everything that defines a run.

    Notes
    -----
    `digest` covers the groups that may change a fold's result and none of the others, so two
    runs with equal digests on equal data give equal results whatever they ran on.
    """

    data: DataConfig = DataConfig()
    split: SplitConfig = SplitConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    optim: OptimConfig = OptimConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    cluster: ClusterConfig = ClusterConfig()
    tracking: TrackingConfig = TrackingConfig()

    @pydantic.model_validator(mode="after")
    def _measured(self) -> Self:
        """Check that what models are chosen by is measured, which takes a look at two settings."""
        select_by = self.evaluation.select_by
        asked = SelectBy.parse(select_by)
        if asked.corruptions and self.evaluation.shift == "off":
            raise ValueError(f"--select-by {select_by}: asks for shift; leave out --shift off")
        if missing := sorted(asked.externals - set(self.evaluation.externals)):
            raise ValueError(f"--select-by {select_by}: there is no --external {missing[0]}=SOURCE")
        if missing := sorted(asked.columns - {"site", *self.data.slices}):
            raise ValueError(f"--select-by {select_by}: name the column too, --slices {missing[0]}")
        return self

    @pydantic.model_validator(mode="after")
    def _views_differ(self) -> Self:
        """Refuse a term about views of an image that are all the same."""
        if (weight := self.optim.consistency) and self.train.augment == "none":
            raise ValueError(f"--consistency {weight:g}: needs an --augment other than none")
        return self

    @pydantic.model_validator(mode="after")
    def _between_weights(self) -> Self:
        """Refuse means of adapters' factors: the product of means is no mean of products."""
        if (alpha := self.optim.wise_ft) < 1 and self.model.lora is not None:
            raise ValueError(
                f"--wise-ft {alpha:g}: is between whole weights, not between adapters; leave it "
                f"out, or --tune {self.model.tune}"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _trained(self) -> Self:
        """Check that what shall be registered is what is trained on all images."""
        asked, share = self.tracking.candidate, self.tracking.distill
        if asked == "student" and not share:
            raise ValueError("--candidate student: there is none without --distill, such as 0.7")
        if asked == "refit" and share:
            raise ValueError(
                f"--candidate refit: with --distill {share:g} the model of all images is a "
                "student; ask for --candidate student, or leave one of them out"
            )
        return self

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

    def without_passwords(self) -> Self:
        """The same, as it may be recorded and shown: the tracker's address without its login."""
        uri = self.tracking.tracking_uri
        public = {"tracking_uri": None if uri is None else masked(uri)}
        return self.model_copy(update={"tracking": self.tracking.model_copy(update=public)})

    @classmethod
    def from_flat(cls, values: dict[str, Any]) -> Self:
        """Build and check a configuration from settings by flag name.

        Raises
        ------
        UserError
            A name is unknown or a value is not allowed; names the flag, value and remedy.
        """
        group_of = {name: group for group, model in groups().items() for name in model.model_fields}
        nested: dict[str, dict[str, Any]] = {group: {} for group in groups()}
        for name, value in values.items():
            if name not in group_of:
                raise UserError(f"unknown setting {name!r}{nearest(name, group_of)}")
            nested[group_of[name]][name] = value
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
        content = read_yaml_file(Path(path))
    except OSError as error:
        raise UserError(f"--config {path}: {error.strerror}; give a YAML file") from None
    except DocumentError as error:
        raise UserError(f"--config {path}: not YAML: {reason(error)}") from None
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
    if not first["loc"]:
        return first["msg"].removeprefix("Value error, ")
    flag = str(first["loc"][1] if len(first["loc"]) > 1 else first["loc"][0]).replace("_", "-")
    reason = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return f"--{flag} {shortened(repr(first['input']))}: {reason}"
