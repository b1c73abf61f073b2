"""Runs side by side: ``python -m common.compare runs/<task>``, a folder, several, or a pattern in quotes.

One table for each set of held-out rows, best first, with the arguments that differ: in the terminal, as CSV
(``--csv``), or as a page with the learning curves (``--html``) that needs no network.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from common.errors import UserError, exit_on_user_error
from common.files import check_output, replacing
from common.ranking import ABSENT, FIXED, Group, rank, text_of
from common.runs import About, Run, find_runs, read_run
from common.runs_page import page


def read_groups(words: Sequence[str]) -> tuple[list[Group], About]:
    """Read and rank the runs in folders or patterns, and what one says of their metrics; notes go to stderr.

    Raises:
        UserError: there are none, they cannot be read, or they are of two tasks.
    """
    read = [read_run(path) for path in find_runs(words)]
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
    return rank(runs, about["monitor"], about["directions"][about["monitor"]]), about


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
    differing = [name for name in names if len(_values(name, runs)) > 1]
    return pd.DataFrame(
        {"run": run.name, **run.row, "state": run.state}
        | ({"held out": group.rows} if len(groups) > 1 else {})
        | {name: run.arguments.get(name, ABSENT) for name in differing}
        for group in groups
        for run in group.runs
    )


def _values(name: str, runs: Sequence[Run]) -> set[str]:
    """Collect the values of an argument; what a class is given says nothing of runs that do without the class."""
    of_class = any(name.startswith(f"{other}.") for other in {other for run in runs for other in run.arguments})
    return {run.arguments.get(name, ABSENT) for run in runs if not of_class or name in run.arguments}


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
            grid.add_row(*(Text(text_of(name, cell)) for name, cell in zip(table.columns, row, strict=True)))
        return grid

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    shown = grid(table)
    if Measurement.get(console, console.options.update(width=10**6), shown).maximum > console.width:
        arguments = table.columns[len(FIXED) :]
        joined = [" · ".join(f"{name} {row[name]}" for name in arguments) for _, row in table.iterrows()]
        shown = grid(table[list(FIXED)].assign(arguments=joined))
    console.print(shown)


def counted(runs: int) -> str:
    """Say how many runs."""
    return f"{runs} run" if runs == 1 else f"{runs} runs"


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
        groups, about = read_groups(arguments.runs)
        monitor = about["monitor"]
        table = table_of(groups)
        # Files first: piping the table into head closes it halfway.
        if arguments.csv:
            write(table.to_csv(index=False), arguments.csv, "--csv")
        if arguments.html:
            text, notes = page(groups, table, about, arguments.html.parent)
            write(text, arguments.html, "--html")
            for note in notes:
                print(f"note: {note}", file=sys.stderr)
        for group in groups:
            rows = table.iloc[: len(group.runs)]
            table = table.iloc[len(group.runs) :]
            where = f" on {group.rows}" if len(groups) > 1 else ""
            title = f"{counted(len(group.runs))}, best {monitor} first{where}"
            show(rows.drop(columns="held out", errors="ignore"), title)
            for _, line in group.seeds:
                print(line)


if __name__ == "__main__":
    main()
