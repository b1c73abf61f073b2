"""Image encoders by name: LeNet, a small VGG, two measures of green plants, and every torchvision classifier.

``build_backbone`` adapts three things to the task: the channels it takes, how early it shrinks small images (the
stem), and the numbers it gives (the head).
"""

from __future__ import annotations

import difflib
import math
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

Stem = Literal["imagenet", "small"]
Head = Literal["linear", "imagenet"]
Normalization = Literal["image", "imagenet", "none"]
Pretrained = bool | str

IMAGENET_CLASSES = 1000
WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")  # while training, which their weights come with
LARGEST_MINIMUM = 75  # pixels a side: no network needs more than inception_v3
OURS = ("airbench", "lenet", "leaf_hull")


class Normalize(nn.Module):
    """Bring images to the range that networks learn from.

    Args:
        mode: ``image`` gives each image mean 0 and deviation 1 of its own, which takes light and contrast away;
            ``imagenet`` uses the constants that torchvision's weights were trained with (their mean for grey);
            ``none`` leaves them as they are.
        channels: channels of the images.

    Shape: N×channels×H×W, float in [0, 1] → the same.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mode: Normalization, channels: int) -> None:
        super().__init__()
        self.mode = mode
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        if channels == 1:
            mean, std = mean.mean(0, keepdim=True), std.mean(0, keepdim=True)
        self.register_buffer("mean", mean.view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", std.view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        images = images.to(self.mean.dtype)  # of the weights, which `64-true` and `bf16-true` change
        if self.mode == "none":
            return images
        if self.mode == "imagenet":
            return (images - self.mean) / self.std
        std, mean = torch.std_mean(images, dim=(1, 2, 3), keepdim=True)
        return (images - mean) / (std + 1e-3)  # an even image has no deviation to divide by


class Float32Linear(nn.Linear):
    """A linear layer that computes in float32 under mixed precision: bf16 would round 20 days to eighths of a day."""

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return super().forward(features.to(self.weight.dtype))


class LeNet(nn.Sequential):
    """LeNet as in the seed design for 224×224: 16·54·54 → 120 → 84 → 10 → outputs.

    Args:
        in_channels: channels of the input.
        num_outputs: numbers given for each image.
        image_size: pixels a side of the (square) input.

    Shape: N×in_channels×image_size×image_size, float → N×num_outputs.

    Source: LeCun et al., "Gradient-based learning applied to document recognition", 1998, with ReLU.
    """

    def __init__(self, in_channels: int, num_outputs: int, image_size: int) -> None:
        side = (image_size // 2 - 4) // 2
        if side < 1:
            raise UserError(f"--model.image_size {image_size} is too small for lenet; give 12 or more")
        super().__init__(
            nn.Conv2d(in_channels, 6, 5, padding=2),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * side * side, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, 10),
            Float32Linear(10, num_outputs),
        )


class Airbench(nn.Sequential):
    """A small VGG for small images, after the CIFAR-10 speed record: three stages of two convolutions, then a maximum.

    Two million weights, most of the work at half the size and below. Beside the source: the first layer is learned,
    of 3×3 taps, not whitened from the data.

    Shape: N×in_channels×H×W, H and W 8 or more → N×num_outputs.

    Source: K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv:2404.00498.
    """

    def __init__(self, in_channels: int, num_outputs: int, widths: tuple[int, ...] = (64, 256, 256)) -> None:
        layers: list[nn.Module] = [nn.Conv2d(in_channels, 16, 3, padding=1), nn.GELU()]
        before = 16
        for width in widths:
            layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.MaxPool2d(2)]
            layers += [nn.BatchNorm2d(width), nn.GELU()]
            layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.GELU()]
            before = width
        super().__init__(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), Float32Linear(before, num_outputs, bias=False))


def _coordinates(images: Tensor) -> tuple[Tensor, Tensor]:
    """Give how far down (H×1) and how far to the right (W) each pixel lies, from -1 to 1."""
    down, across = (torch.linspace(-1, 1, side, device=images.device) for side in images.shape[2:])
    return down[:, None], across


def leaves(images: Tensor) -> Tensor:
    """Say how surely each pixel is of a green leaf: N×3×H×W, RGB in [0, 1] → N×H×W, 0 to 1.

    That is where the excess green of its colour is above 0.1 (half at that), less towards the border.

    Source: Woebbecke et al., Trans. ASAE 38(1), 1995.
    """
    down, across = _coordinates(images)
    red, green, blue = (images / (images.sum(1, keepdim=True) + 0.05)).unbind(1)
    excess = (2 * green - red - blue) * torch.exp(-(((across**2 + down**2).sqrt() / 0.9) ** 4))
    return ((excess - 0.05) / 0.1).clamp(0, 1)


class LeafHull(nn.Module):
    """Measures a green plant from above: the hull of its leaves and how blue they are, both as logarithms.

    A plant grows by a share of its size each day, so its age is close to linear in logarithms, and a nearer camera
    adds the same constant to all photos of a plant, which differences do not see. The area of the convex hull counts
    what the leaves reach to, whichever of them lie over each other or droop; blue light is what leaves swallow more
    of as they fill with chlorophyll. Two weights and a bias are learned: a few dozen photos do not carry more.

    Leaves are found by :func:`leaves`. The hull is that of its support function in 32 directions (area: Santaló,
    Integral Geometry, 1976, part I.1).

    Shape: N×3×H×W, RGB in [0, 1] → N×num_outputs.
    """

    directions: Tensor

    def __init__(self, num_outputs: int, num_directions: int = 32) -> None:
        super().__init__()
        angles = torch.arange(num_directions) * 2 * math.pi / num_directions
        self.register_buffer("directions", torch.stack([angles.cos(), angles.sin()], dim=1), persistent=False)
        self.head = Float32Linear(2, num_outputs)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([1.0, 0.0]).expand(num_outputs, 2))
        nn.init.zeros_(self.head.bias)

    @torch.no_grad()
    def measure(self, images: Tensor) -> Tensor:
        """Give log(hull's area), of a photo of 2×2, and 4 log(leaves' mean blue), which varies less: N×2."""
        images = images.float()
        leaf, down, across = leaves(images), *_coordinates(images)
        # Single green pixels are the sensor's; they would stretch the hull.
        solid = nn.functional.avg_pool2d(leaf[:, None], 3, stride=1, padding=1)[:, 0] > 0.5
        # Of each row only the outermost pixels can touch the hull: N×H×directions.
        right = torch.where(solid, across, -2.0).amax(2)[:, :, None]
        left = torch.where(solid, across, 2.0).amin(2)[:, :, None]
        x, y = self.directions.T
        touch = torch.maximum(right * x, left * x) + down * y
        reach = torch.where(solid.any(2)[:, :, None], touch, -torch.inf).amax(1).nan_to_num(neginf=0.0)
        turn = (reach.roll(-1, 1) - reach.roll(1, 1)) * len(self.directions) / (4 * math.pi)
        hull = math.pi * (reach**2 - turn**2).mean(1)
        blue = (leaf * images[:, 2]).sum((1, 2)) / (leaf.sum((1, 2)) + 1e-3)
        return torch.stack([torch.log(hull.clamp(min=0) + 1e-3), 4 * torch.log(blue + 0.01)], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        codes: Tensor = self.head(self.measure(images))
        return codes


def build_backbone(
    name: str,
    *,
    in_channels: int,
    num_outputs: int,
    image_size: int,
    stem: Stem = "imagenet",
    head: Head = "linear",
    normalize: Normalization = "none",
    pretrained: Pretrained = False,
) -> nn.Module:
    """Build an encoder: N×in_channels×image_size×image_size, float → N×num_outputs.

    Args:
        name: ``airbench``, ``lenet``, ``leaf_hull`` or a classifier of
            ``torchvision.models.list_models(torchvision.models)``.
        in_channels: channels of the images; other than 3, the pretrained first layer's RGB weights are summed and
            spread evenly.
        num_outputs: numbers given for each image.
        image_size: pixels a side; only lenet's and the vision transformers' weights depend on it.
        stem: ``imagenet`` leaves the first convolution as published; ``small``, for images of few pixels, makes it
            3×3 with stride 1 (He et al., arXiv:1512.03385, section 4.2, for CIFAR).
        head: ``linear`` replaces the last layer; ``imagenet`` keeps its 1000 logits and stacks a linear layer on them.
        normalize: how the images have been brought to range; leaf_hull takes them as they are.
        pretrained: true for torchvision's ImageNet weights, or the path of a file that holds a state dict of them.

    Raises:
        UserError: no such name, channels, range or size that it does not take, or weights that cannot be had or do
            not fit.
    """
    network = _built(name, in_channels, num_outputs, image_size, stem, head, normalize, pretrained)
    if image_size <= LARGEST_MINIMUM:
        try:
            with torch.no_grad():
                network.eval()(torch.zeros(1, in_channels, image_size, image_size))
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"--model.image_size {image_size} is too small for {name}: {' '.join(str(error).split())}"
            ) from None
    return network.train()


def _built(
    name: str,
    in_channels: int,
    num_outputs: int,
    image_size: int,
    stem: Stem,
    head: Head,
    normalize: Normalization,
    pretrained: Pretrained,
) -> nn.Module:
    if name in OURS:
        if pretrained:
            raise UserError(f"there are no pretrained weights for {name}; give --model.pretrained false")
        if name == "lenet":
            return LeNet(in_channels, num_outputs, image_size)
        if name == "airbench":
            if image_size < 8:
                raise UserError(f"--model.image_size {image_size} is too small for airbench; give 8 or more")
            return Airbench(in_channels, num_outputs)
        if in_channels != 3 or normalize != "none":
            raise UserError("leaf_hull needs the colours as they are: give --model.channels 3 --model.normalize none")
        return LeafHull(num_outputs)
    network = _torchvision_classifier(name, image_size)
    # On CPUs, bf16 gradients of a strided convolution of a single pixel take in what lay in memory beside it (oneDNN).
    smallest = 9 if stem == "small" else 17
    if image_size < smallest and sum(map(_strided, network.modules())) > 1:
        raise UserError(f"--model.image_size {image_size} is too small for {name}; give {smallest} or more")
    if pretrained:
        network.load_state_dict(_pretrained_state(name, network, pretrained))
    if name in WITH_AUXILIARY_HEADS:
        network.aux_logits = False  # type: ignore[assignment]
        for auxiliary in {"aux1", "aux2", "AuxLogits"} & dict(network.named_children()).keys():
            setattr(network, auxiliary, None)
    _adapt_stem(name, network, in_channels, stem)
    if head == "imagenet":
        return nn.Sequential(network, Float32Linear(IMAGENET_CLASSES, num_outputs))
    last_name, last = [pair for pair in network.named_modules() if isinstance(pair[1], nn.Linear | nn.Conv2d)][-1]
    # squeezenet's classifier is a 1×1 convolution
    replacement: nn.Module = (
        Float32Linear(last.in_features, num_outputs)
        if isinstance(last, nn.Linear)
        else nn.Conv2d(last.in_channels, num_outputs, last.kernel_size)  # type: ignore[arg-type]
    )
    network.set_submodule(last_name, replacement)
    return network


def checkpoint_blocks(network: nn.Module) -> None:
    """Keep only what passes between the blocks of ``network`` while training, and compute the rest again backwards.

    A block is a residual block, or whatever else a stage (``nn.Sequential``) is made of that holds two convolutions or
    attention. Names of the parameters stay. BatchNorm meets each batch twice, which moves its averages twice as far.

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


