"""Whole batches of images by index, and the batches of an epoch, drawn from its seed wherever a fit resumes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from common.arguments import T
from common.decoding import Images
from common.platforms import signals_held

if TYPE_CHECKING:  # Lightning takes seconds to import, in each spawned worker that imports this module
    from lightning.pytorch import Trainer
    from torch.utils.data.dataloader import _BaseDataLoaderIter

    from common.data import ImageData

Batch = TypeVar("Batch", covariant=True)


class Loader(DataLoader[Batch]):
    """A loader that starts all of its worker processes, or none.

    Python loses what the handler of a signal raises while it forks, and torch does not end the workers of a half-made
    iterator.
    """

    def __iter__(self) -> _BaseDataLoaderIter:
        with signals_held():
            return super().__iter__()


class HasImages(Protocol):
    """A batch of any task."""

    @property
    def images(self) -> Tensor: ...


class ImageBatch(NamedTuple):
    """Images to predict, each once."""

    images: Tensor  # N×C×H×W; uint8 from the loader, float in [0, 1] on the device
    row: Tensor  # index of each among the images to predict, N, int64


class ImageRows(Dataset[Batch]):
    """A subset of an image array, whose ``__getitem__`` returns whole batches by index.

    Args:
        images: M×H×W×C, uint8.
        rows: the array's rows that form the subset, N, all if None; indices count within them.
    """

    def __init__(self, images: Images, rows: np.ndarray | None = None) -> None:
        self.images, self.rows = images, np.arange(len(images)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    def pixels(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """Return the images at some indices: n×C×H×W, uint8."""
        return torch.from_numpy(self.images[self.rows[indices]]).permute(0, 3, 1, 2)


class ImageDataset(ImageRows[ImageBatch]):
    """Batches of images to predict."""

    def __getitem__(self, indices: Sequence[int]) -> ImageBatch:
        return ImageBatch(self.pixels(indices), torch.as_tensor(indices))


class LabelledBatch(NamedTuple):
    """Some images with their true values.

    Attributes:
        images: N×C×H×W; uint8 from the loader, float in [0, 1] on the device.
        targets: N; classes as int64, or N×classes, float, the fraction of each class if images have been mixed.
        row: index of each image in the set, N, int64.
    """

    images: Tensor
    targets: Tensor
    row: Tensor


class LabelledRows(ImageRows[LabelledBatch]):
    """Batches of images with their true values.

    Args:
        images: M×H×W×C, uint8.
        rows: the array's rows that form this set, N.
        truth: true values of all images, M.
    """

    def __init__(self, images: Images, rows: np.ndarray, truth: np.ndarray) -> None:
        super().__init__(images, rows)
        self.targets = torch.from_numpy(truth[rows])

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> LabelledBatch:
        chosen = torch.as_tensor(indices)
        return LabelledBatch(self.pixels(indices), self.targets[chosen], chosen)

    def as_fractions(self, classes: int) -> LabelledRows:
        """Return the same rows with the fraction of each class as their true values, N×classes."""
        fractions = LabelledRows(self.images, self.rows, np.empty(len(self.images)))
        fractions.targets = nn.functional.one_hot(self.targets, classes).float()
        return fractions


class JoinedRows(Dataset[LabelledBatch]):
    """Batches from several sets, where the indices of each follow those of the sets before it."""

    def __init__(self, sets: Sequence[LabelledRows]) -> None:
        self.sets, self.starts = sets, np.cumsum([0, *map(len, sets)]).tolist()

    def __getitem__(self, indices: np.ndarray) -> LabelledBatch:
        images, targets, rows = [], [], []
        for one, start in zip(self.sets, self.starts, strict=False):
            part = one[indices[(indices >= start) & (indices < start + len(one))] - start]
            images.append(part.images)
            targets.append(part.targets)
            rows.append(part.row + start)
        return LabelledBatch(torch.cat(images), torch.cat(targets), torch.cat(rows))


# Draws the batches of an epoch, each in whatever form the dataset accepts.
Deal = Callable[[np.random.Generator], Iterable[object]]


def as_is(value: T) -> T:
    """Return ``value``: the collate function of batches that are already whole, and the view that changes nothing."""
    return value


class EpochSampler(Sampler[object]):
    """A rank's share of the batches of an epoch, which depend only on the seed and the epoch.

    Ranks take turns; if they do not divide the batches evenly, the first few are repeated so that all have as many.

    Args:
        deal: draws the batches of an epoch.
        number: how many batches that is.
        data: knows the seed, the rank, and the epoch and batch at which a resumed fit continues.
    """

    def __init__(self, deal: Deal, number: int, data: ImageData) -> None:
        self.deal, self.data, self.epoch = deal, data, data.resumed_at[0]
        self.length = -(-number // data.world_size)

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next epoch; Lightning calls this before each one."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[object]:
        rank, ranks = self.data.rank, self.data.world_size
        epoch, batch = self.data.resumed_at
        batches = self.deal(np.random.default_rng([self.data.fit_seed, self.epoch]))
        start = batch if self.epoch == epoch else 0
        return islice(cycle(batches), rank + start * ranks, self.length * ranks, ranks)


def key_of(*numbers: int) -> int:
    """Mix numbers into one of 63 bits."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def progress_of(trainer: Trainer) -> tuple[int, int]:
    """Count the finished epochs, and the finished batches of the current one."""
    epochs: int = trainer.fit_loop.epoch_progress.state_dict()["current"]["processed"]
    batches: int = trainer.fit_loop.epoch_loop.batch_progress.state_dict()["current"]["processed"]
    # After an epoch, Lightning still counts all of its batches, although the next epoch has none yet.
    return epochs, int(batches % max(1, trainer.num_training_batches))
