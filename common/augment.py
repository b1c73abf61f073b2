"""Random changes of a whole batch on its device, one draw an image. Kornia does the work."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import kornia.augmentation as K
import torch
from torch import Tensor, nn

View = Callable[[Tensor], Tensor]


class Affine(nn.Module):
    """Rotate, shift, zoom and shear about the centre, in one resampling; the border is continued outwards.

    Args:
        degrees: largest rotation, either way.
        shift: largest shift, as a share of the side.
        zoom: largest change of scale; 0.2 is 0.8× to 1.2×.
        shear: largest shear, degrees, along either axis.
        group_zoom: largest change of scale that all images of a group share, 1 / (1 + x) to 1 + x.

    Shape: N×C×H×W, float in [0, 1], and groups N, int64 (with ``group_zoom``) → N×C×H×W.
    """

    def __init__(self, degrees: float, shift: float, zoom: float, shear: float = 0.0, group_zoom: float = 0.0) -> None:
        super().__init__()
        self.group_zoom = group_zoom
        self.random = K.RandomAffine(
            degrees,
            translate=(shift, shift),
            scale=(1 - zoom, 1 + zoom),
            shear=(-shear, shear, -shear, shear),
            padding_mode="border",
            p=1.0,
        )

    def forward(self, images: Tensor, group: Tensor | None = None) -> Tensor:
        drawn = self.random.forward_parameters(images.shape)
        if self.group_zoom and group is not None:
            group = group.to(drawn["scale"].device)
            factors = (1 + self.group_zoom) ** (2 * torch.rand(int(group.max()) + 1, device=group.device) - 1)
            drawn["scale"] = drawn["scale"] * factors[group][:, None]
        changed: Tensor = self.random(images, params=drawn)
        return changed


def light(brightness: float, contrast: float) -> nn.Module:
    """Add up to ± ``brightness`` (1 is white) and multiply by a factor drawn from 1 ± ``contrast``.

    Shape: N×C×H×W, float in [0, 1] → the same.
    """
    return nn.Sequential(
        K.RandomBrightness((1 - brightness, 1 + brightness), p=1.0),
        K.RandomContrast((1 - contrast, 1 + contrast), p=1.0),
    )


def invert(p: float) -> nn.Module:
    """Turn an image with probability ``p`` into its negative. Shape: N×C×H×W, float in [0, 1] → the same."""
    module: nn.Module = K.RandomInvert(p=p)
    return module


def flips() -> nn.Module:
    """Mirror along either axis and turn by quarters: each of the eight ways to lay a square is as likely.

    Shape: N×C×S×S, float → the same.
    """
    return nn.Sequential(K.RandomHorizontalFlip(p=0.5), K.RandomRotation90(times=(0, 3), p=1.0))


def laid_views() -> list[View]:
    """The eight ways to lay a square, itself first. Each: N×C×S×S → the same."""

    def laid(quarters: int, mirrored: bool, images: Tensor) -> Tensor:
        turned = torch.rot90(images, quarters, (2, 3))
        return turned.flip(3) if mirrored else turned

    return [partial(laid, quarters, mirrored) for mirrored in (False, True) for quarters in range(4)]


def moved_views(shift: float, zoom: float, negatives: bool) -> list[View]:
    """The image, shifted four ways, and all five from nearer and farther; each also as its negative. Itself first.

    Args:
        shift: the shift, as a share of the side; 0 for none.
        zoom: the change of scale; 0.1 is 0.9× and 1.1×; 0 for none.
        negatives: whether each is followed by its negative.

    Each: N×C×H×W, float in [0, 1] → the same; the border is continued outwards.
    """

    def moved(scale: float, right: float, down: float, negative: bool, images: Tensor) -> Tensor:
        if (scale, right, down) != (1, 0, 0):
            # The grid says where each pixel comes from, in units of half a side.
            theta = torch.tensor([[1 / scale, 0, -2 * right], [0, 1 / scale, -2 * down]], device=images.device)
            grid = nn.functional.affine_grid(theta.expand(len(images), -1, -1), list(images.shape), align_corners=False)
            images = nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
        return 1 - images if negative else images

    steps = [(0.0, 0.0), *([(shift, 0.0), (-shift, 0.0), (0.0, shift), (0.0, -shift)] if shift else [])]
    scales = [1.0, *([1 - zoom, 1 + zoom] if zoom else [])]
    signs = [False, True] if negatives else [False]
    return [
        partial(moved, scale, right, down, negative) for scale in scales for right, down in steps for negative in signs
    ]
