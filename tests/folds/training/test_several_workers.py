"""Law 1: every kind of optimizer, loss and precision gives two workers what it gives one."""

import pytest
import torch

from tests.folds.training.several_workers import trained_by_workers

BASE = {
    "backbone": "test_vit", "folds": 2, "batch_size": 15, "dropout": 0.3,
    "stages": ["1:2:1e-3", "0.5:1:1e-3"],
}  # fmt: skip
FULL, HALF = 2e-5, 1e-3  # how far losses may differ by rounding; gradients by 100 times that share
JOBS = {
    "adam, one-cycle": ({"optimizer": "adam", "schedule": "onecycle"}, FULL),
    "lion, average": ({"optimizer": "lion", "ema": 0.9, "stages": ["1:3:1e-4"]}, FULL),
    "sgd, clipped": ({"optimizer": "sgd", "clip_grad": 0.5, "schedule": "restarts"}, FULL),
    "muon": ({"optimizer": "muon", "schedule": "constant"}, 2e-4),
    "adafactor": ({"optimizer": "adafactor"}, FULL),
    "lamb, plateau": ({"optimizer": "lamb", "schedule": "plateau", "plateau_patience": 1}, FULL),
    "focal": ({"loss": "focal", "class_weights": "0=3"}, FULL),
    "triplets": ({"triplet": 0.5}, FULL),
    "mixed, accumulated": ({"augment": "light+cutmix", "accumulate": 3}, FULL),
    "views, mixed, accumulated": ({"augment": "light+cutmix+fourier", "consistency": 4,
                                   "accumulate": 2}, FULL),
    "accumulated": ({"accumulate": 4, "clip_grad": 1.0, "ema": 0.9}, FULL),
    "bf16": ({"precision": "bf16", "clip_grad": 1.0}, HALF),
    "fp16": ({"precision": "fp16", "clip_grad": 1.0, "optimizer": "lion",
              "stages": ["1:3:1e-4"]}, HALF),
    "sharpness, parts": ({"sam": 0.05, "accumulate": 2, "clip_grad": 0.5}, FULL),
    "sharpness, batch norm": (
        {"sam": 0.05, "backbone": "test_resnet", "sync_bn": True, "frozen_norm": "train"}, 5e-5,
    ),
    "between first and last": ({"wise_ft": 0.5, "stages": ["0:1:1e-3", "1:2:1e-3"]}, FULL),
    "blocks dropped, accumulated": ({"drop_path": 0.5, "accumulate": 2}, FULL),
    "adapters": ({"tune": "lora:r=2", "ema": 0.9}, FULL),
    "fp16, adamw": ({"precision": "fp16", "triplet": 0.5}, HALF),
    "batch norm": ({"backbone": "test_resnet", "sync_bn": True}, FULL),
    "batch norm, parts": (
        {"backbone": "test_resnet", "sync_bn": True, "accumulate": 2, "ema": 0.9,
         "frozen_norm": "train"}, 5e-5,  # a processor with AMX rounds small batches otherwise
    ),
    "batch norm and activation": ({"backbone": "test_efficientnet", "sync_bn": True}, FULL),
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory, make_images):
    jobs = {name: BASE | settings for name, (settings, _) in JOBS.items()}
    return trained_by_workers(tmp_path_factory.mktemp("workers"), jobs, make_images())


@pytest.mark.parametrize("job", JOBS)
class TestTwoWorkers:
    def test_have_the_losses_of_one(self, trained, job):
        alone, first, second = (one[job]["losses"] for one in trained.values())
        assert len(alone) == 6
        torch.testing.assert_close(first, alone, atol=JOBS[job][1], rtol=0)
        assert torch.equal(first, second)

    def test_never_give_nan(self, trained, job):
        for one in trained.values():
            assert torch.isfinite(one[job]["losses"]).all()
            assert all(torch.isfinite(t).all() for t in one[job]["weights"].values())

    def test_end_with_the_same_model(self, trained, job):
        _, first, second = (one[job] for one in trained.values())
        assert all(torch.equal(t, second["weights"][n]) for n, t in first["weights"].items())
        assert torch.equal(first["probabilities"], second["probabilities"])

    def test_have_the_gradients_of_one_in_float32(self, trained, job):
        alone, together = (trained[who][job]["moments"] for who in ((1, 0), (2, 0)))
        assert alone.keys() == together.keys()
        for number, moment in alone.items():
            assert moment.dtype == together[number].dtype == torch.float32
            near = 100 * JOBS[job][1] * moment.abs().max().item() + 1e-8
            torch.testing.assert_close(together[number], moment, atol=near, rtol=0)


def test_the_kinds_really_differ(trained):
    found = {tuple(trained[1, 0][job]["losses"].tolist()) for job in JOBS}
    assert len(found) == len(JOBS)
