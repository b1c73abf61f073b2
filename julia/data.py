"""The LightningDataModule of ``julia``: bitmaps as uint8 batches, made float and augmented on the device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, NonNegativeInt, PositiveInt
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from common.augment import Affine, invert, light
from common.errors import UserError
from common.folds import stratified_split
from common.images import ImageFile, Images, Mode, cached_images
from common.submission import SampleSubmission
from julia.files import MAX_PIXELS, Variant, read_test_set, read_training_set


class CharacterBatch(NamedTuple):
    """Some characters.

    Attributes:
        images: N×C×H×W; uint8 from the loader, float in [0, 1] on the device.
        targets: N, int64; class index, or row of the sample submission where predicting.
    """

    images: Tensor
    targets: Tensor


class CharacterDataset(Dataset[CharacterBatch]):
    """Whole batches of an image array by index.

    Args:
        images: M×H×W×C, uint8.
        targets: M, int64.
        rows: the rows of both that belong to this set.
    """

    def __init__(self, images: Images, targets: np.ndarray, rows: np.ndarray) -> None:
        self.images, self.targets, self.rows = images, torch.from_numpy(targets), rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: Sequence[int]) -> CharacterBatch:
        rows = self.rows[indices]
        return CharacterBatch(torch.from_numpy(self.images[rows]).permute(0, 3, 1, 2), self.targets[rows])


def _as_is(batch: CharacterBatch) -> CharacterBatch:
    return batch


class CharacterData(LightningDataModule):
    """Street-view characters of Kaggle "First Steps With Julia".

    Args:
        root: folder with the competition's files, as .zip or unpacked.
        variant: original bitmaps of every size, or the competition's own 20×20 ones.
        image_size: pixels a side that bitmaps are resized to; taken from the model.
        channels: 1 for grey, 3 for colour; taken from the model.
        batch_size: images a training batch.
        eval_batch_size: images a batch when validating, testing and predicting.
        val_fraction: share of the training set held out for validation, stratified by class.
        seed: seed of the split into training and validation.
        rotation: largest random rotation, degrees.
        shift: largest random shift, share of the side.
        zoom: largest random change of scale; 0.2 is 0.8× to 1.2×.
        shear: largest random shear, degrees.
        brightness: largest random change of brightness, share of white added or taken away.
        contrast: largest random change of contrast; 0.2 is 0.8× to 1.2×.
        inversion: probability of turning a training image into its negative.
        cache_dir: folder that keeps the decoded images between starts.
        num_workers: loader processes; 0 is fastest unless the cache is larger than memory.
    """

    sample: SampleSubmission

    def __init__(
        self,
        root: str = "data/julia",
        variant: Variant = "original",
        image_size: PositiveInt = 28,
        channels: Literal[1, 3] = 1,
        batch_size: PositiveInt = 64,
        eval_batch_size: PositiveInt = 256,
        val_fraction: float = 0.2,
        seed: NonNegativeInt = 0,
        rotation: NonNegativeFloat = 10.0,
        shift: ClosedUnitInterval = 0.1,
        zoom: ClosedUnitInterval = 0.2,
        shear: NonNegativeFloat = 10.0,
        brightness: ClosedUnitInterval = 0.2,
        contrast: ClosedUnitInterval = 0.2,
        inversion: ClosedUnitInterval = 0.5,
        cache_dir: str = "cache",
        num_workers: NonNegativeInt = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.root = Path(root)
        self.variant: Variant = variant
        self.image_size = image_size
        self.mode: Mode = "L" if channels == 1 else "RGB"
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.val_fraction = val_fraction
        self.seed = seed
        self.augmentation = nn.Sequential(
            Affine(rotation, shift, zoom, shear), light(brightness, contrast), invert(inversion)
        )
        self.cache_dir = Path(cache_dir)
        self.num_workers = num_workers

    def prepare_data(self) -> None:
        """Decode what the stage needs, once a machine.

        Raises:
            UserError: as ``julia.files`` and ``common.images``.
        """
        if self._predicting:
            self._cached("test", read_test_set(self.root, self.variant)[1])
        else:
            characters = read_training_set(self.root, self.variant)
            self._split(characters.labels)  # a split that cannot be made is said before the long part
            self._cached("train", characters.files)

    def setup(self, stage: str) -> None:
        """Open the cache and split the training set.

        Raises:
            UserError: as ``julia.files`` and ``common.folds``, or a batch is larger than the training set.
        """
        if stage == "predict":
            self.sample, files = read_test_set(self.root, self.variant)
            rows = np.arange(len(files))
            self.test_set = CharacterDataset(self._cached("test", files), rows, rows)
            return
        characters = read_training_set(self.root, self.variant)
        images = self._cached("train", characters.files)
        train, val = self._split(characters.labels)
        self.train_set = CharacterDataset(images, characters.labels, train)
        self.val_set = CharacterDataset(images, characters.labels, val)

    @property
    def _predicting(self) -> bool:
        return self.trainer is not None and self.trainer.state.fn == "predict"

    def _split(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        train, val = stratified_split(labels, self.val_fraction, self.seed)
        if len(train) < self.batch_size:
            raise UserError(f"--data.batch_size {self.batch_size} is larger than the {len(train)} training images")
        return train, val

    def _cached(self, part: str, files: list[ImageFile]) -> Images:
        return cached_images(files, self.image_size, self.mode, self.cache_dir, MAX_PIXELS, f"julia-{part}")

    def _loader(self, dataset: CharacterDataset, training: bool = False) -> DataLoader[CharacterBatch]:
        return DataLoader(
            dataset,
            batch_size=self.batch_size if training else self.eval_batch_size,
            shuffle=training,
            drop_last=training,  # BatchNorm fails on a last batch of one
            collate_fn=_as_is,  # type: ignore[arg-type]
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
        )

    def train_dataloader(self) -> DataLoader[CharacterBatch]:
        return self._loader(self.train_set, training=True)

    def val_dataloader(self) -> DataLoader[CharacterBatch]:
        return self._loader(self.val_set)

    def test_dataloader(self) -> DataLoader[CharacterBatch]:
        """The held-out images: the competition's own test labels are not public."""
        return self._loader(self.val_set)

    def predict_dataloader(self) -> DataLoader[CharacterBatch]:
        return self._loader(self.test_set)

    def on_after_batch_transfer(self, batch: CharacterBatch, dataloader_idx: int) -> CharacterBatch:
        """Turn uint8 into float in [0, 1] and, while training, augment; on the device."""
        if not isinstance(batch, CharacterBatch):  # the model summary's example input
            return batch
        images = batch.images.float() / 255
        if self.trainer is not None and self.trainer.training:
            images = self.augmentation(images)
        return CharacterBatch(images, batch.targets)
