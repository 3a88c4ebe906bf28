"""The models of the runs of an ensemble, brought together from MLflow."""

import tempfile
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from folds.errors import UserError, reason
from folds.model.bundle import ensemble
from folds.model.mixture import MixtureCard, write_mixture
from tracking.ensembling.choice import Choice
from tracking.ensembling.library import Member
from tracking.models import fetch_bundle


def write_ensemble(choice: Choice, temperature: float, target: Path) -> MixtureCard:
    """Write the ensemble as one bundle: of each run that counts the models of all folds.

    Parameters
    ----------
    temperature : float
        Of every model.
    target : Path
        Folder to make.

    Raises
    ------
    UserError
        A fold's model cannot be had, or is damaged.
    """
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        parts = []
        for number, (member, _) in enumerate(choice.chosen):
            part = Path(scratch, f"run-{number}")
            folders = _folds(member, part)
            try:
                ensemble(folders, part / "all", temperature)
            except (OSError, ValueError) as error:
                raise UserError(
                    f"RUN {member.evidence.name}: its models cannot be read ({reason(error)}); "
                    "leave the run out"
                ) from None
            parts.append(part / "all")
        return write_mixture(parts, [weight for _, weight in choice.chosen], target)


def _folds(member: Member, folder: Path) -> list[Path]:
    """Bring the bundle of each fold of a run into a folder."""
    client, found = MlflowClient(), []
    if not member.summary.folds:
        raise UserError(
            f"RUN {member.evidence.name}: its summary names no folds, so their models cannot be "
            "found; leave the run out"
        )
    for fold in member.summary.folds:
        what = f"RUN {member.evidence.name}: the model of {fold.name}"
        try:
            outputs = client.get_run(fold.mlflow_run).outputs
            models = [] if outputs is None else outputs.model_outputs
        except MlflowException as error:
            raise UserError(
                f"{what} cannot be found ({reason(error)}); leave the run out"
            ) from None
        if len(models) != 1:
            raise UserError(f"{what} is not in MLflow any more; leave the run out")
        place = folder / str(fold.repeat) / str(fold.fold)
        place.mkdir(parents=True)
        try:
            found.append(fetch_bundle(f"models:/{models[0].model_id}", place))
        except UserError as error:
            raise UserError(f"{what}: {str(error).partition(': ')[2]}") from None
    return found
