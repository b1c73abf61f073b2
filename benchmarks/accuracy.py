"""Time to accuracy: ``python -m benchmarks.accuracy --julia DIR --growth DIR``, half an hour, on real images.

Measured from the command, with nothing prepared, to the first validation that reaches the target: accuracy 0.80 on the
held-out characters, RMSE 0.8 days on the held-out komatsuna plants. The seed baseline trains the seed's networks from
random weights on the same rows and is validated on the same held-out rows after each epoch (julia) or each twentieth of
one (growth); it is given up when it has taken ``--patience`` times as long.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from lightning import pytorch as pl

from benchmarks import seeds
from benchmarks.fit import CONFIGS
from benchmarks.timing import SEED, Row, python, show
from common.folds import grouped_split, stratified_split
from growth.data import GrowthData
from growth.layouts import read_training_set as read_photos
from growth.photos import pairs_of
from julia.files import read_training_set as read_characters

ACCURACY, DAYS = 0.80, 0.8
VAL_FRACTION = 0.2  # with seed 0: the defaults of both data modules
# The network of configs/airbench.yaml with the default augmentation, which learns sooner, if less in the end; few
# epochs, so that the learning rate has decayed by the time the target is reached.
JULIA = ("--model.backbone", "airbench", "--model.image_size", "32", "--data.batch_size", "64")
EPOCHS = "5"


class Reached(pl.Callback):
    """Prints the clock time in seconds when a metric first reaches a value, and ends the process.

    Args:
        metric: its name.
        value: the value to reach, from above (days) or from below (accuracy).
        sign: 1 where more is better, -1 where less is.
    """

    def __init__(self, metric: str, value: float, sign: int) -> None:
        self.metric, self.value, self.sign = metric, value, sign

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        figure = float(trainer.callback_metrics[self.metric])
        if not trainer.sanity_checking and self.sign * figure >= self.sign * self.value:
            print(f"reached {figure:.3f} at {time.time():.3f}", flush=True)
            os._exit(0)


def ours(task: str, root: Path, *words: str) -> tuple[float, float]:
    """Return the seconds from the command to the target, and the value reached."""
    metric, value, sign = ("val/acc", ACCURACY, 1) if task == "julia" else ("val/rmse", DAYS, -1)
    with tempfile.TemporaryDirectory() as folder:
        start = time.time()
        said, _ = python(
            *("-m", task, "fit", "--data.root", str(root), *words),
            *("--trainer.callbacks+", "benchmarks.accuracy.Reached", "--trainer.callbacks.metric", metric),
            *("--trainer.callbacks.value", str(value), "--trainer.callbacks.sign", str(sign)),
            folder=Path(folder),
            WANDB_MODE="offline",
        )
    found = re.search(r"reached ([\d.]+) at ([\d.]+)", said)
    if found is None:
        raise RuntimeError(f"{task} has not reached {value}: {said[-500:]}")
    return float(found[2]) - start, float(found[1])


def seed_julia(root: Path, folder: Path, species: str) -> Iterator[float]:
    """Train as the baseline does, and yield the accuracy on the held-out characters after each epoch."""
    characters = read_characters(root, "original")
    labels = characters.truth
    train, val = stratified_split(labels, VAL_FRACTION, seed=0)
    student = seeds.Characters(seeds.resize(characters.files, 28, folder), labels)
    rng = np.random.default_rng(0)
    while True:
        order = rng.permutation(train).tolist()
        for start in range(0, len(order), student.batch):
            student.train(order[start : start + student.batch])
        yield float((student.predict(val.tolist()).numpy() == labels[val]).mean())


def seed_growth(root: Path, folder: Path, species: str, backbone: str = "lenet") -> Iterator[float]:
    """Train as the baseline does, and yield the RMSE of all held-out pairs after each twentieth of its epoch."""
    photos = read_photos(root)
    photos = photos.take(np.flatnonzero(photos.species == species))
    train, val = grouped_split(photos.plant, photos.species, VAL_FRACTION, 0, (GrowthData.group, GrowthData.stratum))
    team = seeds.Pairs(seeds.resize(photos.files, 224, folder), backbone, 224)
    pairs, truth = pairs_of(photos.take(val))
    held_out = list(zip(val[pairs.before].tolist(), val[pairs.after].tolist(), strict=True))
    rng = np.random.default_rng(0)
    while True:
        for _ in range(250 // team.batch):
            drawn = np.array([rng.choice(train, 2, replace=False) for _ in range(team.batch)])
            drawn = np.take_along_axis(drawn, photos.day[drawn].argsort(axis=1), axis=1)
            days = torch.from_numpy(photos.day[drawn[:, 1]] - photos.day[drawn[:, 0]]).float()
            team.train(drawn.tolist(), days)
        yield float(((team.predict(held_out).numpy() - truth) ** 2).mean() ** 0.5)


def theirs(task: str, root: Path, species: str, limit: float) -> tuple[float | None, float]:
    """Return the baseline's seconds to the target, None if over ``limit``, and its best value until then."""
    start = time.time()
    variables = {**os.environ, "PYTHONPATH": str(CONFIGS.parent)}
    command = [sys.executable, "-u", "-W", "ignore", "-m", "benchmarks.accuracy", f"--{task}", str(root)]
    command += ["--species", species, "--seed"]
    process = subprocess.Popen(command, env=variables, text=True, stdout=subprocess.PIPE)
    assert process.stdout is not None
    sign, value, best = (1, ACCURACY, 0.0) if task == "julia" else (-1, DAYS, float("inf"))
    try:
        for line in process.stdout:
            seconds = time.time() - start
            best = sign * max(sign * best, sign * float(line))
            print(f"the seed baseline, {task}: {float(line):.3f} after {seconds:.0f} s", file=sys.stderr)
            if sign * best >= sign * value:
                return seconds, best
            if seconds > limit:
                return None, best
    finally:
        process.kill()
        process.wait()
    raise RuntimeError(f"the seed baseline of {task} has ended")


