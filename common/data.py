"""What the data modules of both tasks share: batches of images by index, loaders, and views of what is predicted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from common.augment import View
from common.images import Images, Mode
from common.submission import SampleSubmission


class ImageBatch(NamedTuple):
    """Images to predict, each once.

    Attributes:
        images: N×C×H×W; uint8 from the loader, float in [0, 1] on the device.
        row: which of the images to predict each is, N, int64.
    """

    images: Tensor
    row: Tensor


class ImageDataset(Dataset[ImageBatch]):
    """Whole batches of an image array by index.

    Args:
        images: M×H×W×C, uint8.
        rows: the rows of it that are to be predicted, N.
    """

    def __init__(self, images: Images, rows: np.ndarray) -> None:
        self.images, self.rows = images, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: Sequence[int]) -> ImageBatch:
        images = torch.from_numpy(self.images[self.rows[indices]])
        return ImageBatch(images.permute(0, 3, 1, 2), torch.as_tensor(indices))


def as_is(value: Any) -> Any:
    """Return ``value``: the collate function of batches that are whole, the view that changes nothing."""
    return value


class Share(DistributedSampler[Any]):
    """A rank's share of what is evaluated, each item on one rank: figures are those of one process.

    Lightning's own repeats items until all ranks have as many, which counts them twice.

    Args:
        items: what is evaluated: rows, or whole batches of them.
        world_size: number of ranks.
        rank: this one.
    """

    def __init__(self, items: Sequence[Any], world_size: int, rank: int) -> None:
        super().__init__(items, world_size, rank, shuffle=False)  # type: ignore[arg-type]
        self.items = items[rank::world_size]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


class ImageData(LightningDataModule):
    """A data module whose ``predict`` reads ``test_set``, the competition's images or the held-out ones.

    Attributes:
        mode, max_pixels: how image files are read, see :mod:`common.images`.
        held_out: whether to predict the held-out rows of the training set instead of the competition's test files.
        view: how the images that are predicted are changed first, N×C×S×S → the same; see :meth:`views`.
        sample: the ids that are predicted, in order.
        truth: what is true of each id, where ``held_out``.
        test_set: the images that are predicted.
        train_set, val_set: what is trained and validated on; ``rows`` of the array ``images``.
    """

    held_out: bool = False
    view: View = staticmethod(as_is)
    sample: SampleSubmission
    truth: np.ndarray
    test_set: ImageDataset
    train_set: Any
    val_set: Any
    num_workers: int
    eval_batch_size: int
    mode: Mode
    max_pixels: int

    def fingerprint(self) -> dict[str, object]:
        """Say what is trained on: the cache, named after what it was made from, and the numbers of images."""
        images = self.train_set.images
        return {
            "cache": Path(images.filename).parent.name,
            "files": len(images),
            "train": len(self.train_set.rows),
            "held_out": len(self.val_set.rows),
        }

    @property
    def predicting(self) -> bool:
        """Whether the test files are wanted, not the training set."""
        return self.trainer is not None and self.trainer.state.fn == "predict" and not self.held_out

    def views(self) -> list[View]:
        """List the ways to look at an image that a model trained on this data has learned to take, itself first."""
        raise NotImplementedError

    def like(self, settings: dict[str, Any]) -> ImageData:
        """Make the same data module, but for some arguments."""
        ours = {name: value for name, value in self.hparams.items() if name != "_instantiator"}
        twin = type(self)(**{**ours, **settings})
        twin.held_out = self.held_out
        return twin

    def loader(self, dataset: Dataset[Any], **options: Any) -> DataLoader[Any]:
        """Load whole batches."""
        return DataLoader(
            dataset,
            collate_fn=as_is,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            **options,
        )

    def predict_dataloader(self) -> DataLoader[ImageBatch]:
        """The images to predict, each once."""
        return self.loader(
            self.test_set, sampler=self.share(range(len(self.test_set))), batch_size=self.eval_batch_size
        )

    def share(self, items: Sequence[Any]) -> Share:
        """Deal what is evaluated to this rank."""
        trainer = self.trainer
        return Share(items, trainer.world_size, trainer.global_rank) if trainer is not None else Share(items, 1, 0)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Turn uint8 into float in [0, 1]; while training, augment; while predicting, take the view. On the device."""
        if not hasattr(batch, "images"):  # the model summary's example input
            return batch
        # Plane by plane, which resampling reads faster, in one pass.
        pixels = batch.images.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
        batch = batch._replace(images=pixels.div_(255))
        if isinstance(batch, ImageBatch):
            return batch._replace(images=self.view(batch.images))
        if self.trainer is not None and self.trainer.training:
            batch = self.augment(batch)
        return batch

    def augment(self, batch: Any) -> Any:
        """Change a training batch at random."""
        raise NotImplementedError
