"""Draw characters in the layout of Kaggle "First Steps With Julia", to try the programs without the real photos."""

from __future__ import annotations

import colorsys
import io
import zipfile
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from common.errors import exit_on_user_error
from common.files import new_folder
from common.platforms import quoted, spread_out
from common.synthetic import Parser, check_range
from julia.fonts import SIGNS, Face, find_faces, load_face, plain_faces
from julia.street import draw_character, grey

Frequencies = Literal["even", "competition"]
# How many of the competition's 6,283 training bitmaps show each of SIGNS, in that order.
COMPETITION = (
    *(78, 65, 59, 36, 37, 41, 42, 31, 21, 36),
    *(459, 90, 170, 165, 357, 69, 111, 152, 270, 52, 67, 168, 127),
    *(279, 291, 131, 21, 309, 270, 257, 83, 64, 57, 43, 54, 31),
    *(156, 25, 52, 54, 196, 28, 32, 45, 128, 20, 26, 74, 44),
    *(125, 129, 37, 28, 123, 95, 107, 39, 23, 24, 23, 37, 20),
)
_PREFIX = "drawn_"  # of IDs, so that a fit on the competition's bitmaps does not mistake these for rows it holds out
_EM = 112  # font size in pixels at which masks are drawn, before they are resized to the bitmap

_Array = NDArray[np.float64]


def label(seed: int, item: int, frequencies: Frequencies = "even") -> str:
    """Return the class of bitmap ``item`` (ids from 1), including test bitmaps, whose labels are in no file.

    With even frequencies, every run of 62 ids starting at 1, 63, 125, ... holds each of the 62 classes once.
    """
    block, place = divmod(item - 1, len(SIGNS))
    if frequencies == "even":
        return SIGNS[np.random.default_rng([seed, 0, block]).permutation(len(SIGNS))[place]]
    shares = np.array(COMPETITION) / sum(COMPETITION)
    return SIGNS[np.random.default_rng([seed, 0, block]).choice(len(SIGNS), len(SIGNS), p=shares)[place]]


def _masks(character: str, rng: np.random.Generator) -> Image.Image:
    """Return the character as an RGB image of masks: the character, all text, all text with its outline."""
    faces = plain_faces()
    font = load_face(faces[rng.integers(len(faces))], _EM)
    middle, half = 1.5 * _EM, font.getlength(character) / 2 + rng.uniform(0, 0.1) * _EM
    texts = [(middle, character, "ms")]
    if rng.random() < 0.4:  # crops of real signs show slivers of the neighbouring letters
        before, after = rng.integers(len(SIGNS), size=2)
        texts += [(middle - half, SIGNS[before], "rs"), (middle + half, SIGNS[after], "ls")]
    bold, outline = int(rng.integers(0, 3)), int(rng.integers(4, 9))
    layers = [Image.new("L", (3 * _EM, 2 * _EM)) for _ in range(3)]
    for layer, shown, stroke in zip(layers, (texts[:1], texts, texts), (bold, bold, bold + outline), strict=True):
        for x, text, anchor in shown:
            ImageDraw.Draw(layer).text((x, 1.3 * _EM), text, 255, font, anchor, stroke_width=stroke)
    masks = Image.merge("RGB", layers)
    angle, shear = np.radians(rng.uniform(-15, 15) * rng.random()), rng.uniform(-0.2, 0.2)
    a, b, d, e = np.cos(angle), np.sin(angle) + shear, -np.sin(angle), np.cos(angle)
    x, y = 1.5 * _EM, 1.0 * _EM
    affine = (a, b, x - a * x - b * y, d, e, y - d * x - e * y)
    return masks.transform(masks.size, Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)


