"""Decode a single image: formats and pixels."""

from __future__ import annotations

import io
import re
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from PIL.ExifTags import Base as Tag
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from common.errors import UserError
from common.image_files import AVIF, HEIF, MAX_FILE_BYTES

Mode = Literal["L", "RGB"]
Images = npt.NDArray[np.uint8]

FORMATS = ["PNG", "JPEG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", *["AVIF"] * AVIF]
FEWER_BITS = "14 bits or fewer, or a very dark picture"
SMALLER = "make it smaller"
SAVE_AS = "save it as PNG or JPEG with 8 bits a channel"
BITFIELDS = 3  # of a bitmap, whose header tells which bits are which channel's


def decode(data: bytes, mode: Mode, max_pixels: int) -> Image.Image:
    """Decode an image file into 8 bits per channel, upright, with transparency laid over white.

    Args:
        data: the bytes of the file, in one of ``FORMATS``.
        mode: ``"L"`` (grey) or ``"RGB"``.
        max_pixels: images with more pixels are refused, before any pixel is decoded.

    Raises:
        ValueError: there are more than ``max_pixels``, or Pillow would misread the pixels.
        OSError, SyntaxError, ...: whatever Pillow raises on damaged data.
    """
    image: Image.Image
    formats = [*FORMATS, *_heif()] if data[4:8] == b"ftyp" else FORMATS
    try:
        opened = Image.open(io.BytesIO(data), formats=formats)
    except Image.DecompressionBombError:
        raise ValueError(f"far more pixels than the limit of {max_pixels:,}; {SMALLER}") from None
    with opened as image:
        width, height = image.size
        if width * height > max_pixels:
            raise ValueError(f"{width}×{height} pixels, over the limit of {max_pixels:,}; {SMALLER}")
        encoding = image.format
        tags = image.tag_v2 if isinstance(image, TiffImageFile) else ImageFileDirectory_v2()
        if fault := _misread(image, data, tags):
            raise ValueError(f"{fault}; {SAVE_AS}")
        if encoding == "PNG":
            Image.open(io.BytesIO(data)).verify()  # compares checksums, which decoding does not
        image.load()
        # Looking for an orientation costs as much as decoding a small bitmap, and PNG and BMP rarely have one.
        if encoding not in ("PNG", "BMP", "DIB") or any(
            tag in str(key).lower() for key in image.info for tag in ("exif", "xmp")
        ):
            image = ImageOps.exif_transpose(image)
        bits = tags.get(Tag.BitsPerSample, ())
        deep = (encoding == "PNG" and data[24] == 16) or 16 in bits
        if deep and image.mode in ("RGB", "RGBA") and 0 < np.asarray(image)[..., :3].max() < 64:
            raise ValueError(f"samples of 16 bits, but none above 16383: {FEWER_BITS}; {SAVE_AS}")
        if image.mode.startswith("I;16") or (image.mode == "I" and encoding == "PPM"):  # a PPM of any range to 65535
            image = _upper_bits(image, 12 if bits == (12,) else 16, tags.get(Tag.PhotometricInterpretation) == 0)
        if image.mode == "RGBA" and encoding in ("BMP", "DIB") and image.getchannel("A").getextrema() == (0, 0):
            image = image.convert("RGB")  # the fourth byte is unused, whatever the header says
        if encoding == "PNG" and image.mode == "L" and isinstance(image.info.get("transparency"), int):
            image.info["transparency"] *= 255 // (2 ** data[24] - 1)  # given in the file's own 1 to 8 bits
        return flatten(image, mode)


def flatten(image: Image.Image, mode: Mode) -> Image.Image:
    """Lay transparency over white, and convert to grey or colour.

    Raises:
        ValueError: all that is drawn is white, so that nothing would be left of it.
    """
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        if alpha.min() == 0 < alpha.max() and image.getextrema() == ((255, 255),) * 4:
            raise ValueError("white on transparency, of which nothing is left over white; save it over another colour")
    return image.convert(mode)


def _misread(image: Image.Image, data: bytes, tags: ImageFileDirectory_v2) -> str | None:
    """Say what Pillow would misread in an image; each case was compared with other decoders."""
    if image.mode in ("F", "La", "LAB") or (image.mode == "I" and image.format != "PPM"):
        return f"mode {image.mode} (32 bits, L*a*b* or premultiplied grey) is not read"
    if image.format == "PNG" and data[24] == 16 and image.mode == "RGB" and "transparency" in image.info:
        return "a transparent colour of 16 bits a channel is not read"
    if image.format in ("BMP", "DIB") and data[28] == 16 and data[14] >= 56 and data[66:70] != bytes(4):
        return "a bitmap of 16 bits with transparency is not read"
    if fault := several_pictures(image):
        return fault
    if not tags:
        return None
    if tags.get(Tag.NewSubfileType, 0) & 1:
        return "its first picture is a preview"
    if any(sign not in (1, 4) for sign in tags.get(Tag.SampleFormat, ())):
        return "signed or fractional samples are not read"
    bits, colours = tags.get(Tag.BitsPerSample, (1,)), tags.get(Tag.PhotometricInterpretation)
    if tags.get(Tag.PlanarConfiguration) == 2 and (max(bits) > 8 or Tag.ExtraSamples in tags):
        return "channels one after another are read only with 8 bits and without transparency"
    if colours == 6 and tags.get(Tag.Compression) == 1 and tags.get(Tag.YCbCrSubSampling, (2, 2)) != (1, 1):
        return "uncompressed YCbCr with fewer samples of colour is not read"
    if colours == 3 and max(tags.get(Tag.ColorMap, (0,))) < 256:
        return "a colour map of 8 bits, where 16 are due, is not read"
    return None


