"""Runs side by side: ``python -m common.compare runs/growth``, a folder, several, or a pattern in quotes.

One table of all runs below, best first, with the arguments that differ: in the terminal, as CSV (``--csv``), or as a
page with the learning curves (``--html``) that needs no network.
"""

from __future__ import annotations

import argparse
import csv
import html
import importlib
import json
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from common.errors import UserError, exit_on_user_error
from common.plots import COLOURS, Direction
from common.submission import replacing

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
ABSENT = "–"
FIXED = ("run", "best", "last", "epochs", "minutes", "state")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


@dataclass
class Run:
    """One run folder.

    Attributes:
        name: its path below the folder of its task.
        task: growth or julia.
        arguments: the resolved configuration, nested names joined by dots.
        metrics: metric → values by epoch, counted from 1.
        result: what a fit that has come to its end leaves; None of others.
    """

    name: str
    task: str
    arguments: dict[str, str]
    metrics: dict[str, pd.Series[float]]
    result: dict[str, Any] | None
    best: float = field(default=math.nan)
    last: float = field(default=math.nan)

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
        folders = sorted(glob(word, recursive=True)) if has_magic(word) and not Path(word).exists() else [word]  # noqa: PTH207
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
        UserError: it lies in the folder of no task, or its ``config.yaml`` cannot be read.
    """
    task = next((part for part in reversed(path.parts[:-1]) if part in TASKS), None)
    if task is None:
        raise UserError(f"{path}: not below a folder named {' or '.join(TASKS)}, so its task is not known")
    try:
        settings = yaml.safe_load((path / "config.yaml").read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path / 'config.yaml'} cannot be read: {type(error).__name__}; remove this run") from None
    if not isinstance(settings, dict):
        raise UserError(f"{path / 'config.yaml'} is not a configuration; remove this run")
    arguments = {name: value for name, value in _flat(settings).items() if not name.startswith(IGNORED)}
    metrics, notes = _read_metrics(path / "metrics.csv")
    result = None
    if (path / "result.json").is_file():
        try:
            result = json.loads((path / "result.json").read_text())
            float(result["seconds"])
        except (ValueError, KeyError, TypeError):
            result = None
            notes.append(f"{path / 'result.json'} is damaged: the run counts as unfinished")
    name = "/".join(path.parts[len(path.parts) - 1 - path.parts[::-1].index(task) + 1 :])
    return Run(name, task, arguments, metrics, result), notes


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
    if isinstance(value, dict) and "class_path" in value:
        arguments = ", ".join(f"{name}={_shown(one)}" for name, one in (value.get("init_args") or {}).items())
        return f"{value['class_path'].rsplit('.')[-1]}({arguments})"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _read_metrics(path: Path) -> tuple[dict[str, pd.Series[float]], list[str]]:
    """Read Lightning's metrics.csv, whose last line may still be in the writing: whole lines alone."""
    if not path.is_file():
        return {}, [f"{path}: no metrics yet"]
    notes = []
    with path.open(newline="", encoding="utf-8", errors="replace") as stream:
        lines = list(csv.reader(line.replace("\0", "") for line in stream))
    header, *rows = lines or [[]]
    values: dict[str, dict[int, float]] = {name: {} for name in header if name not in ("epoch", "step", "")}
    for number, row in enumerate(rows, 2):
        try:
            cells = dict(zip(header, row, strict=True))
            epoch = int(cells["epoch"]) + 1
            numbers = {name: float(cells[name]) for name in values if cells[name]}
        except (ValueError, KeyError):
            notes.append(f"{path}: line {number} is {'cut' if number == len(lines) else 'damaged'} and left out")
            continue
        for name, value in numbers.items():
            values[name][epoch] = value
    metrics = {name: pd.Series(curve, dtype=float).dropna() for name, curve in values.items()}
    metrics = {name: curve for name, curve in metrics.items() if len(curve)}
    return metrics, notes if metrics else [*notes, f"{path}: no metrics yet"]


def ranked(runs: list[Run], monitor: str, direction: Direction) -> list[Run]:
    """Fill in best and last of the metric that decides, and put the best run first, those without any last."""
    sign = 1 if direction == "min" else -1
    for run in runs:
        curve = run.metrics.get(monitor)
        if curve is not None:
            run.best = float(curve.min() if direction == "min" else curve.max())
            run.last = float(curve.iloc[-1])
    return sorted(
        runs, key=lambda run: (math.isnan(run.best), sign * run.best if run.best == run.best else 0, run.name)
    )


def table_of(runs: list[Run]) -> pd.DataFrame:
    """Tabulate runs in order, with the arguments in which they differ."""
    names = dict.fromkeys(name for run in runs for name in run.arguments)
    differing = [name for name in names if len({run.arguments.get(name, ABSENT) for run in runs}) > 1]
    rows = []
    for run in runs:
        state = {"state": "" if run.result else "unfinished"}
        arguments = {name: run.arguments.get(name, ABSENT) for name in differing}
        rows.append({"run": run.name} | run.row | state | arguments)
    return pd.DataFrame(rows)


