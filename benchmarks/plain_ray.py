"""Five folds of one step each as Ray Train's guide has it: a ``TorchTrainer(...).fit()`` a fold.

Ray's default settings, one worker, nothing recorded: what starting and ending trainers costs
beside the same single step in crossfold. It prints one line of JSON: the accuracy.

Run: python -m benchmarks.plain_ray --limit 100 --batch-size 64
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.train
import timm
import torch
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, prepare_model
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold
from torch.nn.functional import cross_entropy, interpolate


def train_fold(config: dict[str, Any]) -> float:
    """Train one step and return the accuracy on the validation part."""
    images, labels = torch.tensor(config["images"]), torch.tensor(config["labels"])
    model = prepare_model(timm.create_model(config["backbone"], num_classes=10))
    device = ray.train.torch.get_device()
    optimizer = torch.optim.AdamW(model.parameters())
    rows = torch.from_numpy(config["train"])
    batch = rows[torch.randperm(len(rows))[: config["batch_size"]]]
    loss = cross_entropy(model(images[batch].to(device)), labels[batch].to(device))
    torch.autograd.backward(loss)
    optimizer.step()
    with torch.inference_mode():
        found = model.eval()(images[config["valid"]].to(device)).argmax(1).cpu()
    return float((found == labels[config["valid"]]).float().mean())


def digits(limit: int) -> tuple[np.ndarray, np.ndarray]:
    """The first handwritten digits: images (N, 3, 32, 32) in [0, 1] and labels (N,)."""
    pixels, labels = load_digits(return_X_y=True)
    small = torch.from_numpy(pixels[:limit]).float().view(-1, 1, 8, 8) / 16
    return interpolate(small, scale_factor=4).expand(-1, 3, -1, -1).numpy(), labels[:limit]


def main() -> None:
    """Cross-validate and print one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="test_resnet")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64)
    options = parser.parse_args()
    ray.init(address="local")
    images, labels = digits(options.limit)
    settings = {
        "scaling_config": ScalingConfig(num_workers=1, use_gpu=torch.cuda.is_available()),
        "run_config": RunConfig(storage_path=str(Path.cwd())),
    }
    splits = StratifiedKFold(options.folds, shuffle=True, random_state=0).split(images, labels)
    found = []
    for train, valid in splits:
        config = vars(options) | {
            "images": images, "labels": labels, "train": train, "valid": valid,
        }  # fmt: skip
        trainer = TorchTrainer(train_fold, train_loop_config=config, **settings)
        found.append(trainer.fit().return_value)
    print(json.dumps({"accuracy": float(np.mean(found))}))


if __name__ == "__main__":
    main()