def several_pictures(image: Image.Image) -> str:
    """Say that an image holds several pictures; empty if it does not, or if the first is meant, as in a phone's MPO."""
    if image.format in ("GIF", "PNG", "WEBP", "TIFF", "AVIF") and getattr(image, "is_animated", False):
        return f"{getattr(image, 'n_frames', 'several')} pictures in one file: any of them may be meant"
    # ImageJ writes a large stack as one picture with the others behind it.
    said = str(image.tag_v2.get(Tag.ImageDescription, "")) if isinstance(image, TiffImageFile) else ""
    stack = re.search(r"^images=([0-9]+)", said, re.MULTILINE) if said.startswith("ImageJ=") else None
    return f"ImageJ's stack of {stack[1]} pictures: any of them may be meant" if stack and int(stack[1]) > 1 else ""


def _upper_bits(image: Image.Image, bits: int, inverted: bool) -> Image.Image:
    """Keep the upper 8 bits of grey samples; samples of the transparent grey become white.

    Raises:
        ValueError: no 16-bit sample needs more than 14 bits: the camera may have had 12 or 14, or the picture is very
            dark.
    """
    values = np.asarray(image)
    if bits == 16 and 0 < values.max() < 2**14:
        raise ValueError(f"samples of 16 bits, but none above {values.max()}: {FEWER_BITS}; {SAVE_AS}")
    grey = (values >> (bits - 8)).astype(np.uint8)
    grey = 255 - grey if inverted else grey
    transparent = image.info.get("transparency")
    return Image.fromarray(grey if transparent is None else np.where(values == transparent, np.uint8(255), grey))


@cache
def _heif() -> list[str]:
    """Let Pillow read HEIC if ``pillow-heif`` is installed; called only when needed, since it is slow to import."""
    if not HEIF:
        return []
    from pillow_heif import register_heif_opener

    register_heif_opener()
    return ["HEIF"]


def read_image(path: Path, mode: Mode, max_pixels: int) -> Image.Image:
    """Read one file as :func:`common.cache.cached_images` does, at its original size.

    Raises:
        UserError: there is no such file, or it cannot be decoded.
    """
    if path.exists() and (not path.is_file() or path.stat().st_size > MAX_FILE_BYTES):
        raise UserError(f"{path}: not an image file, or one of more than {MAX_FILE_BYTES:,} bytes")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    return decode_named(data, str(path), mode, max_pixels)


def decode_named(data: bytes, name: str, mode: Mode, max_pixels: int) -> Image.Image:
    """Decode a file's bytes, as :func:`decode` does; raise a :class:`UserError` with its ``name`` if that fails."""
    try:
        return decode(data, mode, max_pixels)
    except OSError:
        raise UserError(f"{name}: not a readable image; {SAVE_AS}") from None
    except Exception as error:  # Pillow's readers raise SyntaxError, struct.error, ...
        raise UserError(f"{name}: not a readable image ({error})") from None


def bytes_of(image: Image.Image) -> bytes | None:
    """Return the bytes of the file that an image was opened from, if none of its pixels has been decoded yet."""
    file = image.fp if isinstance(image, ImageFile) and image.tile else None
    if file is None or file.closed:
        return None
    place = file.tell()
    file.seek(0)
    data: bytes = file.read()
    file.seek(place)
    return data


def lost_once_decoded(image: Image.Image) -> bool:
    """Whether Pillow may have misread an image whose file, now closed, would have told; see :func:`decode`."""
    if isinstance(image, TiffImageFile):
        return _misread(image, b"", image.tag_v2) is not None
    if image.format in ("BMP", "DIB"):
        return image.mode == "RGBA" or image.info.get("compression") == BITFIELDS
    return image.format == "PNG" and image.mode in ("L", "RGB") and "transparency" in image.info


def resize(image: Image.Image, size: int) -> Images:
    """Resize to ``size`` × ``size`` (aspect not kept): means over boxes or, when enlarging, bilinear: H×W×C, uint8."""
    filters = Image.Resampling
    pixels = np.asarray(image.resize((size, size), filters.BOX if min(image.size) >= size else filters.BILINEAR))
    return pixels.reshape(size, size, -1)
