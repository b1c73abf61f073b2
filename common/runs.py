"""Run folders: found below what was typed, and read, even half-written."""

from __future__ import annotations

import csv
import importlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import Any

import pandas as pd

from common.config import read_config
from common.errors import UserError, listed

TASKS = ("growth", "julia")
# Of a run's own place and of the screen, not of the experiment.
IGNORED = (
    "ckpt_path",
    "name",
    "log_model",
    "save_every_n_epochs",
    "trainer.default_root_dir",
    "trainer.logger",
    "trainer.enable_",
    "data.cache_dir",
)


@dataclass
class Run:
    """One run folder.

    Attributes:
        path: the folder.
        task: growth or julia.
        arguments: the resolved configuration, nested names joined by dots.
        metrics: metric → values by epoch, counted from 1; several where it is logged more often.
        result: what a fit that has come to its end leaves; None of others.
        name: its path below ``runs/<task>``; elsewhere its last two folders.
    """

    path: Path
    task: str
    arguments: dict[str, str]
    metrics: dict[str, pd.Series[float]]
    result: dict[str, Any] | None
    name: str
    best: float = math.nan
    last: float = math.nan

    @property
    def row(self) -> dict[str, object]:
        epochs = max((int(curve.index.max()) for curve in self.metrics.values()), default=0)
        minutes = round(self.result["seconds"] / 60, 1) if self.result else math.nan
        return {"best": self.best, "last": self.last, "epochs": epochs, "minutes": minutes}


def find_runs(words: Sequence[str]) -> list[Path]:
    """Find run folders (``version_N`` with a ``config.yaml``), each once: a link such as ``latest`` is not a run.

    Raises:
        UserError: a folder does not exist, or there is no run in any.
    """
    found: dict[Path, None] = {}
    for word in words:
        pattern = has_magic(word) and not Path(word).exists()
        folders = filter(os.path.isdir, sorted(glob(word, recursive=True))) if pattern else [word]  # noqa: PTH207
        for folder in map(Path, folders):
            if not folder.is_dir():
                raise UserError(f"{folder}: no such folder; give one of runs, such as runs/growth")
            inside = [folder] if (folder / "config.yaml").is_file() else []
            inside += [path.parent for path in sorted(folder.rglob("version_*/config.yaml"))]
            found.update(dict.fromkeys(path.resolve() for path in inside))
    if not found:
        raise UserError(f"{' '.join(words)}: no run there (a folder version_N with config.yaml)")
    return list(found)


def read_run(path: Path) -> tuple[Run, list[str]]:
    """Read a run folder, and what is wrong with it, a line each.

    Raises:
        UserError: its task is not to be known, or its ``config.yaml`` cannot be read.
    """
    try:
        settings = read_config(path / "config.yaml")
    except UserError as error:
        raise UserError(f"{error}; put it right, or leave this run out") from None
    arguments = {name: value for name, value in _flat(settings).items() if not name.startswith(IGNORED)}
    metrics, notes = _read_metrics(path / "metrics.csv")
    result = None
    if (path / "result.json").is_file():
        try:
            result = json.loads((path / "result.json").read_text())
            result["seconds"] = float(result["seconds"])
        except (ValueError, KeyError, TypeError, RecursionError):
            result = None
            notes.append(f"{path / 'result.json'} is damaged: the run counts as unfinished")
    task = _task(path, {*metrics, str(result and result.get("metric"))})
    below = _below_task(path)
    name = below[1] if below else "/".join(path.parts[-2:])
    return Run(path, task, arguments, metrics, result, name), notes


def _task(path: Path, metrics: set[str]) -> str:
    """Tell the task of a run by what it measures, that of one without metrics by its folder."""
    for task in TASKS:
        if importlib.import_module(f"{task}.metrics").MONITOR in metrics:
            return task
    below = _below_task(path)
    if below is None:
        raise UserError(
            f"{path}: no metrics, and not below {' or '.join(f'runs/{task}' for task in TASKS)}; leave it out"
        )
    return below[0]


def _below_task(path: Path) -> tuple[str, str] | None:
    """Split ``.../runs/<task>/<name>/version_N`` into the task and what follows; None of another path."""
    for end in range(len(path.parts) - 1, 1, -1):
        if path.parts[end - 2] == "runs" and path.parts[end - 1] in TASKS:
            return path.parts[end - 1], "/".join(path.parts[end:])
    return None


def tell_apart(runs: Sequence[Run]) -> None:
    """Name runs by their path below the folder that they share, where two of them have one name."""
    if len({run.name for run in runs}) < len(runs):
        shared = os.path.commonpath([run.path.parent.parent for run in runs])
        for run in runs:
            run.name = run.path.relative_to(shared).as_posix()


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = _shown(value)
    return flat


def _shown(value: object) -> str:
    """Show a value as it would be typed, a class by its name."""
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    if isinstance(value, dict) and isinstance(path := value.get("class_path"), str):
        settings = value.get("init_args")
        given = settings.items() if isinstance(settings, dict) else ()
        return f"{path.rsplit('.')[-1]}({', '.join(f'{name}={_shown(one)}' for name, one in given)})"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _read_metrics(path: Path) -> tuple[dict[str, pd.Series[float]], list[str]]:
    """Read Lightning's metrics.csv, whose last line may still be in the writing: whole lines alone."""
    if not path.is_file():
        return {}, [f"{path}: no metrics yet"]
    text = path.read_bytes().decode("utf-8", errors="replace")
    lines = text.replace("\r\n", "\n").split("\n")
    notes = []
    # Cut within a number, a line still looks like one: only its end tells.
    if lines.pop().strip("\r"):
        notes.append(f"{path}: line {len(lines) + 1} is cut and left out")
    damaged = []
    header = _cells(lines[0]) if lines else []
    epoch = 1
    values: dict[str, list[tuple[int, float]]] = {name: [] for name in header if name not in ("epoch", "step", "")}
    for number, line in enumerate(lines[1:], 2):
        try:
            cells = dict(zip(header, _cells(line), strict=True))
            # Callbacks that log by the step alone leave the epoch empty.
            epoch = int(cells["epoch"]) + 1 if cells["epoch"] else epoch
            numbers = {name: float(cells[name]) for name in values if cells[name]}
        except (ValueError, KeyError):
            damaged.append(number)
            continue
        for name, value in numbers.items():
            values[name].append((epoch, value))
    if damaged:
        word = "line" if len(damaged) == 1 else "lines"
        notes.append(f"{path}: {word} {listed(damaged)} damaged and left out")
    metrics = {}
    for name, points in values.items():
        if any(not math.isnan(value) for _, value in points):
            epochs, curve = zip(*points, strict=True)
            metrics[name] = pd.Series(curve, index=epochs, dtype=float)
    return metrics, notes if metrics else [*notes, f"{path}: no metrics yet"]


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error:  # such as a field without end
        return []
