"""The submission file: right ids, right order, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from common.errors import UserError

Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Submission:
    """Where the predictions go.

    Args:
        path: the CSV to write; by default submission_<checkpoint>.csv in the run folder of the checkpoint. The
            model's raw outputs and a table of the images go beside it.
    """

    path: str | None = None


@dataclass(frozen=True)
class SampleSubmission:
    """What the competition wants: its two columns, and the ids in order."""

    id_column: str
    value_column: str
    ids: Sequence[str]


class SubmittingData(Protocol):
    """A data module that knows what the competition wants, and the items (images) that it is predicted from."""

    sample: SampleSubmission
    test_set: Sized


class SubmittingModel(Protocol):
    """A model whose ``predict_step`` gives the rows of its items (``row``, n) with their outputs, n×…."""

    def submission_values(self, outputs: Outputs, data: Any) -> Sequence[object] | np.ndarray:
        """Turn the outputs of all items into the value of each id of the sample submission."""

    def submission_items(self, outputs: Outputs, data: Any) -> pd.DataFrame:
        """Tabulate the items with what was predicted of each."""


def default_path(ckpt_path: str) -> Path:
    """Name the submission after its checkpoint, in the run folder where there is one, else beside the checkpoint."""
    checkpoint = Path(ckpt_path)
    folder = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent
    return folder / f"submission_{checkpoint.stem}.csv"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; it takes the place of ``path`` only when all went well."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class SubmissionWriter(Callback):
    """Collect the predictions of all ranks and write ``path``.

    Beside it go the raw outputs, ``<path>.npz``, which averaging needs, and a table of the items, ``<path>_items.csv``.

    Args:
        path: the CSV to write.

    Raises:
        UserError: before predicting, if ``path`` cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.raw_path = path.with_suffix(".npz")
        self.items_path = path.with_name(f"{path.stem}_items.csv")
        self.batches: list[dict[str, Tensor]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.path.suffix != ".csv":
            raise UserError(f"--submission.path {self.path}: give the name of a .csv file")
        if not self.path.parent.is_dir():
            raise UserError(f"--submission.path {self.path}: the folder {self.path.parent} does not exist")
        if self.path.is_dir() or not os.access(self.path.parent, os.W_OK):
            raise UserError(f"{self.path} cannot be written; give another file with --submission.path")

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.batches.append({name: value.detach().cpu() for name, value in outputs.items()})

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        batches = self.batches
        if trainer.world_size > 1:
            ranks: list[list[dict[str, Tensor]]] = [[] for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(ranks, batches)
            batches = [batch for rank in ranks for batch in rank]
        if trainer.is_global_zero:
            outputs = {name: torch.cat([batch[name] for batch in batches]).numpy() for name in batches[0]}
            self._write(outputs, trainer.datamodule, pl_module)  # type: ignore[attr-defined, arg-type]

    def _write(self, outputs: Outputs, data: SubmittingData, model: SubmittingModel) -> None:
        row = outputs.pop("row")
        if not np.array_equal(np.sort(row), np.arange(len(data.test_set))):
            raise RuntimeError(f"{len(row)} predictions for {len(data.test_set)} items, or one of them twice")
        order = np.argsort(row)
        outputs = {name: values[order] for name, values in outputs.items()}
        sample = data.sample
        values = model.submission_values(outputs, data)
        table = pd.DataFrame({sample.id_column: list(sample.ids), sample.value_column: list(values)})
        with replacing(self.raw_path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, ids=np.array(list(sample.ids)), **outputs)  # type: ignore[arg-type]
        with replacing(self.items_path) as temporary:
            model.submission_items(outputs, data).to_csv(temporary, index=False)
        with replacing(self.path) as temporary:
            table.to_csv(temporary, index=False)
