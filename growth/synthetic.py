"""Draw growing plants in the layout of DACON 235851, to try the programs without the real photos."""

import shlex
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from common.drawing import Parser, check_range
from common.errors import exit_on_user_error
from common.files import new_folder

SPECIES = ("BC", "LT")

_WORK = 1312  # longest side in pixels of the drawing; larger photos are enlarged from it
_LEAF = 200  # pixels per leaf length in the leaf's own picture
_GOLDEN = np.pi * (3 - np.sqrt(5))  # angle in radians between one leaf and the next
_NAMES = 3  # third word of the random streams that are of no plant

_Array = NDArray[np.float32]


class _Look(NamedTuple):
    """What tells one species from the other; lengths are in leaf lengths, colours RGB from 0 to 255."""

    centre: float  # of the blade, from the leaf's base
    radii: tuple[float, float]  # of the blade, along and across
    frill: float  # depth of the waves of the blade's edge
    petiole: float  # half width
    rib: tuple[int, int, int]
    inner: tuple[int, int, int]
    outer: tuple[int, int, int]
    days_per_leaf: float


_LOOKS = {
    "BC": _Look(0.66, (0.34, 0.25), 0.02, 0.060, (214, 228, 186), (120, 164, 76), (76, 126, 50), 1.4),
    "LT": _Look(0.56, (0.44, 0.38), 0.08, 0.050, (188, 182, 136), (134, 142, 72), (112, 38, 50), 1.6),
}


def _cloud(rng: np.random.Generator, size: tuple[int, int], cells: int) -> _Array:
    """Return smooth noise of unit spread with about `cells` blobs across: (height, width)."""
    shape = (max(2, round(cells * size[1] / size[0])), max(2, cells))
    coarse = Image.fromarray(rng.standard_normal(shape, np.float32))
    return np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))


def _leaf(look: _Look, rng: np.random.Generator) -> Image.Image:
    """Return one leaf on a soft shadow, RGBA, 240 by 240 px: its base at (20, 120), its tip at (220, 120)."""
    side = round(1.2 * _LEAF)
    x, y = np.meshgrid(np.arange(side) / _LEAF - 0.1, np.arange(side) / _LEAF - 0.6)
    angle = np.arctan2(y / look.radii[1], (x - look.centre) / look.radii[0])
    phases = rng.uniform(0, 2 * np.pi, size=3)
    waves = sum(np.sin(n * angle + phase) / 2 for n, phase in zip((5, 14, 27), phases, strict=True))
    radius = np.hypot((x - look.centre) / look.radii[0], y / look.radii[1]) / (1 - look.frill * (1 - waves))
    stalk = look.petiole * (1.3 - x) * np.sqrt(np.clip(x / 0.15, 0, 1))
    inside = np.maximum((1 - radius) * look.radii[1], np.where((x > 0) & (x < look.centre), stalk - np.abs(y), -1))
    alpha = np.clip(inside * _LEAF + 0.5, 0, 1)
    veins = np.sin(11 * np.pi * (x - 0.6 * np.abs(y))) ** 12 * np.clip(1 - radius, 0, 0.3)
    rib = np.maximum(np.clip(1.5 * (stalk * np.clip(1.15 - x, 0, 1) - np.abs(y)) / look.petiole, 0, 1), veins)
    rib = np.where(radius > 1, 1, rib)
    depth = np.clip(1.1 * radius + 2 * look.frill * waves, 0, 1) ** 1.6
    colour = np.asarray(look.inner) + depth[..., None] * (np.asarray(look.outer) - np.asarray(look.inner))
    colour = colour + rib[..., None] * (np.asarray(look.rib) - colour)
    relief = 1 + 0.10 * np.tanh(20 * y) - 0.2 * depth + 3 * look.frill * waves * radius**2
    relief = relief + 0.05 * _cloud(rng, (side, side), 14)
    shape = Image.fromarray((255 * alpha).astype(np.uint8))
    shadow = np.asarray(shape.filter(ImageFilter.GaussianBlur(0.035 * _LEAF))) / 255
    picture = np.dstack([colour * relief[..., None] * alpha[..., None], 255 * np.maximum(alpha, 0.6 * shadow)])
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


