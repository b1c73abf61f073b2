"""Reading the competitions' CSV files: as text, with errors that name file and row."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from common.errors import UserError, listed

MAX_BYTES = 256 * 2**20


def read_table(path: Path, columns: list[str]) -> pd.DataFrame:
    """Read a CSV whose header must be ``columns``, every cell as text; a byte order mark is passed over.

    Raises:
        UserError: the file is absent, not UTF-8, not a CSV, empty, of another header, or has an empty cell.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path}: over {MAX_BYTES // 2**20} MiB, too large for a table of {', '.join(columns)}")
    try:
        header = pd.read_csv(path, nrows=0, encoding="utf-8-sig").columns[: len(columns) + 1].tolist()
        if header != columns:
            raise UserError(f"{path}: the header is {listed(header)!r}, expected {','.join(columns)!r}")
        # index_col=False: a row with one cell too many would otherwise shift all columns
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"{path}: not a readable CSV ({reason})") from None
    if table.empty:
        raise UserError(f"{path}: no rows below the header")
    for column in columns:
        blank = table.index[table[column].fillna("").str.strip() == ""]
        if len(blank):
            raise UserError(f"{path}: column {column} is empty in {rows(blank)}")
    return table


def refuse_doubles(path: Path, column: pd.Series) -> None:
    """Raise a :class:`UserError` that names the rows of values standing more than once."""
    doubled = column[column.duplicated(keep=False)]
    if len(doubled):
        raise UserError(
            f"{path}: {column.name} {listed(sorted(set(doubled)))} stands more than once, {rows(doubled.index)}"
        )


def rows(index: pd.Index) -> str:
    """Name rows as a spreadsheet numbers them, the header being row 1."""
    return f"row{'s' if len(index) > 1 else ''} {listed(index + 2)}"
