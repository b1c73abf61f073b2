"""Draw one character of a sign as a street-view photo shows it: in any font, worn, blurred, cropped by hand."""

from __future__ import annotations

import colorsys
import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from julia.fonts import SIGNS, Face, load_face

Array = NDArray[np.float64]
EM = 64  # font size in pixels, before the drawing is resized to the bitmap
CANVAS = (5 * EM, 3 * EM)
CORNERS = np.array([(0, 0), (CANVAS[0], 0), CANVAS, (0, CANVAS[1])], float)
MIDDLE, BASELINE = 2.5 * EM, 1.8 * EM


class Layers(NamedTuple):
    """Masks of what is painted, each H×W, from 0 to 1: all text and, if any, its shadow and outline."""

    text: Array
    shadow: Array | None
    outline: Array | None


def draw_character(character: str, families: list[list[Face]], rng: np.random.Generator) -> Image.Image:
    """Draw a bitmap, RGB or grey, 8 to 200 px wide, 14 to 160 px high; all families of fonts are equally likely."""
    faces = families[rng.integers(len(families))]
    layers = _lay_out(character, faces[rng.integers(len(faces))], rng)
    picture = _paint(layers, rng)
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    return _photograph(image, rng)


def _lay_out(character: str, face: Face, rng: np.random.Generator) -> Layers:
    """Set the character between its neighbours, turn and slant it, and cut a frame around it."""
    font = load_face(face, EM)
    gap = font.getlength(character) / 2 + rng.uniform(-0.03, 0.16) * EM
    texts = [(MIDDLE, character, "ms")]
    for beside, anchor in ((-gap, "rs"), (gap, "ls")):
        if rng.random() < 0.55:
            word = "".join(_neighbour(character, rng) for _ in range(2))
            texts.append((MIDDLE + beside, word, anchor))
    thicker = float(rng.uniform(0, 0.035) * EM) if rng.random() < 0.25 else 0.0

    def drawn(shown: list[tuple[float, str, str]], stroke: float) -> Image.Image:
        mask = Image.new("L", CANVAS)
        for x, text, anchor in shown:
            ImageDraw.Draw(mask).text((x, BASELINE), text, 255, font, anchor, stroke_width=stroke)
        return mask

    alone, text = drawn(texts[:1], thicker), drawn(texts, thicker)
    if rng.random() < 0.03:  # letters made of tubes, or with only the contour painted
        text = ImageChops.subtract(text, text.filter(ImageFilter.MinFilter(2 * int(rng.integers(1, 3)) + 1)))
    shadow = outline = None
    if rng.random() < 0.15:
        right, down = rng.integers(-EM // 9, EM // 9 + 1, size=2).tolist()
        shadow = ImageChops.offset(text, right, down)
    if rng.random() < 0.15:
        outline = drawn(texts, thicker + rng.uniform(0.03, 0.09) * EM)
    box = alone.getbbox()
    assert box is not None, "the font drew nothing"
    back = _back(_corners(box, rng))
    frame, size = _frame(_tilt(alone, back), rng)

    def cut(mask: Image.Image) -> Array:
        return np.asarray(_tilt(mask, back).crop(frame).resize(size, Image.Resampling.BILINEAR)) / 255

    return Layers(cut(text), None if shadow is None else cut(shadow), None if outline is None else cut(outline))


def _neighbour(character: str, rng: np.random.Generator) -> str:
    """Draw a neighbour, mostly of the same kind: words are mostly of one case, and numbers of digits."""
    kinds = [kind for kind in (SIGNS[:10], SIGNS[10:36], SIGNS[36:]) if character in kind]
    kind = kinds[0] if rng.random() < 0.85 else SIGNS
    return kind[rng.integers(len(kind))]


def _corners(box: tuple[int, int, int, int], rng: np.random.Generator) -> Array:
    """Choose where the corners of the canvas go, turned, slanted, stretched and seen from the side: 4×2."""
    turn = np.radians(rng.normal(0, 6) if rng.random() < 0.9 else rng.uniform(-30, 30))
    slant, stretch = rng.normal(0, 0.1), np.exp(rng.normal(0, 0.13))
    change = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    change = change @ np.array([[1, slant], [0, 1]]) @ np.diag([stretch, 1 / stretch])
    middle = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
    moved = (CORNERS - middle) @ change.T
    moved *= 1 + rng.normal(0, 0.06, size=(4, 1))  # perspective: some corners are farther away
    corners: Array = moved + np.array(CANVAS) / 2
    return corners


def _back(corners: Array) -> list[float]:
    """Find the projection, as Pillow takes it, from each pixel back to its place on the canvas."""
    rows: list[list[float]] = []
    for (x, y), (u, v) in zip(corners, CORNERS, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    values: list[float] = np.linalg.solve(rows, CORNERS.ravel()).tolist()
    return values


def _tilt(mask: Image.Image, back: list[float]) -> Image.Image:
    return mask.transform(CANVAS, Image.Transform.PERSPECTIVE, back, Image.Resampling.BILINEAR)


def _frame(alone: Image.Image, rng: np.random.Generator) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
    """Frame the character as if by hand: the edges on the canvas, and the size of the bitmap."""
    left, top, right, bottom = alone.point(lambda value: 255 * (value > 32)).getbbox() or (0, 0, *CANVAS)
    high = bottom - top
    margin = rng.normal(0.07, 0.06, size=4).clip(-0.05, 0.3) * max(high, 0.5 * EM)
    thin = max(0.0, 0.25 * high - (right - left)) / 2
    frame = (left - margin[0] - thin, top - margin[1], right + margin[2] + thin, bottom + margin[3])
    aspect = (frame[2] - frame[0]) / (frame[3] - frame[1])
    height = np.clip(np.exp(rng.normal(np.log(62), 0.6)), 14, 160)
    x0, y0, x1, y1 = (round(edge) for edge in frame)
    return (x0, y0, x1, y1), (int(np.clip(height * aspect, 8, 200)), int(height))


def _colour(rng: np.random.Generator) -> Array:
    """Draw a colour: signs are white, black, grey or of one strong colour, in light of any strength."""
    kind = rng.random()
    if kind < 0.25:
        hue, saturation, value = rng.random(), 0.1 * rng.random(), rng.uniform(0.65, 1)
    elif kind < 0.45:
        hue, saturation, value = rng.random(), 0.4 * rng.random(), rng.uniform(0.02, 0.35)
    elif kind < 0.65:
        hue, saturation, value = rng.random(), 0.2 * rng.random(), rng.random()
    else:
        hue, saturation, value = rng.random(), rng.uniform(0.2, 1), rng.uniform(0.2, 1)
    return 255 * np.asarray(colorsys.hsv_to_rgb(hue, saturation, value))


def grey(colour: Array) -> float:
    """Return the brightness of a colour, 0 to 255."""
    return float(colour @ np.asarray([0.299, 0.587, 0.114]))


def _noise(shape: tuple[int, int], cells: int, rng: np.random.Generator) -> Array:
    """Return blotches of about 1/cells of a side, with mean 0 and a standard deviation of about 1, H×W."""
    coarse = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((shape[1], shape[0]), Image.Resampling.BICUBIC), np.float64)


def _slope(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Return a plane through 0 in the middle, from about -1 to 1, in any direction, H×W."""
    x, y = np.linspace(-1, 1, shape[1]), np.linspace(-1, 1, shape[0])
    angle = rng.uniform(0, 2 * np.pi)
    plane: Array = np.add.outer(np.sin(angle) * y, np.cos(angle) * x)
    return plane


def _surface(colour: Array, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Return a plain, shaded or blotched surface of one colour, H×W×3, from 0 to 255."""
    kind, amount = rng.integers(3), rng.uniform(3, 30)
    light = np.zeros(shape)
    if kind == 1:
        light = _slope(shape, rng)
    elif kind == 2:
        light = _noise(shape, int(rng.integers(3, 14)), rng) / 2
    return colour + amount * light[..., None]


def _paint(layers: Layers, rng: np.random.Generator) -> Array:
    """Paint ground, shadow, outline and text: H×W×3, about 0 to 255."""
    shape = layers.text.shape
    contrast = np.exp(rng.uniform(np.log(25), np.log(150)))
    ground, ink, edge = _colour(rng), _colour(rng), _colour(rng)
    for _ in range(50):
        if abs(grey(ground) - grey(ink)) >= contrast:
            break
        ground, ink = _colour(rng), _colour(rng)
    picture = _surface(ground, shape, rng)
    if rng.random() < 0.15:  # the edge of the sign, or a line on it
        side = _slope(shape, rng) + rng.uniform(0.5, 0.95) * (1 if rng.random() < 0.5 else -1)
        beyond = 1 / (1 + np.exp(-side * rng.uniform(20, 80)))
        beyond = 1 - beyond if beyond.mean() > 0.5 else beyond
        picture += beyond[..., None] * (_surface(_colour(rng), shape, rng) - picture)
    if layers.shadow is not None:
        picture += rng.uniform(0.3, 1) * layers.shadow[..., None] * (min(grey(ground), grey(edge)) / 2 - picture)
    # An outline as bright as the ink would thicken the character beyond recognition.
    if layers.outline is not None and abs(grey(edge) - grey(ink)) > contrast:
        picture += layers.outline[..., None] * (_surface(edge, shape, rng) - picture)
    worn = layers.text
    if rng.random() < 0.15:  # paint that has come off
        worn = worn * (1 - np.clip(_noise(shape, int(rng.integers(5, 20)), rng) - rng.uniform(0.6, 1.6), 0, 1))
    picture += worn[..., None] * (_surface(ink, shape, rng) - picture)
    if rng.random() < 0.2:  # the shadow of something in front of the sign
        dark = 1 / (1 + np.exp(-(_slope(shape, rng) + rng.uniform(-0.7, 0.7)) * rng.uniform(4, 60)))
        picture *= 1 - rng.uniform(0.2, 0.65) * dark[..., None]
    if rng.random() < 0.1:  # the glare of a lamp
        picture += rng.uniform(20, 110) * np.clip(_slope(shape, rng) + rng.uniform(-0.5, 0.3), 0, None)[..., None]
    return picture


def _photograph(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Blur, coarsen, add grain and compress the picture as a camera does."""
    width, height = image.size
    if rng.random() < 0.85:
        image = image.filter(ImageFilter.GaussianBlur(rng.gamma(1.3, 0.015) * height))
    if rng.random() < 0.15:
        image = _shaken(image, rng.uniform(0.03, 0.14) * height, rng.uniform(0, np.pi))
    if rng.random() < 0.25:  # few pixels, upscaled
        share = rng.uniform(10, 24) / height
        if share < 1:
            few = (max(6, round(share * width)), max(8, round(share * height)))
            image = image.resize(few, Image.Resampling.BOX).resize(image.size, Image.Resampling.BICUBIC)
    noise = rng.uniform(0, 3.2) ** 2 * rng.standard_normal((height, width, 3 if rng.random() < 0.5 else 1))
    image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
    if rng.random() < 0.6:
        packed = io.BytesIO()
        image.save(packed, "JPEG", quality=int(rng.integers(25, 95)))
        image = Image.open(packed)
        image.load()
    return image.convert("L") if rng.random() < 0.1 else image


def _shaken(image: Image.Image, length: float, angle: float) -> Image.Image:
    """Average the picture along a line of ``length`` pixels, as a moving camera does."""
    steps = max(2, round(length))
    pixels = np.asarray(image, np.float64)
    total = np.zeros_like(pixels)
    for step in np.linspace(-length / 2, length / 2, steps):
        shift = (round(step * np.sin(angle)), round(step * np.cos(angle)))
        total += np.roll(np.pad(pixels, ((12, 12), (12, 12), (0, 0)), "edge"), shift, (0, 1))[12:-12, 12:-12]
    return Image.fromarray((total / steps).astype(np.uint8))
