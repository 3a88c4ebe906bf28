"""The parent run's curves: mean, least and most over the folds."""

from distributed.outcome.finish import fold_curves
from folds.training.outcome import EpochReport


def history(*losses):
    return [
        EpochReport(
            epoch=epoch, stage=0, train_loss=loss, first_loss=1.0, val_loss=2 * loss,
            val_accuracy=0.5, val_macro_f1=0.5, learning_rate=1e-3, images_per_second=1.0,
            seconds=1.0, score=0.5,
        )
        for epoch, loss in enumerate(losses)
    ]  # fmt: skip


def test_an_epoch_has_those_of_the_folds_that_reached_it():
    first, second = fold_curves([history(1.0, 0.5), history(3.0)])
    assert first["folds.train_loss.mean"] == 2.0
    assert (first["folds.train_loss.least"], first["folds.train_loss.most"]) == (1.0, 3.0)
    assert first["folds.val_loss.most"] == 6.0
    assert second["folds.train_loss.mean"] == second["folds.train_loss.most"] == 0.5


def test_mlflow_shows_what_models_are_chosen_by_first():
    first, _ = fold_curves([history(1.0, 0.5), history(3.0)])
    assert first["chosen_by.score.mean"] == 0.5
    others = ["external.lab2.accuracy", "learning_curve.accuracy", "oof_shift.worst", "shift.jpeg"]
    sections = {name.rpartition(".")[0] for name in [*first, *others]}
    assert min(sections) == "chosen_by.score"


def test_a_single_fold_has_none():
    assert fold_curves([history(1.0)]) == []