def _crop(masks: Image.Image, rng: np.random.Generator) -> _Array:
    """Cut the masks around the character and resize them to the bitmap: (height, width, 3), from 0 to 1."""
    box = masks.getchannel(0).point(lambda value: 255 * (value > 32)).getbbox()
    assert box is not None, "the font drew nothing"
    left, top, right, bottom = box
    margin = rng.uniform(0.02, 0.15, size=4) * (bottom - top)
    thin = max(0.0, 0.4 * (bottom - top) - (right - left)) / 2  # no slivers for i, l and 1
    frame = (left - margin[0] - thin, top - margin[1], right + margin[2] + thin, bottom + margin[3])
    aspect = (frame[2] - frame[0]) / (frame[3] - frame[1]) * rng.uniform(0.85, 1.15)
    height = np.clip(np.exp(rng.normal(np.log(62), 0.5)), 18, 150)
    size = (int(np.clip(height * aspect, 14, 150)), int(height))
    cut = masks.crop(tuple(round(edge) for edge in frame))  # crop first, as resize(box=...) must stay inside the image
    return np.asarray(cut.resize(size, Image.Resampling.BILINEAR)) / 255


def _colour(rng: np.random.Generator) -> _Array:
    saturation = (1 if rng.random() < 0.6 else 0.15) * rng.random()
    return 255 * np.asarray(colorsys.hsv_to_rgb(rng.random(), saturation, rng.uniform(0.1, 1)))


def _surface(colour: _Array, shape: tuple[int, ...], rng: np.random.Generator) -> _Array:
    """Return ``colour`` as a plain, shaded or blotched surface: (height, width, 3), from 0 to 255."""
    kind, amount = rng.integers(3), rng.uniform(10, 35)
    shade = np.zeros(shape)
    if kind == 1:
        slopes = zip(rng.uniform(-1, 1, 2), shape, strict=True)
        shade = np.add.outer(*(slope * np.linspace(-1, 1, side) for slope, side in slopes))
    elif kind == 2:
        cells = int(rng.integers(3, 14))
        coarse = Image.fromarray(rng.standard_normal((cells, cells), np.float32))
        shade = np.asarray(coarse.resize((shape[1], shape[0]), Image.Resampling.BICUBIC), np.float64) / 2
    return colour + amount * shade[..., None]


def _bitmap(seed: int, item: int, frequencies: Frequencies = "even") -> tuple[Image.Image, str]:
    """Return bitmap ``item`` and the format to save it in; both depend only on the arguments."""
    rng = np.random.default_rng([seed, item])
    masks = _crop(_masks(label(seed, item, frequencies), rng), rng)
    ground, ink, edge = _colour(rng), _colour(rng), _colour(rng)
    contrast = rng.uniform(45, 120)
    while abs(grey(ground) - grey(ink)) < contrast:
        ground, ink = _colour(rng), _colour(rng)
    shape = masks.shape[:2]
    picture = _surface(ground, shape, rng)
    # An outline as bright as the ink would thicken the character beyond recognition.
    if rng.random() < 0.3 and abs(grey(edge) - grey(ink)) > contrast:
        picture += masks[..., 2:] * (edge - picture)
    picture += masks[..., 1:2] * (_surface(ink, shape, rng) - picture)
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.03) * shape[0]))
    noise = rng.uniform(0, 3.5) ** 2 * rng.standard_normal(picture.shape)
    image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
    return image.convert("L") if rng.random() < 0.1 else image, "BMP" if rng.random() < 0.3 else "PNG"


