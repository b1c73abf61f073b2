"""Rank runs with each other if they were measured on the same held-out rows, and tabulate them."""

from __future__ import annotations

import math
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import UserError
from common.files import natural, read_json
from common.plots import Direction
from common.runs import About, CrossValidated, HeldOut, Run, find_runs, is_fold, latest_of, read_run

ABSENT = "–"
FIXED = ("run", "best", "last", "epochs", "minutes", "state")  # columns of a table of runs; arguments follow
UNKNOWN = "rows that an earlier version held out, and did not name"


@dataclass(frozen=True)
class Group:
    """Runs measured on the same held-out rows, best first; the folds of a cross-validation follow it."""

    rows: str  # the held-out rows, in words
    runs: list[Run]  # in order
    seeds: list[tuple[list[Run], str]]  # of each setting fitted with several seeds: its runs, and a line about them


def read_groups(words: Sequence[str]) -> tuple[list[Group], About]:
    """Read and rank the runs in folders or patterns; also return a run's description of the metrics.

    Notes go to stderr.

    Raises:
        UserError: there are none, they cannot be read, or they belong to two tasks.
    """
    read = [read_run(path) for path in find_runs(words)]
    runs = [run for run, _ in read]
    for note in (note for _, notes in read for note in notes):
        print(f"note: {note}", file=sys.stderr)
    first = {run.about["task"]: str(run.path) for run in reversed(runs)}
    if len(first) > 1:
        two = " and ".join(sorted(first.values()))
        raise UserError(f"runs of two tasks, such as {two}: give those of one task")
    tell_apart(runs)
    # Runs of earlier versions do not name the monitored metric; newer ones do, or the results of finished ones.
    about = next((run.about for run in runs if "units" in run.about), None)
    about = about or next((run.about for run in runs if run.about["monitor"]), None)
    if about is None:
        raise UserError(f"{runs[0].path}: made by an earlier version and unfinished; give it beside a finished run")
    return rank(runs, about["monitor"], about["directions"][about["monitor"]]), about


def tell_apart(runs: Sequence[Run]) -> None:
    """Name runs by their path below the folder that they share, if two of them have the same name."""
    if len({run.name for run in runs}) < len(runs):
        shared = os.path.commonpath([run.path.parent.parent for run in runs])
        for run in runs:
            run.name = run.path.relative_to(shared).as_posix()


def rank(runs: list[Run], monitor: str, direction: Direction) -> list[Group]:
    """Fill in the best and last value of the monitored metric, and rank the runs of each set of held-out rows.

    Args:
        runs: runs of one task.
        monitor: the monitored metric.
        direction: which way it gets better.

    Returns:
        The groups, the one with the most runs first; runs without the metric come last in theirs.
    """
    for run in runs:
        if (curve := run.metrics.get(monitor)) is not None:
            finite = curve[np.isfinite(curve)]
            run.best = float(finite.min() if direction == "min" else finite.max())
            run.last = float(curve.iloc[-1])
    folds: dict[Path, list[Run]] = {}
    ranked: dict[str, list[Run]] = {}
    for run in runs:
        if is_fold(run.path):
            folds.setdefault(run.path.parent.parent, []).append(run)
        else:
            ranked.setdefault(_rows(run.about.get("held_out")), []).append(run)
    below: dict[str, list[Run]] = {}
    for folder, parts in folds.items():
        whole = _cross_validation(folder, parts)
        ranked.setdefault(_rows(whole.about["held_out"]), []).append(whole)
        below[whole.name] = sorted(parts, key=lambda run: natural(run.name))
    sign = 1 if direction == "min" else -1
    groups = []
    for rows, members in ranked.items():
        members.sort(key=lambda run: (math.isnan(run.best), sign * np.nan_to_num(run.best), run.name))
        shown = [one for run in members for one in (run, *below.get(run.name, []))]
        groups.append(Group(rows, shown, _over_seeds(members, monitor)))
    return sorted(groups, key=lambda group: -len(group.runs))


