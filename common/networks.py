"""Small networks, and layers that all networks share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import rgb_to_grayscale

from common.errors import UserError

Normalization = Literal["auto", "imagenet", "image", "none"]
Constants = tuple[tuple[float, ...], tuple[float, ...]]  # mean and deviation of each channel, for pixels from 0 to 1

IMAGENET: Constants = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Temperature(nn.Module):
    """Divide logits by a temperature; above 1, it makes their probabilities less confident."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, logits: Tensor) -> Tensor:
        return logits / self.temperature


class Normalize(nn.Module):
    """Scale images to the range that networks learn from.

    Args:
        mode: ``image`` scales each image to mean 0 and deviation 1, which removes light and contrast;
            ``imagenet`` uses the constants that torchvision's weights were trained with (their mean for grey);
            ``auto`` uses ``constants`` in the same way, and stores them in the checkpoint; ``none`` leaves images
            unchanged.
        channels: channels of the network; if 1, images in colour become grey.
        constants: those of the backbone, from :func:`common.backbones.constants_of`.

    Shape: N×channels×H×W, or N×3×H×W, float in [0, 1] → N×channels×H×W.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mode: Normalization, channels: int, constants: Constants = IMAGENET) -> None:
        super().__init__()
        self.mode, self.channels = mode, channels
        mean, std = map(torch.tensor, constants if mode == "auto" else IMAGENET)
        if channels == 1:
            mean, std = mean.mean(0, keepdim=True), std.mean(0, keepdim=True)
        # Other releases of timm may have other constants, so weights keep those that they were fitted with.
        self.register_buffer("mean", mean.view(1, -1, 1, 1), persistent=mode == "auto")
        self.register_buffer("std", std.view(1, -1, 1, 1), persistent=mode == "auto")

    def forward(self, images: Tensor) -> Tensor:
        images = images.to(self.mean.dtype)  # the weights' type, which `64-true` and `bf16-true` change
        if self.channels < images.shape[1]:
            images = rgb_to_grayscale(images)
        if self.mode == "none":
            return images
        if self.mode in ("auto", "imagenet"):
            return (images - self.mean) / self.std
        std, mean = torch.std_mean(images, dim=(1, 2, 3), keepdim=True)
        return (images - mean) / (std + 1e-3)  # a uniform image has a deviation of 0

    def is_like(self, other: Normalize, state: Mapping[str, Tensor]) -> bool:
        """Whether ``other`` scales images in the same way as this one does with a checkpoint's ``state``."""
        constant = ("auto", "imagenet")
        if self.mode not in constant or other.mode not in constant:
            return self.mode == other.mode
        kept = {key.rpartition(".")[2]: value for key, value in state.items() if ".normalize." in f".{key}"}
        mean, std = kept.get("mean", self.mean), kept.get("std", self.std)
        return torch.equal(mean.float(), other.mean.float()) and torch.equal(std.float(), other.std.float())


class FromBytes(nn.Module):
    """Turn uint8 images into floats in [0, 1] in an exported network, as the data module does."""

    def forward(self, images: Tensor) -> Tensor:
        return images.float() / 255


class Float32Linear(nn.Linear):
    """A linear layer that computes in float32 under mixed precision: bf16 would round 20 days to eighths of a day."""

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return super().forward(features.to(self.weight.dtype))


def head_of(network: nn.Module) -> list[str]:
    """Name the layers that produce a network's outputs: those in float32, or else the last linear or convolution."""
    heads = [name for name, layer in network.named_modules() if isinstance(layer, Float32Linear)]
    layers = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    return heads or layers[-1:]


def refuse_small(name: str, image_size: int, least: int) -> None:
    """Raise a :class:`UserError` if images have fewer pixels per side than a network needs."""
    if image_size < least:
        raise UserError(f"--model.image_size {image_size} is too small for {name}; give {least} or more")


class LeNet(nn.Sequential):
    """LeNet as in the seed design for 224×224: 16·54·54 → 120 → 84 → 10 → outputs.

    Shape: N×in_channels×image_size×image_size, float → N×num_outputs.
    Source: LeCun et al., "Gradient-based learning applied to document recognition", 1998, with ReLU.
    """

    def __init__(self, in_channels: int, num_outputs: int, image_size: int) -> None:
        side = (image_size // 2 - 4) // 2
        refuse_small("lenet", image_size, 12)
        super().__init__(
            *(nn.Conv2d(in_channels, 6, 5, padding=2), nn.ReLU(), nn.AvgPool2d(2)),
            *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten()),
            *(nn.Linear(16 * side * side, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()),
            *(nn.Linear(84, 10), Float32Linear(10, num_outputs)),
        )


class Airbench(nn.Sequential):
    """A small VGG for small images, after the CIFAR-10 speed record: three stages of two convolutions, then a maximum.

    It has two million weights, and does most of its work at half the size and below. Unlike in the source, the first
    layer is learned, with 3×3 taps, rather than whitened from the data.

    Shape: N×in_channels×H×W, H and W 8 or more → N×num_outputs.
    Source: K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv:2404.00498.
    """

    def __init__(self, in_channels: int, num_outputs: int, image_size: int) -> None:
        refuse_small("airbench", image_size, 8)
        layers: list[nn.Module] = [nn.Conv2d(in_channels, 16, 3, padding=1), nn.GELU()]
        for before, width in ((16, 64), (64, 256), (256, 256)):
            layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.MaxPool2d(2)]
            layers += [nn.BatchNorm2d(width), nn.GELU()]
            layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.GELU()]
        super().__init__(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), Float32Linear(256, num_outputs, bias=False))


class AirbenchResidual(nn.Sequential):
    """A larger airbench, with seven million weights: a third convolution, and a residual connection, in each stage.

    It takes twice the time of :class:`Airbench`.

    Shape: N×in_channels×H×W, H and W 8 or more → N×num_outputs.
    Source: after airbench96 of the same paper, with fewer channels.
    """

    def __init__(self, in_channels: int, num_outputs: int, image_size: int) -> None:
        refuse_small("airbench_residual", image_size, 8)
        stages = [_ResidualStage(before, width) for before, width in ((16, 64), (64, 256), (256, 512))]
        head = (nn.AdaptiveMaxPool2d(1), nn.Flatten(), Float32Linear(512, num_outputs, bias=False))
        super().__init__(nn.Conv2d(in_channels, 16, 3, padding=1), nn.GELU(), *stages, *head)


class _ResidualStage(nn.Module):
    """Halve the sides, then add two convolutions: N×before×H×W → N×width×H/2×W/2."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.GELU(), nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)]
        halve = (nn.Conv2d(before, width, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(width))
        self.shrink, self.branch = nn.Sequential(*halve), nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        images = self.shrink(images)
        return nn.functional.gelu(images + self.branch(images))
