"""Finding image files, in folders and archives, and decoding one: formats and pixels."""

from __future__ import annotations

import contextlib
import io
import os
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, features
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from common.archives import open_zip
from common.errors import UserError, listed
from common.files import expand

Mode = Literal["L", "RGB"]
Images = npt.NDArray[np.uint8]

FORMATS = ["PNG", "JPEG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM"]
READABLE = "png jpg jpeg jpe jfif mpo bmp dib gif tif tiff webp pbm pgm ppm pnm"
# Pictures, and archives that may hold some, which must not be skipped in silence.
OTHERS = (
    "heic heics heif heifs hif avif avifs jxl jp2 j2k jpf jpx jpm jxr hdp wdp psd psb xcf kra svg svgz eps ai tga ico "
    "pcx dds exr hdr qoi sgi ras xbm xpm pam pfm apng raw dng cr2 cr3 crw nef nrw arw srf sr2 orf rw2 raf pef srw x3f "
    "3fr fff iiq mos mrw kdc dcr erf mef rwl gpr zip rar 7z tar gz tgz bz2 xz alz egg"
)
HEIF = find_spec("pillow_heif") is not None
if features.check("avif"):
    FORMATS, READABLE = [*FORMATS, "AVIF"], f"{READABLE} avif avifs"
if HEIF:
    READABLE += " heic heics heif heifs hif"
UNOPENED = "txt csv json xml md html yaml yml"  # there may be many, and none is a picture
SUFFIXES, TEXT = frozenset(READABLE.split()), frozenset(UNOPENED.split())
FOREIGN = frozenset(OTHERS.split()) - SUFFIXES
# How the formats above begin; bitmaps with the length of their second header, as "BM" alone begins words.
PICTURE = re.compile(
    rb"\x89PNG|\xff\xd8\xff|GIF8|II\*\0|MM\0\*|8BPS|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0|RIFF.{4}WEBP|"
    rb".{4}ftyp(?:he|avi|mif|msf|crx)|\0\0\0\x0c(?:jP  |JXL )|\xff\x0a",
    re.DOTALL,
)
SAVE_AS = "save it as PNG or JPEG with 8 bits a channel"
MAX_FILE_BYTES = 512 * 2**20


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image on disk, or inside a zip archive.

    Attributes:
        path: the file, or the archive.
        member: the name inside the archive; empty for a plain file.
        size: bytes of the image file, unpacked.
        stamp: changes with the content: the file's or archive's times of last modification and last change, in ns,
            and its inode; for an archive's member, its checksum too. A tool can set the first time to anything, the
            second only by setting the clock. On Windows the second is the time of creation.
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


def find_images(source: Path, keep: Callable[[str], bool] = bool) -> list[ImageFile]:
    """List the image files below a folder or inside a ``.zip``, sorted by name; what is not a picture is skipped.

    Args:
        source: the folder or archive.
        keep: which members of an archive to look at.

    Raises:
        UserError: ``source`` is an archive that cannot be read, or holds pictures that cannot.
    """
    found: list[ImageFile] = []
    unreadable: list[str] = []
    if source.is_dir():
        for path in source.rglob("*"):
            suffix = _suffix(str(path.relative_to(source)))
            if suffix in SUFFIXES and path.is_file():
                found.append(ImageFile(path, "", (status := path.stat()).st_size, _stamp(status)))
            elif suffix in SUFFIXES and not path.is_dir():
                unreadable.append(f"{path} (no file, or a link to nothing)")
            elif suffix not in TEXT and path.is_file():
                with contextlib.suppress(OSError):  # what may not be opened is skipped
                    if suffix in FOREIGN or _is_picture(path.open("rb")):
                        unreadable.append(str(path))
    else:
        stamp = _stamp(source.stat())
        with open_zip(source) as archive:
            for info in archive.infolist():
                suffix = "txt" if info.is_dir() or not keep(info.filename) else _suffix(info.filename)
                if suffix in SUFFIXES:
                    found.append(ImageFile(source, info.filename, info.file_size, f"{stamp}-{info.CRC}"))
                elif suffix not in TEXT:
                    with contextlib.suppress(Exception):  # whatever damaged or encrypted members lead to
                        if suffix in FOREIGN or _is_picture(archive.open(info)):
                            unreadable.append(f"{source}:{info.filename}")
    if unreadable:
        count = f"{len(unreadable)} of {len(unreadable) + len(found)} pictures in {source} cannot be read"
        remedy = "save them as PNG or JPEG, unpack archives, or move them elsewhere"
        heic = "" if HEIF else " (HEIC is read after pip install pillow-heif)"
        raise UserError(f"{count}: {listed(sorted(unreadable))}; {remedy}{heic}")
    return sorted(found, key=str)


