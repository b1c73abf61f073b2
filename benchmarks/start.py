"""Start-up: ``python -m benchmarks.start``. From the command to the first training step, and to the help text.

The baseline is ``import lightning, torchvision, wandb`` in a process of its own, which every start must wait for.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning import pytorch as pl

from benchmarks.fit import CONFIGS, draw
from benchmarks.timing import Row, median_ratio, python, show

BESIDE = "importing the libraries"
FITS = {
    "julia": ("julia", "fit"),
    "growth": ("growth", "fit", "--config", str(CONFIGS / "lenet.yaml")),
}


class FirstStep(pl.Callback):
    """Prints the clock time in seconds when the first training step ends, and ends the process: no more is measured."""

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        print(f"first step at {time.time():.3f}", flush=True)
        os._exit(0)


def first_step(task: str, folder: Path) -> float:
    """Return the seconds from the command to the end of the first training step."""
    start = time.time()
    said, _ = python(
        "-m",
        *FITS[task],
        "--data.root",
        str(folder / task),
        "--trainer.callbacks+",
        "benchmarks.start.FirstStep",
        folder=folder,
        WANDB_MODE="offline",
    )
    found = re.search(r"first step at ([\d.]+)", said)
    assert found is not None, said
    return float(found[1]) - start


def rows(folder: Path, repetitions: int = 3) -> Iterator[Row]:
    """Measure starts of both tasks on the sets in ``folder``, with the cache already built."""
    for task in FITS:
        first_step(task, folder)
    seconds: dict[str, list[float]] = {name: [] for name in ("import", "help", *FITS)}
    for _ in range(repetitions):
        seconds["import"].append(python("-c", "import lightning, torchvision, wandb")[1])
        seconds["help"].append(python("-m", "growth", "fit", "--help")[1])
        for task in FITS:
            seconds[task].append(first_step(task, folder))
    names = {"help": "growth fit --help", **{task: f"second start of {task} fit to its first step" for task in FITS}}
    for side, what in names.items():
        ratio = median_ratio(seconds[side], seconds["import"])
        ours, theirs = (f"{statistics.median(seconds[one]):.1f} s" for one in (side, "import"))
        yield Row(what, ratio, BESIDE, ours, theirs)


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.start", description="From the command to the first step.")
    parser.add_argument("--repetitions", type=int, default=5, help="repetitions of each side, interleaved")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        draw(Path(name))
        show(rows(Path(name), arguments.repetitions))


if __name__ == "__main__":
    main()