def show(table: pd.DataFrame, metric: str) -> None:
    """Print the table: a column an argument where they fit side by side, else all arguments in one."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    def grid(names: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
        grid = Table(header_style="bold", title=f"{len(table)} runs, best {metric} first", title_justify="left")
        for name in names:
            # Folded, so that nothing of a long argument is hidden.
            grid.add_column(Text(name), justify="right" if name in FIXED[1:5] else "left", overflow="fold")
        for row in rows:
            grid.add_row(*(Text(_text(cell)) for cell in row))
        return grid

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    arguments = list(table.columns[len(FIXED) :])
    side_by_side = grid(list(table.columns), table.to_numpy().tolist())
    if Measurement.get(console, console.options.update(width=10**6), side_by_side).maximum <= console.width:
        console.print(side_by_side)
        return
    joined = [" · ".join(f"{name} {row[name]}" for name in arguments) for _, row in table.iterrows()]
    fixed = table[list(FIXED)].to_numpy().tolist()
    console.print(grid([*FIXED, "arguments"], [[*row, text] for row, text in zip(fixed, joined, strict=True)]))


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return ABSENT if math.isnan(cell) else f"{cell:.4g}"
    return str(cell)


def page(runs: list[Run], table: pd.DataFrame, directions: dict[str, Direction], units: dict[str, str]) -> str:
    """Write the page: the curves of every metric, and the table, which sorts; all in one text."""
    from plotly.offline import get_plotlyjs

    arguments = list(table.columns[len(FIXED) :])
    names = dict.fromkeys([*directions, *(name for run in runs for name in run.metrics)])
    metrics = [name for name in names if any(name in run.metrics for run in runs)]
    data = {
        "metrics": [
            {
                "name": name,
                "title": name + (f", {units[name]}" if name in units else ""),
                "better": {"min": "lower is better", "max": "higher is better"}.get(directions.get(name, ""), ""),
            }
            for name in metrics
        ],
        "runs": [
            {
                "name": run.name,
                "colour": COLOURS[number % len(COLOURS)],
                "dash": DASHES[(number + number // len(COLOURS)) % len(DASHES)],
                # plotly reads some HTML in names
                "label": html.escape(run.name),
                "about": "<br>".join(html.escape(f"{a}: {run.arguments.get(a, ABSENT)}") for a in arguments),
                "curves": {
                    name: {"x": curve.index.tolist(), "y": [y if math.isfinite(y) else None for y in curve.tolist()]}
                    for name, curve in run.metrics.items()
                },
            }
            for number, run in enumerate(runs)
        ],
    }
    head = "".join(
        f'<th scope="col"><button type="button">{html.escape(str(name))}</button></th>' for name in table.columns
    )
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_text(cell))}</td>" for cell in row) + "</tr>" for row in table.to_numpy()
    )
    parts = {
        "TITLE": html.escape(f"{len(runs)} runs of {runs[0].task}"),
        "HEAD": head,
        "BODY": body,
        "PLOTLY": get_plotlyjs(),
        "DATA": json.dumps(data).replace("<", "\\u003c"),
    }
    text = (Path(__file__).parent / "compare.html").read_text(encoding="utf-8")
    before, *rest = text.split("@@")  # pieces and names in turn
    return before + "".join(parts[name] + piece for name, piece in zip(rest[::2], rest[1::2], strict=True))


def write(text: str, path: Path, flag: str) -> None:
    """Write a file, whole or not at all.

    Raises:
        UserError: its folder does not exist.
    """
    if not path.parent.is_dir():
        raise UserError(f"{flag} {path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise UserError(f"{flag} {path}: is a folder; give the name of a file")
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"written: {path}")


def main() -> None:
    parser = argparse.ArgumentParser("python -m common.compare", description="Runs side by side, best first.")
    parser.add_argument("runs", nargs="+", help="folders of runs, or a pattern in quotes")
    parser.add_argument("--csv", type=Path, help="also write the table as CSV")
    parser.add_argument("--html", type=Path, help="also write a page with the table and the learning curves")
    arguments = parser.parse_args()
    with exit_on_user_error():
        read = [read_run(path) for path in find_runs(arguments.runs)]
        runs = [run for run, _ in read]
        for note in (note for _, notes in read for note in notes):
            print(f"note: {note}", file=sys.stderr)
        first = {run.task: run.name for run in reversed(runs)}
        if len(first) > 1:
            mixed = " and ".join(f"{task}/{name}" for task, name in sorted(first.items()))
            raise UserError(f"runs of two tasks, such as {mixed}: give the folder of one task")
        task = importlib.import_module(f"{runs[0].task}.metrics")
        runs = ranked(runs, task.MONITOR, task.DIRECTIONS[task.MONITOR])
        table = table_of(runs)
        show(table, task.MONITOR)
        if arguments.csv:
            write(table.to_csv(index=False), arguments.csv, "--csv")
        if arguments.html:
            write(page(runs, table, task.DIRECTIONS, task.UNITS), arguments.html, "--html")


if __name__ == "__main__":
    main()
