"""The synthetic scene ``pots``: one plant per photo, alone in a brown pot or on a pale panel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from growth.leaves import GOLDEN, LOOKS, SPECIES, add_grain, cloud, draw_leaf, paste_leaf, work_size


class Pot:
    """One plant in a pot or a wool plug, fixed by seed, species and number; ``photo`` draws it on a given day."""

    def __init__(self, seed: int, species: str, number: int, size: tuple[int, int]) -> None:
        self._key = [seed, SPECIES.index(species), number]
        self._size = size
        self._work = work_size(size)
        rng = np.random.default_rng(self._key)
        self._look = LOOKS[species]
        self._rate = rng.uniform(0.9, 1.1)
        self._spin = rng.choice([-1, 1])
        self._turn = rng.uniform(0, 2 * np.pi)
        self._unit = min(self._work) * rng.uniform(0.95, 1.05)
        self._tilt = np.radians(rng.uniform(-6, 6))
        self._centre = np.asarray(self._work) / 2 + rng.uniform(-0.06, 0.06, size=2) * min(self._work)
        self._leaves = [draw_leaf(self._look, rng) for _ in range(3)]
        self._habit = rng.normal(0, 1, size=(80, 3))  # each leaf's own turn, length and width
        self._ground = self._scene(rng)
        self._light = self._lamp(rng)

    def _scene(self, rng: np.random.Generator) -> Image.Image:
        """Return the bench with a pot of soil, or with a pale panel around a wool plug."""
        pale = self._key[-1] % 2 == 0  # alternating, so that a few plants show both
        soil = np.asarray([58, 46, 38]) * rng.uniform(0.8, 1.5) + rng.uniform(-8, 8, size=3)
        bench = np.full(3, rng.uniform(190, 235) if pale else rng.uniform(45, 170)) + rng.uniform(-10, 10, size=3)
        rims = (0.055, 0.05) if pale else (0.49, 0.455)
        rim = bench * 0.9 if pale else np.full(3, rng.uniform(25, 90))
        outer, inner = (self._square(half, 2 if pale else 7) for half in rims)
        blobs = np.stack([w * cloud(rng, self._work, n) for w, n in ((0.5, 170), (0.4, 60), (0.3, 14))])
        fine = blobs.sum(axis=0)
        crumbs = soil * (1 + 0.35 * fine[..., None]) + 45 * np.clip(fine - 1.3, 0, 1)[..., None]
        picture = bench * (1 + 0.015 * cloud(rng, self._work, 5)[..., None] + 0.01 * fine[..., None])
        picture += outer * (rim - picture)
        picture += inner * (crumbs * (2.2 if pale else 1) - picture)
        return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.8))

    def _square(self, half: float, power: int) -> NDArray[np.floating]:
        """Return the mask of a square with round corners, tilted with the camera: (height, width, 1), from 0 to 1."""
        angle = np.linspace(0, 2 * np.pi, 120)
        wave = np.stack([np.cos(angle), np.sin(angle)])
        x, y = np.sign(wave) * np.abs(wave) ** (2 / power) * half * self._unit
        cos, sin = np.cos(self._tilt), np.sin(self._tilt)
        outline = np.stack([cos * x - sin * y, sin * x + cos * y], axis=1) + self._centre
        mask = Image.new("L", self._work)
        ImageDraw.Draw(mask).polygon(list(map(tuple, outline)), fill=255)
        return np.asarray(mask, np.float32)[..., None] / 255

    def _lamp(self, rng: np.random.Generator) -> Image.Image:
        """Return the light as an RGB image to multiply by: its warmth, strength and fall-off."""
        warmth = rng.uniform(-0.1, 0.1)
        tint = rng.uniform(0.8, 1.0) * np.asarray([1 + min(0, warmth), 1 - abs(warmth) / 3, 1 - max(0, warmth)])
        x, y = np.meshgrid(np.linspace(-1, 1, self._work[0]), np.linspace(-1, 1, self._work[1]))
        slope = rng.uniform(-0.08, 0.08, size=2)
        fall = 0.97 - rng.uniform(0.02, 0.1) * (x**2 + y**2) + slope[0] * x + slope[1] * y
        return Image.fromarray(np.clip(255 * tint * fall[..., None], 0, 255).astype(np.uint8))

    def photo(self, day: int) -> Image.Image:
        """Return the plant on ``day`` (from 1) as an RGB image of the requested size."""
        rng = np.random.default_rng([*self._key, day])
        image = self._ground.copy()
        time = day * self._rate
        for leaf in range(int(time / self._look.days_per_leaf) + 4):  # the seedling already has four
            age = time - (leaf - 4) * self._look.days_per_leaf
            turn, longer, wider = self._habit[leaf]
            # Later leaves keep getting longer, so that late days still differ.
            full = 0.62 * (1 - np.exp(-(leaf + 4) / 14)) * (1 + 0.06 * longer)
            length = full / (1 + np.exp(-(age - 6.5) / 2.6)) * self._unit
            azimuth = self._spin * (leaf * GOLDEN + np.radians(0.7 * day)) + self._turn + 0.12 * turn
            picture, azimuth = self._leaves[leaf % len(self._leaves)], azimuth + np.radians(rng.normal(0, 1.5))
            paste_leaf(image, picture, self._centre, length, 1 + 0.08 * wider, azimuth)
        gain = rng.uniform(0.95, 1.05)
        image = ImageChops.multiply(image, self._light).point([min(255, round(gain * v)) for v in range(256)] * 3)
        return add_grain(image, rng).resize(self._size, Image.Resampling.BICUBIC)
