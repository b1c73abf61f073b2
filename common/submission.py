"""The submission file: right ids, right order, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from jsonargparse.typing import PositiveInt

from common.errors import UserError

Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Submission:
    """Where the predictions go, and how they are made.

    Args:
        path: the CSV to write; by default submission_<checkpoint>.csv in the run folder of the checkpoint. The
            model's raw outputs and a table of the images go beside it.
        tta: test-time augmentation: how many views of each image are averaged; 1 is the image alone. growth has 8
            (flips and quarter turns), julia up to 30 (the negative, small shifts and zooms of both).
    """

    path: str | None = None
    tta: PositiveInt = 1


@dataclass(frozen=True)
class SampleSubmission:
    """What the competition wants: its two columns, and the ids in order."""

    id_column: str
    value_column: str
    ids: Sequence[str]


class SubmittingModel(Protocol):
    """A model whose ``predict_step`` gives the rows of its items (``row``, n) with their outputs, n×…."""

    def estimates(self, outputs: Outputs, data: Any) -> np.ndarray:
        """Give what members of an ensemble are averaged on and differ in, ids×…."""

    def submission_values(self, outputs: Outputs, data: Any) -> Sequence[object] | np.ndarray:
        """Turn the outputs of all items into the value of each id of the sample submission."""

    def submission_spread(self, outputs: Outputs, data: Any, deviation: np.ndarray) -> np.ndarray:
        """Pick the spread of each id's value from the deviation of the members' :meth:`estimates`."""

    def submission_items(self, outputs: Outputs, data: Any) -> pd.DataFrame:
        """Tabulate the items with what was predicted of each."""


def default_path(checkpoints: Sequence[Path], tta: int) -> Path:
    """Name the submission after its checkpoint, in the run folder where there is one, else beside the checkpoint.

    That of several checkpoints is ``submission_ensemble<number>.csv`` in the folder that holds all their runs.
    """
    homes = [path.parent.parent if path.parent.name == "checkpoints" else path.parent for path in checkpoints]
    if len(homes) > 1:
        homes = [home.absolute() for home in homes]  # last is, what is typed may not be
    stem = checkpoints[0].stem if len(checkpoints) == 1 else f"ensemble{len(checkpoints)}"
    views = f"_tta{tta}" if tta > 1 else ""
    return Path(os.path.commonpath(homes)) / f"submission_{stem}{views}.csv"


def check_output(path: Path, flag: str) -> None:
    """Refuse a file that cannot be written, before any work.

    Raises:
        UserError: its folder does not exist or is read-only, or it is something other than a file.
    """
    if not path.parent.is_dir():
        raise UserError(f"{flag} {path}: the folder {path.parent} does not exist")
    if path.exists() and not path.is_file():
        raise UserError(f"{flag} {path}: is a folder or device; give the name of a file")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"{flag} {path}: the folder {path.parent} cannot be written to; give another")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; it takes the place of ``path`` only when all went well.

    Raises:
        UserError: ``path`` is something other than a file.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is a folder or device, where a file is to be written; take it away")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.filename in (None, str(temporary)):  # writing names no file, unlike opening
            error.filename = str(path)  # what the user knows
        raise
    finally:
        temporary.unlink(missing_ok=True)


class SubmissionFiles:
    """The files of one submission.

    Beside the CSV go the raw outputs, ``<path>.npz``, a table of the items, ``<path>_items.csv``, and, of several
    checkpoints, how far they differ, ``<path>_spread.csv``.

    Args:
        path: the CSV to write.

    Raises:
        UserError: ``path`` cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.raw_path = path.with_suffix(".npz")
        self.items_path = path.with_name(f"{path.stem}_items.csv")
        self.spread_path = path.with_name(f"{path.stem}_spread.csv")
        if path.suffix != ".csv":
            raise UserError(f"--submission.path {path}: give the name of a .csv file")
        check_output(path, "--submission.path")

    def write(
        self, outputs: Outputs, deviation: np.ndarray | None, sample: SampleSubmission, model: Any, data: Any
    ) -> None:
        """Write the files.

        Args:
            outputs: the outputs of all items, in order.
            deviation: how far the members of an ensemble differ in their ``estimates``, or None of one model.
            sample: the ids to submit.
            model: a :class:`SubmittingModel`.
            data: the data module that the outputs come from.
        """
        values = model.submission_values(outputs, data)
        table = pd.DataFrame({sample.id_column: list(sample.ids), sample.value_column: list(values)})
        with replacing(self.raw_path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, ids=np.array(list(sample.ids)), **outputs)  # type: ignore[arg-type]
        with replacing(self.items_path) as temporary:
            model.submission_items(outputs, data).to_csv(temporary, index=False)
        if deviation is not None:
            spread = table.assign(spread=model.submission_spread(outputs, data, deviation))
            with replacing(self.spread_path) as temporary:
                spread.to_csv(temporary, index=False)
        with replacing(self.path) as temporary:
            table.to_csv(temporary, index=False)
