"""The LightningDataModule of ``julia``: bitmaps as uint8 batches, made float and augmented on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveInt
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from common.arguments import Machine, Resumable
from common.augment import Augmentation, View, moved_views
from common.data import EpochSampler, ImageData, ImageRows
from common.errors import UserError
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


class CharacterDataset(ImageRows[CharacterBatch]):
    """Batches of bitmaps with their classes.

    Args:
        images: M×H×W×C, uint8.
        rows: the rows of it that belong to this set, N.
        targets: M, int64.
    """

    def __init__(self, images: Images, rows: np.ndarray, targets: np.ndarray) -> None:
        super().__init__(images, rows)
        self.targets = torch.from_numpy(targets[rows])

    def __getitem__(self, indices: Sequence[int]) -> CharacterBatch:
        chosen = torch.as_tensor(indices)
        return CharacterBatch(self.pixels(indices), self.targets[chosen], chosen)


class CharacterData(ImageData):
    """Street-view characters of Kaggle "First Steps With Julia".

    Args:
        root: folder with the competition's files, as .zip or unpacked.
        variant: original bitmaps of every size, or the competition's own 20×20 ones.
        image_size: pixels a side that bitmaps are resized to; taken from the model.
        channels: 1 for grey, 3 for colour; taken from the model.
        batch_size: images a training batch.
        eval_batch_size: images a batch when validating, testing and predicting.
        rotation: largest random rotation, degrees.
        shift: largest random shift, share of the side.
        zoom: largest random change of scale; 0.2 is 0.8× to 1.2×.
        shear: largest random shear, degrees.
        brightness: largest random change of brightness, share of white added or taken away.
        contrast: largest random change of contrast; 0.2 is 0.8× to 1.2×.
        inversion: probability of turning a training image into its negative.
        mixup: training images are blended in pairs, by a share drawn from Beta(mixup, mixup); 0 is never.
        cutmix: training images get a box of another, its share drawn from Beta(cutmix, cutmix); 0 is never.
    """

    max_pixels = MAX_PIXELS
    label = "julia"

    def __init__(
        self,
        root: Machine[str] = "data/julia",
        variant: Variant = "original",
        image_size: PositiveInt = 28,
        channels: Literal[1, 3] = 1,
        batch_size: PositiveInt = 128,
        eval_batch_size: Machine[PositiveInt] = 256,
        rotation: Resumable[NonNegativeFloat] = 10.0,
        shift: Resumable[ClosedUnitInterval] = 0.1,
        zoom: Resumable[ClosedUnitInterval] = 0.2,
        shear: Resumable[NonNegativeFloat] = 10.0,
        brightness: Resumable[ClosedUnitInterval] = 0.2,
        contrast: Resumable[ClosedUnitInterval] = 0.2,
        inversion: Resumable[ClosedUnitInterval] = 0.5,
        mixup: Resumable[NonNegativeFloat] = 0.0,
        cutmix: Resumable[NonNegativeFloat] = 0.0,
        **shared: Any,
    ) -> None:
        super().__init__(root, image_size, channels, eval_batch_size, **shared)
        self.variant: Variant = variant
        self.batch_size = batch_size
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

    def read_training_files(self) -> list[ImageFile]:
        self.characters = read_training_set(self.root, self.variant)
        return self.characters.files

    def read_test_files(self) -> list[ImageFile]:
        self.sample, files = read_test_set(self.root, self.variant)
        return files

    def rows_known(self) -> tuple[list[str], np.ndarray, np.ndarray, None]:
        return self.characters.ids, self.characters.labels, self.characters.labels, None

    def check_batches(self, train: np.ndarray) -> None:
        if len(train) < self.batch_size:
            raise UserError(f"--data.batch_size {self.batch_size} is larger than the {len(train)} training images")

    def make_sets(self, images: Images, train: np.ndarray, val: np.ndarray) -> None:
        self.train_set, self.val_set = (CharacterDataset(images, rows, self.characters.labels) for rows in (train, val))

    def hold_out(self, val: np.ndarray) -> None:
        self.sample = SampleSubmission(COLUMNS[0], COLUMNS[1], [self.characters.ids[row] for row in val])
        self.truth = self.characters.labels[val]

    def train_dataloader(self) -> DataLoader[CharacterBatch]:
        # BatchNorm fails on a last batch of one
        number = len(self.train_set) // self.batch_size

        def deal(rng: np.random.Generator) -> np.ndarray:
            return rng.permutation(len(self.train_set))[: number * self.batch_size].reshape(number, -1)

        return self.loader(self.train_set, EpochSampler(deal, number, self))

    def val_dataloader(self) -> DataLoader[CharacterBatch]:
        return self.loader(self.val_set, self.evaluated_rows(len(self.val_set)))

    def augment(self, batch: CharacterBatch, key: int) -> CharacterBatch:
        images, targets = self.augmentation(batch.images, key, batch.row), batch.targets
        if self.mixing is not None:
            images, targets = self.mixing(images, targets)
        return batch._replace(images=images, targets=targets)

    def views(self) -> list[View]:
        """The image and its negative, then both with small shifts and zooms: half of what training went to."""
        return moved_views(self.shift / 2, self.zoom / 2, negatives=self.inversion > 0)
