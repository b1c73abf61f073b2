"""The synthetic scene ``trays``: five plants on a white tray, as in the only public photo of DACON 235851.

That photo, from a team's slides, shows a white chamber in bluish light. It holds a white tray, nearly as high as the
frame and two thirds as wide, with metal handles on its left and right. On the tray are five plants of one species,
arranged like the five on a die; the largest has five to six times the leaf area of the smallest.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from growth.leaves import GOLDEN, LOOKS, SPECIES, add_grain, cloud, draw_leaf, paste_leaf, work_size

DAYS = 60  # for which light and camera are drawn
MARGIN = 1.2  # size of the drawing relative to the frame, so that the camera can move
SPOTS = np.array([(-0.19, -0.27), (0.19, -0.27), (0.0, 0.0), (-0.19, 0.27), (0.19, 0.27)])  # of width and height
FATES = ("thrives", "fails", "wilts", "bolts")


@dataclass(frozen=True)
class _Plant:
    """One of the five."""

    spot: np.ndarray  # its centre, px
    unit: float  # px; the longest leaves are half as long
    pace: float  # days of growth per day
    start: float  # days of growth before the first photo; negative if it comes up later
    spin: int  # direction of the leaves' spiral
    turn: float  # its angle
    habit: np.ndarray  # each leaf's own turn, length and width
    fate: str  # one of ``FATES``
    day: float  # the day on which its fate begins


class Tray:
    """Five plants on a tray, fixed by the seed, the species and the number; ``photo`` draws them on a given day.

    The plants' surroundings (chamber, tray, light, camera) are drawn independently of their growth and reveal nothing
    about it.
    """

    def __init__(self, seed: int, species: str, number: int, size: tuple[int, int]) -> None:
        self._key = [seed, SPECIES.index(species), number]
        self._size = size
        self._work = work_size(size)
        self._canvas = (round(self._work[0] * MARGIN), round(self._work[1] * MARGIN))
        self._look = LOOKS[species]
        scene, growth = (np.random.default_rng([*self._key, 0, part]) for part in range(2))
        self._ground = self._chamber(scene)
        self._gain = 1 + _drift(scene, 0.03)
        self._blue = 0.02 + _drift(scene, 0.012)
        self._moves = self._camera(scene)
        self._blurred = scene.random(DAYS) < (0.3 if scene.random() < 0.1 else 0.0)
        self._leaves = [draw_leaf(self._look, growth) for _ in range(5)]
        pace = growth.uniform(0.85, 1.15)  # of the whole tray
        self._plants = [self._plant(growth, spot, pace) for spot in SPOTS]

    def _plant(self, rng: np.random.Generator, spot: np.ndarray, pace: float) -> _Plant:
        size = rng.uniform(0.62, 1.2)
        return _Plant(
            spot=np.asarray(self._canvas) / 2 + (spot + rng.normal(0, 0.008, 2)) * self._work,
            unit=0.46 * self._work[1] * size,
            pace=pace * rng.uniform(0.85, 1.15),
            start=rng.uniform(-3, 1),
            spin=int(rng.choice([-1, 1])),
            turn=rng.uniform(0, 2 * np.pi),
            habit=rng.normal(0, 1, (DAYS, 3)),
            fate=str(rng.choice(FATES, p=[0.84, 0.06, 0.05, 0.05])),
            day=rng.uniform(10, 35),
        )

    def _chamber(self, rng: np.random.Generator) -> Image.Image:
        """Draw the chamber and the tray, without plants."""
        width, height = self._canvas
        x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
        slope = rng.uniform(-0.04, 0.04, 2)
        fall = 1 - rng.uniform(0.03, 0.1) * (x**2 + y**2) + slope[0] * x + slope[1] * y
        wall = np.asarray([196, 207, 226]) * rng.uniform(0.94, 1.04)
        picture = wall * fall[..., None] + 1.5 * cloud(rng, self._canvas, 40)[..., None]
        mask = self._tray_mask(rng)
        shade = np.asarray(mask.filter(ImageFilter.GaussianBlur(0.012 * width)), np.float32)[..., None] / 255
        inside = np.asarray(mask, np.float32)[..., None] / 255
        tray = np.asarray([222, 229, 240]) * rng.uniform(0.96, 1.03) * (0.5 + 0.5 * fall[..., None])
        picture = picture * (1 - 0.25 * shade * (1 - inside))
        picture += inside * (tray + cloud(rng, self._canvas, 120)[..., None] - picture)
        image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
        half, middle = 0.33 * self._work[0], np.asarray(self._canvas) / 2
        pen = ImageDraw.Draw(image)
        for side in (-1, 1):
            edge, long, wide = middle[0] + side * half, 0.09 * self._work[1], 0.012 * self._work[0]
            box = (edge - wide, middle[1] - long, edge + wide, middle[1] + long)
            border, bar = max(1, round(wide / 4)), max(1, round(wide / 3))
            pen.rounded_rectangle(box, wide, fill=(150, 156, 164), outline=(104, 110, 118), width=border)
            pen.line((edge, middle[1] - 0.9 * long, edge, middle[1] + 0.9 * long), (214, 219, 226), bar)
        return image.filter(ImageFilter.GaussianBlur(0.8))

    def _tray_mask(self, rng: np.random.Generator) -> Image.Image:
        middle = np.asarray(self._canvas) / 2 + rng.normal(0, 0.004, 2) * self._work
        half = np.asarray([0.335, 0.47]) * self._work * rng.uniform(0.98, 1.02)
        mask = Image.new("L", self._canvas)
        corners = (*(middle - half), *(middle + half))
        ImageDraw.Draw(mask).rounded_rectangle(corners, 0.02 * self._work[0], fill=255)
        return mask

    def _camera(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Return the camera of each day: its shift (shares of width and height), turn (radians) and zoom."""
        still = np.array([*rng.normal(0, 0.006, 2), np.radians(rng.normal(0, 0.5)), rng.uniform(0.98, 1.02)])
        if rng.random() < 0.1:  # the tray is cropped
            still += np.array([*rng.uniform(-0.05, 0.05, 2), 0, 0.2])
        change = [*rng.uniform(-0.03, 0.03, 2), np.radians(rng.uniform(-2, 2)), rng.uniform(-0.03, 0.03)]
        moved = still + np.array(change)
        since = rng.uniform(2, DAYS) if rng.random() < 0.3 else DAYS + 1
        return [still if day < since else moved for day in range(DAYS)]

    def photo(self, day: int) -> Image.Image:
        """Return the tray on ``day`` (from 1) as an RGB image of the requested size."""
        rng = np.random.default_rng([*self._key, day])
        image = self._ground.copy()
        leaves = [leaf for plant in self._plants for leaf in self._leaves_of(plant, day, rng)]
        for _, number, spot, length, wide, azimuth, brown in sorted(leaves, key=lambda leaf: -leaf[0]):
            picture = self._leaves[number % len(self._leaves)]
            if brown:
                dry = Image.new("RGB", picture.size, (150, 120, 70))
                faded = Image.blend(picture.convert("RGB"), dry, min(0.8, brown))
                picture = Image.merge("RGBA", (*faded.split(), picture.getchannel("A")))
            paste_leaf(image, picture, spot, length, wide, azimuth)
        image = self._seen(image, day - 1)
        tint = self._gain[day - 1] * np.array([1 - self._blue[day - 1], 1.0, 1 + self._blue[day - 1]])
        image = image.point([min(255, round(value * share)) for share in tint for value in range(256)])
        if self._blurred[day - 1]:
            image = image.filter(ImageFilter.GaussianBlur(0.004 * self._work[0]))
        return add_grain(image, rng).resize(self._size, Image.Resampling.BICUBIC)

    def _leaves_of(
        self, plant: _Plant, day: int, rng: np.random.Generator
    ) -> list[tuple[float, int, np.ndarray, float, float, float, float]]:
        """List the leaves of a plant: age, number, base, length (px), width, azimuth and how far it has withered."""
        since = max(0.0, day - plant.day)
        grown = min(day, plant.day) if plant.fate in ("fails", "wilts") else day
        time = plant.start + grown * plant.pace
        withered = 0.05 * since if plant.fate == "wilts" else 0.0
        leaves = []
        for leaf in range(int(max(0.0, time) / self._look.days_per_leaf) + 4 if time > 0 else 0):
            age = time - (leaf - 4) * self._look.days_per_leaf
            turn, longer, wider = plant.habit[leaf % DAYS]
            full = 0.56 * (1 - np.exp(-(leaf + 3) / 14)) * (1 + 0.06 * longer)
            length = full / (1 + np.exp(-(age - 9) / 3.2)) * plant.unit * (1 - min(0.4, withered / 2))
            if plant.fate == "bolts" and leaf % 3 == 0:
                length *= 1 + min(0.5, 0.03 * since)
            if length < 0.6:
                continue
            azimuth = plant.spin * (leaf * GOLDEN + np.radians(0.7 * day)) + plant.turn + 0.12 * turn
            wide = (1 + 0.08 * wider) * (1 - min(0.5, withered))
            azimuth += np.radians(rng.normal(0, 1.5))
            leaves.append((age, leaf, plant.spot, length, wide, azimuth, withered))
        return leaves

    def _seen(self, image: Image.Image, day: int) -> Image.Image:
        """Cut out what the camera sees on a day (from 0)."""
        x, y, turn, zoom = self._moves[day]
        cos, sin = np.cos(turn) / zoom, np.sin(turn) / zoom
        middle, half = np.asarray(self._canvas) / 2 + np.array([x, y]) * self._work, np.asarray(self._work) / 2
        origin = middle - (cos * half[0] - sin * half[1], sin * half[0] + cos * half[1])
        affine = (cos, -sin, origin[0], sin, cos, origin[1])
        return image.transform(self._work, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)


def _drift(rng: np.random.Generator, deviation: float) -> np.ndarray:
    """Return offsets that drift from day to day and soon forget where they were, DAYS."""
    steps = rng.normal(0, deviation, DAYS)[1:]
    return np.array([*accumulate(steps, lambda value, step: 0.5 * value + step, initial=0.0)])
