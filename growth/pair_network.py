"""The network of ``growth``: photos → the days of their pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from common.networks import Normalize

Design = Literal["siamese", "twin"]
Numbers = TypeVar("Numbers", Tensor, np.ndarray)


def pair_days(codes: Numbers, before: Numbers, after: Numbers) -> Numbers:
    """Subtract codes: U×2 (days, as the earlier and as the later photo), indices P → days P."""
    days: Numbers = codes[after, 1] - codes[before, 0]
    return days


def ages_of(codes: np.ndarray, first: np.ndarray | int = 0) -> np.ndarray:
    """Turn codes (U×2, days) into days since the first photo of each plant, U; ``first`` is the index of that photo."""
    ages: np.ndarray = codes[:, 1] - codes[first, 0]
    ages[first] = 0  # in a twin network, the two codes of one photo differ
    return ages


class PairNet(nn.Module):
    """Encodes each photo once; the days of a pair are the difference of two codes.

    ``siamese``: one encoder estimates the age of a plant, days = age(after) - age(before); swapping the photos flips
    the sign, and differences add up along a plant.
    ``twin``: two encoders with separate weights, days = after_net(after) - before_net(before), as in the seed design.

    Args:
        build_encoder: builds an encoder, U×C×H×W → U×1.
        normalize: maps photos (float in [0, 1]) to the encoder's range.
        design: siamese or twin.
        days_scale: days per unit of an encoder's output.
    """

    def __init__(
        self, build_encoder: Callable[[], nn.Module], normalize: Normalize, design: Design, days_scale: float
    ) -> None:
        super().__init__()
        self.design, self.days_scale = design, days_scale
        self.normalize = normalize
        self.after_net = build_encoder()
        self.before_net = build_encoder() if design == "twin" else None

    def encode(self, images: Tensor) -> Tensor:
        """Encode photos: U×C×H×W, float in [0, 1] → U×2, days, as the earlier and as the later photo of a pair."""
        images = self.normalize(images)
        after = self.after_net(images)
        before = after if self.before_net is None else self.before_net(images)
        return torch.cat([before, after], dim=1).float() * self.days_scale

    def forward(self, images: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Return the days of pairs (P) of photos (U×C×H×W) at the indices ``before`` and ``after`` (P, int64)."""
        return pair_days(self.encode(images), before, after)


class DeployedPairNet(nn.Module):
    """Maps uint8 photos (U×C×S×S) and indices of pairs (P and P, int64) to days and interval bounds (P each).

    Args:
        net: the network.
        half_widths: base (days) and slope of an interval's half-width, by level (%).

    Attributes:
        outputs: names of the outputs, such as days, low_80, high_80.
    """

    def __init__(self, net: PairNet, half_widths: Mapping[int, tuple[float, float]]) -> None:
        super().__init__()
        self.net, self.half_widths = net, half_widths
        self.outputs = ("days", *(f"{side}_{level}" for level in half_widths for side in ("low", "high")))

    def forward(self, images: Tensor, before: Tensor, after: Tensor) -> tuple[Tensor, ...]:
        days: Tensor = self.net(images.float() / 255, before, after)
        halves = [base + slope * days.abs() for base, slope in self.half_widths.values()]
        return days, *(bound for half in halves for bound in (days - half, days + half))