def _rows(held_out: HeldOut | None) -> str:
    return f"{held_out['rows']} held-out rows ({held_out['digest'][:8]})" if held_out else UNKNOWN


def _cross_validation(folder: Path, folds: list[Run]) -> Run:
    """Combine the folds of a cross-validation into one run, with its metric over all out-of-fold rows, if known."""
    first = next((run for run in folds if run.path == latest_of(run.path.parent)), folds[0])
    arguments = {name: value for name, value in first.arguments.items() if name != "data.fold"}
    # Of one view or, if that has not been measured, of several.
    names = [folder / "crossval.json", *sorted(folder.glob("crossval_tta*.json"))]
    read = [found for name in names if (found := read_json(name, CrossValidated, []))]
    result = next((found for found in read if _still_holds(folder, found, folds)), None)
    rows, digest = (result["rows"], result["digest"]) if result else ("not all", folder.name)
    about = first.about | {"held_out": {"rows": rows, "digest": digest}}
    name = first.name.rsplit("/", 2)[0]
    value = result["value"] if result else math.nan
    return Run(folder, about, arguments, {}, result, name, best=value, last=value)


def _still_holds(folder: Path, result: CrossValidated, folds: list[Run]) -> bool:
    """Whether no fold has been fitted again, or resumed, since a cross-validation was measured."""
    scored = [folder / run for run in result.get("runs", [])]
    now = {run.path: run.result.get("epochs") if run.result else None for run in folds}
    fitted = dict(zip(scored, result.get("epochs", []), strict=False))
    return all(latest_of(run.parent) == run for run in scored) and all(
        now.get(run, epochs) == epochs for run, epochs in fitted.items()
    )


def _over_seeds(runs: list[Run], monitor: str) -> list[tuple[list[Run], str]]:
    """Find settings that were fitted with several seeds: the runs of each, with their mean and deviation."""
    settings = {id(run): (run.state, *sorted(run.arguments.items() - {("seed_everything", run.seed)})) for run in runs}
    found = []
    for setting, number in Counter(settings.values()).items():
        same = [run for run in runs if settings[id(run)] == setting and math.isfinite(run.last)]
        if number > 1 and len({run.seed for run in same}) == len(same) > 1:
            last = np.array([run.last for run in same])
            names = ", ".join(run.name for run in same)
            spread = f"{last.mean():.4f} ± {last.std(ddof=1):.4f}"
            line = f"{monitor} of the last epoch, mean ± standard deviation over {len(same)} seeds: {spread} ({names})"
            found.append((same, line))
    return found


def table_of(groups: list[Group]) -> pd.DataFrame:
    """Tabulate runs in order, with the arguments in which they differ, and what was held out if that differs."""
    runs = [run for group in groups for run in group.runs]
    names = dict.fromkeys(name for run in runs for name in run.arguments)
    differing = [name for name in names if len(_values(name, runs)) > 1]
    return pd.DataFrame(
        {"run": run.name, **run.row, "state": run.state}
        | ({"held out": group.rows} if len(groups) > 1 else {})
        | {name: run.arguments.get(name, ABSENT) for name in differing}
        for group in groups
        for run in group.runs
    )


def _values(name: str, runs: Sequence[Run]) -> set[str]:
    """Collect the values of an argument; one that belongs to a class counts only in runs that use the class."""
    of_class = any(name.startswith(f"{other}.") for other in {other for run in runs for other in run.arguments})
    return {run.arguments.get(name, ABSENT) for run in runs if not of_class or name in run.arguments}


def text_of(name: object, cell: object) -> str:
    """Write a cell of a table of runs."""
    if isinstance(cell, float):
        return ABSENT if math.isnan(cell) else f"{cell:.1f}" if name == "minutes" else f"{cell:#.4g}"
    return str(cell)
