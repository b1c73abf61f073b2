"""Draw leaves seen from above and paste them into a picture, for all synthetic scenes of ``growth``."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

SPECIES = ("BC", "LT")
WORK = 1312  # longest side of the drawing in pixels; larger photos are upscaled from it
LEAF = 200  # pixels per leaf length in the picture of a leaf
GOLDEN = np.pi * (3 - np.sqrt(5))  # angle in radians between one leaf and the next

Array = NDArray[np.float32]


class Look(NamedTuple):
    """What distinguishes a species; lengths are in leaf lengths, colours RGB from 0 to 255."""

    centre: float  # of the blade, from the leaf's base
    radii: tuple[float, float]  # of the blade, along and across
    frill: float  # depth of the waves of the blade's edge
    petiole: float  # half width
    rib: tuple[int, int, int]
    inner: tuple[int, int, int]
    outer: tuple[int, int, int]
    days_per_leaf: float


LOOKS = {
    "BC": Look(0.66, (0.34, 0.25), 0.02, 0.060, (214, 228, 186), (120, 164, 76), (76, 126, 50), 1.4),
    "LT": Look(0.56, (0.44, 0.38), 0.08, 0.050, (188, 182, 136), (134, 142, 72), (112, 38, 50), 1.6),
}


def cloud(rng: np.random.Generator, size: tuple[int, int], cells: int) -> Array:
    """Return smooth noise of unit spread with about ``cells`` blobs across: (height, width)."""
    shape = (max(2, round(cells * size[1] / size[0])), max(2, cells))
    coarse = Image.fromarray(rng.standard_normal(shape, np.float32))
    return np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))


def draw_leaf(look: Look, rng: np.random.Generator) -> Image.Image:
    """Return one leaf on a soft shadow, RGBA, 240 by 240 px: its base at (20, 120), its tip at (220, 120)."""
    side = round(1.2 * LEAF)
    x, y = np.meshgrid(np.arange(side) / LEAF - 0.1, np.arange(side) / LEAF - 0.6)
    angle = np.arctan2(y / look.radii[1], (x - look.centre) / look.radii[0])
    phases = rng.uniform(0, 2 * np.pi, size=3)
    waves = sum(np.sin(n * angle + phase) / 2 for n, phase in zip((5, 14, 27), phases, strict=True))
    radius = np.hypot((x - look.centre) / look.radii[0], y / look.radii[1]) / (1 - look.frill * (1 - waves))
    stalk = look.petiole * (1.3 - x) * np.sqrt(np.clip(x / 0.15, 0, 1))
    inside = np.maximum((1 - radius) * look.radii[1], np.where((x > 0) & (x < look.centre), stalk - np.abs(y), -1))
    alpha = np.clip(inside * LEAF + 0.5, 0, 1)
    veins = np.sin(11 * np.pi * (x - 0.6 * np.abs(y))) ** 12 * np.clip(1 - radius, 0, 0.3)
    rib = np.maximum(np.clip(1.5 * (stalk * np.clip(1.15 - x, 0, 1) - np.abs(y)) / look.petiole, 0, 1), veins)
    rib = np.where(radius > 1, 1, rib)
    depth = np.clip(1.1 * radius + 2 * look.frill * waves, 0, 1) ** 1.6
    colour = np.asarray(look.inner) + depth[..., None] * (np.asarray(look.outer) - np.asarray(look.inner))
    colour = colour + rib[..., None] * (np.asarray(look.rib) - colour)
    relief = 1 + 0.10 * np.tanh(20 * y) - 0.2 * depth + 3 * look.frill * waves * radius**2
    relief = relief + 0.05 * cloud(rng, (side, side), 14)
    shape = Image.fromarray((255 * alpha).astype(np.uint8))
    shadow = np.asarray(shape.filter(ImageFilter.GaussianBlur(0.035 * LEAF))) / 255
    picture = np.dstack([colour * relief[..., None] * alpha[..., None], 255 * np.maximum(alpha, 0.6 * shadow)])
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def paste_leaf(
    image: Image.Image, picture: Image.Image, centre: np.ndarray, length: float, width: float, azimuth: float
) -> None:
    """Paste a leaf ``length`` px long and ``width`` times as wide as drawn, from near ``centre`` to ``azimuth``."""
    direction = np.asarray([np.cos(azimuth), np.sin(azimuth)])
    base = centre + 0.03 * length * direction
    middle, reach = base + 0.5 * length * direction, 0.85 * length
    low = np.maximum(np.floor(middle - reach), 0).astype(int)
    high = np.minimum(np.ceil(middle + reach), image.size).astype(int)
    if (high <= low).any():
        return
    shrink = int(np.clip(LEAF / length, 1, 40))  # bilinear sampling alone would alias small leaves
    picture = picture.reduce(shrink)
    along = direction * LEAF / length / shrink
    across = np.asarray([-along[1], along[0]]) / width
    origin = low - base
    affine = (*along, along @ origin + 0.1 * LEAF / shrink, *across, across @ origin + 0.6 * LEAF / shrink)
    cut = picture.transform(tuple(high - low), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    image.paste(cut, (int(low[0]), int(low[1])), cut)


def work_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the size to draw a photo at: small ones are drawn larger, so that downscaling smooths their edges."""
    scale = min(1.6, WORK / max(size))
    return max(32, round(size[0] * scale)), max(32, round(size[1] * scale))


def add_grain(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Add camera grain."""
    grain = Image.fromarray(rng.integers(0, 11, image.size[::-1], dtype=np.uint8))
    return ImageChops.add(image, Image.merge("RGB", [grain] * 3), offset=-5)
