"""Change whole batches on their device: at random for each image while training, in fixed views while predicting.

The draws for an image while training depend only on a key, made from seed and epoch, and on the image's number: not on
its batch, on earlier draws, or on the process that trains on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

View = Callable[[Tensor], Tensor]


class Augmentation(nn.Module):
    """Random changes to square images: first their geometry, in one resampling, then their light, in one product.

    It makes only three passes over the pixels, since on a CPU each can cost as much as a small network. Changes of 0
    are skipped; flips alone move whole pixels. Beyond its border, an image repeats its outermost pixels.

    Args:
        flip: mirror and rotate by quarter turns: all eight orientations of a square are equally likely.
        rotation: largest rotation in either direction, degrees.
        shift: largest shift along either axis, as a fraction of the side.
        zoom: largest change of scale; 0.2 means 0.8× to 1.2×.
        shear: largest shear along either axis, degrees.
        group_zoom: largest change of scale shared by all images of a group, 1 / (1 + x) to 1 + x.
        brightness: largest amount of light added or removed; 1 is white.
        contrast: largest change of contrast; 0.2 means 0.8× to 1.2×.
        inversion: probability of turning an image into its negative.

    Shape: N×C×S×S, float in [0, 1]; the key; the number of each image, N, int64; the number of its group, N, int64
    (with ``group_zoom``) → N×C×S×S.
    """

    def __init__(
        self,
        flip: bool = False,
        rotation: float = 0.0,
        shift: float = 0.0,
        zoom: float = 0.0,
        shear: float = 0.0,
        group_zoom: float = 0.0,
        brightness: float = 0.0,
        contrast: float = 0.0,
        inversion: float = 0.0,
    ) -> None:
        super().__init__()
        self.flip, self.group_zoom = flip, group_zoom
        self.rotation, self.shift, self.zoom, self.shear = math.radians(rotation), shift, zoom, math.radians(shear)
        self.brightness, self.contrast, self.inversion = brightness, contrast, inversion

    def forward(self, images: Tensor, key: int, number: Tensor, group: Tensor | None = None) -> Tensor:
        draws = drawn(key, number, 11)
        if any((self.rotation, self.shift, self.zoom, self.shear, self.group_zoom)):
            shared = 0 if group is None else drawn(key + 1, group, 1)[0]
            images = resampled(images, self._origins(draws[:8], shared))
        elif self.flip:
            lays, originals, images = (4 * draws[0] + 4).floor(), images, torch.empty_like(images)
            for lay, view in enumerate(laid_views()):
                images[lays == lay] = view(originals[lays == lay])
        if any((self.brightness, self.contrast, self.inversion)):
            images = self._lit(images, draws[8:])
        return images

    def _origins(self, draws: Tensor, shared: Tensor | float) -> Tensor:
        """Compute where each image's pixels come from: N×2×3, as in :func:`resampled`, from 8×N and N draws."""
        turn, right, down, grow, shear_x, shear_y, lay, mirror = draws
        angle, scale = self.rotation * turn, 1 + self.zoom * grow
        if self.group_zoom:
            scale = scale * (1 + self.group_zoom) ** shared
        across, along = (self.shear * shear_x).tan(), (self.shear * shear_y).tan()
        change = _matrix(angle.cos(), -angle.sin(), angle.sin(), angle.cos()) * scale[:, None, None]
        change = change @ _matrix(torch.ones_like(across), -across, -along, 1 + across * along)
        if self.flip:
            quarters, sign = (2 * lay).floor(), torch.where(mirror < 0, -1.0, 1.0)
            cos, sin = (quarters * (math.pi / 2)).cos().round(), (quarters * (math.pi / 2)).sin().round()
            change = change @ _matrix(cos * sign, -sin, sin * sign, cos)
        back = torch.linalg.inv_ex(change).inverse
        shift = 2 * self.shift * torch.stack([right, down], dim=1)[:, :, None]
        return torch.cat([back, -back @ shift], dim=2)

    def _lit(self, images: Tensor, draws: Tensor) -> Tensor:
        added, factor, chance = draws
        slope = 1 + self.contrast * factor
        offset = slope * self.brightness * added
        negative = chance < 2 * self.inversion - 1
        slope, offset = torch.where(negative, -slope, slope), torch.where(negative, 1 - offset, offset)
        return torch.addcmul(offset[:, None, None, None], images, slope[:, None, None, None]).clamp_(0, 1)


