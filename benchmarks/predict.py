"""Prediction: ``python -m benchmarks.predict``. Pairs or images per second beside the baseline, and peak memory.

Ours is all of ``predict`` after the imports: opening the cache, encoding every photo once, writing the submission with
all its files. The baseline reads and encodes both photos of each pair anew. Memory is that of the process ``python -m
growth predict``, on the same photos with ever more pairs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import seeds
from benchmarks.fit import SEED_PAIRS, quietly
from benchmarks.timing import SEED, Apart, Row, interleaved, median_ratio, python, show
from growth.layouts import read_test_set as read_pairs
from growth.synthetic import draw as draw_growth
from julia.files import read_test_set as read_bitmaps
from julia.synthetic import draw as draw_julia

PAIRS, BITMAPS = 3960, 6220  # as in the competitions; growth's pairs are of 307 photos, here of 308
SEED_BITMAPS = 256
# The peak that the resource module reports for a process includes the memory of its parent.
PEAK = """
import runpy, sys
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__")
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def trained(folder: Path, task: str, backbone: str, *words: str) -> Path:
    """Fit a network for one step, and return its checkpoint."""
    fit = [task, "fit", "--model.backbone", backbone, "--data.root", str(folder / task), *words]
    fit += ["--data.cache_dir", str(folder / "cache"), "--trainer.default_root_dir", str(folder)]
    fit += ["--trainer.max_steps", "1", "--trainer.limit_val_batches", "0", "--trainer.enable_model_summary", "false"]
    quietly(fit)
    return folder / "runs" / task / backbone / "latest" / "checkpoints" / "last.ckpt"


def growth(folder: Path, backbone: str, repetitions: int, pairs: int = PAIRS) -> Iterator[Row]:
    """Measure ``growth`` on the photos in ``folder``, at 224 px."""
    checkpoint = trained(folder, "growth", backbone, "--model.pretrained", "false")
    theirs = Apart(partial(seed_pairs, folder, backbone))
    seconds = measured(["growth", "predict", "--ckpt_path", str(checkpoint)], theirs, repetitions)
    photos = len(read_pairs(folder / "growth").files)
    yield row(f"predict growth, {backbone}, {pairs} pairs of {photos} photos", "pairs/s", pairs, SEED_PAIRS, seconds)


def seed_pairs(folder: Path, backbone: str) -> Callable[[], object]:
    """Return a function that predicts some of the pairs as the baseline does."""
    photos = read_pairs(folder / "growth")
    paths = seeds.resize(photos.files, 224, folder / f"resized-{backbone}")
    pairs = list(zip(photos.before[:SEED_PAIRS].tolist(), photos.after[:SEED_PAIRS].tolist(), strict=True))
    return partial(seeds.Pairs(paths, backbone, 224).predict, pairs)


def julia(folder: Path, repetitions: int) -> Iterator[Row]:
    """Measure ``julia`` on the bitmaps in ``folder``, with its default network."""
    checkpoint = trained(folder, "julia", "resnet18")
    theirs = Apart(partial(seed_characters, folder))
    seconds = measured(["julia", "predict", "--ckpt_path", str(checkpoint)], theirs, repetitions)
    yield row(f"predict julia, resnet18, {BITMAPS} bitmaps", "images/s", BITMAPS, SEED_BITMAPS, seconds)


def seed_characters(folder: Path) -> Callable[[], object]:
    """Return a function that predicts some of the bitmaps as the baseline does."""
    files = read_bitmaps(folder / "julia", "original")[1][:SEED_BITMAPS]
    paths = seeds.resize(files, 28, folder / "resized-characters")
    student = seeds.Characters(paths, np.zeros(SEED_BITMAPS, dtype=np.int64))
    return partial(student.predict, range(SEED_BITMAPS))


def measured(command: list[str], theirs: Apart, repetitions: int) -> dict[str, list[float]]:
    quietly(command)  # builds the cache, once
    seconds = interleaved({"ours": lambda: quietly(command), "theirs": theirs}, repetitions)
    theirs.close()
    return seconds


def row(what: str, unit: str, ours: int, theirs: int, seconds: dict[str, list[float]]) -> Row:
    per_item = {"ours": [s / ours for s in seconds["ours"]], "theirs": [s / theirs for s in seconds["theirs"]]}
    rates = {side: f"{1 / statistics.median(times):.0f} {unit}" for side, times in per_item.items()}
    return Row(what, median_ratio(per_item["theirs"], per_item["ours"]), SEED, rates["ours"], rates["theirs"])


def memory(folder: Path, backbone: str, numbers: tuple[int, ...] = (500, PAIRS, 40_000)) -> Iterator[Row]:
    """Measure the peak memory of predicting ever more pairs of the same photos."""
    checkpoint = trained(folder, "growth", backbone, "--model.pretrained", "false")
    test, sample = folder / "growth" / "test_dataset" / "test_data.csv", folder / "growth" / "sample_submission.csv"
    pairs = test.read_text().splitlines()[1:]
    peaks: dict[int, float] = {}
    for number in numbers:
        rows = [pairs[row % len(pairs)].split(",", 1)[1] for row in range(number)]
        test.write_text("idx,before_file_path,after_file_path\n" + "".join(f"{i},{r}\n" for i, r in enumerate(rows)))
        sample.write_text("idx,time_delta\n" + "".join(f"{i},-1\n" for i in range(number)))
        said, _ = python("-c", PEAK, "growth", "predict", "--ckpt_path", str(checkpoint))
        peaks[number] = int(said.split()[-1]) / 2**10
        what = f"peak memory, predict growth, {backbone}, {number} pairs"
        least = peaks[numbers[0]]
        beside = f"{numbers[0]} pairs" if number != numbers[0] else ""
        ratio = peaks[number] / least if beside else None
        yield Row(what, ratio, beside, f"{peaks[number]:.0f} MiB", f"{least:.0f} MiB" if beside else "")


def rows(folder: Path, repetitions: int = 3) -> Iterator[Row]:
    """Measure speed and memory on sets drawn into ``folder``."""
    draw_growth(
        folder / "growth", plants=2, days=22, test_plants=7, test_pairs=PAIRS, width=96, height=72, seed=0, scene="pots"
    )
    draw_julia(folder / "julia", train=310, test=BITMAPS, seed=0)
    for backbone in ("lenet", "mobilenet_v2"):
        yield from growth(folder, backbone, repetitions)
    yield from julia(folder, repetitions)
    yield from memory(folder, "mobilenet_v2")


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.predict", description="Predicting beside the baseline.")
    parser.add_argument("--repetitions", type=int, default=5, help="repetitions of each side, interleaved")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        show(rows(Path(name), arguments.repetitions))


if __name__ == "__main__":
    main()
