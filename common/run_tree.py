"""Arrange runs as people read them: folds below their cross-validation, the seeds of one setting in one row."""

from __future__ import annotations

import math
import os
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pandas as pd

from common.errors import counted
from common.ranking import FIXED, Group, text_of
from common.runs import CrossValidated, Run, is_fold

SUMMED_UP = ("seed_everything", "data.fold")  # arguments that differ within a row
Cell = tuple[str, float | None]  # its text, and the number it sorts by, if it is one


@dataclass(eq=False)
class Node:
    """A row of the table: a single run, or several that the row unfolds into."""

    name: str  # of the run, or a pattern that matches those below
    row: dict[str, Cell]  # its cells by column
    run: Run | None = None  # the run or the cross-validation; None for several seeds
    below: list[Node] = field(default_factory=list)  # the rows it unfolds into; empty for a single run
    what: str = ""  # what these are, such as 5 folds
    number: int = 0  # its place among the rows
    parent: int | None = None  # the row that it is unfolded from; None for others

    def all(self) -> Iterator[Node]:
        """Yield it and all below it, in order."""
        yield self
        for node in self.below:
            yield from node.all()

    def fitted(self) -> list[Run]:
        """List the runs that it stands for; of a fold that was fitted again, only the newest."""
        runs = [run for node in self.all() if not node.below and (run := node.run) is not None]
        return [*{run.path.parent if is_fold(run.path) else run.path: run for run in runs}.values()]


def order_columns(table: pd.DataFrame) -> list[str]:
    """Order the columns so that the argument that varies most is beside what it may have changed.

    What varies only between different held-out rows comes last.
    """
    fixed, others = list(FIXED), [str(name) for name in table.columns if name not in (*FIXED, "held out")]
    groups = table.groupby("held out" if "held out" in table else np.zeros(len(table)))
    values = {name: groups[name].nunique().max() for name in others}
    told = [name for name in others if name not in SUMMED_UP] or others
    most = [max(told, key=values.__getitem__)] if told else []
    rest = sorted((name for name in others if name not in most), key=lambda name: values[name] == 1)
    return [*fixed[:2], *most, *fixed[2:], *rest]


def tree_of(group: Group, lines: list[dict[Hashable, object]], columns: list[str], lowest_first: bool) -> list[Node]:
    """Put folds below their cross-validation, and the seeds of a setting in one row, ranked by their mean."""
    roots: list[Node] = []
    for run, line in zip(group.runs, lines, strict=True):
        node = Node(run.name, {name: _cell(name, line[name]) for name in columns}, run)
        if is_fold(run.path):  # its cross-validation comes just before
            roots[-1].below.append(node)
        else:
            roots.append(node)
    for root in roots:
        if root.below:
            root.what = counted(len(root.fitted()), "fold")
            text, number = root.row["last"]
            root.row["last"] = (f"{text} {_range(_folds(root))}".strip(), number)
            root.row["epochs"] = _cell("epochs", max(node.row["epochs"][1] or 0 for node in root.below))
    for runs, _ in group.seeds:
        members = [node for node in roots if any(node.run is run for run in runs)]
        roots = [node for node in roots if node not in members]
        roots.append(_sum_up(members, columns))
    sign = 1 if lowest_first else -1
    return sorted(roots, key=lambda node: ((best := node.row["best"][1]) is None, sign * (best or 0), node.name))


def _sum_up(members: list[Node], columns: list[str]) -> Node:
    """Combine the seeds of a setting into one row of means and ranges."""
    row: dict[str, Cell] = {}
    for column in columns:
        cells = [node.row[column] for node in members]
        numbers = [number for _, number in cells if number is not None]
        if column in ("best", "last") and numbers:
            mean = float(np.mean(numbers))
            row[column] = (f"{text_of(column, mean)} {_range(numbers)}".strip(), mean)
        elif column in ("epochs", "minutes") and numbers:
            row[column] = _cell(column, max(numbers) if column == "epochs" else float(np.mean(numbers)))
        else:
            ordered = sorted(cells, key=lambda cell: (cell[1] is None, cell[1] or 0, cell[0]))
            row[column] = _cell(column, ", ".join(dict.fromkeys(text for text, _ in ordered)))
    name, what = _pattern([node.name for node in members]), f"{len(members)} seeds"
    row["run"], row["state"] = (name, None), (what, None)
    return Node(name, row, below=members, what=what)


def _pattern(names: list[str]) -> str:
    """Put an asterisk where names differ."""
    shared = os.path.commonprefix  # letter by letter, unlike commonpath
    start = shared(names)
    return f"{start}*{shared([name[len(start) :][::-1] for name in names])[::-1]}"


def _folds(root: Node) -> list[float | None]:
    """Return the metric of each fold, measured like that over all folds or, of one view, in its last epoch."""
    assert root.run is not None
    if root.run.result is None:
        return []
    views = cast("CrossValidated", root.run.result).get("views", 1)
    try:
        table = pd.read_csv(root.run.path / f"crossval{f'_tta{views}' if views > 1 else ''}.csv")
        figures: list[float | None] = table[root.run.about["monitor"]].tolist()
    except (OSError, ValueError, KeyError):
        return [node.row["last"][1] for node in root.below] if views == 1 else []
    return figures


def _range(numbers: Sequence[float | None]) -> str:
    known = [number for number in numbers if number is not None]
    return f"({text_of('', min(known))}–{text_of('', max(known))})" if len(known) > 1 else ""


def _cell(column: str, value: object) -> Cell:
    """Write a cell, and find the number that it sorts by."""
    if isinstance(value, float) and value.is_integer() and column == "epochs":
        value = int(value)
    try:
        number = float(str(value)) if column not in ("run", "state") else math.nan
    except ValueError:
        number = math.nan
    return text_of(column, value), number if math.isfinite(number) else None
