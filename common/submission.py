"""The submission file: right ids, right order, written whole or not at all."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from jsonargparse.typing import PositiveInt

from common.errors import UserError
from common.files import check_output, replacing

if TYPE_CHECKING:
    from common.checkpoints import Checkpoint
    from common.data import ImageData
    from common.task import AnyTask

Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Submission:
    """Where the predictions go, and how they are made.

    Args:
        path: the CSV to write; by default submission_<checkpoint>.csv in the run folder of the checkpoint. The
            model's raw outputs and a table of the images go beside it.
        tta: test-time augmentation: how many views of each image are averaged, of those that training has shown the
            model; 1 is the image alone.
    """

    path: str | None = None
    tta: PositiveInt = 1


@dataclass(frozen=True)
class SampleSubmission:
    """What the competition wants: its two columns, and the ids in order."""

    id_column: str
    value_column: str
    ids: Sequence[str]


def default_path(checkpoints: Sequence[Checkpoint], tta: int) -> Path:
    """Name the submission after its checkpoint, in the run folder where there is one, else beside the checkpoint.

    That of several checkpoints is ``submission_ensemble<number>.csv`` in the folder that holds all their runs.
    """
    homes = [checkpoint.run for checkpoint in checkpoints]
    if len(homes) > 1:
        homes = [home.absolute() for home in homes]  # paths found by last are, typed ones may not be
    stem = checkpoints[0].path.stem if len(checkpoints) == 1 else f"ensemble{len(checkpoints)}"
    views = f"_tta{tta}" if tta > 1 else ""
    return Path(os.path.commonpath(homes)) / f"submission_{stem}{views}.csv"


class SubmissionFiles:
    """The files of one submission.

    Beside the CSV go the raw outputs, ``<path>.npz``, a table of the items, ``<path>_items.csv``, and, of several
    checkpoints, how far they differ, ``<path>_spread.csv``.

    Args:
        path: the CSV.
        source: digest of the images that are predicted.

    Raises:
        UserError: ``path`` cannot be written, or holds a submission of other images.
    """

    def __init__(self, path: Path, source: str) -> None:
        self.path, self.source = path, source
        self.raw_path = path.with_suffix(".npz")
        self.items_path = path.with_name(f"{path.stem}_items.csv")
        self.spread_path = path.with_name(f"{path.stem}_spread.csv")
        if path.suffix != ".csv":
            raise UserError(f"--submission.path {path}: give the name of a .csv file")
        check_output(path, "--submission.path")
        if self._source() not in (None, source):
            raise UserError(f"{path} is a submission of other data: give another --submission.path, or delete it")

    def _source(self) -> str | None:
        """Read the digest of the images that an existing submission was made of; None where it is not known."""
        if not self.path.exists() or not self.raw_path.is_file():
            return None
        try:
            with np.load(self.raw_path, allow_pickle=False) as file:
                return str(file["source"]) if "source" in file else None
        except (OSError, ValueError, BadZipFile, EOFError, zlib.error):
            return None

    def write(
        self,
        outputs: Outputs,
        deviation: np.ndarray | None,
        model: AnyTask,
        data: ImageData,
        notes: Sequence[str],
    ) -> None:
        """Write the files from the outputs of all items, in order, of ``data``, which ``model`` turns into values.

        ``deviation`` is how far the members of an ensemble differ in their estimates, or None for one model; ``notes``
        say what to make of each item.
        """
        sample, estimates = data.sample, model.estimates(outputs, data)
        table = pd.DataFrame({sample.id_column: list(sample.ids), sample.value_column: model.values(estimates)})
        with replacing(self.raw_path) as temporary, temporary.open("wb") as stream:
            arrays: dict[str, Any] = outputs | {"ids": np.array(list(sample.ids)), "source": np.array(self.source)}
            np.savez_compressed(stream, **arrays)
        tables = {self.items_path: model.table_of_items(outputs, data).assign(note=notes)}
        if deviation is not None:
            tables[self.spread_path] = table.assign(spread=model.spread(estimates, deviation))
        for path, rows in (tables | {self.path: table}).items():  # the submission last
            with replacing(path) as temporary:
                rows.to_csv(temporary, index=False)
