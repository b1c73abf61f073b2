"""Data modules of images that have one true value each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jsonargparse.typing import PositiveInt
from torch.utils.data import DataLoader

from common.arguments import Machine, as_typed
from common.batches import EpochSampler, JoinedRows, LabelledBatch, LabelledRows
from common.cache import digests_of
from common.data import ImageData
from common.decoding import Images
from common.errors import UserError, counted
from common.image_files import ImageFile, find_given
from common.split import Listing
from common.submission import SampleSubmission
from common.teachers import Teacher, choose_teachers, label_test_set, task_of


class LabelledData(ImageData):
    """A data module of images that have one true value each, trained on in shuffled batches of one size.

    Args:
        batch_size: images per training batch.
        extra: folder of a second training set, such as drawn images, laid out like the first.
        extra_per_batch: images to add to each training batch: of extra, linearly fewer with each epoch, down to none.
        teachers: checkpoints of earlier fits, as [A, B] or a pattern, whose probabilities label the test images; these
            fill the places in each batch that extra leaves. Those of other folds are left out.
        shared: as for :class:`ImageData`.

    Attributes:
        columns: the two columns of a submission.
        extra_set: the images of ``extra``, if a fit is about to start.
        chosen_teachers: those of ``teachers`` that have learned from no image that this fit does not train on.
    """

    columns: ClassVar[tuple[str, str]]
    train_set: LabelledRows
    val_set: LabelledRows
    extra_set: LabelledRows
    chosen_teachers: Sequence[Teacher] = ()

    def __init__(
        self,
        batch_size: int,
        extra: Machine[str | None] = None,
        extra_per_batch: PositiveInt | None = None,
        teachers: list[str] | str | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.batch_size, self.extra, self.extra_per_batch = batch_size, extra, extra_per_batch
        self.teachers = teachers

    def prepare_data(self) -> None:
        super().prepare_data()
        if self.fitting:
            self._read_extra()
            if self.teachers is not None:
                self.test_images()

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if not self.fitting:
            return
        if (second := self._read_extra()) is not None:
            listing, images = second
            self.extra_set = LabelledRows(images, np.arange(len(images)), listing.truth)
            self.split = self.split.joined_by(listing, digests_of(images), f"--data.extra {self.extra}")
        if self.teachers is not None:
            task = None if self.trainer is None else task_of(self.trainer)
            self.chosen_teachers = choose_teachers(self.teachers, self.split, digests_of(self.train_set.images), task)
            identities = [*(one.weights for one in self.chosen_teachers), *digests_of(self.test_images())]
            self.split = self.split.taught_by([one.split for one in self.chosen_teachers], identities)

    def _read_extra(self) -> tuple[Listing, Images] | None:
        """List and decode the second training set, if there is one."""
        if self.extra_per_batch is None:
            for flag, given in (("extra", self.extra), ("teachers", self.teachers)):
                if given is not None:
                    how = "say how many of its images each batch gets: --data.extra_per_batch"
                    raise UserError(f"--data.{flag} {as_typed(given)}: {how}")
            return None
        if self.extra is None and self.teachers is None:
            raise UserError(
                f"--data.extra_per_batch {self.extra_per_batch} needs the folder of these images: --data.extra"
            )
        if self.extra is None:
            return None
        if not Path(self.extra).is_dir():
            raise UserError(f"--data.extra {self.extra}: no such folder; give one that is laid out like --data.root")
        try:
            listing = self.like(root=self.extra).read_training_set()
        except UserError as error:
            reason, more, _ = str(error).partition(". ")  # what follows tells how to get the first set
            remedy = "; give a folder laid out like --data.root" if more else ""
            raise UserError(f"--data.extra {self.extra}: {reason}{remedy}") from None
        if self.extra_per_batch > len(listing.files):
            most = f"more than the {counted(len(listing.files), 'image')} of --data.extra {self.extra}"
            raise UserError(f"--data.extra_per_batch {self.extra_per_batch}: {most}; give fewer")
        return listing, self.cached("extra", listing.files)

    @property
    def fitting(self) -> bool:
        """Whether a fit is about to start, rather than a validation or a prediction."""
        return self.trainer is None or self.trainer.state.fn == "fit"

    def _places(self, epoch: int) -> list[int]:
        """Count a batch's images from each set: the first, and if given, ``extra`` and those that teachers label.

        Of ``extra``, each epoch has linearly fewer, and the last one none; the others fill the places that it leaves.
        """
        epochs = -1 if self.trainer is None else self.trainer.max_epochs or -1
        left = 1 - epoch / (epochs - 1) if epochs > 1 else 1  # where the number of epochs is not known, all of them
        added = self.extra_per_batch or 0
        extra = [] if self.extra is None else [round(left * added)]
        taught = [] if self.teachers is None else [added - sum(extra)]
        return [self.batch_size, *extra, *taught]

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

    @cached_property
    def taught_set(self) -> LabelledRows:
        """The test images with the teachers' probabilities, less those that are in the training set, too."""
        assert self.trainer is not None
        images, known = self.test_images(), {*digests_of(self.train_set.images)}
        rows = [row for row, content in enumerate(digests_of(images)) if content not in known]
        labels = label_test_set(self.trainer, self, self.chosen_teachers)
        return LabelledRows(images, np.array(rows), labels)

    def train_dataloader(self) -> DataLoader[LabelledBatch]:
        # Only whole batches, since BatchNorm fails on a last batch of one.
        number, sets = len(self.train_set) // self.batch_size, [self.train_set]
        if self.extra is not None:
            sets.append(self.extra_set)
        if self.teachers is not None:
            classes = self.taught_set.targets.shape[1]
            sets = [*(one.as_fractions(classes) for one in sets), self.taught_set]
        joined = JoinedRows(sets)

        def deal(rng: np.random.Generator) -> np.ndarray:
            batches = []
            for one, start, each in zip(sets, joined.starts, self._places(sampler.epoch), strict=False):
                drawn = np.resize(rng.permutation(len(one)), number * each).reshape(number, each)
                batches.append(start + drawn)
            return np.hstack(batches)

        sampler = EpochSampler(deal, number, self)
        return self.loader(joined if len(sets) > 1 else self.train_set, sampler)

    def val_dataloader(self) -> DataLoader[LabelledBatch]:
        return self.loader(self.val_set, self.evaluated_rows(len(self.val_set)))
