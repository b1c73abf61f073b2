"""What the data modules of both tasks share: batches of images by index, loaders, and views of what is predicted.

All that is random in training comes from the seed and from where the fit is, the number of the epoch and of the batch
in it, so that a fit which is resumed anywhere goes on as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
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

    def __getitem__(self, indices: Sequence[int]) -> ImageBatch:
        images = torch.from_numpy(self.images[self.rows[indices]])
        return ImageBatch(images.permute(0, 3, 1, 2), torch.as_tensor(indices))


# Draws the batches of an epoch: whatever the dataset takes for one.
Deal = Callable[[np.random.Generator], Sequence[Any] | np.ndarray]


def as_is(value: Any) -> Any:
    """Return ``value``: the collate function of batches that are whole, the view that changes nothing."""
    return value


class EpochSampler(DistributedSampler[Any]):
    """A rank's share of the batches of an epoch, which are the same whenever the seed and the epoch are.

    Ranks take turns; where batches do not divide by ranks, the first few come twice, so that all have as many.

    Args:
        deal: draws the batches of an epoch.
        number: how many these are.
        seed: of the fit.
        world_size: number of ranks.
        rank: this one.

    Attributes:
        epoch: the epoch to come.
        start: how many of its batches this rank has trained on before; of later epochs none.
    """

    def __init__(self, deal: Deal, number: int, seed: int, world_size: int, rank: int) -> None:
        super().__init__(range(number), world_size, rank, seed=seed)  # type: ignore[arg-type]
        self.deal, self.epoch, self.start = deal, 0, 0

    def __iter__(self) -> Iterator[Any]:
        batches = self.deal(np.random.default_rng([self.seed, self.epoch]))
        start, self.start = self.start, 0
        first = self.rank + start * self.num_replicas
        return islice(cycle(batches), first, self.total_size, self.num_replicas)


class EvaluationSampler(DistributedSampler[Any]):
    """A rank's batches of what is evaluated, each row on one rank: figures are those of one process.

    Lightning's own repeats rows until all ranks have as many, which counts them twice.

    Args:
        batches: those of this rank.
    """

    def __init__(self, batches: Sequence[Any]) -> None:
        super().__init__(batches, 1, 0, shuffle=False)  # type: ignore[arg-type]
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


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

    def setup(self, stage: str) -> None:
        """Keep the seed of the fit, which steps will not leave to torch's generator; of all ranks that of the first."""
        seed = torch.initial_seed() % 2**32
        self.fit_seed: int = seed if self.trainer is None else self.trainer.strategy.broadcast(seed)

    def state_dict(self) -> dict[str, Any]:
        """Give what a resumed fit needs to go on in the same way."""
        return {"seed": self.fit_seed}

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

    def loader(self, dataset: Dataset[Any], batches: DistributedSampler[Any]) -> DataLoader[Any]:
        """Load whole batches, as the sampler gives them."""
        return DataLoader(
            dataset,
            sampler=batches,  # without a batch size: Lightning leaves a batch_sampler no share of a rank
            batch_size=None,
            collate_fn=as_is,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
        )

    def training_batches(self, deal: Deal, number: int) -> EpochSampler:
        """Sample a rank's training batches, of which there are a number."""
        return EpochSampler(deal, number, self.fit_seed, self.world_size, self.rank)

    def predict_dataloader(self) -> DataLoader[ImageBatch]:
        """The images to predict, each once."""
        return self.loader(self.test_set, self.evaluated_rows(len(self.test_set)))

    def evaluated_rows(self, number: int) -> EvaluationSampler:
        """Batch this rank's share of as many rows."""
        mine, size = range(number)[self.rank :: self.world_size], self.eval_batch_size
        return EvaluationSampler([mine[start : start + size] for start in range(0, len(mine), size)])

    @property
    def rank(self) -> int:
        """The number of this process."""
        return 0 if self.trainer is None else self.trainer.global_rank

    @property
    def world_size(self) -> int:
        """The number of processes."""
        return 1 if self.trainer is None else self.trainer.world_size

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Turn uint8 into float in [0, 1]; while training, augment; while predicting, take the view. On the device."""
        if not hasattr(batch, "images"):  # the model summary's example input
            return batch
        # Plane by plane, which resampling reads faster, in one pass.
        pixels = batch.images.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
        batch = batch._replace(images=pixels.div_(255))
        if isinstance(batch, ImageBatch):
            return batch._replace(images=self.view(batch.images))
        if (trainer := self.trainer) is not None and trainer.training:
            epoch = [self.fit_seed, trainer.current_epoch]
            step = [trainer.fit_loop.epoch_loop.batch_progress.current.ready, trainer.global_rank]
            torch.manual_seed(key_of(*epoch, *step))  # for what networks draw, and what is mixed
            batch = self.augment(batch, key_of(*epoch))
        return batch

    def augment(self, batch: Any, key: int) -> Any:
        """Change a training batch at random, each image by what the key and its row give."""
        raise NotImplementedError


def key_of(*numbers: int) -> int:
    """Mix numbers into one of 63 bits."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
