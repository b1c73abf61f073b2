"""Image encoders by name: LeNet, a small VGG, a task's own, and every torchvision classifier.

``build_backbone`` adapts three things to the task: the channels it takes, how early it shrinks small images (the
stem), and the numbers it gives (the head).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    CheckpointImpl,
    apply_activation_checkpointing,
    checkpoint_wrapper,
)
from torchvision import models

from common.errors import UserError
from common.networks import Airbench, Float32Linear, LeNet

Stem = Literal["imagenet", "small"]
Head = Literal["linear", "imagenet"]
Pretrained = bool | str
Own = Callable[[int, int, int], nn.Module]  # from channels, outputs and pixels a side

IMAGENET_CLASSES = 1000
WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")  # in training; their weights include them
LARGEST_MINIMUM = 75  # pixels a side: no network needs more than inception_v3
OURS: dict[str, Own] = {"airbench": Airbench, "lenet": LeNet}


def build_backbone(
    name: str,
    *,
    in_channels: int,
    num_outputs: int,
    image_size: int,
    stem: Stem = "imagenet",
    head: Head = "linear",
    pretrained: Pretrained = False,
    own: Mapping[str, Own] | None = None,
) -> nn.Module:
    """Build an encoder: N×in_channels×image_size×image_size, float → N×num_outputs.

    Args:
        name: ``airbench``, ``lenet``, one of ``own``, or a classifier of
            ``torchvision.models.list_models(torchvision.models)``.
        in_channels: channels of the images; other than 3, the pretrained first layer's RGB weights are summed and
            spread evenly.
        num_outputs: numbers given for each image.
        image_size: pixels a side; only lenet's and the vision transformers' weights depend on it.
        stem: ``imagenet`` leaves the first convolution as published; ``small``, for images of few pixels, makes it
            3×3 with stride 1 (He et al., arXiv:1512.03385, section 4.2, for CIFAR).
        head: ``linear`` replaces the last layer; ``imagenet`` keeps its 1000 logits and stacks a linear layer on them.
        pretrained: true for torchvision's ImageNet weights, or the path of a file that holds a state dict of them.
        own: networks of the task's own, by name.

    Raises:
        UserError: the name is unknown, the network does not take such images, or weights are absent or do not fit.
    """
    ours = {**OURS, **(own or {})}
    if name in ours:
        if pretrained:
            raise UserError(f"there are no pretrained weights for {name}; give --model.pretrained false")
        network = ours[name](in_channels, num_outputs, image_size)
    else:
        network = _torchvision_classifier(name, image_size, stem, list(ours))
        if pretrained:
            network.load_state_dict(_pretrained_state(name, network, pretrained))
        if name in WITH_AUXILIARY_HEADS:
            for part, absent in (("aux_logits", False), ("aux1", None), ("aux2", None), ("AuxLogits", None)):
                if hasattr(network, part):
                    setattr(network, part, absent)
        _adapt_stem(name, network, in_channels, stem)
        network = _adapt_head(network, num_outputs, head)
    if image_size <= LARGEST_MINIMUM:
        try:
            with torch.no_grad():
                network.eval()(torch.zeros(1, in_channels, image_size, image_size))
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"--model.image_size {image_size} is too small for {name}: {reason}") from None
    return network.train()


def checkpoint_blocks(network: nn.Module) -> None:
    """Keep only the activations between the blocks of ``network`` while training; recompute the rest going backwards.

    A block is a residual block, or whatever else a stage (``nn.Sequential``) is made of that holds two convolutions or
    attention. Parameters keep their names. BatchNorm sees each batch twice, which moves its averages twice as far.

    Source: Chen et al., "Training deep nets with sublinear memory cost", arXiv:1604.06174.
    """
    blocks = {
        id(block)
        for stage in network.modules()
        if isinstance(stage, nn.Sequential)
        for block in stage
        if type(block) is not nn.Sequential
        if sum(isinstance(layer, nn.Conv2d | nn.MultiheadAttention) for layer in block.modules()) > 1
    }
    wrap = partial(checkpoint_wrapper, checkpoint_impl=CheckpointImpl.NO_REENTRANT)
    apply_activation_checkpointing(network, wrap, check_fn=lambda module: id(module) in blocks)


def _torchvision_classifier(name: str, image_size: int, stem: Stem, ours: list[str]) -> nn.Module:
    """Build a network of torchvision as published, with random weights."""
    names = models.list_models(module=models)
    if name not in names:
        close = difflib.get_close_matches(name, [*ours, *names], n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "see torchvision.models.list_models()"
        raise UserError(f"--model.backbone {name}: no such backbone; {hint}")
    options: dict[str, object] = {}
    if name.startswith("vit_"):
        options = {"image_size": image_size}
    elif name.startswith("maxvit"):
        options = {"input_size": (image_size, image_size)}
    elif name in WITH_AUXILIARY_HEADS:
        options = {"aux_logits": True, "init_weights": False}
    try:
        network: nn.Module = models.get_model(name, weights=None, **options)
    except (ValueError, AssertionError, RuntimeError) as error:
        size = f"--model.image_size {image_size}"
        raise UserError(f"--model.backbone {name} cannot be built for {size}: {error}") from None
    # On CPUs, bf16 gradients of a strided convolution of a single pixel pick up what lies beside it in memory (oneDNN).
    smallest = 9 if stem == "small" else 17
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    strided = [layer for layer in convolutions if layer.stride != (1, 1) and layer.kernel_size != (1, 1)]
    if image_size < smallest and len(strided) > 1:
        raise UserError(f"--model.image_size {image_size} is too small for {name}; give {smallest} or more")
    return network


def _pretrained_state(name: str, network: nn.Module, pretrained: Pretrained) -> dict[str, Tensor]:
    """Read ImageNet weights and check that each of them fits ``network``."""
    weights = models.get_model_weights(name).DEFAULT
    file = weights.url.rsplit("/", 1)[-1]
    try:
        source = weights.url if pretrained is True else str(pretrained)
        if pretrained is True:
            state = torch.hub.load_state_dict_from_url(source, progress=True, check_hash=True, weights_only=True)
        else:
            state = torch.load(source, map_location="cpu", weights_only=True)
    except URLError as error:
        raise UserError(
            f"cannot download the pretrained weights of {name} ({error.reason}); fetch {weights.url} elsewhere and "
            f"give --model.pretrained {file}, or train from random weights with --model.pretrained false"
        ) from None
    except OSError as error:
        raise UserError(f"--model.pretrained {pretrained}: {error.strerror or error}; expected {file}") from None
    except Exception as error:  # torch.load raises what its readers do: RuntimeError, UnpicklingError, EOFError, ...
        reason = str(error).split(".")[0].split("\n")[0] or type(error).__name__
        raise UserError(f"--model.pretrained {source}: not a file of weights ({reason}); expected {file}") from None
    wanted = network.state_dict()
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"--model.pretrained {source}: not a state dict of tensors; expected {file}")
    wrong = [key for key in wanted if key not in state or state[key].shape != wanted[key].shape]
    wrong += [key for key in state if key not in wanted]
    if wrong:
        reason = f"not weights of {name}, {len(wrong)} tensors differ (first: {wrong[0]})"
        raise UserError(f"--model.pretrained {source}: {reason}; expected {file}")
    return state


def _adapt_stem(name: str, network: nn.Module, in_channels: int, stem: Stem) -> None:
    """Give the first convolution ``in_channels`` inputs and, for ``stem="small"``, 3×3 taps and stride 1."""
    path, first = next((path, layer) for path, layer in network.named_modules() if isinstance(layer, nn.Conv2d))
    if stem == "small" and name.startswith(("vit_", "swin_", "maxvit", "convnext")):
        raise UserError(f"--model.stem small does not fit {name}, whose first layer cuts patches; give imagenet")
    taps = {name: vars(first)[name] for name in ("kernel_size", "stride", "padding")}
    if stem == "small":
        taps = {"kernel_size": (3, 3), "stride": (1, 1), "padding": (1, 1)}
    if (in_channels, taps["kernel_size"], taps["stride"]) == (first.in_channels, first.kernel_size, first.stride):
        return
    adapted = nn.Conv2d(in_channels, first.out_channels, **taps, bias=first.bias is not None)
    nn.init.kaiming_normal_(adapted.weight, mode="fan_out", nonlinearity="relu")
    if taps["kernel_size"] == first.kernel_size:
        with torch.no_grad():
            adapted.weight.copy_(first.weight.sum(dim=1, keepdim=True) / in_channels)  # broadcast
            if adapted.bias is not None and first.bias is not None:
                adapted.bias.copy_(first.bias)
    network.set_submodule(path, adapted)


def _adapt_head(network: nn.Module, num_outputs: int, head: Head) -> nn.Module:
    if head == "imagenet":
        return nn.Sequential(network, Float32Linear(IMAGENET_CLASSES, num_outputs))
    layers = network.named_modules()
    path, last = [(path, layer) for path, layer in layers if isinstance(layer, nn.Linear | nn.Conv2d)][-1]
    if isinstance(last, nn.Linear):
        network.set_submodule(path, Float32Linear(last.in_features, num_outputs))
    else:  # squeezenet's classifier is a 1×1 convolution
        network.set_submodule(path, nn.Conv2d(last.in_channels, num_outputs, 1))
    return network