class _Plant:
    """One plant and its scene, fixed by the seed, the species and the number; `photo` draws it on a day."""

    def __init__(self, seed: int, species: str, number: int, size: tuple[int, int]) -> None:
        self._key = [seed, SPECIES.index(species), number]
        self._size = size
        # Small photos are drawn larger than asked, so that reducing them smooths the edges.
        scale = min(1.6, _WORK / max(size))
        self._work = (max(32, round(size[0] * scale)), max(32, round(size[1] * scale)))
        rng = np.random.default_rng(self._key)
        self._look = _LOOKS[species]
        self._rate = rng.uniform(0.9, 1.1)
        self._spin = rng.choice([-1, 1])
        self._turn = rng.uniform(0, 2 * np.pi)
        self._unit = min(self._work) * rng.uniform(0.95, 1.05)
        self._tilt = np.radians(rng.uniform(-6, 6))
        self._centre = np.asarray(self._work) / 2 + rng.uniform(-0.06, 0.06, size=2) * min(self._work)
        self._leaves = [_leaf(self._look, rng) for _ in range(3)]
        self._habit = rng.normal(0, 1, size=(80, 3))  # each leaf's own turn, length and width
        self._ground = self._scene(rng)
        self._light = self._lamp(rng)

    def _scene(self, rng: np.random.Generator) -> Image.Image:
        """Return the bench with a pot of soil, or with a pale panel round a plug of wool."""
        pale = self._key[-1] % 2 == 0  # by turns, so that a few plants show both
        soil = np.asarray([58, 46, 38]) * rng.uniform(0.8, 1.5) + rng.uniform(-8, 8, size=3)
        bench = np.full(3, rng.uniform(190, 235) if pale else rng.uniform(45, 170)) + rng.uniform(-10, 10, size=3)
        rims = (0.055, 0.05) if pale else (0.49, 0.455)
        rim = bench * 0.9 if pale else np.full(3, rng.uniform(25, 90))
        outer, inner = (self._square(half, 2 if pale else 7) for half in rims)
        blobs = np.stack([w * _cloud(rng, self._work, n) for w, n in ((0.5, 170), (0.4, 60), (0.3, 14))])
        fine = blobs.sum(axis=0)
        crumbs = soil * (1 + 0.35 * fine[..., None]) + 45 * np.clip(fine - 1.3, 0, 1)[..., None]
        picture = bench * (1 + 0.015 * _cloud(rng, self._work, 5)[..., None] + 0.01 * fine[..., None])
        picture += outer * (rim - picture)
        picture += inner * (crumbs * (2.2 if pale else 1) - picture)
        return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.8))

    def _square(self, half: float, power: int) -> NDArray[np.floating]:
        """Return the mask of a square with round corners, turned by the camera: (height, width, 1), from 0 to 1."""
        angle = np.linspace(0, 2 * np.pi, 120)
        wave = np.stack([np.cos(angle), np.sin(angle)])
        x, y = np.sign(wave) * np.abs(wave) ** (2 / power) * half * self._unit
        cos, sin = np.cos(self._tilt), np.sin(self._tilt)
        outline = np.stack([cos * x - sin * y, sin * x + cos * y], axis=1) + self._centre
        mask = Image.new("L", self._work)
        ImageDraw.Draw(mask).polygon(list(map(tuple, outline)), fill=255)
        return np.asarray(mask, np.float32)[..., None] / 255

    def _lamp(self, rng: np.random.Generator) -> Image.Image:
        """Return the light as an RGB image to multiply with: its warmth, its strength and its fall-off."""
        warmth = rng.uniform(-0.1, 0.1)
        tint = rng.uniform(0.8, 1.0) * np.asarray([1 + min(0, warmth), 1 - abs(warmth) / 3, 1 - max(0, warmth)])
        x, y = np.meshgrid(np.linspace(-1, 1, self._work[0]), np.linspace(-1, 1, self._work[1]))
        slope = rng.uniform(-0.08, 0.08, size=2)
        fall = 0.97 - rng.uniform(0.02, 0.1) * (x**2 + y**2) + slope[0] * x + slope[1] * y
        return Image.fromarray(np.clip(255 * tint * fall[..., None], 0, 255).astype(np.uint8))

    def photo(self, day: int) -> Image.Image:
        """Return the plant on `day` (from 1) as an RGB image of the size asked for."""
        rng = np.random.default_rng([*self._key, day])
        image = self._ground.copy()
        time = day * self._rate
        for leaf in range(int(time / self._look.days_per_leaf) + 4):  # the seedling already has four
            age = time - (leaf - 4) * self._look.days_per_leaf
            turn, longer, wider = self._habit[leaf]
            # Full length goes on rising with the leaf's number, so that late days still differ.
            full = 0.62 * (1 - np.exp(-(leaf + 4) / 14)) * (1 + 0.06 * longer)
            length = full / (1 + np.exp(-(age - 6.5) / 2.6)) * self._unit
            azimuth = self._spin * (leaf * _GOLDEN + np.radians(0.7 * day)) + self._turn + 0.12 * turn
            self._add(image, leaf, length, 1 + 0.08 * wider, azimuth + np.radians(rng.normal(0, 1.5)))
        gain = rng.uniform(0.95, 1.05)
        image = ImageChops.multiply(image, self._light).point([min(255, round(gain * v)) for v in range(256)] * 3)
        grain = Image.fromarray(rng.integers(0, 11, self._work[::-1], dtype=np.uint8))
        image = ImageChops.add(image, Image.merge("RGB", [grain] * 3), offset=-5)
        return image.resize(self._size, Image.Resampling.BICUBIC)

    def _add(self, image: Image.Image, leaf: int, length: float, width: float, azimuth: float) -> None:
        """Paste one leaf, `length` px long, its base near the plant's centre, pointing along `azimuth`."""
        direction = np.asarray([np.cos(azimuth), np.sin(azimuth)])
        base = self._centre + 0.03 * length * direction
        middle, reach = base + 0.5 * length * direction, 0.85 * length
        low = np.maximum(np.floor(middle - reach), 0).astype(int)
        high = np.minimum(np.ceil(middle + reach), self._work).astype(int)
        shrink = int(np.clip(_LEAF / length, 1, 40))  # bilinear sampling alone would alias where leaves are small
        picture = self._leaves[leaf % len(self._leaves)].reduce(shrink)
        along = direction * _LEAF / length / shrink
        across = np.asarray([-along[1], along[0]]) / width
        origin = low - base
        affine = (*along, along @ origin + 0.1 * _LEAF / shrink, *across, across @ origin + 0.6 * _LEAF / shrink)
        cut = picture.transform(tuple(high - low), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
        image.paste(cut, (int(low[0]), int(low[1])), cut)


def _numbers(seed: int, species: str, count: int) -> list[int]:
    """Return the four-digit numbers of the test plants of a species; no two plants share one."""
    order = np.random.default_rng([seed, _NAMES, 0]).permutation(np.arange(1000, 2000))
    return [int(number) for number in order[SPECIES.index(species) :: len(SPECIES)][:count]]


def _stems(seed: int, species: str, number: int, days: int) -> list[str]:
    """Return the names of a test plant's photos by day, the first day first; the names do not tell the day."""
    order = np.random.default_rng([seed, _NAMES, number]).permutation(1000)[:days]
    return [f"idx_{species}_{number}_{name:05}" for name in order]


def pairs(*, test_plants: int, test_pairs: int, days: int, seed: int) -> list[tuple[str, str, int]]:
    """Return the test pairs as (name before, name after, days between, from 1 to `days` - 1).

    The rows are those of `test_data.csv`; the days between, which are in no file, serve to score a submission.
    """
    plants = [(species, number) for species in SPECIES for number in _numbers(seed, species, test_plants)]
    rows = []
    for row in range(test_pairs):
        rng = np.random.default_rng([seed, _NAMES + 1, row])
        stems = _stems(seed, *plants[rng.integers(len(plants))], days)
        before, after = sorted(rng.choice(days, size=2, replace=False).tolist())
        rows.append((stems[before], stems[after], after - before))
    return rows


def draw(
    directory: Path, *, plants: int, days: int, test_plants: int, test_pairs: int, width: int, height: int, seed: int
) -> None:
    """Draw `plants` training and `test_plants` test plants per species on `days` days each into `directory`.

    The photos are RGB PNG of `width` by `height` px, one a day from day 1; the CSV files are those of the contest.
    Raises `UserError`, and leaves nothing, for a number out of range or a folder that is not empty or cannot be
    written.
    """
    check_range("--plants", plants, 1, 500)
    check_range("--days", days, 2, 60, "as plants are full-grown by then")
    check_range("--test-plants", test_plants, 1, 500)
    check_range("--test-pairs", test_pairs, 1)
    check_range("--width", width, 32, 10000, "in pixels")
    check_range("--height", height, 32, 10000, "in pixels")
    check_range("--seed", seed, 0)
    with new_folder(directory) as folder:
        for species in SPECIES:
            for number in range(1, plants + 1):
                home = folder / "train_dataset" / species / f"{species}_{number:02}"
                stems = [f"DAT{day:02}" for day in range(1, days + 1)]
                _save(_Plant(seed, species, number, (width, height)), home, stems)
            for number in _numbers(seed, species, test_plants):
                home = folder / "test_dataset" / species / str(number)
                _save(_Plant(seed, species, number, (width, height)), home, _stems(seed, species, number, days))
        rows = pairs(test_plants=test_plants, test_pairs=test_pairs, days=days, seed=seed)
        pair_lines = [f"{row},{before},{after}\n" for row, (before, after, _) in enumerate(rows)]
        tables = {
            "test_dataset/test_data.csv": ["idx,before_file_path,after_file_path\n", *pair_lines],
            "sample_submission.csv": ["idx,time_delta\n", *(f"{row},-1\n" for row in range(test_pairs))],
        }
        for name, lines in tables.items():
            (folder / name).write_text("".join(lines), encoding="ascii", newline="\n")


def _save(plant: _Plant, home: Path, stems: list[str]) -> None:
    home.mkdir(parents=True)
    for day, stem in enumerate(stems, start=1):
        # Huffman coding alone is the fastest way to pack grain, and no larger.
        plant.photo(day).save(home / f"{stem}.png", compress_level=1, compress_type=zlib.Z_HUFFMAN_ONLY)


def main(argv: list[str] | None = None) -> None:
    """Run the program with `argv`, or the command line; exit with code 2 and one line on an error."""
    parser = Parser(
        "python -m growth.synthetic",
        __doc__,
        plants=(5, "training plants per species, 1 to 500"),
        days=(20, "photos per plant, one a day, 2 to 60"),
        test_plants=(2, "test plants per species, 1 to 500"),
        test_pairs=(200, "pairs of photos to judge in the test set, 1 or more"),
        width=(320, "width of a photo in pixels, 32 to 10000; a real one has 3280"),
        height=(240, "height of a photo in pixels, 32 to 10000; a real one has 2464"),
        seed=(0, "whole number that fixes all draws, from 0"),
    )
    args = vars(parser.parse_args(argv))
    directory = args.pop("directory")
    with exit_on_user_error():
        draw(directory, **args)
    photos = len(SPECIES) * (args["plants"] + args["test_plants"]) * args["days"]
    root = shlex.quote(str(directory))
    drawn = f"wrote {photos} photos and {args['test_pairs']} test pairs to {root}"
    print(f"{drawn}; next: python -m growth fit --data.root {root}")


if __name__ == "__main__":
    main()
