"""Runs side by side: ``python -m common.compare runs/<task>``, a folder, several, or a pattern in quotes.

One table for each set of held-out rows, best first, with the arguments that differ: in the terminal, as CSV
(``--csv``), or as a page with the learning curves (``--html``) that needs no network.
"""

from __future__ import annotations

import argparse
import html
import json
import math
import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

import pandas as pd

from common.errors import UserError, exit_on_user_error
from common.files import check_output, replacing
from common.plots import COLOURS
from common.ranking import Group, rank
from common.runs import About, Run, find_runs, read_run

ABSENT = "–"
FIXED = ("run", "best", "last", "epochs", "minutes", "state")
LONGEST = 36  # letters of a name in the legend, and of a cell in one line
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def tell_apart(runs: Sequence[Run]) -> None:
    """Name runs by their path below the folder that they share, where two of them have one name."""
    if len({run.name for run in runs}) < len(runs):
        shared = os.path.commonpath([run.path.parent.parent for run in runs])
        for run in runs:
            run.name = run.path.relative_to(shared).as_posix()


def table_of(groups: list[Group]) -> pd.DataFrame:
    """Tabulate runs in order, with the arguments in which they differ, and what was held out where that differs."""
    runs = [run for group in groups for run in group.runs]
    names = dict.fromkeys(name for run in runs for name in run.arguments)
    differing = [name for name in names if len({run.arguments.get(name, ABSENT) for run in runs}) > 1]
    return pd.DataFrame(
        {"run": run.name, **run.row, "state": run.state}
        | ({"held out": group.rows} if len(groups) > 1 else {})
        | {name: run.arguments.get(name, ABSENT) for name in differing}
        for group in groups
        for run in group.runs
    )


