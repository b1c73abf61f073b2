"""Find image files in folders and archives."""

from __future__ import annotations

import contextlib
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from PIL import features

from common.archives import open_zip
from common.errors import UserError, listed
from common.files import expand

READABLE = "png jpg jpeg jpe jfif mpo bmp dib gif tif tiff webp pbm pgm ppm pnm"
# Pictures, and archives that may hold some, which must not be skipped silently.
OTHERS = (
    "heic heics heif heifs hif avif avifs jxl jp2 j2k jpf jpx jpm jxr hdp wdp psd psb xcf kra svg svgz eps ai tga ico "
    "pcx dds exr hdr qoi sgi ras xbm xpm pam pfm apng raw dng cr2 cr3 crw nef nrw arw srf sr2 orf rw2 raf pef srw x3f "
    "3fr fff iiq mos mrw kdc dcr erf mef rwl gpr zip rar 7z tar gz tgz bz2 xz alz egg"
)
HEIF = find_spec("pillow_heif") is not None
AVIF = bool(features.check("avif"))
READABLE += " avif avifs" * AVIF + " heic heics heif heifs hif" * HEIF
UNOPENED = "txt csv json xml md html yaml yml"  # there may be many, and none is a picture
SUFFIXES, TEXT = frozenset(READABLE.split()), frozenset(UNOPENED.split())
FOREIGN = frozenset(OTHERS.split()) - SUFFIXES
# How the formats above begin; bitmaps include the length of their second header, since words can begin with "BM".
PICTURE = re.compile(
    rb"\x89PNG|\xff\xd8\xff|GIF8|II\*\0|MM\0\*|8BPS|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0|RIFF.{4}WEBP|"
    rb".{4}ftyp(?:he|avi|mif|msf|crx)|\0\0\0\x0c(?:jP  |JXL )|\xff\x0a",
    re.DOTALL,
)
# Thumbnails, deleted files and other remains that systems keep in folders of their own.
SYSTEM = frozenset({"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"})
MAX_FILE_BYTES = 512 * 2**20
COMPARED = 2**16  # larger files seldom have the same size by chance, and take long to read


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image on disk, or inside a zip archive."""

    path: Path  # the file, or the archive
    member: str  # the name inside the archive; empty for a plain file
    size: int  # bytes of the image file, unpacked
    # Changes with the content: the file's or archive's times of last modification and last change, in ns, and its
    # inode; for an archive's member, also its checksum. A tool can set the first time to anything, but the second only
    # by setting the clock. On Windows the second is the time of creation.
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
        for path in _files_below(source):
            suffix = _suffix(str(path.relative_to(source)))
            if suffix in SUFFIXES and path.is_file():
                found.append(_on_disk(path))
            elif suffix in SUFFIXES and not path.is_dir():
                unreadable.append(f"{path} (no file, or a link to nothing)")
            elif suffix not in TEXT and path.is_file():
                with contextlib.suppress(OSError):  # skips what may not be opened
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
                    with contextlib.suppress(Exception):  # damaged or encrypted members can raise anything
                        if suffix in FOREIGN or _is_picture(archive.open(info)):
                            unreadable.append(f"{source}:{info.filename}")
    if unreadable:
        count = f"{len(unreadable)} of {len(unreadable) + len(found)} pictures in {source} cannot be read"
        remedy = "save them as PNG or JPEG, unpack archives, or move them elsewhere"
        heic = "" if HEIF else " (HEIC is read after pip install pillow-heif)"
        raise UserError(f"{count}: {listed(sorted(unreadable))}; {remedy}{heic}")
    return sorted(found, key=lambda file: str(file).replace(os.sep, "/"))  # the same order on all systems


def refuse_unlike(one: object, ours: Mapping[str, ImageFile], other: object, theirs: Mapping[str, ImageFile]) -> None:
    """Refuse two copies of a set, such as a folder and an archive, whose images differ.

    Args:
        one, other: the copies.
        ours, theirs: the images in each, by their path within the set.

    Raises:
        UserError: a path is in one of them only, or its image differs in size or, up to ``COMPARED`` bytes, in content.
    """
    mine, its = ({(name, file.size, checksum(file)) for name, file in images.items()} for images in (ours, theirs))
    if unlike := sorted({name for name, *_ in mine ^ its}):
        said = f"{one} and {other} hold different images ({listed(unlike, most=3)})"
        raise UserError(f"{said}; remove one of the two")


@lru_cache(maxsize=2**18)
def checksum(file: ImageFile) -> int:
    """Return a checksum of a file's contents, or 0 for a large one."""
    if file.size > COMPARED:
        return 0
    return int(file.stamp.rpartition("-")[2]) if file.member else zlib.crc32(file.path.read_bytes())


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, following links but skipping hidden folders; one it cannot read is an error."""

    def refuse(error: OSError) -> None:
        raise error

    above: dict[str, frozenset[str]] = {}  # for each folder, the real paths of it and of its parents
    for home, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        here = above[home] = above.get(os.path.dirname(home), frozenset()) | {os.path.realpath(home)}  # noqa: PTH120
        inside = [name for name in folders if not name.startswith(".") and name not in SYSTEM]
        # A link to a folder that contains it would be followed forever.
        folders[:] = [name for name in inside if os.path.realpath(Path(home, name)) not in here]
        yield from (Path(home, name) for name in names)


def find_given(words: Sequence[str]) -> list[ImageFile]:
    """List the images that were typed as files, folders, ``.zip`` or patterns, in the order given.

    Raises:
        UserError: there is no such file, or no image in a folder or archive, or an image is given twice; also as in
            :func:`find_images`.
    """
    found: dict[str, ImageFile] = {}
    for path in [path for word in words for path in expand("--images", word)]:
        if not path.exists():
            raise UserError(f"--images {path}: no such file")
        inside = path.is_dir() or path.suffix.lower() == ".zip"
        images = find_images(path) if inside else [_on_disk(path)]
        if not images:
            raise UserError(f"--images {path}: no image files in it")
        for image in images:
            if (key := f"{image.path.resolve()}:{image.member}") in found:
                raise UserError(f"--images {path}: {image} is given twice; name each image once")
            found[key] = image
    return list(found.values())


def _on_disk(path: Path) -> ImageFile:
    try:
        str(path).encode()
    except UnicodeEncodeError:  # Python keeps undecodable bytes as surrogates, which no table can hold
        raise UserError(
            f"{path}: its name is not UTF-8; rename it or, on a system in UTF-8, set PYTHONUTF8=1"
        ) from None
    status = path.stat()
    return ImageFile(path, "", status.st_size, _stamp(status))


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_ino}"


def _suffix(path: str) -> str:
    """Return the suffix in lower case; ``txt`` for what systems and editors leave behind: ``.name``, ``__MACOSX/``."""
    # As text, since path objects would take most of the time that a later run needs to list a large set.
    parts = [part for part in path.replace(os.sep, "/").split("/") if part not in (".", "..")]
    hidden = any(part.startswith(".") or part in SYSTEM for part in parts)
    return "txt" if hidden else path.rpartition(".")[2].lower()


def _is_picture(stream: IO[bytes]) -> bool:
    with stream:
        return PICTURE.match(stream.read(32)) is not None


@lru_cache(maxsize=4)
def _archive(path: Path, stamp: str, process: int) -> zipfile.ZipFile:
    """Keep archives open, since listing a large one takes longer than decoding a small image."""
    return open_zip(path)


def read_bytes(file: ImageFile) -> bytes:
    """Read an image file, or a member of an archive."""
    if file.size > MAX_FILE_BYTES:
        raise ValueError(f"{file.size:,} bytes, over the limit of {MAX_FILE_BYTES:,}")
    if not file.member:
        return file.path.read_bytes()
    return _archive(file.path, file.stamp.rpartition("-")[0], os.getpid()).read(file.member)