def _torchvision_classifier(name: str, image_size: int) -> nn.Module:
    names = models.list_models(module=models)
    if name not in names:
        close = difflib.get_close_matches(name, [*OURS, *names], n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "see torchvision.models.list_models()"
        raise UserError(f"--model.backbone {name}: no such backbone; {hint}")
    options: dict[str, object] = {}
    if name.startswith("vit_"):
        options["image_size"] = image_size
    if name.startswith("maxvit"):
        options["input_size"] = (image_size, image_size)
    if name in WITH_AUXILIARY_HEADS:
        options.update(aux_logits=True, init_weights=False)
    try:
        network: nn.Module = models.get_model(name, weights=None, **options)
    except (ValueError, AssertionError, RuntimeError) as error:
        raise UserError(
            f"--model.backbone {name} cannot be built for --model.image_size {image_size}: {error}"
        ) from None
    return network


def _strided(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.stride != (1, 1) and layer.kernel_size != (1, 1)


def _pretrained_state(name: str, network: nn.Module, pretrained: Pretrained) -> dict[str, Tensor]:
    """Read ImageNet weights and check that each of them fits ``network``."""
    weights = models.get_model_weights(name).DEFAULT  # type: ignore[attr-defined]
    file = weights.url.rsplit("/", 1)[-1]
    try:
        if pretrained is True:
            source = weights.url
            state = torch.hub.load_state_dict_from_url(source, progress=True, check_hash=True, weights_only=True)
        else:
            source = str(pretrained)
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
        raise UserError(
            f"--model.pretrained {source}: not weights of {name}, {len(wrong)} tensors differ (first: {wrong[0]}); "
            f"expected {file}"
        )
    return state


def _adapt_stem(name: str, network: nn.Module, in_channels: int, stem: Stem) -> None:
    """Give the first convolution ``in_channels`` inputs and, for ``stem="small"``, 3×3 taps and stride 1."""
    path, first = next(pair for pair in network.named_modules() if isinstance(pair[1], nn.Conv2d))
    if stem == "small" and name.startswith(("vit_", "swin_", "maxvit", "convnext")):
        raise UserError(f"--model.stem small does not fit {name}, whose first layer cuts patches; give imagenet")
    small = stem == "small"
    kernel, stride, padding = ((3, 3), (1, 1), (1, 1)) if small else (first.kernel_size, first.stride, first.padding)
    if (in_channels, kernel, stride) == (first.in_channels, first.kernel_size, first.stride):
        return
    adapted = nn.Conv2d(
        in_channels,
        first.out_channels,
        kernel,  # type: ignore[arg-type]
        stride,  # type: ignore[arg-type]
        padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    nn.init.kaiming_normal_(adapted.weight, mode="fan_out", nonlinearity="relu")
    if kernel == first.kernel_size:
        with torch.no_grad():
            summed = first.weight.sum(dim=1, keepdim=True) / in_channels
            adapted.weight.copy_(summed.expand_as(adapted.weight))
            if first.bias is not None and adapted.bias is not None:
                adapted.bias.copy_(first.bias)
    network.set_submodule(path, adapted)
