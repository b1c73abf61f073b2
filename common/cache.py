"""Decode image files into one uint8 array on disk, which later runs only open.

The array is a plain ``images.npy`` (N×H×W×C) beside ``index.csv`` (one line per image) and ``sha256.txt`` (digests of
the files), in a folder named after what it was made from. It is written under a temporary name and renamed when
complete, so that a killed build leaves nothing that could be mistaken for a cache. This module imports neither torch
nor Lightning, so worker processes start fast.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import UnidentifiedImageError
from tqdm import tqdm

from common.decoding import Images, Mode, decode, resize
from common.errors import UserError, listed
from common.image_files import ImageFile, read_bytes
from common.platforms import count_cores, patiently, signals_held, spread_out

DIGESTS = "sha256.txt"
STALE = 3600  # seconds without a write
VERSION = 3  # of the decoding; to be increased whenever the decoded pixels, or the files beside them, change


class Chunk(NamedTuple):
    """Some decoded files: their pixels (n×H×W×C, zeros where unreadable), digests, and what was wrong."""

    pixels: Images
    digests: list[str]
    faults: list[str]


def _decode_chunk(files: Sequence[ImageFile], size: int, mode: Mode, max_pixels: int) -> Chunk:
    pixels = np.zeros((len(files), size, size, len(mode)), dtype=np.uint8)
    digests, faults = [""] * len(files), []
    with warnings.catch_warnings():
        # Pillow warns about what ``max_pixels`` refuses, and about oddities that do not change the pixels.
        warnings.simplefilter("ignore")
        for row, file in enumerate(files):
            try:
                data = read_bytes(file)
                digests[row] = hashlib.sha256(data).hexdigest()
                pixels[row] = resize(decode(data, mode, max_pixels), size)
            except Exception as error:  # damaged data can make decoders raise anything
                unknown = isinstance(error, UnidentifiedImageError)
                reason = "not an image, or of an unsupported kind" if unknown else str(error)
                faults.append(f"{file} ({'empty' if file.size == 0 else reason or type(error).__name__})")
    return Chunk(pixels, digests, faults)


def _decoded(files: Sequence[ImageFile], size: int, mode: Mode, max_pixels: int) -> Iterator[Chunk]:
    """Decode on all cores, in the order of ``files``."""
    # Small enough that all workers finish together, yet large enough to be worth sending.
    length = max(1, min(256, len(files) // (4 * count_cores())))
    chunks = [files[start : start + length] for start in range(0, len(files), length)]
    many = len(files) > 500 or sum(file.size for file in files) > 20 * 2**20
    try:
        yield from spread_out(partial(_decode_chunk, size=size, mode=mode, max_pixels=max_pixels), chunks, many)
    except BrokenProcessPool:
        raise UserError("a process that decoded images was killed; the machine may be short of memory") from None


def cache_key(files: Sequence[ImageFile], size: int, mode: Mode) -> str:
    """Digest what an array is made from: paths, sizes and times of the files, image size, colour mode."""
    key = hashlib.sha256(json.dumps([VERSION, size, mode]).encode())
    folders: dict[Path, str] = {}
    for file in files:
        folder = folders.get(file.path.parent) or folders.setdefault(file.path.parent, str(file.path.parent.resolve()))
        key.update(json.dumps([folder, file.path.name, file.member, file.size, file.stamp]).encode())
    return key.hexdigest()[:16]


def cached_images(
    files: Sequence[ImageFile], size: int, mode: Mode, cache_dir: Path, max_pixels: int, label: str = "images"
) -> Images:
    """Open the decoded images, decoding them first unless an earlier run has.

    Args:
        files: files to decode, in this order.
        size: pixels per side of the square result.
        mode: ``"L"`` or ``"RGB"``.
        cache_dir: the folder that holds the caches; created if absent.
        max_pixels: images with more pixels are refused.
        label: name of the images in the progress bar and the cache.

    Returns:
        N×size×size×C, uint8, a read-only memory map.

    Raises:
        UserError: some files cannot be decoded (all counted, at most ten named), or ``cache_dir`` cannot be written.
    """
    folder = cache_dir / f"{label}-{size}px-{mode}-{cache_key(files, size, mode)}"
    shape = (len(files), size, size, len(mode))
    images = _open(folder, shape)
    if images is None:
        try:
            _build(folder, files, shape, mode, max_pixels, label)
        except OSError as error:
            hint = "free some space or give another folder with --data.cache_dir"
            raise UserError(f"cannot write the image cache in {cache_dir}: {error.strerror}; {hint}") from error
        images = _open(folder, shape)
    if images is None:
        raise UserError(f"{folder}: the cache cannot be read back; delete this folder and start again")
    return images


def digests_of(images: Images) -> list[str]:
    """Return the SHA-256 of each file that :func:`cached_images` has decoded, in the order of the images."""
    assert isinstance(images, np.memmap)
    return (Path(str(images.filename)).parent / DIGESTS).read_text().splitlines()


def _open(folder: Path, shape: tuple[int, ...]) -> Images | None:
    try:
        images: Images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        number = len(digests_of(images))
    except (OSError, ValueError, EOFError):  # an empty file raises the last one
        return None
    return images if images.shape == shape and images.dtype == np.uint8 and number == len(images) else None


def _build(
    folder: Path, files: Sequence[ImageFile], shape: tuple[int, ...], mode: Mode, max_pixels: int, label: str
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f".{label}-*"):
        # Left by a killed process, since a live one writes more often and removes its files when it ends.
        with suppress(FileNotFoundError):
            if all(time.time() - path.stat().st_mtime > STALE for path in (left, *left.rglob("*"))):
                shutil.rmtree(left, ignore_errors=True)
    digests: list[str] = []
    faults: list[str] = []
    with signals_held():  # one that came between making the folder and knowing it would leave it behind
        temporary = tempfile.TemporaryDirectory(prefix=f".{label}-", dir=folder.parent, ignore_cleanup_errors=True)
    with temporary as name:
        partial_folder = Path(name) / folder.name
        partial_folder.mkdir()
        with (
            (partial_folder / "images.npy").open("wb") as stream,
            tqdm(total=len(files), desc=f"decoding {label}", unit="file", disable=None) as bar,
        ):
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(stream, header)
            # Plain writes, since with a writable memory map a full disk would be a bus fault instead of an error.
            for chunk in _decoded(files, shape[1], mode, max_pixels):
                stream.write(chunk.pixels.tobytes())
                digests += chunk.digests
                faults += chunk.faults
                bar.update(len(chunk.pixels))
        if faults:
            number = f"{len(faults)} of {len(files)} image files cannot be decoded"
            raise UserError(f"{number}: {listed(faults)}; repair, convert (to PNG or JPEG of 8 bits) or remove them")
        with (partial_folder / "index.csv").open("w", newline="", encoding="utf-8") as table:
            rows = csv.writer(table)
            rows.writerow(["row", "file", "bytes", "stamp"])
            rows.writerows([row, str(file), file.size, file.stamp] for row, file in enumerate(files))
        (partial_folder / DIGESTS).write_text("\n".join(digests))
        if folder.exists() and _open(folder, shape) is None:
            shutil.rmtree(folder)  # damaged since it was made
        try:
            patiently(lambda: partial_folder.rename(folder))
        except OSError:
            if not folder.exists():  # otherwise another process was faster, with the same content
                raise
