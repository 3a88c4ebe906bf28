"""Batches cut into parts that nobody could be trained on are refused before the start."""

import pytest

from folds.errors import UserError
from folds.runtime.device import Runtime
from folds.runtime.workers import Workers
from folds.training.fit import fit_fold
from folds.training.parts import at_once, check_parts

CPU = Runtime.choose("cpu", "fp32")
HEAD = {"head_layers": [8], "head_norm": "batch"}


def refusal(problem, workers=1):
    with pytest.raises(UserError) as caught:
        check_parts(problem, workers)
    (line,) = str(caught.value).splitlines()
    return line


def test_a_head_with_batch_norm_needs_two_images_at_once(make_problem):
    problem = make_problem(batch_size=4, accumulate=4, **HEAD)
    assert refusal(problem) == (
        "--head-norm batch has nothing to normalise by in one image, which is what --batch-size 4, "
        "--accumulate 4 and --workers-per-fold 1 let it see at once; raise --batch-size, lower "
        "--accumulate, or use --head-norm layer"
    )
    with pytest.raises(UserError, match="--head-norm batch"):
        fit_fold(problem, 0, 0, runtime=CPU)


def test_also_where_many_workers_share_the_batch(make_problem):
    line = refusal(make_problem(batch_size=7, **HEAD), workers=4)
    assert "lower --workers-per-fold, set --sync-bn" in line
    assert "--accumulate, or" not in line
    check_parts(make_problem(batch_size=7, sync_bn=True, **HEAD), 4)
    check_parts(make_problem(batch_size=8, **HEAD), 4)


@pytest.mark.parametrize(
    "settings", [{}, HEAD, {"backbone": "test_resnet"}, {"sync_bn": True, **HEAD}]
)
def test_a_worker_without_images_is_refused(make_problem, settings):
    problem = make_problem(batch_size=8, accumulate=4, **settings)
    assert at_once(problem.config) == 2
    assert refusal(problem, 4) == (
        "--batch-size 8, --accumulate 4 and --workers-per-fold 4: 2 images at once are fewer than "
        "the workers; raise --batch-size, lower --accumulate, or lower --workers-per-fold"
    )
    with pytest.raises(UserError, match="fewer than the workers"):
        fit_fold(problem, 0, 0, runtime=CPU, workers=Workers(3, 4))


def test_a_backbone_whose_batch_norm_sees_one_value_is_refused(make_problem):
    settings = {"batch_size": 4, "accumulate": 4, "backbone": "resnet18"}
    line = refusal(make_problem(**settings))
    assert line.startswith("--backbone resnet18: its batch norm has nothing to normalise by")
    check_parts(make_problem(**settings, stages=["0:1:1e-2"]), 1)  # it does not train
    check_parts(make_problem(**settings, stages=["1:1:1e-2:bn=frozen"]), 1)


@pytest.mark.parametrize("settings", [{}, {"head_layers": [8], "head_norm": "layer"}])
def test_what_needs_no_second_image_trains_on_one(make_problem, settings):
    problem = make_problem(batch_size=2, accumulate=2, stages=["1:1:1e-3"], **settings)
    assert len(fit_fold(problem, 0, 0, runtime=CPU).history) == 1


@pytest.mark.parametrize("batch", range(2, 14))
@pytest.mark.parametrize("accumulate", [1, 2, 3])
@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_refuses_just_what_leaves_a_worker_with_too_little(
    make_problem, batch, accumulate, workers
):
    if accumulate > batch:
        return
    problem = make_problem(batch_size=batch, accumulate=accumulate, **HEAD)
    rows = problem.splits.of(problem.images.ids)[0][:batch]
    fewest = min(
        len(part)
        for rank in range(workers)
        for part in Workers(rank, workers).microbatches(rows, accumulate)
    )
    if fewest < 2:
        refusal(problem, workers)
    else:
        check_parts(problem, workers)
