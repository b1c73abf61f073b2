"""Random changes of a whole batch on its device, one draw an image. Kornia does the work."""

from __future__ import annotations

import kornia.augmentation as K
from torch import nn


def affine(degrees: float, shift: float, zoom: float, shear: float) -> nn.Module:
    """Rotate, shift, zoom and shear about the centre; the border is continued outwards.

    Args:
        degrees: largest rotation, either way.
        shift: largest shift, as a share of the side.
        zoom: largest change of scale; 0.2 is 0.8× to 1.2×.
        shear: largest shear, degrees, along either axis.

    Shape: N×C×H×W, float in [0, 1] → the same.
    """
    module: nn.Module = K.RandomAffine(
        degrees,
        translate=(shift, shift),
        scale=(1 - zoom, 1 + zoom),
        shear=(-shear, shear, -shear, shear),
        padding_mode="border",
        p=1.0,
    )
    return module


def light(brightness: float, contrast: float) -> nn.Module:
    """Change brightness and contrast by factors drawn from 1 ± ``brightness`` and 1 ± ``contrast``.

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