def rows(roots: dict[str, Path], species: str, patience: float) -> Iterator[Row]:
    recipes = {
        "julia": ("airbench", "accuracy", (*JULIA, "--trainer.max_epochs", EPOCHS)),
        "growth": ("small.yaml", "days", ("--config", str(CONFIGS / "small.yaml"), "--data.species", f"[{species}]")),
    }
    for task, root in roots.items():
        recipe, unit, words = recipes[task]
        seconds, figure = ours(task, root, *words)
        target = ACCURACY if task == "julia" else DAYS
        what = f"{task}, {recipe}, to {target} {unit} ({figure:.3f})"
        reached, best = theirs(task, root, species, patience * seconds)
        there = f"{reached:.0f} s" if reached else f"> {patience * seconds:.0f} s ({best:.3f})"
        ratio = reached / seconds if reached else patience
        yield Row(what if reached else f"{what}, at least", ratio, SEED, f"{seconds:.1f} s", there)


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.accuracy", description="Time to a figure.")
    parser.add_argument("--julia", type=Path, help="the competition's files")
    parser.add_argument("--growth", type=Path, help="plants, laid out as the competition's")
    parser.add_argument("--species", default="KM", help="which of them; komatsuna if not given")
    parser.add_argument("--patience", type=float, default=20, help="how many times as long the seed baseline may take")
    parser.add_argument(
        "--seed", action="store_true", help="only train as the baseline does; a figure a line, for ever"
    )
    arguments = parser.parse_args()
    given = {"julia": arguments.julia, "growth": arguments.growth}
    roots = {task: root.resolve() for task, root in given.items() if root is not None}
    if not roots:
        parser.error("give --julia DIR, --growth DIR or both")
    if arguments.seed:
        ((task, root),) = roots.items()
        with tempfile.TemporaryDirectory() as name:
            for figure in {"julia": seed_julia, "growth": seed_growth}[task](
                root, Path(name) / "resized", arguments.species
            ):
                print(figure, flush=True)
    show(rows(roots, arguments.species, arguments.patience))


if __name__ == "__main__":
    main()
