"""Fonts for drawing characters: found on the machine or in files, checked one by one, grouped by family."""

from __future__ import annotations

import logging
import string
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from fontTools.ttLib import TTCollection, TTFont
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from common.errors import UserError, listed
from common.platforms import spread_out

SIGNS = string.digits + string.ascii_uppercase + string.ascii_lowercase
SYSTEM = "system"  # in place of a file or folder: the installed fonts
SUFFIXES = {".ttf", ".otf", ".ttc", ".otc", ".woff", ".woff2"}

# These come with matplotlib and draw the 62 characters in plain shapes, with which other fonts are compared.
PLAIN = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmr10", "cmb10", "cmss10", "cmtt10"),
)
# Letters whose lower and upper case look different at any size.
_DISTINCT = "abdefghlmnqrt"
_SIDE = 20
READ = 0.35  # fraction of digits, of capitals and of small letters that must be closest to the right plain character
SMALL_CAPITALS = 0.75  # mean correlation of these letters' cases above which the lower case is just small capitals

logging.getLogger("fontTools").setLevel(logging.ERROR)  # it warns of tables that drawing does not need

Shapes = NDArray[np.float32]


class Face(NamedTuple):
    """One face of a font file."""

    path: str  # the file
    number: int = 0  # index of the face in a collection
    family: str = ""  # as the file names it, such as "Lato"
    style: str = ""  # such as "Bold Italic"
    licence: str = ""  # the licence field of the file, which may be empty


@cache
def plain_faces() -> list[Face]:
    """List the faces that come with matplotlib."""
    import matplotlib  # only for its fonts; imported here to keep --help fast

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return [Face(str(folder / f"{name}.ttf")) for name in PLAIN]


def find_faces(given: Sequence[str]) -> tuple[list[list[Face]], pd.DataFrame]:
    """Find the faces to draw with, by family, and tabulate every face that was examined.

    Args:
        given: "system" for all installed fonts, folders, or files.

    Returns:
        The families, each with its faces; a table with ``file, face, family, style, licence, left_out``, the last of
        which says why a face is not used, and is empty if it is.

    Raises:
        UserError: a file or folder does not exist, or is called system; none of the faces can be used.
    """
    files = list({Path(file).resolve(): file for file in chain.from_iterable(map(_files, given))}.values())
    looked_at = list(chain.from_iterable(spread_out(_inspect, files, many=len(files) > 50)))
    rows = [(Path(face.path).name, *face[1:], reason) for face, reason in looked_at]
    table = pd.DataFrame(rows, columns=["file", "face", "family", "style", "licence", "left_out"])
    families: dict[str, list[Face]] = {}
    for face, reason in looked_at:
        if not reason:
            families.setdefault(face.family, []).append(face)
    if not families:
        why = listed(f"{row.file} {row.left_out}" for row in table.itertuples())
        raise UserError(
            f"--fonts {listed(given)}: none of {len(files)} font files can be used: {why or 'there are none'}"
        )
    return [families[name] for name in sorted(families)], table


def _files(word: str) -> list[str]:
    if word == SYSTEM:
        if Path(word).exists():
            two = f"the installed fonts, or {word} in this folder? Give ./{word} for the latter"
            raise UserError(f"--fonts {word}: {two}; rename it for the former")
        from matplotlib.font_manager import findSystemFonts

        return sorted(findSystemFonts())
    if not word:
        raise UserError("--fonts: is empty; give system, a folder or font files")
    path = Path(word)
    if path.is_dir():
        return sorted(str(file) for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not path.is_file():
        raise UserError(f"--fonts {word}: no such file or folder; give {SYSTEM}, a folder or font files")
    return [word]


def _inspect(path: str) -> list[tuple[Face, str]]:
    """Return the faces of a file, each with the reason why it is left out, or an empty string."""
    try:
        with Path(path).open("rb") as stream:
            count = len(TTCollection(stream, lazy=True)) if stream.read(4) == b"ttcf" else 1
        return [_inspect_face(path, number) for number in range(count)]
    except Exception as error:  # a damaged table can make fontTools raise anything
        return [(Face(path), f"cannot be read: {str(error) or type(error).__name__}".splitlines()[0])]


def _inspect_face(path: str, number: int) -> tuple[Face, str]:
    with TTFont(path, fontNumber=number, lazy=True) as font:
        names, drawn = font["name"], font.getBestCmap() or {}
        family, style = names.getBestFamilyName() or Path(path).stem, names.getBestSubFamilyName() or ""
        face = Face(path, number, family, style, " ".join((names.getDebugName(13) or "").split()))
    if absent := [sign for sign in SIGNS if ord(sign) not in drawn]:
        return face, f"lacks {listed(absent)}"
    shapes = glyph_shapes(face)
    if shapes is None:
        return face, "draws nothing for some characters"
    own = np.array([shapes[SIGNS.index(sign)] @ shapes[SIGNS.index(sign.upper())] for sign in _DISTINCT])
    if own.mean() > SMALL_CAPITALS:
        return face, "has capitals for lower case"
    nearest = (shapes @ _plain_shapes().T).argmax(axis=1) % len(SIGNS)
    right = np.array([SIGNS[found].lower() == sign.lower() for found, sign in zip(nearest, SIGNS, strict=True)])
    least = min(part.mean() for part in np.split(right, [10, 36]))  # digits, capitals, small letters
    return face, "" if least >= READ else "does not draw what can be read as the characters"


def glyph_shapes(face: Face) -> Shapes | None:
    """Draw the 62 characters, each filling a square, scaled to mean 0 and length 1: 62×400; None if one is blank."""
    font = ImageFont.truetype(face.path, 96, index=face.number, layout_engine=ImageFont.Layout.BASIC)
    shapes = []
    for sign in SIGNS:
        image = Image.new("L", (192, 192))
        ImageDraw.Draw(image).text((96, 128), sign, 255, font, "ms")
        box = image.getbbox()
        if box is None:
            return None
        width, height = box[2] - box[0], box[3] - box[1]
        square = Image.new("L", (max(width, height),) * 2)
        square.paste(image.crop(box), ((square.width - width) // 2, (square.height - height) // 2))
        shapes.append(np.asarray(square.resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float32).ravel())
    centred = np.array(shapes) - np.mean(shapes, axis=1, keepdims=True)
    unit: Shapes = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
    return unit


@cache
def _plain_shapes() -> Shapes:
    """Return the shapes of the plain faces, (faces·62)×400."""
    shapes = [glyph_shapes(face) for face in plain_faces()]
    return np.concatenate([shape for shape in shapes if shape is not None])


@lru_cache(maxsize=4096)
def load_face(face: Face, size: int) -> ImageFont.FreeTypeFont:
    """Open a face at a size in pixels."""
    return ImageFont.truetype(face.path, size, index=face.number, layout_engine=ImageFont.Layout.BASIC)