def find_given(words: Sequence[str]) -> list[ImageFile]:
    """List the images that are typed as files, folders, ``.zip`` or patterns, each once, in that order.

    Raises:
        UserError: there is no such file, or no image in a folder or archive; as :func:`find_images`.
    """
    found: dict[str, ImageFile] = {}
    for path in [path for word in words for path in expand("--images", word)]:
        if not path.exists():
            raise UserError(f"--images {path}: no such file")
        inside = path.is_dir() or path.suffix.lower() == ".zip"
        images = find_images(path) if inside else [ImageFile(path, "", (status := path.stat()).st_size, _stamp(status))]
        if not images:
            raise UserError(f"--images {path}: no image files in it")
        found |= {str(image): image for image in images}
    return list(found.values())


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_ino}"


def _suffix(path: str) -> str:
    """Give the suffix in small letters; ``txt`` for what macOS and editors leave behind: ``.name``, ``__MACOSX/``."""
    # As text: path objects would take most of the time in which a second start lists a large set.
    parts = [part for part in path.replace(os.sep, "/").split("/") if part != "."]
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return "txt" if hidden else path.rpartition(".")[2].lower()


def _is_picture(stream: IO[bytes]) -> bool:
    with stream:
        return PICTURE.match(stream.read(32)) is not None


def decode(data: bytes, mode: Mode, max_pixels: int) -> Image.Image:
    """Decode an image file into 8 bits a channel, upright, transparency laid over white.

    Args:
        data: the bytes of the file, in one of ``FORMATS``.
        mode: ``"L"`` (grey) or ``"RGB"``.
        max_pixels: refuse more than this, before any pixel is decoded.

    Raises:
        ValueError: more than ``max_pixels``, or pixels that Pillow does not read as intended.
        OSError, SyntaxError, ...: whatever Pillow raises on damaged data.
    """
    image: Image.Image
    formats = [*FORMATS, *_heif()] if data[4:8] == b"ftyp" else FORMATS
    with Image.open(io.BytesIO(data), formats=formats) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise ValueError(f"{width}×{height} pixels, over the limit of {max_pixels:,}")
        encoding = image.format
        tags = image.tag_v2 if isinstance(image, TiffImageFile) else ImageFileDirectory_v2()
        if fault := _misread(image, data, tags):
            raise ValueError(f"{fault}; {SAVE_AS}")
        image.load()
        # Looking for an orientation costs as much as decoding a small bitmap, and PNG and BMP seldom have one.
        if encoding not in ("PNG", "BMP", "DIB") or any(
            tag in str(key).lower() for key in image.info for tag in ("exif", "xmp")
        ):
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16") or (image.mode == "I" and encoding == "PPM"):  # a PPM of any range to 65535
            image = _upper_bits(image, 12 if tags.get(BITS) == (12,) else 16, tags.get(PHOTOMETRIC) == 0)
        if image.mode == "RGBA" and encoding in ("BMP", "DIB") and image.getchannel("A").getextrema() == (0, 0):
            image = image.convert("RGB")  # the fourth byte is not used, whatever the header says
        if encoding == "PNG" and image.mode == "L" and isinstance(image.info.get("transparency"), int):
            image.info["transparency"] *= 255 // (2 ** data[24] - 1)  # stated in the file's own 1 to 8 bits
        return flatten(image, mode)


