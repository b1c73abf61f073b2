"""Read CSV files: those of competitions as text, with errors that name file and row, and those of loggers."""

from __future__ import annotations

import csv
import io
import math
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from common.archives import open_zip
from common.errors import UserError, listed

MAX_BYTES = 256 * 2**20
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # how .xlsx and .xls begin


@dataclass(frozen=True)
class TableFile:
    """A CSV on disk or, if a member is named, inside a zip archive."""

    path: Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)


def read_table(
    path: Path | TableFile, columns: Sequence[str], optional: Sequence[str] | None = None, blank: Sequence[str] = ()
) -> pd.DataFrame:
    """Read a CSV, every cell as text; a byte order mark is skipped. The index counts rows below the header from 0.

    Args:
        path: the table.
        columns: the exact header; with ``optional``, the columns that it must have, in any order.
        optional: columns that a table written by hand may also have. Its cells may be separated by semicolons, and
            rows and columns at its end may be empty, as spreadsheets leave them.
        blank: the columns whose cells may be empty, since they are not used.

    Raises:
        UserError: the file is missing, not UTF-8, not a CSV, empty, has another header, or has an empty cell.
    """
    data = _read_bytes(path if isinstance(path, TableFile) else TableFile(path), columns)
    if data.startswith(WORKBOOKS):
        raise UserError(f"{path}: an Excel workbook or an archive, not a CSV; save it as CSV UTF-8")
    # Not read by pandas, which drops a row's surplus cells and takes minutes for a million columns.
    try:
        text = data.decode("utf-8-sig")
        first = text.partition("\n")[0]
        if re.match("sep=", first, re.IGNORECASE):
            raise UserError(f"{path}: its first line, {first.strip()}, is Excel's own; delete that line")
        delimiter = ";" if optional is not None and ";" in first and "," not in first else ","
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        header = next(lines, [])
        if optional is not None:
            header = _filled([cell.strip() for cell in header])
            _check_header(path, header, columns, optional)
        elif header != list(columns):
            by = next((f"; divide cells by commas, not {sign!r}" for sign in ";\t" if sign in first), "")
            raise UserError(f"{path}: the header is {listed(header)!r}, expected {','.join(columns)!r}{by}")
        cells = {row: line for row, line in enumerate(lines) if line}
        if optional is not None:
            cells = {row: _filled(line, len(header)) for row, line in cells.items() if _filled(line)}
    except UnicodeDecodeError as error:
        what = f"not UTF-8 text ({error.reason} at byte {error.start})"
        raise UserError(f"{path}: {what}; save it as UTF-8 (in Excel: CSV UTF-8)") from None
    except csv.Error as error:
        raise UserError(f"{path}: not a readable CSV ({error})") from None
    if not cells:
        raise UserError(f"{path}: no rows below the header")
    if odd := [row for row, line in cells.items() if len(line) != len(header)]:
        remedy = ""
        if optional is not None:
            remedy = f"; {delimiter!r} divides cells: write decimals with a point, and a name that holds one in quotes"
        raise UserError(f"{path}: {rows(odd)}: not {len(header)} cells ({','.join(header)}){remedy}")
    table = pd.DataFrame(list(cells.values()), index=list(cells), columns=header, dtype=str)
    for column in [column for column in header if column not in blank]:
        if len(empty := table.index[table[column].fillna("").str.strip() == ""]):
            raise UserError(f"{path}: column {column} is empty in {rows(empty)}")
    return table


def _filled(line: list[str], least: int = 0) -> list[str]:
    """Drop empty cells at the end of a row that has more than ``least``."""
    end = len(line)
    while end > least and not line[end - 1].strip():
        end -= 1
    return line[:end]


