"""The base of all tasks' data modules, which read and split the images, and load whole batches of them by index.

All randomness in training derives from the seed and from the fit's position (the numbers of its epoch and batch), so a
fit resumed at any point continues as if it had never stopped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import torch
from jsonargparse.typing import NonNegativeInt, PositiveInt
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from common.arguments import Machine, Settings, keep_own
from common.augment import View
from common.batches import Batch, ImageBatch, ImageDataset, ImageRows, Loader, as_is, key_of, progress_of
from common.cache import cached_images, digests_of
from common.decoding import Images, Mode
from common.errors import UserError
from common.familiar import Familiar, learn_familiar
from common.folds import keep_fraction, split_rows
from common.image_files import ImageFile, checksum
from common.split import Listing, Split, digest_of
from common.submission import SampleSubmission


class ImageData(LightningDataModule, ABC):
    """A data module that holds out part of the training set, and predicts the test files, or what it holds out.

    Args:
        root: folder with the competition's files.
        image_size: side of the square that images are resized to, pixels.
        channels: 1 for grey, 3 for colour.
        eval_batch_size: images per batch when validating and predicting.
        val_fraction: fraction of the training set to hold out if no fold is given.
        num_folds: number of folds to split the training set into.
        fold: fold to hold out, from 0; null holds out val_fraction instead.
        train_fraction: fraction of the remaining rows or groups to train on; crossval takes several, as [0.5, 1].
        seed: seed of the split into training and validation rows.
        cache_dir: folder for the decoded images, which later commands reuse.
        num_workers: number of loader processes; 0 is fastest unless the cache is larger than memory.

    Attributes:
        max_pixels: images with more pixels are refused.
        label: name of the images in the cache.
        group, stratum: plural names of the groups and strata of rows, for messages.
        given: the user's own images to predict instead; see :meth:`take_images`.
        view: transform applied to the images to predict, N×C×S×S → the same; see :meth:`views`.
        sample: the ids to predict, in order; if ``held_out``, ``truth`` and ``truth_groups`` belong to them.
        test_set: the images to predict; the held-out rows if ``held_out``.
        train_set, val_set: the rows to train on and to validate on.
    """

    max_pixels: ClassVar[int]
    label: ClassVar[str]
    group: ClassVar[str] = "groups"
    stratum: ClassVar[str] = "classes"

    held_out: bool = False
    given: Sequence[str] = ()
    view: View = staticmethod(as_is)
    sample: SampleSubmission
    truth: np.ndarray
    truth_groups: np.ndarray
    test_set: ImageDataset
    listing: Listing
    train_set: ImageRows[object]
    val_set: ImageRows[object]

    def __init__(
        self,
        root: Machine[str],
        image_size: int,
        channels: int,
        val_fraction: float = 0.2,
        num_folds: int = 5,
        fold: NonNegativeInt | None = None,
        train_fraction: float | list[float] = 1.0,
        seed: NonNegativeInt = 0,
        eval_batch_size: Machine[PositiveInt] = 256,
        cache_dir: Machine[str] = "cache",
        num_workers: Machine[NonNegativeInt] = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)  # this saves the subclass's arguments, too
        keep_own(self.hparams, type(self))
        self.root, self.cache_dir = Path(root), Path(cache_dir)
        self.image_size, self.num_workers, self.eval_batch_size = image_size, num_workers, eval_batch_size
        self.mode: Mode = "L" if channels == 1 else "RGB"
        self.val_fraction, self.num_folds, self.fold, self.seed = val_fraction, num_folds, fold, seed
        self.train_fraction, self.resumed_at = train_fraction, (0, 0)  # epoch and batch

    @abstractmethod
    def read_training_set(self) -> Listing:
        """List the training set; raise a :class:`UserError` if files are missing or contradict each other."""

    @abstractmethod
    def read_test_set(self) -> list[ImageFile]:
        """List the competition's test images, and set ``sample``.

        Raises:
            UserError: files are missing or contradict each other.
        """

    @abstractmethod
    def read_images(self, given: Sequence[str]) -> list[ImageFile]:
        """List the user's own images, given as files, folders, archives or patterns, and set ``sample``.

        Raises:
            UserError: there are none, or they cannot be told apart.
        """

    @abstractmethod
    def make_sets(self, images: Images, train: np.ndarray, val: np.ndarray) -> None:
        """Set ``train_set`` and ``val_set`` to rows of an array of all training images."""

    @abstractmethod
    def hold_out(self, val: np.ndarray) -> None:
        """Set ``sample``, ``truth`` and ``truth_groups`` to the held-out rows, not to the competition's test files."""

    @abstractmethod
    def check_batches(self, train: np.ndarray) -> None:
        """Refuse a batch size that does not suit these training rows.

        Raises:
            UserError: a batch is larger than the training set, or too small.
        """

    def take_images(self, given: Sequence[str]) -> None:
        """Predict the user's own images, which are decoded for this command only."""
        self.given, self.scratch = given, TemporaryDirectory(ignore_cleanup_errors=True)
        self.cache_dir = Path(self.scratch.name)

    def kinds_of_images(self) -> list[str]:
        """Name what each image of the training or test set shows, if that is known before predicting."""
        return []

    def augment(self, batch: Any, key: int) -> Any:
        """Augment a training batch at random; the draws for each image depend only on the key and its row."""
        return batch

    def views(self) -> list[View]:
        """List the views of an image that a model trained on this data has learned to handle, itself first."""
        return [as_is]

    def prepare_data(self) -> None:
        """Decode what the stage needs, once per machine.

        Raises:
            UserError: files are missing, contradict each other or cannot be decoded; the split cannot be made.
        """
        if self.predicting:
            self.test_images()
            return
        self.listing = self.read_training_set()
        self._split()  # fail early
        self.cached("train", self.listing.files)

    def setup(self, stage: str) -> None:
        """Open the cache and split the training set; raise as :meth:`prepare_data`."""
        # All ranks use rank 0's seed, stored here, since each step reseeds torch's generator.
        seed = torch.initial_seed() % 2**32
        self.fit_seed: int = seed if self.trainer is None else self.trainer.strategy.broadcast(seed)
        if self.predicting:
            self.allow_zero_length_dataloader_with_multiple_devices = True  # there may be fewer images than devices
            self.test_set = ImageDataset(self.test_images())
            return
        self.listing = self.read_training_set()
        images = self.cached("train", self.listing.files)
        train, val = self._split()
        self.make_sets(images, train, val)
        self.split = Split.of(self.listing, train, val, digests_of(images))
        if self.held_out:
            self.hold_out(val)
            self.test_set = ImageDataset(images, val)

    def _split(self) -> tuple[np.ndarray, np.ndarray]:
        strata, groups, called = self.listing.strata, self.listing.groups, (self.group, self.stratum)
        train, val = split_rows(strata, groups, self.val_fraction, self.num_folds, self.fold, self.seed, called)
        train = keep_fraction(train, strata, groups, self.train_fraction, self.seed)
        try:
            self.check_batches(train)
        except UserError as error:
            kept = "" if self.train_fraction == 1 else f" (--data.train_fraction {self.train_fraction})"
            raise UserError(f"{error}{kept}") from None
        return train, val

    def test_images(self) -> Images:
        """Open the images to predict, decoding them first unless an earlier command has; raise as that does."""
        return self.cached("test", self.read_images(self.given) if self.given else self.read_test_set())

    def cached(self, part: str, files: list[ImageFile]) -> Images:
        """Open the decoded images of a part of the data, decoding them first unless an earlier command has."""
        return cached_images(files, self.image_size, self.mode, self.cache_dir, self.max_pixels, f"{self.label}-{part}")

    def state_dict(self) -> dict[str, object]:
        """Return the fit's position (its seed, epoch and batch), and which rows it trains on and holds out."""
        epoch, batch = self.resumed_at if self.trainer is None else progress_of(self.trainer)
        rows = {"split": self.split._asdict(), "familiar": self.familiar}
        return {"fit_seed": self.fit_seed, "epoch": epoch, "batch": batch, **rows}

    def load_state_dict(self, state_dict: Settings) -> None:
        """Continue where a fit stopped.

        Raises:
            UserError: the rows that it trained on or held out have changed.
        """
        if "fit_seed" in state_dict:  # checkpoints of earlier versions lack it
            self.fit_seed = state_dict["fit_seed"]
            self.resumed_at = (state_dict["epoch"], state_dict["batch"])
            self.split = self.split.checked_against(Split(**state_dict["split"]))

    @cached_property
    def familiar(self) -> Familiar:
        """What the training images look like (see :mod:`common.familiar`); measured once, for the first checkpoint."""
        kinds, rows = self.kinds_of_images(), self.train_set.rows
        return learn_familiar(self.train_set.images, rows, [kinds[row] for row in rows] if kinds else [])

    def source(self) -> str:
        """Digest the names, sizes and, of small ones, contents of the test files; moving them does not change it.

        Raises:
            UserError: as :meth:`read_test_set`.
        """
        files = self.read_test_set()
        return digest_of(
            [file.name.name for file in files], np.array([file.size + (checksum(file) << 32) for file in files])
        )

    def fingerprint(self) -> dict[str, object]:
        """Identify the training data: the cache, named after what it was made from, and the numbers of images."""
        images = self.train_set.images
        assert isinstance(images, np.memmap)
        sizes = {"train": len(self.train_set.rows), "held_out": len(self.val_set.rows)}
        return {"cache": Path(str(images.filename)).parent.name, "files": len(images), **sizes}

    @property
    def predicting(self) -> bool:
        """Whether the test files are needed rather than the training set."""
        return self.trainer is not None and self.trainer.state.fn == "predict" and not self.held_out

    def like(self, **settings: object) -> ImageData:
        """Copy this data module, with some arguments changed."""
        twin = type(self)(**{**self.hparams, **settings})
        twin.held_out, twin.given, twin.cache_dir = self.held_out, self.given, self.cache_dir
        return twin

    def loader(self, dataset: Dataset[Batch], batches: Iterable[object]) -> DataLoader[Batch]:
        """Make a loader of whole batches, as the sampler yields them."""
        settings: dict[str, Any] = {"num_workers": self.num_workers, "pin_memory": torch.cuda.is_available()}
        # Workers draw nothing at random. Lightning's function, which seeds them, would take seconds to import in each.
        settings |= {"collate_fn": as_is, "worker_init_fn": as_is}
        return Loader(dataset, sampler=batches, batch_size=None, **settings)  # the sampler yields whole batches

    def predict_dataloader(self) -> DataLoader[ImageBatch]:
        """The images to predict, each once."""
        return self.loader(self.test_set, self.evaluated_rows(len(self.test_set)))

    def evaluated_rows(self, number: int) -> list[range]:
        """Batch this rank's share of the rows; each row is on one rank only, so metrics equal those of one process."""
        mine, size = range(number)[self.rank :: self.world_size], self.eval_batch_size
        return [mine[start : start + size] for start in range(0, len(mine), size)]

    @property
    def rank(self) -> int:
        """The rank of this process."""
        return 0 if self.trainer is None else self.trainer.global_rank

    @property
    def world_size(self) -> int:
        """The number of processes."""
        return 1 if self.trainer is None else self.trainer.world_size

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Turn uint8 into float in [0, 1] on the device; augment while training, apply the view while predicting."""
        if not hasattr(batch, "images"):  # the model summary's example input
            return batch
        # The same pass also separates the colour planes, since resampling reads them faster that way.
        pixels = batch.images.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
        batch = batch._replace(images=pixels.div_(255))
        if isinstance(batch, ImageBatch):
            return batch._replace(images=self.view(batch.images))
        if (trainer := self.trainer) is not None and trainer.training:
            epoch = [self.fit_seed, trainer.current_epoch]
            step = [trainer.fit_loop.epoch_loop.batch_progress.current.ready, trainer.global_rank]
            torch.manual_seed(key_of(*epoch, *step))  # for dropout and mixing
            batch = self.augment(batch, key_of(*epoch))
        return batch
