"""The LightningDataModule of ``julia``: bitmaps as uint8 batches, made float and augmented on the device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from common.augment import Augmentation, View, moved_views
from common.cache import cached_images
from common.data import ImageData, ImageDataset
from common.errors import UserError
from common.folds import fold_of, stratified_folds, stratified_split
from common.images import ImageFile, Images
from common.submission import SampleSubmission
from julia.files import CLASSES, COLUMNS, MAX_PIXELS, Variant, read_test_set, read_training_set


class CharacterBatch(NamedTuple):
    """Some characters.

    Attributes:
        images: N×C×H×W; uint8 from the loader, float in [0, 1] on the device.
        targets: N, int64, class index; N×62, float, shares of the classes where images have been mixed.
        row: which image of the set each is, N, int64.
    """

    images: Tensor
    targets: Tensor
    row: Tensor


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

    def __getitem__(self, indices: Sequence[int]) -> CharacterBatch:
        rows = self.rows[indices]
        images = torch.from_numpy(self.images[rows]).permute(0, 3, 1, 2)
        return CharacterBatch(images, self.targets[rows], torch.as_tensor(indices))


class CharacterData(ImageData):
    """Street-view characters of Kaggle "First Steps With Julia".

    Args:
        root: folder with the competition's files, as .zip or unpacked.
        variant: original bitmaps of every size, or the competition's own 20×20 ones.
        image_size: pixels a side that bitmaps are resized to; taken from the model.
        channels: 1 for grey, 3 for colour; taken from the model.
        batch_size: images a training batch.
        eval_batch_size: images a batch when validating, testing and predicting.
        val_fraction: share of the training set held out for validation, stratified by class, where no fold is given.
        num_folds: number of folds that the training set is dealt into, stratified by class.
        fold: which fold to hold out, from 0; none to hold out val_fraction instead.
        seed: seed of the split into training and validation.
        rotation: largest random rotation, degrees.
        shift: largest random shift, share of the side.
        zoom: largest random change of scale; 0.2 is 0.8× to 1.2×.
        shear: largest random shear, degrees.
        brightness: largest random change of brightness, share of white added or taken away.
        contrast: largest random change of contrast; 0.2 is 0.8× to 1.2×.
        inversion: probability of turning a training image into its negative.
        mixup: training images are blended in pairs, by a share drawn from Beta(mixup, mixup); 0 is never.
        cutmix: training images get a box of another, its share drawn from Beta(cutmix, cutmix); 0 is never.
        cache_dir: folder that keeps the decoded images between starts.
        num_workers: loader processes; 0 is fastest unless the cache is larger than memory.
    """

    max_pixels = MAX_PIXELS

    def __init__(
        self,
        root: str = "data/julia",
        variant: Variant = "original",
        image_size: PositiveInt = 28,
        channels: Literal[1, 3] = 1,
        batch_size: PositiveInt = 128,
        eval_batch_size: PositiveInt = 256,
        val_fraction: float = 0.2,
        num_folds: int = 5,
        fold: NonNegativeInt | None = None,
        seed: NonNegativeInt = 0,
        rotation: NonNegativeFloat = 10.0,
        shift: ClosedUnitInterval = 0.1,
        zoom: ClosedUnitInterval = 0.2,
        shear: NonNegativeFloat = 10.0,
        brightness: ClosedUnitInterval = 0.2,
        contrast: ClosedUnitInterval = 0.2,
        inversion: ClosedUnitInterval = 0.5,
        mixup: NonNegativeFloat = 0.0,
        cutmix: NonNegativeFloat = 0.0,
        cache_dir: str = "cache",
        num_workers: NonNegativeInt = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.root = Path(root)
        self.variant: Variant = variant
        self.image_size = image_size
        self.mode = "L" if channels == 1 else "RGB"
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.val_fraction, self.num_folds, self.fold, self.seed = val_fraction, num_folds, fold, seed
        self.shift, self.zoom, self.inversion = shift, zoom, inversion
        self.augmentation = Augmentation(
            rotation=rotation,
            shift=shift,
            zoom=zoom,
            shear=shear,
            brightness=brightness,
            contrast=contrast,
            inversion=inversion,
        )
        mixing = [v2.MixUp(alpha=float(mixup), num_classes=len(CLASSES))] if mixup else []
        mixing += [v2.CutMix(alpha=float(cutmix), num_classes=len(CLASSES))] if cutmix else []
        self.mixing = v2.RandomChoice(mixing) if mixing else None
        self.cache_dir = Path(cache_dir)
        self.num_workers = num_workers

    def prepare_data(self) -> None:
        """Decode what the stage needs, once a machine.

        Raises:
            UserError: as ``julia.files`` and ``common.cache``.
        """
        if self.predicting:
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
        super().setup(stage)
        if self.predicting:
            self.sample, files = read_test_set(self.root, self.variant)
            self.test_set = ImageDataset(self._cached("test", files), np.arange(len(files)))
            return
        characters = read_training_set(self.root, self.variant)
        images = self._cached("train", characters.files)
        train, val = self._split(characters.labels)
        self.train_set = CharacterDataset(images, characters.labels, train)
        self.val_set = CharacterDataset(images, characters.labels, val)
        if self.held_out:
            self.sample = SampleSubmission(COLUMNS[0], COLUMNS[1], [characters.ids[row] for row in val])
            self.truth = characters.labels[val]
            self.test_set = ImageDataset(images, val)

    def _split(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.fold is None:
            train, val = stratified_split(labels, self.val_fraction, self.seed)
        else:
            train, val = fold_of(stratified_folds(labels, self.num_folds, self.seed), self.fold, len(labels))
        if len(train) < self.batch_size:
            raise UserError(f"--data.batch_size {self.batch_size} is larger than the {len(train)} training images")
        return train, val

    def _cached(self, part: str, files: list[ImageFile]) -> Images:
        return cached_images(files, self.image_size, self.mode, self.cache_dir, MAX_PIXELS, f"julia-{part}")

    def train_dataloader(self) -> DataLoader[CharacterBatch]:
        # BatchNorm fails on a last batch of one
        number = len(self.train_set) // self.batch_size

        def deal(rng: np.random.Generator) -> np.ndarray:
            return rng.permutation(len(self.train_set))[: number * self.batch_size].reshape(number, -1)

        return self.loader(self.train_set, self.training_batches(deal, number))

    def val_dataloader(self) -> DataLoader[CharacterBatch]:
        return self.loader(self.val_set, self.evaluated_rows(len(self.val_set)))

    def test_dataloader(self) -> DataLoader[CharacterBatch]:
        """The held-out images: the competition's own test labels are not public."""
        return self.val_dataloader()

    def augment(self, batch: CharacterBatch, key: int) -> CharacterBatch:
        images, targets = self.augmentation(batch.images, key, batch.row), batch.targets
        if self.mixing is not None:
            images, targets = self.mixing(images, targets)
        return batch._replace(images=images, targets=targets)

    def views(self) -> list[View]:
        """The image and its negative, then both with small shifts and zooms: half of what training went to."""
        return moved_views(self.shift / 2, self.zoom / 2, negatives=self.inversion > 0)
