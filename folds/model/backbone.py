"""The network: a timm backbone without its classifier, and a fresh head (`folds.model.head`)."""

import importlib
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn

from folds.config.head import PLAIN_HEAD, HeadShape
from folds.config.lora import LoraShape
from folds.errors import UserError, reason
from folds.model.blocks import chain, layer_groups
from folds.model.drop_path import StochasticDepth, create, silence
from folds.model.folding import Pair, pairs
from folds.model.head import Head, fixed_pool
from folds.model.lora import add_adapters
from folds.model.names import Architecture
from folds.model.weights import State


class Classifier(nn.Module):
    """Normalisation of the input, backbone and head.

    Parameters
    ----------
    backbone : str
        A timm model, or what `folds.model.names.resolve` gave.
    classes : int
        C, the number of classes.
    size : int
        Side of the input in pixels.
    dropout : float
        Probability that a feature is dropped before the head while training.
    head : HeadShape
        What the head is made of.
    drop_path : float
        Probability that an image passes by the last block while it trains, see
        `folds.model.drop_path`; that of the blocks before rises evenly from 0.

    Notes
    -----
    - running the parts of `chain` one after another is running all that comes before the head:
      the backbone, and its pooling unless that has parameters (attention, which is the head's);
    - the head computes in float32 in every precision: rounded to bf16, logits of two classes are
      equal now and then, and the first of them would be predicted.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: str,
        *,
        classes: int,
        size: int,
        dropout: float = 0.0,
        head: HeadShape = PLAIN_HEAD,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        pooled = head.pool == "auto"
        network: Any = create_backbone(backbone, size, pooled=pooled, drop_path=drop_path)
        self.backbone = network
        self.droppable = tuple(m for m in network.modules() if isinstance(m, StochasticDepth))
        architecture = Architecture.of(backbone)
        for name in ("mean", "std"):
            value = torch.tensor(getattr(architecture, name)).view(1, 3, 1, 1)
            self.register_buffer(name, value, persistent=False)
        self.pool = fixed_pool(head.pool, network)
        pool = () if self.pool is None else (self.pool,)
        self.chain = chain(network, size) + pool  # a tuple: does not register its parts again
        self.size, self.layout = size, torch.channels_last
        self.head = Head(network, classes, head, dropout)

    def forward(
        self,
        inputs: Tensor,
        rows: Tensor | None = None,
        seed: int = 0,
        start: int = 0,
        with_features: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logits of images, or of what `frozen_features` gave for them.

        Parameters
        ----------
        inputs : Tensor of float32, shape (B, 3, size, size)
            Images in [0, 1]; with `start` above 0 the output of ``frozen_features(images, start)``.
        rows : Tensor of int64, shape (B,), optional
            Numbers of the images, or of their draws; with them features and blocks are dropped.
        seed : int
            Seed of what is dropped, another one each epoch.
        start : int
            Parts of the chain that are already done.
        with_features : bool
            Give the pooled features as well.

        Returns
        -------
        Tensor of float32, shape (B, C), or a pair of this and a Tensor of float32, shape (B, F)
        """
        for block in self.droppable:
            block.rows, block.seed = rows, seed
        trains = start < len(self.chain) and self.backbone_trains
        with torch.set_grad_enabled(torch.is_grad_enabled() and trains):
            if start:
                output = self._rest(inputs, start)
            else:
                output = self.backbone(self._norm(inputs))
                output = output if self.pool is None else self.pool(output)
        with torch.autocast(output.device.type, enabled=False):
            pooled = self.head.pool(output.float())
            logits = self.head(pooled, rows, seed)
        return (logits, pooled) if with_features else logits

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """What `folds.model.folding` may fold; to be asked first in evaluation."""
        return pairs(self, self.size)

    def frozen_features(self, image: Tensor, depth: int) -> Tensor:
        """Output of the first `depth` parts of the chain, at least one, for images in [0, 1]."""
        output = self._norm(image)
        for part in self.chain[:depth]:
            output = part(output)
        return output

    @property
    def middle(self) -> int:
        """How many parts of the chain are its first half."""
        return max(1, len(self.chain) // 2)

    def halfway(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Output of the first half of the chain, and its mean over places, for images in [0, 1].

        Returns
        -------
        Tensor, to be given back with ``start=middle``
        Tensor of float32, shape (B, F)
        """
        output = self.frozen_features(images, self.middle)
        places = tuple(range(2, output.ndim))  # of maps (B, F, H, W)
        if output.ndim == 3 or (output.ndim == 4 and output.shape[2] != output.shape[3]):
            places = tuple(range(1, output.ndim - 1))  # of tokens (B, N, F), or channels last
        return output, (output.mean(dim=places) if places else output).float()

    def _rest(self, output: Tensor, start: int) -> Tensor:
        """Run the parts of the chain from `start` on."""
        if output.ndim == 4:
            output = output.contiguous(memory_format=self.layout)
        for part in self.chain[start:]:
            output = part(output)
        return output

    def _norm(self, image: Tensor) -> Tensor:
        return ((image - self.mean) / self.std).contiguous(memory_format=self.layout)

    @property
    def backbone_trains(self) -> bool:
        """Whether any layer of the backbone is unfrozen."""
        return any(parameter.requires_grad for parameter in self.backbone.parameters())


def create_backbone(
    name: str, size: int, *, pooled: bool = True, drop_path: float = 0.0
) -> nn.Module:
    """Make a timm model without classifier for a size of input, and without its pooling if asked.

    What comes behind the pooling but the classifier stays, and is then applied to each place.

    See `folds.model.drop_path.create` for `drop_path`.
    """
    network: Any = create(name, size, drop_path)
    if not pooled:
        network.reset_classifier(0, "")
    silence(network)
    return cast(nn.Module, network)


def fixed_input(name: str) -> bool:
    """Whether a model is built for one size of input (vision transformers)."""
    return Architecture.of(name).fixed


def native_size(name: str) -> int:
    """Side in pixels that timm's configuration gives for a model."""
    return Architecture.of(name).size


def input_size(name: str, requested: int | str, images_side: int) -> int:
    """Side of the network's input.

    Parameters
    ----------
    name : str
        A timm model.
    requested : int or "auto"
        A number is the side; ``"auto"``: the images' own, but at most the backbone's, and that
        where the backbone takes no other.
    images_side : int
        Of the images as `folds.images.load` gives them.
    """
    if requested != "auto":
        return int(requested)
    return native_size(name) if fixed_input(name) else min(images_side, native_size(name))


def check_size(name: str, size: int, head: HeadShape = PLAIN_HEAD, drop_path: float = 0.0) -> int:
    """Try a model on one image of a size, as a fold would use it.

    Returns
    -------
    int
        Number of the backbone's layer groups.

    Raises
    ------
    UserError
        It fails: the image is too small for it, or not a multiple of its patches; or its output
        cannot be pooled in another way; or no block of it can be dropped.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            model = Classifier(name, classes=2, size=size, head=head, drop_path=drop_path).eval()
            groups = layer_groups(model.backbone)
            for block in model.droppable:
                block.train()
            model(torch.zeros(1, 3, size, size), torch.zeros(1, dtype=torch.int64))
    except UserError:
        raise
    except Exception as error:  # whatever a model of a thousand may raise
        if head.pool != "auto":
            check_size(name, size)
            raise UserError(
                f"--pool {head.pool}: {name} gives no map to pool; use --pool auto"
            ) from None
        raise UserError(
            f"--backbone {name}: does not work on images of {size} px ({reason(error)}); set "
            f"--image-size {native_size(name)}, or take another backbone"
        ) from None
    return len(groups)


def build(
    backbone: str,
    *,
    classes: int,
    size: int,
    dropout: float,
    pretrained: State | None,
    seed: int,
    head: HeadShape = PLAIN_HEAD,
    drop_path: float = 0.0,
    lora: LoraShape | None = None,
) -> Classifier:
    """Make the network of a fold, its random parts drawn from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Classifier(
            backbone, classes=classes, size=size, dropout=dropout, head=head, drop_path=drop_path
        )
    if pretrained is not None:
        model.backbone.load_state_dict(resized(pretrained, model.backbone))
    if lora is not None:
        add_adapters(model.backbone, backbone, lora, size=size, seed=seed)
    return model


def resized(state: State, backbone: nn.Module) -> State:
    """Adapt position embeddings to another input size by the model's own filter, if it has one.

    What the backbone has not got (a pooling with weights that was replaced) is left out.
    """
    wanted = backbone.state_dict()
    state = {name: tensor for name, tensor in state.items() if name in wanted}
    if all(state[name].shape == tensor.shape for name, tensor in wanted.items()):
        return state
    module = importlib.import_module(type(backbone).__module__)
    return dict(module.checkpoint_filter_fn(dict(state), backbone))
