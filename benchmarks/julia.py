"""Reading and training of ``julia`` beside their limits: ``python -m benchmarks.julia [--root DIR]``.

1. Preparing: the image cache built from nothing, beside one process of PIL that opens, converts and resizes each file.
2. Training: ``fit`` of the default recipe (loader, augmentation, moving average, logging and Lightning included),
   beside a bare loop of the same network, precision, batch and optimiser on one constant tensor.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import pytorch as pl
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.loggers import CSVLogger
from PIL import Image

from benchmarks.timing import interleaved, median_ratio
from common.cli import default_precision
from common.images import ImageFile, cached_images
from julia.data import CharacterData
from julia.files import MAX_PIXELS, read_test_set, read_training_set
from julia.model import CharacterClassifier
from julia.synthetic import draw

STEPS = 40


def one_pil_process(files: list[ImageFile]) -> np.ndarray:
    """Open, convert and resize each file with PIL, in this thread."""
    archives: dict[Path, zipfile.ZipFile] = {}
    images = []
    for file in files:
        if file.member and file.path not in archives:
            archives[file.path] = zipfile.ZipFile(file.path)
        data = archives[file.path].read(file.member) if file.member else file.path.read_bytes()
        image = Image.open(io.BytesIO(data)).convert("L").resize((28, 28), Image.Resampling.BILINEAR)
        images.append(np.asarray(image))
    return np.stack(images)


def preparing(root: Path, repetitions: int) -> None:
    files = [*read_training_set(root, "original").files, *read_test_set(root, "original")[1]]

    def cache() -> None:
        with tempfile.TemporaryDirectory() as folder:
            cached_images(files, 28, "L", Path(folder), MAX_PIXELS, "benchmark")

    seconds = interleaved({"cache": cache, "pil": lambda: one_pil_process(files)}, repetitions)
    print(f"preparing {len(files)} bitmaps")
    for name, text in (("cache", "image cache, all cores"), ("pil", "one process of PIL")):
        median = statistics.median(seconds[name])
        print(f"  {text:24}{len(files) / median:8.0f} images/s{median:8.2f} s")
    print(f"  {'ratio':24}{median_ratio(seconds['pil'], seconds['cache']):8.2f}×")


class StepTimes(pl.Callback):
    """Remember when each training batch ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())


class Fit:
    """``fit`` for some steps, as the command line sets it up; the seconds from step to step, start-up left out."""

    def __init__(self, root: Path, folder: Path, precision: str) -> None:
        self.root, self.folder, self.precision = root, folder, precision
        self.seconds: list[float] = []

    def __call__(self) -> None:
        times = StepTimes()
        trainer = pl.Trainer(
            max_steps=STEPS,
            precision=self.precision,  # type: ignore[arg-type]
            callbacks=[EMAWeightAveraging(decay=0.9, update_every_n_steps=10), times],
            logger=CSVLogger(self.folder),
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            limit_val_batches=0,
        )
        data = CharacterData(root=str(self.root), cache_dir=str(self.folder))
        trainer.fit(CharacterClassifier(), datamodule=data)
        self.seconds.append((times.ends[-1] - times.ends[9]) / (STEPS - 10))


class Bare:
    """The same network and optimiser on one constant batch, nothing else."""

    def __init__(self, precision: str, batch_size: int) -> None:
        self.autocast = torch.autocast(
            "cuda" if torch.cuda.is_available() else "cpu", torch.bfloat16, "bf16" in precision
        )
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = CharacterClassifier().to(self.device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=True)
        self.images = torch.rand(batch_size, 1, 28, 28, device=self.device)
        self.labels = torch.randint(62, (batch_size,), device=self.device)
        self.seconds: list[float] = []

    def step(self) -> None:
        with self.autocast:
            loss = self.model.loss(self.model.net(self.images), self.labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def __call__(self) -> None:
        for _ in range(10):
            self.step()
        start = time.perf_counter()
        for _ in range(STEPS - 10):
            self.step()
        if self.device == "cuda":
            torch.cuda.synchronize()
        self.seconds.append((time.perf_counter() - start) / (STEPS - 10))


def training(root: Path, repetitions: int) -> None:
    batch_size = 64
    precision = default_precision("auto")
    with tempfile.TemporaryDirectory() as folder:
        fit, bare = Fit(root, Path(folder), precision), Bare(precision, batch_size)
        interleaved({"fit": fit, "bare": bare}, repetitions)
    print(f"training ResNet18 at 28 px, batch {batch_size}, {precision}, steps {STEPS - 10} × {repetitions}")
    for text, side in (("fit", fit), ("bare loop", bare)):
        print(f"  {text:24}{batch_size / statistics.median(side.seconds):8.0f} images/s")  # type: ignore[attr-defined]
    print(f"  {'ratio':24}{median_ratio(bare.seconds, fit.seconds):8.2f}×")


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.julia", description="Speed of julia beside its limits.")
    parser.add_argument("--root", type=Path, help="the competition's files; a synthetic set if not given")
    parser.add_argument("--repetitions", type=int, default=5, help="repetitions of each side, interleaved")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.root
        if root is None:
            root = Path(folder) / "julia"
            draw(root, train=2480, test=620, seed=0)
        preparing(root, arguments.repetitions)
        training(root, arguments.repetitions)


if __name__ == "__main__":
    main()
