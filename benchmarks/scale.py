"""From a thousand to a million images: ``python -m benchmarks.scale [--numbers N ...]``, a quarter of an hour.

Synthetic bitmaps of 8 px in an archive, as ``julia`` reads them, in three stages, each in its own process: decoding
them into the cache, opening that as a second start does, and an epoch of training batches. Memory is what the stage
adds to the process: anonymous pages, without those of the mapped cache, which the system can reclaim at any time.
"""

from __future__ import annotations

import argparse
import csv
import io
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import numpy as np
from PIL import Image

from benchmarks.timing import hardware, python
from julia.data import CharacterData
from julia.files import CLASSES

STAGES = ("decode", "open", "epoch")
NUMBERS = (1_000, 10_000, 100_000, 1_000_000)


def draw(root: Path, number: int) -> None:
    """Write ``number`` bitmaps of 8 px into ``root``/train.zip, and their labels."""
    rng = np.random.default_rng(0)
    files = []
    for _ in range(256):
        stream = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(stream, "BMP")
        files.append(stream.getvalue())
    root.mkdir()
    with zipfile.ZipFile(root / "train.zip", "w") as archive:
        for row in range(number):
            archive.writestr(f"train/{row}.Bmp", files[row % len(files)])
    with (root / "trainLabels.csv").open("w", newline="") as stream:
        labels = csv.writer(stream)
        labels.writerow(["ID", "Class"])
        labels.writerows([row, CLASSES[row % len(CLASSES)]] for row in range(number))


def own_memory() -> float:
    """Return the anonymous memory of this process, MiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith("RssAnon"))


def watched(stage: Callable[[], object]) -> tuple[float, float]:
    """Run a stage, and return its seconds and the largest rise in memory, MiB."""
    before, done, peak = own_memory(), Event(), [0.0]

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], own_memory())

    watcher = Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    stage()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    return seconds, max(peak[0], own_memory()) - before


def measure(root: Path, stage: str) -> None:
    """Print the seconds and the memory of one stage."""
    data = CharacterData(root=str(root), image_size=8, cache_dir=str(root / "cache"))
    if stage == "epoch":
        data.setup("fit")

        def epoch() -> None:
            for _ in data.train_dataloader():
                pass

        print(*watched(epoch))
    else:
        print(*watched(data.prepare_data if stage == "decode" else lambda: data.setup("fit")))


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.scale", description="A thousand to a million images.")
    parser.add_argument("--numbers", type=int, nargs="+", default=NUMBERS, help="numbers of images")
    parser.add_argument("--stage", choices=STAGES, help="measure this stage alone, of the set in --root")
    parser.add_argument("--root", type=Path, help="where the set of --stage lies")
    arguments = parser.parse_args()
    if arguments.stage:
        measure(arguments.root, arguments.stage)
        return
    print(hardware())
    titles = "".join(f" {stage + ', s':>10} | {stage + ', MiB':>11} |" for stage in STAGES)
    print(f"| {'images':>9} | {'cache, MiB':>10} |{titles}")
    print("| --------: | ---------: |" + " ---------: | ----------: |" * len(STAGES), flush=True)
    for number in arguments.numbers:
        with tempfile.TemporaryDirectory() as name:
            root = Path(name) / "julia"
            draw(root, number)
            line = ""
            for stage in STAGES:
                said, _ = python("-m", "benchmarks.scale", "--stage", stage, "--root", str(root))
                seconds, memory = map(float, said.split()[-2:])
                line += f" {seconds:10.2f} | {memory:11.1f} |"
            size = sum(file.stat().st_size for file in (root / "cache").rglob("images.npy")) / 2**20
        print(f"| {number:>9,} | {size:10.1f} |{line}", flush=True)


if __name__ == "__main__":
    main()
