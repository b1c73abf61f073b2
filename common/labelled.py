"""Data modules of images that have one true value each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from torch.utils.data import DataLoader

from common.batches import EpochSampler, LabelledBatch, LabelledRows
from common.data import ImageData
from common.decoding import Images
from common.errors import UserError
from common.image_files import ImageFile, find_given
from common.submission import SampleSubmission


class LabelledData(ImageData):
    """A data module of images that have one true value each, trained on in shuffled batches of one size.

    Args:
        batch_size: images per training batch.
        shared: as for :class:`ImageData`.

    Attributes:
        columns: the two columns of a submission.
    """

    columns: ClassVar[tuple[str, str]]
    train_set: LabelledRows
    val_set: LabelledRows

    def __init__(self, batch_size: int, **shared: Any) -> None:
        super().__init__(**shared)
        self.batch_size = batch_size

    def check_batches(self, train: np.ndarray) -> None:
        if len(train) < self.batch_size:
            raise UserError(f"--data.batch_size {self.batch_size} is larger than the {len(train)} training images")

    def make_sets(self, images: Images, train: np.ndarray, val: np.ndarray) -> None:
        self.train_set, self.val_set = (LabelledRows(images, rows, self.listing.truth) for rows in (train, val))

    def read_images(self, given: Sequence[str]) -> list[ImageFile]:
        files = find_given(given)
        self.sample = SampleSubmission(*self.columns, [str(file) for file in files])
        return files

    def hold_out(self, val: np.ndarray) -> None:
        self.sample = SampleSubmission(*self.columns, [self.listing.ids[row] for row in val])
        self.truth = self.listing.truth[val]
        self.truth_groups = val if self.listing.groups is None else self.listing.groups[val]

    def held_out_ids(self, rows: np.ndarray) -> list[str]:
        """Return the ids of held-out images from their positions in ``val_set``."""
        return [self.listing.ids[row] for row in self.val_set.rows[rows]]

    def train_dataloader(self) -> DataLoader[LabelledBatch]:
        # Only whole batches, since BatchNorm fails on a last batch of one.
        number = len(self.train_set) // self.batch_size

        def deal(rng: np.random.Generator) -> np.ndarray:
            return rng.permutation(len(self.train_set))[: number * self.batch_size].reshape(number, -1)

        return self.loader(self.train_set, EpochSampler(deal, number, self))

    def val_dataloader(self) -> DataLoader[LabelledBatch]:
        return self.loader(self.val_set, self.evaluated_rows(len(self.val_set)))
