"""Finding image files, in folders and archives, and decoding one: formats and pixels."""

from __future__ import annotations

import io
import os
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from common.errors import UserError

Mode = Literal["L", "RGB"]
Images = npt.NDArray[np.uint8]

FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM")
READABLE = "png jpg jpeg jpe jfif mpo bmp dib gif tif tiff webp pbm pgm ppm pnm"
SUFFIXES = frozenset(READABLE.split())
MAX_FILE_BYTES = 512 * 2**20


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image on disk, or inside a zip archive.

    Attributes:
        path: the file, or the archive.
        member: the name inside the archive; empty for a plain file.
        size: bytes of the image file, unpacked.
        stamp: what changes with the content: modification time in ns, and the checksum of an archive's member.
    """

    path: Path
    member: str
    size: int
    stamp: str

    def __str__(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    @property
    def name(self) -> Path:
        """The path inside the folder or archive, to take stem and suffix from."""
        return Path(self.member) if self.member else self.path


def find_images(source: Path) -> list[ImageFile]:
    """List the image files below a folder or inside a ``.zip``, sorted by name; other files are passed over.

    Raises:
        UserError: ``source`` is an archive that cannot be read.
    """
    if source.is_dir():
        found = [
            ImageFile(path, "", (status := path.stat()).st_size, str(status.st_mtime_ns))
            for path in source.rglob("*")
            if _wanted(str(path.relative_to(source))) and path.is_file()
        ]
    else:
        stamp = source.stat().st_mtime_ns
        with open_zip(source) as archive:
            found = [
                ImageFile(source, info.filename, info.file_size, f"{stamp}-{info.CRC}")
                for info in archive.infolist()
                if _wanted(info.filename)
            ]
    return sorted(found, key=str)


def _wanted(path: str) -> bool:
    """True for images, but not for what macOS and editors leave behind: ``.name`` and ``__MACOSX/``."""
    # Text, since paths as objects take most of the time that a second start waits for the list of a large set.
    if path.rpartition(".")[2].lower() not in SUFFIXES:
        return False
    parts = [part for part in path.replace(os.sep, "/").split("/") if part != "."]
    return not any(part.startswith(".") or part == "__MACOSX" for part in parts)


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open an archive for reading.

    Raises:
        UserError: it is damaged or no zip archive.
    """
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"{path}: not a readable zip archive ({error}); download it again") from error


def decode(data: bytes, mode: Mode, max_pixels: int) -> Image.Image:
    """Decode an image file into 8 bits a channel, upright, transparency laid over white.

    Args:
        data: the bytes of the file, in one of ``FORMATS``.
        mode: ``"L"`` (grey) or ``"RGB"``.
        max_pixels: refuse more than this, before any pixel is decoded.

    Raises:
        ValueError: more than ``max_pixels``, or samples of 32 bits.
        OSError, SyntaxError, ...: whatever Pillow says of damaged data.
    """
    image: Image.Image
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise ValueError(f"{width}×{height} pixels, over the limit of {max_pixels:,}")
        image.load()
        # Looking for an orientation costs as much as decoding a small bitmap, and PNG and BMP seldom have one.
        if image.format not in ("PNG", "BMP", "DIB") or any(
            tag in str(key).lower() for key in image.info for tag in ("exif", "xmp")
        ):
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        elif image.mode in ("I", "F"):
            raise ValueError(f"samples of 32 bits (mode {image.mode}); save it with 8 or 16 bits a channel")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return image.convert(mode)


def read_image(path: Path, size: int, mode: Mode, max_pixels: int) -> Images:
    """Read one file as :func:`cached_images` does: size×size×C, uint8.

    Raises:
        UserError: there is no such file, or it cannot be decoded.
    """
    if path.exists() and (not path.is_file() or path.stat().st_size > MAX_FILE_BYTES):
        raise UserError(f"{path}: no image file, or one of over {MAX_FILE_BYTES:,} bytes")
    try:
        return resize(decode(path.read_bytes(), mode, max_pixels), size)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        if error.errno:  # of the disk, not of Pillow
            raise
        raise UserError(f"{path}: not a readable image; give a {', '.join(FORMATS)}") from None
    except Exception as error:  # Pillow's readers raise SyntaxError, struct.error, ...
        raise UserError(f"{path}: not a readable image ({error})") from None


def resize(image: Image.Image, size: int) -> Images:
    """Resize to ``size`` × ``size`` (aspect not kept): means over boxes, or bilinear where it grows: H×W×C, uint8."""
    filters = Image.Resampling
    pixels = np.asarray(image.resize((size, size), filters.BOX if min(image.size) >= size else filters.BILINEAR))
    return pixels.reshape(size, size, -1)


@lru_cache(maxsize=4)
def _archive(path: Path, stamp: str, process: int) -> zipfile.ZipFile:
    """Keep archives open: to list a large one takes longer than to decode a small image."""
    return open_zip(path)


def read_bytes(file: ImageFile) -> bytes:
    """Read an image file, or a member of an archive."""
    if file.size > MAX_FILE_BYTES:
        raise ValueError(f"{file.size:,} bytes, over the limit of {MAX_FILE_BYTES:,}")
    if not file.member:
        return file.path.read_bytes()
    return _archive(file.path, file.stamp.split("-")[0], os.getpid()).read(file.member)
