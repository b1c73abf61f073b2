"""Predictions for held-out rows: the tables that fits and cross-validations write, and how two of them differ."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, NamedTuple, TypedDict, TypeVar

import pandas as pd

if TYPE_CHECKING:
    from common.data import ImageData
    from common.runs import Run
    from common.submission import Outputs

Data = TypeVar("Data", bound="ImageData")

HELD_OUT = "held_out.csv"  # of a finished fit; its result.json says which weights predicted the rows
OUT_OF_FOLD = "out_of_fold{}.csv"  # of a cross-validation, from the last.ckpt of each fold


class HeldOutColumns(NamedTuple):
    """The roles of the columns in a table of held-out rows, besides ``predicted``."""

    ids: tuple[str, ...]  # columns that identify a row
    group: str  # column by which rows are summarized; for a classification, the truth
    truth: str  # column of the true value


class Columns(TypedDict):
    """The same, as stored in ``run.json``."""

    ids: list[str]
    group: str
    truth: str
    classes: bool  # whether the truth is one of some classes


class HeldOutTables(ABC, Generic[Data]):
    """The part of a task's contract that says what was predicted for each held-out row.

    Attributes:
        held_out_columns: columns of the tables.
    """

    held_out_columns: ClassVar[HeldOutColumns]

    @abstractmethod
    def table_of_held_out(self, outputs: Outputs, data: Data) -> pd.DataFrame:
        """Tabulate the held-out ids, each with its true and its predicted value, from the outputs of the network."""

    @abstractmethod
    def table_of_evaluated(self) -> pd.DataFrame:
        """Tabulate ``evaluated`` likewise: the same ids and true values."""


def read_held_out(run: Run) -> tuple[pd.DataFrame | None, list[str]]:
    """Read what was predicted for each held-out row, and what is wrong with the table, one line for each fault.

    Returns the columns ``id`` (which is unique), ``group``, ``truth`` and ``predicted``: text or, if the truth is not
    a class, numbers in the latter two. None if a run has no such table, like those of earlier versions.
    """
    name = HELD_OUT
    if run.result is not None and "folds" in run.result:
        name = OUT_OF_FOLD.format(f"_tta{views}" if (views := run.result.get("views", 1)) > 1 else "")
    path, columns = run.path / name, run.about.get("columns")
    if not path.is_file() or columns is None:
        return None, []
    try:
        table = _read(path, columns)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None, [f"{path} is damaged: what this run got wrong is not compared"]
    if table["id"].duplicated().any():
        return None, [f"{path}: rows of one name, {table['id'][table['id'].duplicated()].iloc[0]}: not compared"]
    return table, []


def weights_of(run: Run) -> str:
    """Say which weights predicted the held-out rows of a run; empty where it does not tell.

    Fits of earlier versions do not: most of them left those of the last epoch.
    """
    if not (run.path / HELD_OUT).is_file():
        return "last.ckpt of each fold"
    said = run.result.get("held_out_by") if run.result else None
    return " ".join(said.split()) if isinstance(said, str) else ""


def _read(path: Path, columns: Columns) -> pd.DataFrame:
    cells = pd.read_csv(path, dtype=str, keep_default_na=False)
    table = pd.DataFrame({"id": cells[columns["ids"]].agg(" · ".join, axis=1), "group": cells[columns["group"]]})
    for name, column in (("truth", columns["truth"]), ("predicted", "predicted")):
        table[name] = cells[column] if columns["classes"] else cells[column].astype(float)
    return table


def compare_rows(one: pd.DataFrame, other: pd.DataFrame, classes: bool) -> pd.DataFrame:
    """Summarize by group how two runs do on the rows that both held out with the same truth.

    Args:
        one: a table from :func:`read_held_out`.
        other: likewise.
        classes: whether the truth is one of some classes.

    Returns:
        For each group its number of ``rows`` and, for classes, how many ``only_one`` and ``only_other`` got right,
        otherwise the mean absolute errors ``one`` and ``other``. The group where the first run leads most comes first.
    """
    both = one.merge(other.drop(columns="group"), on=["id", "truth"], suffixes=("_one", "_other"))
    truth = both["truth"]
    if classes:
        right, also = both["predicted_one"] == truth, both["predicted_other"] == truth
        both = both.assign(only_one=right & ~also, only_other=also & ~right)
        summed = both.groupby("group")[["only_one", "only_other"]].sum().astype(int)
        ahead = summed["only_one"] - summed["only_other"]
    else:
        errors = {"one": (both["predicted_one"] - truth).abs(), "other": (both["predicted_other"] - truth).abs()}
        summed = both.assign(**errors).groupby("group")[["one", "other"]].mean()
        ahead = summed["other"] - summed["one"]
    summed.insert(0, "rows", both.groupby("group").size())
    return summed.loc[ahead.sort_values(ascending=False, kind="stable").index]