def draw(
    directory: Path,
    train: int,
    test: int,
    seed: int,
    fonts: Sequence[str] = (),
    frequencies: Frequencies = "even",
) -> None:
    """Draw ``train`` labelled and ``test`` unlabelled bitmaps, with the competition's CSV files, into ``directory``.

    The bitmaps are RGB or grey, 14 to 150 px a side by default, each with a copy of 20 by 20 px. With ``fonts`` (see
    :func:`julia.fonts.find_faces`), they look like photos (:func:`julia.street.draw_character`), lie in archives like
    the competition's, have IDs such as drawn_1, and ``fonts.csv`` says which fonts were used and which were not. Raises
    ``UserError``, and leaves nothing behind, if a count is out of range, no font can be used, or the folder is not
    empty or cannot be written.
    """
    check_range("--train", train, len(SIGNS), why="so that each of the 62 classes appears")
    check_range("--test", test, 1)
    check_range("--seed", seed, 0)
    with new_folder(directory) as folder:
        labelled, unlabelled = range(1, train + 1), range(train + 1, train + test + 1)
        parts = {"train": labelled, "test": unlabelled}
        if fonts:
            families, table = find_faces(fonts)
            table.to_csv(folder / "fonts.csv", index=False)
            for part, items in parts.items():
                encode = partial(_encoded, seed, frequencies, families)
                chunks = [items[start : start + 500] for start in range(0, len(items), 500)]
                drawn = spread_out(encode, chunks, many=len(items) > 2000)
                _archive(folder / part, chain.from_iterable(drawn))
        else:
            for part, items in parts.items():
                whole, resized = folder / part, folder / f"{part}Resized"
                whole.mkdir()
                resized.mkdir()
                for item in items:
                    image, encoding = _bitmap(seed, item, frequencies)
                    image.save(whole / f"{item}.Bmp", encoding)
                    _reduced(image).save(resized / f"{item}.Bmp", "BMP")
        classes = {"trainLabels": {item: label(seed, item, frequencies) for item in labelled}}
        classes["sampleSubmission"] = dict.fromkeys(unlabelled, "A")
        prefix = _PREFIX if fonts else ""
        for name, rows in classes.items():
            lines = ["ID,Class\n", *(f"{prefix}{item},{row}\n" for item, row in rows.items())]
            (folder / f"{name}.csv").write_text("".join(lines), encoding="ascii", newline="\n")


def _reduced(image: Image.Image) -> Image.Image:
    return image.resize((20, 20), Image.Resampling.BICUBIC)


def _encoded(
    seed: int, frequencies: Frequencies, families: list[list[Face]], items: Sequence[int]
) -> list[tuple[int, bytes, bytes]]:
    """Draw bitmaps in many fonts: the number of each, the bitmap as a PNG file, and the reduced one as a BMP file."""
    files = []
    for item in items:
        image = draw_character(label(seed, item, frequencies), families, np.random.default_rng([seed, item]))
        whole, resized = io.BytesIO(), io.BytesIO()
        image.save(whole, "PNG", compress_level=1)
        _reduced(image).save(resized, "BMP")
        files.append((item, whole.getvalue(), resized.getvalue()))
    return files


def _archive(target: Path, files: Iterable[tuple[int, bytes, bytes]]) -> None:
    """Write <target>.zip and <target>Resized.zip, laid out like the competition's."""
    name = target.name
    with (
        zipfile.ZipFile(target.with_name(f"{name}.zip"), "w") as whole,
        zipfile.ZipFile(target.with_name(f"{name}Resized.zip"), "w") as resized,
    ):
        for item, image, small in files:
            whole.writestr(f"{name}/{_PREFIX}{item}.Bmp", image)
            resized.writestr(f"{name}Resized/{_PREFIX}{item}.Bmp", small)


def main(argv: list[str] | None = None) -> None:
    """Run the program with ``argv`` or the command line; on an error, print one line and exit with code 2."""
    parser = Parser(
        "python -m julia.synthetic",
        __doc__,
        train=(2480, "labelled bitmaps, 62 or more"),
        test=(620, "unlabelled bitmaps, 1 or more"),
    )
    parser.add_argument(
        "--fonts",
        nargs="+",
        default=[],
        metavar="FONT",
        help="system (all installed fonts), folders or font files, for bitmaps like photos of signs; by default the 20 "
        "faces of matplotlib draw simpler ones",
    )
    parser.add_argument(
        "--frequencies",
        choices=["even", "competition"],
        default="even",
        help="draw all classes equally often, or as often as in the competition's training set",
    )
    args = parser.parse_args(argv)
    with exit_on_user_error():
        draw(args.directory, args.train, args.test, args.seed, args.fonts, args.frequencies)
    root = quoted(args.directory.as_posix())
    drawn = f"wrote {args.train} train and {args.test} test bitmaps to {root}"
    print(f"{drawn}; next: python -m julia fit --data.root {root}")


if __name__ == "__main__":
    main()
