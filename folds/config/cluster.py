"""Where the folds run and where they are recorded: settings that results do not depend on.

`ClusterConfig`: the Ray cluster, its devices and how folds share them, how images are kept there,
checkpoints. `TrackingConfig`: MLflow's store and names, what is registered, the output folder.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from folds.config.section import Auto, Section


def _printable(name: str) -> str:
    if name != name.strip() or not name.isprintable():
        raise ValueError("must be of visible letters, without a space at either end")
    return name


def _model_name(name: str) -> str:
    """A name that ``models:/NAME@ALIAS``, a folder and a filter of MLflow's can hold."""
    if name.strip(".") == "" or set(name) & set('/:@#?%"'):
        raise ValueError('must be a name without / : @ # ? % and ", such as cells-2')
    return name


Name = Annotated[str, AfterValidator(_printable)]
Share = Annotated[float, Field(gt=0, lt=1)]


def _descending(shares: tuple[float, ...]) -> tuple[float, ...]:
    """Each share once, the largest first: what takes longest is begun first."""
    return tuple(sorted(set(shares), reverse=True))


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
        "half of Ray's object store. In a search they are on disk; auto: a fifth of what is free, "
        "at most 20.",
    )
    lanes_per_gpu: Auto | Annotated[int, Field(ge=1)] = Field(
        "auto",
        description="Folds that share a GPU at the same time, each with one worker; auto: more "
        "than 1 only where a measured fold leaves its GPU waiting and the memory suffices.",
    )
    stream: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Keep the images in a file and read each batch from it, instead of keeping "
        "them in memory; auto: if they take more than 256 MiB, or 40% of the memory that is free.",
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

    experiment: Name = Field(
        "crossfold", min_length=1, max_length=256, description="MLflow experiment."
    )
    tracking_uri: str | None = Field(
        None,
        description="MLflow store; default: MLFLOW_TRACKING_URI, or sqlite:///mlflow.db here.",
    )
    model_name: Annotated[Name, AfterValidator(_model_name)] = Field(
        "crossfold",
        max_length=200,  # the registry's 256, with room for the name of a lock
        description="Registered model that gets a new version.",
    )
    candidate: Literal["auto", "best-fold", "ensemble", "soup", "refit", "student"] = Field(
        "auto",
        description="What is registered: the best fold's model, the ensemble of all folds, the "
        "soup (mean of their weights), a model refitted on all images, or one of --distill; auto: "
        "the ensemble, or what scores best where --select-by names external images.",
    )
    refit: bool = Field(
        False,
        description="Also train one model on all images but the hold-out, for as many epochs as "
        "the folds' best ones took in the mean.",
    )
    distill: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Make the model of all images (--refit) a student of the folds' models: the "
        "share of each image's out-of-fold probabilities in its target, the rest being its label. "
        "0: none; try 0.7.",
    )
    learning_curve: Annotated[tuple[Share, ...], AfterValidator(_descending)] = Field(
        (),
        description="Would more images help? Train each fold on these shares of its training part, "
        "too, as 0.1 0.25 0.5, and score them on the same validation images: the report shows the "
        "scores by the number of images.",
    )
    allow_partial: bool = Field(
        False,
        description="Where folds have failed for good, end the run with those that are there: exit "
        "status 0 with a notice; scores, report, model card and registered version say what is "
        "missing; no refit. Without it, or where no fold is there, such a run fails with status 1. "
        "With --resume it does not try failed folds again once all others are there.",
    )
    output: str | None = Field(
        None,
        description="Folder that receives report.html, summary.json, splits.json, oof.npz, ...",
    )

    @property
    def trains_on_all(self) -> bool:
        """Whether a model is trained on all images, once the folds are finished."""
        return self.refit or self.distill > 0 or self.candidate == "refit"