def _check_header(
    path: Path | TableFile, header: Sequence[str], columns: Sequence[str], optional: Sequence[str]
) -> None:
    known = [*columns, *optional]
    if capitals := [name for name in header if name not in known and name.lower() in known]:
        raise UserError(f"{path}: column {listed(capitals)!r}: write {', '.join(map(str.lower, capitals))}")
    if not {*header} & {*known}:
        by = "; divide cells by commas, not tabs" if any("\t" in name for name in header) else ""
        raise UserError(f"{path}: the header is {listed(header)!r}, expected columns of {', '.join(known)}{by}")
    if missing := [name for name in columns if name not in header]:
        raise UserError(f"{path}: no column {' and no column '.join(missing)} in the header {listed(header)!r}")
    if "" in header:
        raise UserError(f"{path}: column {header.index('') + 1} has no name, such as one of row numbers; remove it")
    if unknown := [name for name in header if name not in known]:
        raise UserError(f"{path}: column {listed(unknown)!r} is none of {', '.join(known)}; rename or remove it")
    if doubled := sorted({name for name in header if header.count(name) > 1}):
        raise UserError(f"{path}: column {listed(doubled)} appears more than once; keep one")


def _read_bytes(file: TableFile, columns: Sequence[str]) -> bytes:
    too_large = f"{file}: over {MAX_BYTES // 2**20} MiB, too large for a table of {', '.join(columns)}"
    if not file.path.is_file():
        raise UserError(f"{file.path}: {'is a folder; give a file' if file.path.is_dir() else 'no such file'}")
    if not file.member:
        if file.path.stat().st_size > MAX_BYTES:
            raise UserError(too_large)
        return file.path.read_bytes()
    with open_zip(file.path) as archive:
        try:
            if archive.getinfo(file.member).file_size > MAX_BYTES:
                raise UserError(too_large)
            return archive.read(file.member)
        except KeyError:
            raise UserError(f"{file}: no such file in the archive") from None
        # damaged, encrypted or packed in a way that Python cannot unpack
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise UserError(f"{file}: cannot be unpacked ({error}); download the archive again") from None


def refuse_doubles(path: Path | TableFile, column: pd.Series) -> None:
    """Raise a :class:`UserError` that names the rows of values that appear more than once."""
    doubled = column[column.duplicated(keep=False)]
    if len(doubled):
        twice = f"{column.name} {listed(sorted(set(doubled)))} appears more than once"
        raise UserError(f"{path}: {twice}, {rows(doubled.index)}")


def rows(index: Iterable[int]) -> str:
    """Name rows by their numbers in a spreadsheet, where the header is row 1."""
    numbers = [row + 2 for row in index]
    return f"row{'s' if len(numbers) > 1 else ''} {listed(numbers)}"


def read_metrics(path: Path) -> tuple[dict[str, pd.Series[float]], list[str]]:
    """Read the complete lines of Lightning's metrics.csv, whose last line may still be being written.

    Returns metric → values by epoch, from 1, several if it is logged more often; and what is wrong, one line per fault.
    """
    if not path.is_file():
        return {}, [f"{path}: no metrics yet"]
    lines = path.read_bytes().decode("utf-8", errors="replace").replace("\r\n", "\n").split("\n")
    # A line that is cut within a number still looks complete; only the missing line break reveals it.
    cut = lines.pop().strip("\r")
    notes = [f"{path}: line {len(lines) + 1} is cut and left out"] if cut else []
    header = _cells(lines[0]) if lines else []
    if doubled := sorted(name for name, times in Counter(header).items() if times > 1):
        return {}, [f"{path}: column {listed(doubled)} appears more than once: no metrics"]
    points: dict[str, list[tuple[int, float]]] = {name: [] for name in header if name not in ("epoch", "step", "")}
    epoch, damaged = 1, []
    for number, line in enumerate(lines[1:], 2):
        try:
            cells = dict(zip(header, _cells(line), strict=True))
            # Callbacks that log only by step leave the epoch empty.
            epoch = int(cells["epoch"]) + 1 if cells["epoch"] else epoch
            numbers = {name: float(cells[name]) for name in points if cells[name]}
        except (ValueError, KeyError):
            damaged.append(number)
            continue
        for name, value in numbers.items():
            points[name].append((epoch, value))
    if damaged:
        word = "line" if len(damaged) == 1 else "lines"
        notes.append(f"{path}: {word} {listed(damaged)} damaged and left out")
    metrics = {}
    for name, curve in points.items():
        if any(not math.isnan(value) for _, value in curve):
            epochs, values = zip(*curve, strict=True)
            metrics[name] = pd.Series(values, index=epochs, dtype=float)
    return metrics, notes if metrics else [*notes, f"{path}: no metrics yet"]


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error:  # such as an unterminated field
        return []
