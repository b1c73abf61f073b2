"""Image encoders by name: LeNet, a small VGG, a task's own, and every classifier of torchvision and of timm.

``build_backbone`` adapts three things to the task: the number of input channels, how early the network downsamples
small images (the stem), and its outputs (the head).
"""

from __future__ import annotations

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

from common.errors import UserError, counted, no_such
from common.networks import IMAGENET, Airbench, AirbenchResidual, Constants, Float32Linear, LeNet, refuse_small
from common.pretrained import Pretrained, is_checkpoint, not_downloaded, read_state
from common.timm_backbones import PREFIX, build_timm, constants_of_timm, give_outputs, has_plain_stem, names_of_timm

Stem = Literal["imagenet", "small"]
Head = Literal["linear", "imagenet"]
Own = Callable[[int, int, int], nn.Module]  # from channels, outputs and pixels per side

IMAGENET_CLASSES = 1000
WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")  # for training; their weights include them
LARGEST_MINIMUM = 75  # pixels per side: no network needs more than inception_v3
OURS: dict[str, Own] = {"airbench": Airbench, "airbench_residual": AirbenchResidual, "lenet": LeNet}


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
        name: ``airbench``, ``airbench_residual``, ``lenet``, one of ``own``, a classifier of
            ``torchvision.models.list_models(torchvision.models)``, or ``timm/`` and a name of ``timm.list_models()`` or
            ``timm.list_pretrained()``.
        in_channels: channels of the images; if there are not 3, the pretrained first layer's RGB weights are summed
            and spread evenly.
        num_outputs: number of outputs per image.
        image_size: pixels per side; the weights of lenet, vision transformers and some networks of timm depend on it.
        stem: ``imagenet`` leaves the first convolution as published; ``small``, for images of few pixels, makes it
            3×3 with stride 1 (He et al., arXiv:1512.03385, section 4.2, for CIFAR).
        head: ``linear`` replaces the last layer; ``imagenet`` keeps its 1000 logits and adds a linear layer on top.
        pretrained: true for the weights that torchvision or timm publishes, or the path of a file with a state dict
            of them. With the path of a checkpoint (``.ckpt``), the weights stay random here:
            :class:`common.task.ImageTask` loads them once the whole network is built.
        own: networks of the task's own, by name.

    Raises:
        UserError: the name is unknown, the network does not accept such images, or weights are missing or do not fit.
    """
    ours = {**OURS, **(own or {})}
    pretrained = False if is_checkpoint(pretrained) else pretrained
    if name in ours:
        if pretrained:
            remedy = "give a fit's checkpoint (.ckpt), or false"
            raise UserError(f"--model.pretrained {pretrained}: there are no pretrained weights for {name}; {remedy}")
        network = ours[name](in_channels, num_outputs, image_size)
    else:
        if name.startswith(PREFIX):
            network = build_timm(name, in_channels, image_size, pretrained)
        else:
            network = _torchvision_classifier(name, image_size, list(ours))
            if pretrained:
                network.load_state_dict(_pretrained_state(name, network, pretrained))
        _check_strides(name, network, image_size, stem)
        if name in WITH_AUXILIARY_HEADS:
            for part, absent in (("aux_logits", False), ("aux1", None), ("aux2", None), ("AuxLogits", None)):
                if hasattr(network, part):
                    setattr(network, part, absent)
        _adapt_stem(name, network, in_channels, stem)
        network = _adapt_head(name, network, num_outputs, head)
    if image_size <= LARGEST_MINIMUM or name.startswith(PREFIX):
        try:
            with torch.no_grad():
                network.eval()(torch.zeros(1, in_channels, image_size, image_size))
        except (RuntimeError, ValueError, AssertionError, ArithmeticError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            unfit = "does not suit" if name.startswith(PREFIX) else "is too small for"
            raise UserError(f"--model.image_size {image_size} {unfit} {name}: {reason}") from None
    return network.train()


def constants_of(name: str) -> Constants:
    """Return what ``--model.normalize auto`` means: the mean and deviation that a backbone's weights expect.

    They come from timm's configuration, or are ImageNet's for all other networks, even if the weights are random.

    Raises:
        UserError: timm has no such network.
    """
    return constants_of_timm(name) if name.startswith(PREFIX) else IMAGENET


def checkpoint_blocks(network: nn.Module) -> None:
    """Keep only the activations between the blocks of ``network``; recompute the rest in the backward pass.

    A block is an element of a stage (``nn.Sequential``), such as a residual block, that holds at least two convolutions
    or an ``nn.MultiheadAttention``. Parameters keep their names. BatchNorm sees each batch twice, which moves its
    averages twice as far.

    Source: Chen et al., "Training deep nets with sublinear memory cost", arXiv:1604.06174.

    Raises:
        UserError: timm, which knows the blocks of its own networks, does not support it for this one, or another
            network has no such block.
    """
    by_timm = [getattr(part, "set_grad_checkpointing", None) for part in network.modules()]
    if switch := next(filter(callable, by_timm), None):
        try:
            switch()
        except AssertionError:
            raise UserError("--model.grad_checkpointing true: timm has none for this backbone; give false") from None
        return
    blocks = {
        id(block)
        for stage in network.modules()
        if isinstance(stage, nn.Sequential)
        for block in stage
        if type(block) is not nn.Sequential
        if sum(isinstance(layer, nn.Conv2d) for layer in block.modules()) > 1
        or any(isinstance(layer, nn.MultiheadAttention) for layer in block.modules())
    }
    if not blocks:
        raise UserError("--model.grad_checkpointing true: this backbone has no blocks to recompute; give false")
    wrap = partial(checkpoint_wrapper, checkpoint_impl=CheckpointImpl.NO_REENTRANT)
    apply_activation_checkpointing(network, wrap, check_fn=lambda module: id(module) in blocks)


def _torchvision_classifier(name: str, image_size: int, ours: list[str]) -> nn.Module:
    """Build a torchvision network as published, with random weights."""
    names = models.list_models(module=models)
    if name not in names:
        listing = "torchvision.models.list_models() and timm.list_models()"
        raise no_such("--model.backbone", name, [*ours, *names, *names_of_timm()], listing)
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
    return network


def _check_strides(name: str, network: nn.Module, image_size: int, stem: Stem) -> None:
    # On CPUs, bf16 gradients of a strided convolution on a single pixel pick up adjacent memory (oneDNN).
    smallest = 9 if stem == "small" else 17
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    strided = [layer for layer in convolutions if layer.stride != (1, 1) and layer.kernel_size != (1, 1)]
    if len(strided) > 1:
        refuse_small(name, image_size, smallest)


def _pretrained_state(name: str, network: nn.Module, pretrained: Pretrained) -> dict[str, Tensor]:
    """Read ImageNet weights and check that each of them fits ``network``."""
    url: str = models.get_model_weights(name).DEFAULT.url
    file = url.rpartition("/")[2]
    download = partial(torch.hub.load_state_dict_from_url, url, progress=True, check_hash=True, weights_only=True)
    try:
        state = read_state(url, file, download) if pretrained is True else read_state(str(pretrained), file)
    except URLError as error:
        raise not_downloaded(name, url, error.reason) from None
    wanted = network.state_dict()
    wrong = [key for key in wanted if key not in state or state[key].shape != wanted[key].shape]
    wrong += [key for key in state if key not in wanted]
    if wrong:
        reason = f"not weights of {name}, {counted(len(wrong), 'tensor differs', 'tensors differ')} (first: {wrong[0]})"
        raise UserError(f"--model.pretrained {pretrained}: {reason}; expected {file}")
    return state


def _adapt_stem(name: str, network: nn.Module, in_channels: int, stem: Stem) -> None:
    """Give the first convolution ``in_channels`` inputs and, for ``stem="small"``, 3×3 taps and stride 1."""
    path, first = next((path, layer) for path, layer in network.named_modules() if isinstance(layer, nn.Conv2d))
    small = stem == "small"
    if small and (name.startswith(("vit_", "swin_", "maxvit", "convnext")) or first.kernel_size == first.stride):
        raise UserError(f"--model.stem small does not fit {name}, whose first layer cuts patches; give imagenet")
    if name.startswith(PREFIX):  # timm has already adapted the channels
        if not small:
            return
        if not (has_plain_stem(name, path, first) and first.in_channels == in_channels):
            reason = "whose first layer is no plain convolution, or whose weights depend on the size"
            raise UserError(f"--model.stem small does not fit {name}, {reason}; give imagenet")
    taps = {name: vars(first)[name] for name in ("kernel_size", "stride", "padding")}
    if small:
        taps = {"kernel_size": (3, 3), "stride": (1, 1), "padding": (1, 1)}
    if (in_channels, taps["kernel_size"], taps["stride"]) == (first.in_channels, first.kernel_size, first.stride):
        return
    adapted = nn.Conv2d(in_channels, first.out_channels, **taps, bias=first.bias is not None)
    nn.init.kaiming_normal_(adapted.weight, mode="fan_out", nonlinearity="relu")
    if taps["kernel_size"] == first.kernel_size:
        with torch.no_grad():
            same = in_channels == first.in_channels
            adapted.weight.copy_(first.weight if same else first.weight.sum(dim=1, keepdim=True) / in_channels)
            if adapted.bias is not None and first.bias is not None:
                adapted.bias.copy_(first.bias)
    network.set_submodule(path, adapted)


def _adapt_head(name: str, network: nn.Module, num_outputs: int, head: Head) -> nn.Module:
    if head == "imagenet":
        if (logits := getattr(network, "num_classes", IMAGENET_CLASSES)) != IMAGENET_CLASSES:
            raise UserError(f"--model.head imagenet: {name} has {logits} logits, not {IMAGENET_CLASSES}; give linear")
        return nn.Sequential(network, Float32Linear(IMAGENET_CLASSES, num_outputs))
    if name.startswith(PREFIX):
        return give_outputs(network, num_outputs)
    layers = network.named_modules()
    path, last = [(path, layer) for path, layer in layers if isinstance(layer, nn.Linear | nn.Conv2d)][-1]
    if isinstance(last, nn.Linear):
        network.set_submodule(path, Float32Linear(last.in_features, num_outputs))
    else:  # squeezenet's classifier is a 1×1 convolution
        network.set_submodule(path, nn.Conv2d(last.in_channels, num_outputs, 1))
    return network
