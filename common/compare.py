"""Runs side by side: ``python -m common.compare runs/<task>``, a folder, several, or a pattern in quotes.

One table of all runs below, best first, with the arguments that differ: in the terminal, as CSV (``--csv``), or as a
page with the learning curves (``--html``) that needs no network.
"""

from __future__ import annotations

import argparse
import html
import json
import math
import sys
import textwrap
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path

import pandas as pd

from common.errors import UserError, exit_on_user_error
from common.files import check_output, replacing
from common.plots import COLOURS, Direction
from common.runs import Run, find_runs, read_run, tell_apart

ABSENT = "–"
FIXED = ("run", "best", "last", "epochs", "minutes", "state")
LONGEST = 36  # letters of a name in the legend, and of a cell in one line
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


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
        grid = Table(header_style="bold", title=f"{_counted(len(table))}, best {metric} first", title_justify="left")
        for name in names:
            # Folded, so that nothing of a long argument is hidden.
            grid.add_column(Text(name), justify="right" if name in FIXED[1:5] else "left", overflow="fold")
        for row in rows:
            grid.add_row(*(Text(_text(name, cell)) for name, cell in zip(names, row, strict=True)))
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


def _text(name: object, cell: object) -> str:
    if isinstance(cell, float):
        return ABSENT if math.isnan(cell) else f"{cell:.1f}" if name == "minutes" else f"{cell:#.4g}"
    return str(cell)


def _counted(runs: int) -> str:
    return f"{runs} run" if runs == 1 else f"{runs} runs"


def _find(metric: str, patterns: dict[str, str] | dict[str, Direction]) -> str:
    """Look up a metric among names that may hold an asterisk; nothing if it is not there."""
    return next((value for pattern, value in patterns.items() if fnmatch(metric, pattern)), "")


def _middle_cut(name: str) -> str:
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[: half - 1]}…{name[-half:]}"


def page(
    runs: list[Run], table: pd.DataFrame, monitor: str, directions: dict[str, Direction], units: dict[str, str]
) -> str:
    """Make the page: the curves of every metric, and the table, which sorts; all in one text."""
    from plotly.offline import get_plotlyjs

    def cell_of(name: object, cell: object) -> str:
        text = _text(name, cell)
        return f"<td{' class=long' if len(text) > LONGEST else ''}>{html.escape(text)}</td>"

    def last_of_epoch(curve: pd.Series[float]) -> pd.Series[float]:
        return curve[~curve.index.duplicated(keep="last")]

    arguments = list(table.columns[len(FIXED) :])
    names = dict.fromkeys([*directions, *(name for run in runs for name in run.metrics)])
    metrics = [name for name in names if any(name in run.metrics for run in runs)]
    data = {
        "metrics": [
            {
                "name": name,
                "title": name + (f", {unit}" if (unit := _find(name, units)) else ""),
                "better": {"min": " (lower is better)", "max": " (higher is better)", "": ""}[_find(name, directions)],
            }
            for name in metrics
        ],
        "runs": [
            {
                "colour": COLOURS[number % len(COLOURS)],
                "dash": DASHES[(number + number // len(COLOURS)) % len(DASHES)],
                # plotly reads some HTML in names
                "label": html.escape(_middle_cut(run.name)),
                "about": [f"<b>{html.escape(run.name)}</b>", *_about(run, arguments)],
                "curves": {
                    name: {"x": curve.index.tolist(), "y": [y if math.isfinite(y) else None for y in curve.tolist()]}
                    for name, curve in ((name, last_of_epoch(curve)) for name, curve in run.metrics.items())
                },
            }
            for number, run in enumerate(runs)
        ],
    }
    head = "".join(
        f'<th scope="col"><button type="button">{html.escape(str(name))}</button></th>' for name in table.columns
    )
    body = "".join("<tr>" + "".join(map(cell_of, table.columns, row)) + "</tr>" for row in table.to_numpy())
    parts = {
        "TITLE": html.escape(f"{_counted(len(runs))} of {runs[0].task}, best {monitor} first"),
        "HEAD": head,
        "BODY": body,
        "PLOTLY": get_plotlyjs(),
        "DATA": json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
    }
    text = (Path(__file__).parent / "compare.html").read_text(encoding="utf-8")
    before, *rest = text.split("@@")  # pieces and names in turn
    return before + "".join(parts[name] + piece for name, piece in zip(rest[::2], rest[1::2], strict=True))


def _about(run: Run, arguments: Sequence[str]) -> list[str]:
    """List the arguments that differ for the eye of the mouse, in lines that fit the page."""
    lines = (textwrap.wrap(f"{name}: {run.arguments.get(name, ABSENT)}", 80) for name in arguments)
    return [html.escape(line) for wrapped in lines for line in wrapped]


def write(text: str, path: Path, flag: str) -> None:
    """Write a file, whole or not at all.

    Raises:
        UserError: the file system refuses it.
    """
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
            raise UserError(
                f"runs of two tasks, such as {' and '.join(sorted(first.values()))}: give those of one task"
            )
        tell_apart(runs)
        # Runs of earlier versions do not say what decides; others do, or the results of finished ones.
        about = next((run.about for run in runs if "units" in run.about), None)
        about = about or next((run.about for run in runs if "monitor" in run.about), None)
        if about is None:
            raise UserError(f"{runs[0].path}: made by an earlier version and unfinished; give it beside a finished run")
        monitor, directions, units = about["monitor"], about["directions"], about.get("units", {})
        runs = ranked(runs, monitor, directions[monitor])
        table = table_of(runs)
        # Files first: who pipes the table into head closes it half-way.
        if arguments.csv:
            write(table.to_csv(index=False), arguments.csv, "--csv")
        if arguments.html:
            write(page(runs, table, monitor, directions, units), arguments.html, "--html")
        show(table, monitor)


if __name__ == "__main__":
    main()
