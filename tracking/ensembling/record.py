"""An ensemble of runs as a run of its own, and as the candidate of a registered model."""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient
from numpy.typing import NDArray

from folds.evaluation.metrics import confusion
from tracking.ensembling.bundles import write_ensemble
from tracking.ensembling.choice import Choice, calibrate
from tracking.ensembling.deciding import decide
from tracking.ensembling.library import KIND
from tracking.ensembling.shift import NOTICE, vote
from tracking.ensembling.summarise import digest, settings, summarise
from tracking.figures import confusion_figure
from tracking.formatting import sources
from tracking.limits import DESCRIPTION
from tracking.promotion.registry import VersionNotes
from tracking.recorder import Recorder
from tracking.report.card import FILE, description, headline, model_card
from tracking.store import Store
from tracking.summary import Summary, partial_tags
from tracking.summary_parts import MlflowIds


@dataclass(frozen=True)
class Registered:
    """What was registered.

    Parameters
    ----------
    run, version : str
        Ids of the ensemble's run and of its version.
    networks : int
        That the model asks.
    temperature : float
    notices : tuple of str
        What was told, and what is to be told besides.
    """

    run: str
    version: str
    networks: int
    temperature: float
    notices: tuple[str, ...]


def register_ensemble(
    choice: Choice, store: Store, model_name: str, notices: Iterable[str]
) -> Registered:
    """Record an ensemble as a parent run, and make its models one version, the candidate.

    Parameters
    ----------
    model_name : str
        Of the registered model.
    notices : iterable of str
        What was told; it is kept.

    Raises
    ------
    UserError
        A member's models cannot be had; then there is no run, and no version.
    """
    corrupted = vote(choice)
    notices = (*notices, *([] if corrupted is None else [NOTICE]))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        calibrated, temperature = calibrate(choice)
        card = write_ensemble(choice, temperature, folder / "model")
        decision, decided = decide(choice, calibrated, card.class_names)
        decision.write(folder / "model")
        recorder = Recorder(store, folder / "memory.json", class_names=card.class_names, names=())
        _open(recorder, choice, notices)
        status = "FAILED"
        try:
            ids = MlflowIds(
                tracking_uri=store.shown,
                experiment_id=recorder.runs.experiment_id,
                parent_run=recorder.runs.parent,
            )
            summary = summarise(
                choice, card, calibrated, temperature, mlflow=ids, model_name=model_name,
                notices=notices, decision=decided,
            )  # fmt: skip
            text = model_card(summary, card)
            (folder / "model" / FILE).write_text(text, encoding="utf-8")
            version = recorder.register(
                folder / "model", "ensemble", model_name, _notes(summary, text, choice)
            )
            _log(recorder, folder, summary.of_version(version), choice, corrupted)
            status = "FINISHED"
        finally:
            recorder.close(status)
        return Registered(recorder.runs.parent, version, card.members, temperature, notices)


def _open(recorder: Recorder, choice: Choice, notices: tuple[str, ...]) -> None:
    main = choice.chosen[0][0]
    config = settings(choice)
    tags = {
        KIND: choice.words,
        "crossfold.dataset": sources(config["data"]),
        "crossfold.backbone": str(config["backbone"]),
        "crossfold.data_digest": main.summary.data_digest,
        "crossfold.splits_digest": main.summary.splits_digest,
    }
    if notices:
        tags["crossfold.notices"] = "\n".join(notices)
    experiment = MlflowClient().get_experiment(main.run.info.experiment_id).name
    recorder.open(experiment, f"ensemble-{digest(choice)[:8]}", config, tags)


def _notes(summary: Summary, text: str, choice: Choice) -> VersionNotes:
    tags = {
        "crossfold.run": summary.mlflow.parent_run,
        "crossfold.candidate": "ensemble",
        KIND: choice.words,
        **{f"crossfold.{name}": value for name, value in summary.digests.items()},
        **partial_tags(summary),
    }
    return VersionNotes(tags, description(text, DESCRIPTION, headline(summary)))


def _log(
    recorder: Recorder,
    folder: Path,
    summary: Summary,
    choice: Choice,
    corrupted: dict[str, NDArray] | None,
) -> None:
    """Write the files that `read_evidence` reads, and what the ensemble is made of."""
    oof, first = choice.ensemble, choice.members[0].evidence
    content = json.dumps(summary.model_dump(mode="json"), indent=2)
    (folder / "summary.json").write_text(content + "\n", encoding="utf-8")
    (folder / "ensemble.json").write_text(_made_of(choice) + "\n", encoding="utf-8")
    own: dict[str, Any] = {
        "ids": first.ids,
        "groups": oof.groups,
        "probabilities": oof.probabilities,
    }
    own |= {"labels": oof.labels, "fold": first.oof.fold, "repeat": first.oof.repeat}
    arrays: dict[str, dict[str, Any]] = {"oof": own} | (
        {} if corrupted is None else {"shift": corrupted}
    )
    for name, one in arrays.items():
        np.savez(folder / f"{name}.npz", **one)
    files = [folder / name for name in ("summary.json", "ensemble.json")]
    files += [folder / f"{name}.npz" for name in arrays]
    metrics = {f"oof_{name}": value for name, value in summary.oof.defined.items()}
    metrics["temperature"] = summary.calibration.temperature
    counts = confusion(oof.labels, oof.probabilities)
    figure = confusion_figure(counts, summary.class_names, "all out-of-fold predictions")
    note = f"An ensemble of runs: {choice.words}.\n\n{choice.better.text}"
    recorder.log_confusion(figure)
    recorder.log_parent(metrics, files, {"mlflow.note.content": note})


def _made_of(choice: Choice) -> str:
    runs: list[dict[str, Any]] = [
        {
            "run": member.run.info.run_id,
            "name": member.evidence.name,
            "weight": int(choice.weights[number]),
            "weight_by_fold": choice.by_fold[:, number].tolist(),
        }
        for number, member in enumerate(choice.members)
    ]
    return json.dumps({"select_by": str(choice.select), "runs": runs}, indent=2)
