"""Runs side by side: ``python -m common.compare runs/<task>``, a folder, several, or a pattern in quotes.

One table for each set of held-out rows, best first, with the arguments that differ: in the terminal, as CSV
(``--csv``), or as a page with the learning curves (``--html``) that needs no network.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from common.compare_page import page
from common.errors import counted, exit_on_user_error
from common.files import check_output, write_text
from common.ranking import FIXED, read_groups, table_of, text_of


def show(table: pd.DataFrame, title: str) -> None:
    """Print a table, with a column for each argument if they fit side by side, otherwise with one column for all."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    def grid(table: pd.DataFrame) -> Table:
        grid = Table(header_style="bold", title=title, title_justify="left")
        for name in table.columns:
            # Folded, so that long arguments are shown in full.
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


def write(text: str, path: Path) -> None:
    """Write a file, whole or not at all, and say so."""
    write_text(path, text)
    print(f"written: {path}")


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m common.compare", description="Runs side by side, best first.", allow_abbrev=False
    )
    parser.add_argument("runs", nargs="+", help="folders of runs, or a pattern in quotes")
    parser.add_argument("--csv", type=Path, help="also write the table as CSV")
    parser.add_argument("--html", type=Path, help="also write a page with the table and the learning curves")
    arguments = parser.parse_args()
    with exit_on_user_error():
        for path, flag in ((arguments.csv, "--csv"), (arguments.html, "--html")):
            if path is not None:
                check_output(path, flag, flag.replace("--", "."))
        groups, about = read_groups(arguments.runs)
        monitor = about["monitor"]
        table = table_of(groups)
        # Files first, since piping the table into head closes it halfway.
        if arguments.csv:
            write(table.to_csv(index=False), arguments.csv)
        if arguments.html:
            text, notes = page(groups, table, about, arguments.html.parent)
            write(text, arguments.html)
            for note in notes:
                print(f"note: {note}", file=sys.stderr)
        for group in groups:
            rows, table = table.iloc[: len(group.runs)], table.iloc[len(group.runs) :]
            rows = rows.loc[:, [name in FIXED or rows[name].nunique() > 1 for name in rows]]
            where = f" on {group.rows}" if len(groups) > 1 else ""
            title = f"{counted(len(group.runs), 'run')}, best {monitor} first{where}"
            show(rows, title)
            for _, line in group.seeds:
                print(line)


if __name__ == "__main__":
    main()
