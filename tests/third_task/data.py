"""Squares on grey ground: ``train/<number>_<colour>.png`` and ``test/<number>.png``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.arguments import Machine, Resumable
from common.augment import Augmentation
from common.batches import LabelledBatch
from common.image_files import ImageFile, find_images
from common.labelled import LabelledData
from common.split import Listing
from common.submission import SampleSubmission

COLOURS = {"r": (200, 40, 40), "g": (40, 200, 40), "b": (40, 40, 200)}


def draw(root: Path) -> None:
    """Draw 30 labelled and 10 unlabelled squares, 16×16 pixels each."""
    rng = np.random.default_rng(0)
    for number in range(40):
        colour = list(COLOURS)[number % 3]
        pixels = rng.integers(90, 160, (16, 16, 3), dtype=np.uint8)
        top, left = rng.integers(0, 8, 2)
        pixels[top : top + 8, left : left + 8] = COLOURS[colour]
        path = root / (f"train/{number:02}_{colour}.png" if number < 30 else f"test/{number:02}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


class SquareData(LabelledData):
    """Squares of three colours.

    Args:
        root: folder with ``train`` and ``test``.
        batch_size: images a training batch.
        flip: turn training images by quarters at random.
    """

    max_pixels, label, columns = 1_000_000, "squares", ("id", "colour")

    def __init__(
        self, root: Machine[str] = "squares", batch_size: int = 6, flip: Resumable[bool] = True, **shared: Any
    ) -> None:
        super().__init__(batch_size, root=root, **shared)
        self.augmentation = Augmentation(flip=flip)

    def read_training_set(self) -> Listing:
        files = find_images(self.root / "train")
        ids = [file.name.stem for file in files]
        truth = np.array([list(COLOURS).index(name[-1]) for name in ids])
        return Listing(files, ids, truth, strata=truth)

    def read_test_set(self) -> list[ImageFile]:
        files = find_images(self.root / "test")
        self.sample = SampleSubmission(*self.columns, [file.name.stem for file in files])
        return files

    def augment(self, batch: LabelledBatch, key: int) -> LabelledBatch:
        return batch._replace(images=self.augmentation(batch.images, key, batch.row))
