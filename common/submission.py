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
from jsonargparse.typing import ClosedUnitInterval, PositiveInt

from common.errors import UserError
from common.files import check_output, replacing, write_text
from common.platforms import signals_held

if TYPE_CHECKING:
    from common.checkpoints import Checkpoint
    from common.data import ImageData
    from common.task import AnyTask

Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Submission:
    """Where the predictions go, and how they are made.

    Args:
        path: the CSV to write; submission_<checkpoint>.csv in the run folder of the checkpoint if null. The model's
            raw outputs and a table of the images go beside it.
        tta: test-time augmentation: how many views of each image to average, of those that the model has seen in
            training; 1 is the image alone.
        min_probability: leave out answers less probable than this, where they have probabilities; a competition wants
            them all.
    """

    path: str | None = None
    tta: PositiveInt = 1
    min_probability: ClosedUnitInterval = 0.0


@dataclass(frozen=True)
class SampleSubmission:
    """What the competition expects: its two columns, and the ids in order."""

    id_column: str
    value_column: str
    ids: Sequence[str]


def default_path(checkpoints: Sequence[Checkpoint], tta: int, least: float = 0.0) -> Path:
    """Name the submission after its checkpoint, in the run folder if there is one, otherwise beside the checkpoint.

    For several checkpoints it is ``submission_ensemble<number>.csv`` in the folder that holds all their runs. One that
    leaves out answers less probable than ``least`` has a name of its own.
    """
    homes = [checkpoint.run for checkpoint in checkpoints]
    if len(homes) > 1:
        homes = [home.absolute() for home in homes]  # commonpath cannot mix relative and absolute ones
    stem = checkpoints[0].path.stem if len(checkpoints) == 1 else f"ensemble{len(checkpoints)}"
    views = f"_tta{tta}" if tta > 1 else ""
    some = f"_min{least:g}" if least else ""
    return Path(os.path.commonpath(homes)) / f"submission_{stem}{views}{some}.csv"


def leave_out(table: pd.DataFrame, column: str, answered: np.ndarray) -> pd.DataFrame:
    """Empty the cells of a column where there is no answer."""
    if answered.all() or column not in table:
        return table
    return table.assign(**{column: np.where(answered, table[column], "")})


class SubmissionFiles:
    """The files of one submission.

    Beside the CSV are the raw outputs, ``<path>.npz``, a table of the items, ``<path>_items.csv``, for several
    checkpoints how far they differ, ``<path>_spread.csv``, and, if they are known, intervals,
    ``<path>_intervals.csv``.

    Args:
        path: the CSV.
        source: digest of the images to predict.
        members: paths of the checkpoints whose ensemble ``path`` is named after; empty if it names no ensemble.

    Raises:
        UserError: ``path`` cannot be written, or it or the file of raw outputs exists but belongs to other images, to
            other members or to something else.
    """

    def __init__(self, path: Path, source: str, members: Sequence[Path] = ()) -> None:
        self.path, self.source = path, source
        self.members = [os.path.relpath(member, path.parent) for member in members]
        self.raw_path = path.with_suffix(".npz")
        self.items_path = path.with_name(f"{path.stem}_items.csv")
        self.spread_path = path.with_name(f"{path.stem}_spread.csv")
        self.intervals_path = path.with_name(f"{path.stem}_intervals.csv")
        check_output(path, "--submission.path", ".csv")
        ours = (path, self.raw_path, self.items_path, self.spread_path, self.intervals_path)
        (its_source, its_members), remedy = self._known(), "give another --submission.path, or delete it"
        if taken := [name for name in ours if name.exists() and its_source != source]:
            raise UserError(f"{taken[0]} is not a submission for these data: {remedy}")
        if its_members and self.members and sorted(its_members) != sorted(self.members):
            raise UserError(f"{path} is of other checkpoints, such as {its_members[0]}: {remedy}")

    def _known(self) -> tuple[str, list[str]]:
        """Read the digest of the images, and the members, of an existing submission; empty if they are not known."""
        try:
            with np.load(self.raw_path, allow_pickle=False) as file:
                known = {name: file[name].tolist() for name in ("source", "members") if name in file}
                return str(known.get("source", "")), list(map(str, known.get("members", [])))
        except (OSError, ValueError, BadZipFile, EOFError, zlib.error):
            return "", []

    @signals_held()  # so that the files are all of one submission
    def write(
        self,
        outputs: Outputs,
        deviation: np.ndarray | None,
        model: AnyTask,
        data: ImageData,
        notes: Sequence[str],
        least: float,
    ) -> None:
        """Write the files from the outputs for all items of ``data``, in order, which ``model`` turns into values.

        ``deviation`` is how far the members of an ensemble differ in their estimates, or None for one model; ``notes``
        are caveats on each item; answers less probable than ``least`` are left out.
        """
        sample, estimates = data.sample, model.estimates(outputs, data)
        table = pd.DataFrame({sample.id_column: list(sample.ids), sample.value_column: model.values(estimates)})
        answered = model.answered(estimates, least)
        table = leave_out(table, sample.value_column, answered)
        with replacing(self.raw_path) as temporary, temporary.open("wb") as stream:
            about = {"ids": list(sample.ids), "source": self.source, "members": self.members}
            arrays: dict[str, Any] = outputs | {name: np.array(value, dtype=str) for name, value in about.items()}
            np.savez_compressed(stream, **arrays)
        items = leave_out(model.table_of_items(outputs, data), sample.value_column, answered)
        tables = {self.items_path: items.assign(note=notes)}
        if deviation is not None:
            tables[self.spread_path] = table.assign(spread=model.spread(estimates, deviation))
        if bounds := model.intervals(estimates):
            tables[self.intervals_path] = table.assign(**{name: model.values(bound) for name, bound in bounds.items()})
        for path in {self.spread_path, self.intervals_path} - tables.keys():
            path.unlink(missing_ok=True)  # from an earlier submission
        for path, rows in (tables | {self.path: table}).items():  # the submission last
            write_text(path, rows.to_csv(index=False))
