"""A network with three weights for a few photos of green plants: it measures the convex hull of the leaves."""

from __future__ import annotations

import math
import sys

import numpy as np
import torch
from torch import Tensor, nn

from common.batches import ImageRows
from common.errors import UserError
from common.networks import Float32Linear, Normalization
from growth.pairs import PairBatch

DIRECTIONS = 32  # in which the extent of a hull is measured
CHANCE = 1.5  # a leaf pixel that weighs this many times as much as another weighs more than by chance
LEAST = 1 / 64  # fraction of a photo: an attribution covers this much at once, so it cannot resolve smaller leaves
# Leaves usually fill at least this fraction of their hull: komatsuna and Arabidopsis 0.6 to 0.7; oilseed rape from
# the side only 0.27.
FILLED = 0.45


def _coordinates(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the vertical (H×1) and horizontal (W) position of each pixel, from -1 to 1."""
    down, across = (torch.linspace(-1, 1, side, device=images.device) for side in images.shape[2:])
    return down[:, None], across


def leaves(images: Tensor) -> Tensor:
    """Estimate how surely each pixel is part of a green leaf: N×3×H×W, RGB in [0, 1] → N×H×W, 0 to 1.

    The value rises with the excess green of the colour, is one half where that is 0.1, and falls towards the border.

    Source: Woebbecke et al., Trans. ASAE 38(1), 1995.
    """
    down, across = _coordinates(images)
    red, green, blue = (images / (images.sum(1, keepdim=True) + 0.05)).unbind(1)
    excess = (2 * green - red - blue) * torch.exp(-(((across**2 + down**2).sqrt() / 0.9) ** 4))
    return ((excess - 0.05) / 0.1).clamp(0, 1)


def judge_by_leaves(image: Tensor, attribution: Tensor) -> str:
    """Say in a sentence whether an answer rests on green leaves: image 1×3×H×W, RGB in [0, 1], attribution H×W.

    By chance, a leaf pixel would weigh as much as any other.
    """
    plant, weight = leaves(image)[0].cpu(), attribution.abs().cpu()
    area = float(plant.mean())
    if area < 0.0005:
        return "no green leaf was found in the photo, so nothing is said on whether the answer rests on leaves"
    if area < LEAST:
        found = f"only {percent(area)} of the photo was found to be green leaf"
        return f"{found}, too little to say whether the answer rests on leaves"
    if not weight.any():
        return "covering any part of the photo leaves the answer as it is"
    share = float((weight * plant).sum() / weight.sum())
    carry = f"they are {percent(area)} of the photo and carry {percent(share)} of the weight"
    leaf, other = share * (1 - area), (1 - share) * area  # proportional to the weight of one pixel of each
    if leaf > CHANCE * other:
        rest = "" if share > 0.5 else " more than by chance, but most of it on what surrounds them"
        return f"the answer rests on the green leaves{rest}: {carry}"
    less = "less" if other > CHANCE * leaf else "no more"
    return f"the answer rests on the green leaves {less} than by chance: {carry}"


def percent(share: float) -> str:
    """Format a share as a percentage, with a decimal below 10 %, so that small shares that differ look it."""
    return f"{100 * share:.{0 if share >= 0.1 else 1}f} %"


class LeafHull(nn.Module):
    """Measures a green plant from above: the convex hull of its leaves and how blue they are, both as logarithms.

    A plant grows by a fraction of its size each day, so its age is nearly linear in these logarithms, and a closer
    camera adds the same constant to all photos of a plant, which cancels in differences. The area of the hull depends
    on how far the leaves reach, not on which of them overlap or droop; leaves absorb more blue light as they fill with
    chlorophyll. Two weights and a bias are learned: a few dozen photos do not support more.

    Leaves are found by :func:`leaves`. The area of the hull comes from its support function in ``DIRECTIONS``
    directions (Santaló, Integral Geometry, 1976, part I.1).

    Shape: N×3×H×W, RGB in [0, 1] → N×num_outputs.
    """

    directions: Tensor

    def __init__(self, num_outputs: int) -> None:
        super().__init__()
        angles = torch.arange(DIRECTIONS) * 2 * math.pi / DIRECTIONS
        self.register_buffer("directions", torch.stack([angles.cos(), angles.sin()], dim=1), persistent=False)
        self.head = Float32Linear(2, num_outputs)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([1.0, 0.0]).expand(num_outputs, 2))
        nn.init.zeros_(self.head.bias)

    @torch.no_grad()
    def measure(self, images: Tensor) -> Tensor:
        """Return log(hull area), in a 2×2 photo, and 4 log(mean blue of the leaves), which varies less: N×2."""
        images = images.float()
        leaf, down, across = leaves(images), *_coordinates(images)
        solid = self.solid(leaf)
        # Only the outermost pixels of each row can touch the hull: N×H×directions.
        right = torch.where(solid, across, -2.0).amax(2)[:, :, None]
        left = torch.where(solid, across, 2.0).amin(2)[:, :, None]
        x, y = self.directions.T
        touch = torch.maximum(right * x, left * x) + down * y
        reach = torch.where(solid.any(2)[:, :, None], touch, -torch.inf).amax(1).nan_to_num(neginf=0.0)
        turn = (reach.roll(-1, 1) - reach.roll(1, 1)) * len(self.directions) / (4 * math.pi)
        hull = math.pi * (reach**2 - turn**2).mean(1)
        blue = (leaf * images[:, 2]).sum((1, 2)) / (leaf.sum((1, 2)) + 1e-3)
        return torch.stack([torch.log(hull.clamp(min=0) + 1e-3), 4 * torch.log(blue + 0.01)], dim=1)

    def solid(self, leaf: Tensor) -> Tensor:
        """Return which pixels lie within leaves (N×H×W, from :func:`leaves`): isolated ones would stretch the hull."""
        return nn.functional.avg_pool2d(leaf[:, None], 3, stride=1, padding=1)[:, 0] > 0.5

    @torch.no_grad()
    def filled(self, images: Tensor) -> Tensor:
        """Return the fraction of their hull that the leaves fill, N, in photos N×3×H×W; 0 if there are no leaves."""
        hull = torch.exp(self.measure(images)[:, 0]) - 1e-3
        return 4 * self.solid(leaves(images)).float().mean((1, 2)) / hull.clamp(min=1e-4)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.measure(images))  # type: ignore[no-any-return]


def warn_of_photos(net: LeafHull, photos: ImageRows[PairBatch]) -> None:
    """Warn if the training photos, judged by at most 64 of them, are unsuitable for measuring the hull."""
    some = photos.pixels(np.linspace(0, len(photos) - 1, min(64, len(photos))).astype(int))
    filled = float(net.filled(some.to(net.directions.device) / 255).median())
    if filled < FILLED:
        shares = f"here they fill {100 * filled:.0f} % of their hull, where {100 * FILLED:.0f} % or more is usual"
        why = "leaves that are not green, several plants, or a view from the side"
        line = f"leaf_hull is for green leaves of one plant seen from above; {shares} ({why})"
        print(f"warning: {line}: expect poor results, or give another --model.backbone", file=sys.stderr)


def build_leaf_hull(normalize: Normalization, in_channels: int, num_outputs: int, image_size: int) -> LeafHull:
    """Build a :class:`LeafHull`; raises a :class:`UserError` unless images are in colour and not normalised."""
    if in_channels != 3 or normalize != "none":
        raise UserError("leaf_hull needs the colours as they are: give --model.channels 3 --model.normalize none")
    return LeafHull(num_outputs)
