"""Decoding files into arrays: ``python -m benchmarks.preparing [--root DIR]``, done once, beside one process of PIL.

That process opens, converts and resizes each file in memory, as the seeds did before they wrote it to a new folder.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from benchmarks.timing import Row, interleaved, median_ratio, show
from common.cache import cached_images
from common.decoding import Mode
from common.image_files import ImageFile, find_images
from growth.photos import MAX_PIXELS
from growth.synthetic import draw as draw_growth
from julia.files import read_test_set, read_training_set
from julia.synthetic import draw as draw_julia

BESIDE = "one process of PIL"


def one_pil_process(files: Sequence[ImageFile], size: int, mode: Mode) -> None:
    archives: dict[Path, zipfile.ZipFile] = {}
    for file in files:
        if file.member and file.path not in archives:
            archives[file.path] = zipfile.ZipFile(file.path)
        data = archives[file.path].read(file.member) if file.member else file.path.read_bytes()
        Image.open(io.BytesIO(data)).convert(mode).resize((size, size), Image.Resampling.BOX)


def prepared(what: str, files: Sequence[ImageFile], size: int, mode: Mode, repetitions: int) -> Iterator[Row]:
    def cache() -> None:
        with tempfile.TemporaryDirectory() as folder:
            cached_images(files, size, mode, Path(folder), MAX_PIXELS, "benchmark")

    seconds = interleaved({"ours": cache, "pil": lambda: one_pil_process(files, size, mode)}, repetitions)
    ours, theirs = (f"{len(files) / statistics.median(seconds[side]):.1f} images/s" for side in ("ours", "pil"))
    ratio = median_ratio(seconds["pil"], seconds["ours"])
    yield Row(f"preparing {len(files)} {what} at {size} px", ratio, BESIDE, ours, theirs)


def rows(
    folder: Path, root: Path | None = None, photos: int = 16, repetitions: int = 3, bitmaps: int = 12400
) -> Iterator[Row]:
    """Measure both tasks: drawn photos of the competition's size, and bitmaps, drawn or from ``root``."""
    draw_growth(
        folder, plants=1, days=photos // 2, test_plants=1, test_pairs=1, width=3280, height=2464, seed=0, scene="pots"
    )
    files = find_images(folder / "train_dataset")
    yield from prepared("photos of 3280×2464", files, 224, "RGB", repetitions)
    if root is None:
        root = folder / "julia"
        draw_julia(root, train=bitmaps // 2, test=bitmaps // 2, seed=0)
    characters = [*read_training_set(root, "original").files, *read_test_set(root, "original")[1]]
    yield from prepared("bitmaps of julia", characters, 28, "L", repetitions)


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.preparing", description="Decoding, once.")
    parser.add_argument("--root", type=Path, help="the files of the julia competition; a synthetic set if not given")
    parser.add_argument("--photos", type=int, default=24, help="photos to draw")
    parser.add_argument("--repetitions", type=int, default=3, help="repetitions of each side, interleaved")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        show(rows(Path(name) / "data", arguments.root, arguments.photos, arguments.repetitions))


if __name__ == "__main__":
    main()
