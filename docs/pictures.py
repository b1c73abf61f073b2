"""Draw the two pictures of the README, growth.png and julia.png: ``python -m docs.pictures [FOLDER]``."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, ImageOps

from growth.trays import Tray
from julia.synthetic import draw

DAYS = (2, 7, 12, 17, 22, 27, 32, 38)
WIDTH, GAP = 1070, 2  # pixels


def grid(rows: list[list[Image.Image]], cell: tuple[int, int]) -> Image.Image:
    """Lay images out on white, each in the middle of its cell."""
    width, height = cell
    size = (len(rows[0]) * (width + GAP) - GAP, len(rows) * (height + GAP) - GAP)
    sheet = Image.new("RGB", size, "white")
    for top, row in enumerate(rows):
        for left, image in enumerate(row):
            fitted = ImageOps.pad(image, cell, color="white")
            sheet.paste(fitted, (left * (width + GAP), top * (height + GAP)))
    return sheet


def growth() -> Image.Image:
    """A tray of each species over its days."""
    trays = (Tray(0, species, number, (656, 492)) for species, number in (("BC", 2), ("LT", 1)))
    width = (WIDTH + GAP) // len(DAYS) - GAP
    return grid([[tray.photo(day) for day in DAYS] for tray in trays], (width, width * 3 // 4))


def julia() -> Image.Image:
    """Two rows of characters."""
    with TemporaryDirectory() as folder:
        draw(Path(folder) / "drawn", train=62, test=1, seed=0)
        images = [Image.open(path).convert("RGB") for path in sorted(Path(folder).rglob("train/*.Bmp"))]
    return grid([images[start : start + 16] for start in (0, 16)], (65, 65))


def main() -> None:
    """Draw both."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, picture in (("growth", growth()), ("julia", julia())):
        # Of 64 colours: a third of the bytes.
        picture.quantize(64, dither=Image.Dither.NONE).save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
