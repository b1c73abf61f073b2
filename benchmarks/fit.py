"""Training: ``python -m benchmarks.fit [CONFIG ...]``, each shipped configuration beside its limit and the baseline.

1. *The bare limit*: the same network, precision, optimiser and batch on one constant tensor, without Lightning. Blocks
   of a few of its steps alternate with blocks of ``fit``'s own, in one process; the ratio is of the sums, which include
   the ends of epochs and the checkpoints written there. A second line says where the difference goes, in % of ``fit``.
2. *The seed baseline*, run between the blocks: the seed's network, image by image; see ``benchmarks.seeds``.

On a GPU, two more lines: the model's arithmetic as a share of the GPU's rate, which is that of one large matrix product
in the same run, and the share of time that the GPU waits.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import runpy
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import yaml

from benchmarks import seeds
from benchmarks.beside import Beside
from benchmarks.timing import BARE, SEED, Apart, Row, show
from common.image_files import find_images
from growth.synthetic import draw as draw_growth
from julia.synthetic import draw as draw_julia

CONFIGS = Path(__file__).parents[1] / "configs"
JULIA = ("resnet18", "airbench", "fonts", "airbench_fonts", "efficientnet_b0")
GROWTH = ("small", "demo", "lite0", "lenet", "mobilenet", "resnext")
SEED_PAIRS = 16  # not the seed's 64: the time per pair is the same, and a repetition takes seconds


def draw(folder: Path) -> None:
    """Draw a set for each task with about as many training images as the competition has."""
    draw_julia(folder / "julia", train=6200, test=620, seed=0)
    draw_growth(
        folder / "growth", plants=19, days=20, test_plants=2, test_pairs=1000, width=96, height=72, seed=0, scene="pots"
    )


def seed_step(backbone: str, size: int, folder: Path) -> partial[None]:
    """Return a training step of the baseline on images that are first resized to ``size`` pixels."""
    source = folder / ("julia/train" if backbone == "resnet18" else "growth/train_dataset")
    if backbone == "resnet18":
        paths = seeds.resize(find_images(source)[:64], size, folder / "resized-julia")
        characters = seeds.Characters(paths, np.arange(len(paths)) % 62)
        return partial(characters.train, list(range(characters.batch)))
    photos = find_images(source)[: 2 * SEED_PAIRS]
    team = seeds.Pairs(seeds.resize(photos, size, folder / f"resized-{backbone}"), backbone, size)
    pairs = [(row, row + SEED_PAIRS) for row in range(SEED_PAIRS)]
    return partial(team.train, pairs, torch.ones(SEED_PAIRS))


def fit(config: Path, folder: Path, seconds: float, limit: Sequence[str] = ()) -> Iterator[Row]:
    """Measure one configuration on the sets in ``folder``."""
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    task = "julia" if config.stem in JULIA else "growth"
    backbone, size = settings["model"]["backbone"], settings["model"]["image_size"]
    likewise = config.stem in ("resnet18", "lenet", "mobilenet", "resnext")  # the seed's networks
    Beside.seed_step = Apart(partial(seed_step, backbone, size, folder)) if likewise else None
    command = [task, "fit", "--config", str(config), "--data.root", str(folder / task), *limit]
    command += ["--data.cache_dir", str(folder / "cache"), "--trainer.default_root_dir", str(folder)]
    command += ["--trainer.max_epochs", "100000", "--trainer.limit_val_batches", "0"]
    report = {"dirpath": str(folder), "filename": "profile"}  # not on the screen
    command += ["--trainer.profiler", json.dumps({"class_path": "SimpleProfiler", "init_args": report})]
    command += ["--trainer.callbacks+", "benchmarks.beside.Beside", "--trainer.callbacks.seconds", str(seconds)]
    command += ["--trainer.enable_model_summary", "false"]
    command += ["--model.pretrained", "false"]
    quietly(command)
    beside = Beside.latest
    items = "images/s" if task == "julia" else "pairs/s"
    name = f"fit {task}, {config.relative_to(CONFIGS)}"
    rate = beside.items / statistics.mean(beside.fit)
    bare_rate = beside.items / statistics.mean(beside.bare)
    yield Row(name, beside.ratio, BARE, f"{rate:.0f} {items}", f"{bare_rate:.0f} {items}")
    shares = ", ".join(f"{part} {100 * share:.1f}" for part, share in beside.shares.items())
    yield Row(f"  % of it: {shares}", None, "", "")
    if Beside.seed_step is not None:
        Beside.seed_step.close()
        batch = seeds.Characters.batch if task == "julia" else SEED_PAIRS
        theirs = batch / statistics.median(beside.seed)
        ratio = statistics.median(
            beside.items / ours / (batch / seed) for ours, seed in zip(beside.fit, beside.seed, strict=True)
        )
        yield Row(name, ratio, SEED, f"{rate:.0f} {items}", f"{theirs:.1f} {items}")
    if torch.cuda.is_available():
        used, most = beside.flops / statistics.mean(beside.fit), gpu_rate()
        yield Row(f"  arithmetic of {name}", used / most, "a product of matrices", f"{used:.2e}/s", f"{most:.2e}/s")
        yield Row(f"  the GPU waits in {name}", 1 - beside.busy, "all of the time", f"{100 * (1 - beside.busy):.0f} %")


def quietly(command: list[str]) -> None:
    """Run a command in this process, with W&B offline, and show its output only if it fails."""
    said = io.StringIO()
    logging.disable(logging.WARNING)
    try:
        with (
            mock.patch.object(sys, "argv", command),
            mock.patch.dict(os.environ, WANDB_MODE="offline"),
            warnings.catch_warnings(action="ignore"),
            redirect_stdout(said),
            redirect_stderr(said),
        ):
            runpy.run_module(command[0], run_name="__main__")
    except BaseException:
        print(said.getvalue())
        raise
    finally:
        logging.disable(logging.NOTSET)


def gpu_rate(side: int = 8192) -> float:
    """Return the operations per second of a product of two matrices in half precision, bfloat16 if supported."""
    half = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    matrix = torch.rand(side, side, device="cuda", dtype=half)
    for _ in range(3):
        matrix @ matrix
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(10):
        matrix @ matrix
    torch.cuda.synchronize()
    return 10 * 2 * side**3 / (time.perf_counter() - start)


def rows(folder: Path, configs: Sequence[Path] = (), seconds: float = 20.0, limit: Sequence[str] = ()) -> Iterator[Row]:
    """Measure configurations, by default all but the seed's, on the sets in ``folder``."""
    for config in configs or [CONFIGS / f"{name}.yaml" for name in (*JULIA, *GROWTH)]:
        yield from fit(config, folder, seconds, limit)


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.fit", description="Training beside its limits.")
    parser.add_argument("configs", nargs="*", type=Path, help="configurations; all but configs/seed if none")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each is measured")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        draw(Path(name))
        show(rows(Path(name), [path.resolve() for path in arguments.configs], arguments.seconds))


if __name__ == "__main__":
    main()
