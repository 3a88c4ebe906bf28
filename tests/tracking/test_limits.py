import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.store.model_registry.dbmodels import models as registry
from mlflow.store.tracking.dbmodels import models as runs
from mlflow.utils import validation

from folds.config.cluster import TrackingConfig
from folds.errors import masked
from tracking import limits
from tracking.promotion.lock import PREFIX


@pytest.mark.parametrize(
    ("ours", "column"),
    [
        (limits.KEY, runs.SqlParam.key), (limits.KEY, runs.SqlTag.key),
        (limits.KEY, runs.SqlMetric.key), (limits.PARAM, runs.SqlParam.value),
        (limits.TAG, runs.SqlTag.value), (limits.RUN_NAME, runs.SqlRun.name),
        (limits.DATASET_NAME, runs.SqlDataset.name),
        (limits.DATASET_DIGEST, runs.SqlDataset.digest),
        (limits.DESCRIPTION, registry.SqlRegisteredModel.description),
        (limits.DESCRIPTION, registry.SqlModelVersion.description),
        (limits.MODEL_TAG, registry.SqlRegisteredModelTag.value),
    ],
)  # fmt: skip
def test_no_limit_is_above_that_of_the_database(ours, column):
    assert ours <= column.type.length


@pytest.mark.parametrize(
    ("ours", "name"),
    [
        (limits.KEY, "MAX_ENTITY_KEY_LENGTH"), (limits.PARAM, "MAX_PARAM_VAL_LENGTH"),
        (limits.TAG, "MAX_TAG_VAL_LENGTH"),
        (limits.VERSION_TAG, "MAX_MODEL_REGISTRY_TAG_VALUE_LENGTH"),
        (limits.DATASET_NAME, "MAX_DATASET_NAME_SIZE"),
        (limits.DATASET_DIGEST, "MAX_DATASET_DIGEST_SIZE"),
        (limits.DATASET_SOURCE, "MAX_DATASET_SOURCE_SIZE"),
        (limits.PARAMS_AT_ONCE, "MAX_PARAMS_TAGS_PER_BATCH"),
        (limits.METRICS_AT_ONCE, "MAX_METRICS_PER_BATCH"),
    ],
)  # fmt: skip
def test_no_limit_is_above_that_of_mlflow_itself(ours, name):
    assert ours <= getattr(validation, name)


def test_names_that_a_user_gives_fit():
    experiment, model = (TrackingConfig.model_fields[n] for n in ("experiment", "model_name"))
    most = min(runs.SqlExperiment.name.type.length, validation.MAX_EXPERIMENT_NAME_LENGTH)
    assert _most(experiment) <= most
    lock = 2 * len(PREFIX) + 10
    assert _most(model) + lock <= registry.SqlRegisteredModel.name.type.length


def _most(field):
    return next(rule.max_length for rule in field.metadata if hasattr(rule, "max_length"))


@given(st.text(st.characters()), st.integers(3, 40))
def test_a_value_fits_and_what_fits_is_kept(text, most):
    found = limits.fitted(text, most)
    assert len(found) <= most
    assert "\0" not in found
    found.encode()
    if len(text) <= most and text.isprintable() and masked(text) == text:
        assert found == text
    assert limits.fitted(found, most) == found


def test_what_is_recorded_has_no_password():
    """MLflow itself tags a run with the address that the code was cloned from."""
    found = limits.tags({"mlflow.source.git.repoURL": "https://me:t0ken@example.org/code.git"})
    assert found == {"mlflow.source.git.repoURL": "https://example.org/code.git"}


def test_pieces_are_the_whole_in_order():
    assert [list(some) for some in limits.pieces(range(5), 2)] == [[0, 1], [2, 3], [4]]