def drawn(key: int, number: Tensor, count: int) -> Tensor:
    """Draw ``count`` values for each of some numbers (N, int64), uniformly from [-1, 1): count×N, float32.

    A stateless generator: SplitMix64's mixing function (Steele et al., OOPSLA 2014) of key, number and count.
    """
    counter = count * number + torch.arange(count, device=number.device)[:, None]
    bits: Tensor = key + (0x9E3779B97F4A7C15 - 2**64) * counter  # torch's 64-bit integers are signed
    bits = (bits ^ _shifted(bits, 30)) * (0xBF58476D1CE4E5B9 - 2**64)
    bits = (bits ^ _shifted(bits, 27)) * (0x94D049BB133111EB - 2**64)
    return _shifted(bits ^ _shifted(bits, 31), 40).float() / 2**23 - 1


def _shifted(bits: Tensor, places: int) -> Tensor:
    """Shift to the right and fill with zeros, which torch does not do."""
    shifted: Tensor = (bits >> places) & (2 ** (64 - places) - 1)
    return shifted


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """[[a, b], [c, d]], each N → N×2×2."""
    return torch.stack([a, b, c, d], dim=1).view(-1, 2, 2)


def resampled(images: Tensor, origins: Tensor) -> Tensor:
    """Take each pixel (x, y) from ``origins @ (x, y, 1)``, bilinearly; the border is extended outwards.

    Args:
        images: N×C×H×W, float.
        origins: N×2×3, in units of half a side from the centre, x to the right and y downwards.
    """
    height, width = images.shape[2:]
    x, y = (torch.arange(1 - side, side, 2, device=images.device) / side for side in (width, height))
    # torch's affine_grid multiplies matrices for each pixel, which is four times as slow.
    rows = y[:, None] * origins[:, None, :, 1] + origins[:, None, :, 2]
    grid = rows[:, :, None] + (x[:, None] * origins[:, None, :, 0])[:, None]
    return nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def laid_views() -> list[View]:
    """The eight orientations of a square, itself first. Each: N×C×S×S → the same."""

    def laid(quarters: int, mirrored: bool, images: Tensor) -> Tensor:
        return torch.rot90(images, quarters, (2, 3)).flip([3] if mirrored else [])

    return [partial(laid, quarters, mirrored) for mirrored in (False, True) for quarters in range(4)]


def moved_views(shift: float, zoom: float, negatives: bool) -> list[View]:
    """The image and four shifts of it, all five also zoomed in and out, each also as its negative; itself first.

    The shift is a fraction of the side; a zoom of 0.1 means 0.9× and 1.1×; 0 leaves either out. The border is extended
    outwards. Each: N×C×H×W, float in [0, 1] → the same.
    """

    def moved(scale: float, right: float, down: float, negative: bool, images: Tensor) -> Tensor:
        if (scale, right, down) != (1, 0, 0):
            origins = torch.tensor([[1 / scale, 0, -2 * right], [0, 1 / scale, -2 * down]], device=images.device)
            images = resampled(images, origins.expand(len(images), -1, -1))
        return 1 - images if negative else images

    steps = [(0.0, 0.0), *([(shift, 0.0), (-shift, 0.0), (0.0, shift), (0.0, -shift)] if shift else [])]
    scales = [1.0, *([1 - zoom, 1 + zoom] if zoom else [])]
    signs = [False, True] if negatives else [False]
    return [partial(moved, scale, *step, negative) for scale in scales for step in steps for negative in signs]