def flatten(image: Image.Image, mode: Mode) -> Image.Image:
    """Lay transparency over white, and convert to grey or colour."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


# The tags of a TIFF that are asked for.
SUBFILE, BITS, COMPRESSION, PHOTOMETRIC, PLANAR, COLOUR_MAP, EXTRA, SIGN, SUBSAMPLING = (
    *(254, 258, 259, 262, 284),
    *(320, 338, 339, 530),
)


def _misread(image: Image.Image, data: bytes, tags: ImageFileDirectory_v2) -> str | None:
    """Say what Pillow would misread in an image: each case was compared with other decoders."""
    if image.mode in ("F", "La", "LAB") or (image.mode == "I" and image.format != "PPM"):
        return f"mode {image.mode} (32 bits, L*a*b* or premultiplied grey) is not read"
    if image.format == "PNG" and data[24] == 16 and image.mode == "RGB" and "transparency" in image.info:
        return "a transparent colour of 16 bits a channel is not read"
    if image.format in ("BMP", "DIB") and data[28] == 16 and data[14] >= 56 and data[66:70] != bytes(4):
        return "a bitmap of 16 bits with transparency is not read"
    if image.format in ("GIF", "PNG", "WEBP", "TIFF", "AVIF") and getattr(image, "is_animated", False):
        return f"{getattr(image, 'n_frames', 'several')} pictures in one file: any of them may be meant"
    if not tags:
        return None
    if tags.get(SUBFILE, 0) & 1:
        return "its first picture is a preview"
    if any(sign not in (1, 4) for sign in tags.get(SIGN, ())):
        return "signed or fractional samples are not read"
    if tags.get(PLANAR) == 2 and (max(tags.get(BITS, (1,))) > 8 or EXTRA in tags):
        return "channels one after another are read only with 8 bits and without transparency"
    if tags.get(PHOTOMETRIC) == 6 and tags.get(COMPRESSION) == 1 and tags.get(SUBSAMPLING, (2, 2)) != (1, 1):
        return "uncompressed YCbCr with fewer samples of colour is not read"
    if tags.get(PHOTOMETRIC) == 3 and max(tags.get(COLOUR_MAP, (0,))) < 256:
        return "a colour map of 8 bits, where 16 are due, is not read"
    return None


def _upper_bits(image: Image.Image, bits: int, inverted: bool) -> Image.Image:
    """Keep the upper 8 bits of grey samples; those of a transparent grey become white."""
    values = np.asarray(image)
    grey = (values >> (bits - 8)).astype(np.uint8)
    grey = 255 - grey if inverted else grey
    transparent = image.info.get("transparency")
    return Image.fromarray(grey if transparent is None else np.where(values == transparent, np.uint8(255), grey))


@cache
def _heif() -> list[str]:
    """Let Pillow read HEIC where ``pillow-heif`` is installed; only when needed, since it is slow to import."""
    if not HEIF:
        return []
    from pillow_heif import register_heif_opener

    register_heif_opener()
    return ["HEIF"]


def read_image(path: Path, mode: Mode, max_pixels: int) -> Image.Image:
    """Read one file as :func:`cached_images` does, in its own size.

    Raises:
        UserError: there is no such file, or it cannot be decoded.
    """
    if path.exists() and (not path.is_file() or path.stat().st_size > MAX_FILE_BYTES):
        raise UserError(f"{path}: not an image file, or one of more than {MAX_FILE_BYTES:,} bytes")
    try:
        return decode(path.read_bytes(), mode, max_pixels)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        if error.errno:  # of the disk, not of Pillow
            raise
        raise UserError(f"{path}: not a readable image; {SAVE_AS}") from None
    except Exception as error:  # Pillow's readers raise SyntaxError, struct.error, ...
        raise UserError(f"{path}: not a readable image ({error})") from None


def resize(image: Image.Image, size: int) -> Images:
    """Resize to ``size`` × ``size`` (aspect not kept): means over boxes, or bilinear where it grows: H×W×C, uint8."""
    filters = Image.Resampling
    pixels = np.asarray(image.resize((size, size), filters.BOX if min(image.size) >= size else filters.BILINEAR))
    return pixels.reshape(size, size, -1)


@lru_cache(maxsize=4)
def _archive(path: Path, stamp: str, process: int) -> zipfile.ZipFile:
    """Keep archives open: listing a large one takes longer than decoding a small image."""
    return open_zip(path)


def read_bytes(file: ImageFile) -> bytes:
    """Read an image file, or a member of an archive."""
    if file.size > MAX_FILE_BYTES:
        raise ValueError(f"{file.size:,} bytes, over the limit of {MAX_FILE_BYTES:,}")
    if not file.member:
        return file.path.read_bytes()
    return _archive(file.path, file.stamp.rpartition("-")[0], os.getpid()).read(file.member)