def show(table: pd.DataFrame, title: str) -> None:
    """Print a table: a column an argument where they fit side by side, else all arguments in one."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    def grid(table: pd.DataFrame) -> Table:
        grid = Table(header_style="bold", title=title, title_justify="left")
        for name in table.columns:
            # Folded, so that nothing of a long argument is hidden.
            grid.add_column(Text(name), justify="right" if name in FIXED[1:5] else "left", overflow="fold")
        for row in table.to_numpy().tolist():
            grid.add_row(*(Text(_text(name, cell)) for name, cell in zip(table.columns, row, strict=True)))
        return grid

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    shown = grid(table)
    if Measurement.get(console, console.options.update(width=10**6), shown).maximum > console.width:
        arguments = table.columns[len(FIXED) :]
        joined = [" · ".join(f"{name} {row[name]}" for name in arguments) for _, row in table.iterrows()]
        shown = grid(table[list(FIXED)].assign(arguments=joined))
    console.print(shown)


def _text(name: object, cell: object) -> str:
    if isinstance(cell, float):
        return ABSENT if math.isnan(cell) else f"{cell:.1f}" if name == "minutes" else f"{cell:#.4g}"
    return str(cell)


def _counted(runs: int) -> str:
    return f"{runs} run" if runs == 1 else f"{runs} runs"


def _find(metric: str, patterns: Mapping[str, str]) -> str:
    """Look up a metric among names that may contain an asterisk; empty if it is not there."""
    return next((value for pattern, value in patterns.items() if fnmatch(metric, pattern)), "")


def _middle_cut(name: str) -> str:
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[: half - 1]}…{name[-half:]}"


def page(runs: list[Run], table: pd.DataFrame, about: About) -> str:
    """Make the page: the curves of every metric, and the table, which sorts; all in one text."""
    from plotly.offline import get_plotlyjs

    def cell_of(name: object, cell: object) -> str:
        text = _text(name, cell)
        return f"<td{' class=long' if len(text) > LONGEST else ''}>{html.escape(text)}</td>"

    def metric_of(name: str) -> dict[str, str]:
        # The unit of a loss depends on which one it is: none where runs differ.
        units = {_find(name, run.about["units"]) for run in runs if "units" in run.about and name in run.metrics}
        unit, direction = units.pop() if len(units) == 1 else "", _find(name, about["directions"])
        better = {"min": " (lower is better)", "max": " (higher is better)", "": ""}[direction]
        return {"name": name, "title": f"{name}, {unit}" if unit else name, "better": better}

    def curve_of(values: pd.Series[float]) -> dict[str, list[object]]:
        last = values[~values.index.duplicated(keep="last")]  # of each epoch
        return {"x": last.index.tolist(), "y": [y if math.isfinite(y) else None for y in last.tolist()]}

    def run_of(number: int, run: Run) -> dict[str, object]:
        settings = (f"{name}: {run.arguments.get(name, ABSENT)}" for name in table.columns[len(FIXED) :])
        lines = [html.escape(line) for setting in settings for line in textwrap.wrap(setting, 80)]
        return {
            "colour": COLOURS[number % len(COLOURS)],
            "dash": DASHES[(number + number // len(COLOURS)) % len(DASHES)],
            "label": html.escape(_middle_cut(run.name)),  # plotly reads some HTML in names
            "about": [f"<b>{html.escape(run.name)}</b>", *lines],  # hover text
            "curves": {name: curve_of(values) for name, values in run.metrics.items()},
        }

    logged = {name for run in runs for name in run.metrics}
    names = dict.fromkeys([*about["directions"], *(name for run in runs for name in run.metrics)])
    metrics = [metric_of(name) for name in names if name in logged]
    data = {"metrics": metrics, "runs": [run_of(number, run) for number, run in enumerate(runs)]}
    headings = (html.escape(str(name)) for name in table.columns)
    body = "".join("<tr>" + "".join(map(cell_of, table.columns, row)) + "</tr>" for row in table.to_numpy())
    parts = {
        "TITLE": html.escape(f"{_counted(len(runs))} of {runs[0].task}, best {about['monitor']} first"),
        "HEAD": "".join(f'<th scope="col"><button type="button">{name}</button></th>' for name in headings),
        "BODY": body,
        "PLOTLY": get_plotlyjs(),
        "DATA": json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
    }
    text = (Path(__file__).parent / "compare.html").read_text(encoding="utf-8")
    before, *rest = text.split("@@")  # pieces and names in turn
    return before + "".join(parts[name] + piece for name, piece in zip(rest[::2], rest[1::2], strict=True))


def write(text: str, path: Path, flag: str) -> None:
    """Write a file, whole or not at all; a :class:`UserError` if the file system refuses it."""
    try:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{flag} {path}: {error.strerror}; give another file") from None
    print(f"written: {path}")


def main() -> None:
    parser = argparse.ArgumentParser("python -m common.compare", description="Runs side by side, best first.")
    parser.add_argument("runs", nargs="+", help="folders of runs, or a pattern in quotes")
    parser.add_argument("--csv", type=Path, help="also write the table as CSV")
    parser.add_argument("--html", type=Path, help="also write a page with the table and the learning curves")
    arguments = parser.parse_args()
    with exit_on_user_error():
        for path, flag in ((arguments.csv, "--csv"), (arguments.html, "--html")):
            if path is not None:
                check_output(path, flag)
        if arguments.csv and arguments.html and arguments.csv.resolve() == arguments.html.resolve():
            raise UserError(f"--csv and --html are both {arguments.csv}; give two files")
        read = [read_run(path) for path in find_runs(arguments.runs)]
        runs = [run for run, _ in read]
        for note in (note for _, notes in read for note in notes):
            print(f"note: {note}", file=sys.stderr)
        first = {run.task: str(run.path) for run in reversed(runs)}
        if len(first) > 1:
            two = " and ".join(sorted(first.values()))
            raise UserError(f"runs of two tasks, such as {two}: give those of one task")
        tell_apart(runs)
        # Runs of earlier versions do not say which metric decides; others do, or the results of finished ones.
        about = next((run.about for run in runs if "units" in run.about), None)
        about = about or next((run.about for run in runs if run.about["monitor"]), None)
        if about is None:
            raise UserError(f"{runs[0].path}: made by an earlier version and unfinished; give it beside a finished run")
        monitor = about["monitor"]
        groups = rank(runs, monitor, about["directions"][monitor])
        table, runs = table_of(groups), [run for group in groups for run in group.runs]
        # Files first: piping the table into head closes it halfway.
        if arguments.csv:
            write(table.to_csv(index=False), arguments.csv, "--csv")
        if arguments.html:
            write(page(runs, table, about), arguments.html, "--html")
        for group in groups:
            rows = table.iloc[: len(group.runs)]
            table = table.iloc[len(group.runs) :]
            where = f" on {group.rows}" if len(groups) > 1 else ""
            title = f"{_counted(len(group.runs))}, best {monitor} first{where}"
            show(rows.drop(columns="held out", errors="ignore"), title)
            for line in group.seeds:
                print(line)


if __name__ == "__main__":
    main()
