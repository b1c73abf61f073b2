"""The user's photos whose plants and days are listed in a table next to them, ``photos.csv``.

Columns, in any order: ``photo`` (path relative to the table), ``plant``, ``day`` (a number) or ``date`` (ISO 8601,
with or without a time of day and its offset from UTC; or 2024-05-31 10:15 PM), and, if there are several, ``species``.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath, PureWindowsPath

import pandas as pd

from common.errors import UserError, listed
from common.image_files import ImageFile
from common.tables import read_table, refuse_doubles, rows
from growth.days import fault_of_number
from growth.names import refuse_dates_as_numbers, refuse_other_days
from growth.words import with_dashes

PHOTOS = "photos.csv"
# As pandas, R, databases, spreadsheets and people write it.
MISSING = (
    *("nan", "nat", "na", "n/a", "n.a.", "<na>", "none", "null", "missing", "unknown", "(blank)", "tbd", "k.a."),
    *("?", "??", "???", "-", "--", "–", "—", "ditto", "idem", '"', "〃", "同上"),
)
SECONDS_OF_A_DAY = 86400
_NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}(?:-[0-9]{2}-[0-9]{2}|[0-9]{4})"
    # An hour without minutes has no offset, which may be the minutes: 10-15.
    r"(?P<time>[T ][0-9]{2}(?![+-])(?::?[0-9]{2}(?::?[0-9]{2}(?:\.[0-9]+)?)?)?"
    r"(?P<offset>Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_HALF_DAY = re.compile(
    r"(?P<date>.*[T ])(?P<hour>0?[1-9]|1[0-2])(?P<rest>(?::[0-9]{2}){0,2})\s?(?P<half>[AP])\.?M\.?", re.IGNORECASE
)
_YEAR_FIRST = re.compile(
    r"((?:19|20)[0-9]{2})([-/.:]) ?([0-9]{1,2})\2 ?([0-9]{1,2})\.?(?:[T ](?:(?P<hour>[0-9])(?=:))?(?P<time>.*))?"
)
_EITHER = re.compile(r"([0-9]{1,2})([-/.])([0-9]{1,2})\2((?:19|20)?[0-9]{2})(?![0-9])(?P<rest>.*)")
_DECIMAL_COMMA = re.compile(r"-?[0-9]*,[0-9]+")


def read_photo_table(root: Path, found: Mapping[str, ImageFile]) -> pd.DataFrame:
    """Read ``photos.csv``: file, path, where (its row), species, plant and day of each photo.

    Args:
        root: the folder of the table.
        found: the photos under it, by relative path.

    Raises:
        UserError: a row names none of these photos, or one that another row names; a cell is empty, is not a path,
            number or date, or is ambiguous.
    """
    path = root / PHOTOS
    table = read_table(path, ["photo", "plant"], optional=["day", "date", "species"])
    if given := [name for name in ("day", "date") if name in table]:
        if len(given) == 2:
            raise UserError(f"{path}: columns day and date may tell two days of one photo; keep one of them")
    else:
        raise UserError(f"{path}: neither a column day (a number) nor a column date (such as 2024-05-31); add one")
    table["path"] = [clean_path(text) for text in table["photo"]]
    refuse(path, table["photo"], lambda text: "" if clean_path(text) else f"give the path from {root}, without ..")
    refuse_doubles(path, table["path"].rename("photo"))
    if len(absent := table[~table["path"].isin(found.keys())]):
        passed = [name for name in absent["path"] if (root / name).is_file()]
        why = f"; {passed[0]} is none by its suffix, or lies where fits write" if passed else ""
        raise UserError(f"{path}: {rows(absent.index)}: no such photo in {root}: {listed(absent['path'])}{why}")
    table["file"] = table["path"].map(found.__getitem__)
    table["where"] = [rows([row]) for row in table.index]
    if "species" not in table:
        table["species"] = ""
    days_of = _days if "day" in table else _days_of_dates
    table["day"] = days_of(path, table["plant"], table[given[0]])
    for name in ("plant", "species"):
        refuse(path, table[name], _fault_of_name)
    refuse_other_days(path, table)
    return table


def clean_path(text: str) -> str:
    """Return a path with ``/`` between folders, like those of found photos; empty if it is absolute or leads outside.

    Windows writes ``\\``, which is rare in names: a file with one in its name is not found.
    """
    path = PurePosixPath(unicodedata.normalize("NFC", text.strip()).replace("\\", "/"))
    inside = not path.is_absolute() and not PureWindowsPath(text.strip()).drive and ".." not in path.parts
    return str(path) if inside and path.parts else ""


def refuse(path: Path, column: pd.Series, fault: Callable[[str], str]) -> None:
    """Raise a :class:`UserError` that names the rows whose cell has a ``fault``, and says what it is."""
    said = [(row, text, fault(text)) for row, text in zip(column.index, column, strict=True)]
    if faults := [f"{rows([row])}: {column.name} {text} ({why})" for row, text, why in said if why]:
        raise UserError(f"{path}: {listed(faults, most=3)}")


def _fault_of_name(text: str) -> str:
    text = text.strip()
    if any(unicodedata.category(sign) == "Cc" for sign in text):
        return f"holds a control character, {text!r}; remove it"
    # #REF!, #¿NOMBRE? in Spanish, #NV in German, Err:502 in LibreOffice, and #### where a column is too narrow
    failed = r"#(N/.|NV|[¡¿]?[A-ZÀ-Ü/0]+[!?]|#+)|Err:[0-9]+|Loading(\.\.\.|…)|=.*"
    if text.casefold() in MISSING or re.fullmatch(failed, text, re.IGNORECASE):
        return "may be a missing value, or a name; fill it in, or give it another name"
    if re.fullmatch(r"[0-9]+([.,][0-9]+)?E[+-][0-9]+", text, re.IGNORECASE):
        return "may be a number that a spreadsheet has rounded; show the column as text there, and save it again"
    return ""


def _days(path: Path, plant: pd.Series, column: pd.Series) -> pd.Series:
    column = column.str.strip()
    refuse(path, column, _fault_of_day)
    refuse_dates_as_numbers(path, plant, column, "write dates like 2024-05-31 into a column date")
    return column.astype(float)


def _fault_of_day(text: str) -> str:
    if _DECIMAL_COMMA.fullmatch(text):
        return f"may be {text.replace(',', '.')} or {text.replace(',', '')}; write decimals with a point"
    if not _NUMBER.fullmatch(text):
        return "not a number such as 7 or 7.25"
    fault = fault_of_number(float(text))
    return f"{fault}; dates stand in a column date" if fault else ""


def _days_of_dates(path: Path, plant: pd.Series, column: pd.Series) -> pd.Series:
    """Turn dates into days since the first of each plant, in UTC if they state their offset from it."""
    column = column.str.strip()
    of_12_hours = column.str.fullmatch(_HALF_DAY)
    column = column.map(_as_iso)
    refuse(path, column, _fault_of_date)
    matches = [match.groupdict() for text in column if (match := _DATE.fullmatch(text))]
    forms = pd.DataFrame(matches, index=column.index).notna()
    offset = forms["offset"]
    if offset.any() and not offset.all():
        with_offset, without = (rows(column.index[kind]) for kind in (offset, ~offset))
        raise UserError(f"{path}: dates with an offset from UTC ({with_offset}) and without ({without}); give all one")
    for forms_of, called in ((forms["time"], "dates with a time of day"), (of_12_hours, "times with AM or PM")):
        for name, has in forms_of.groupby(plant):
            if has.any() and not has.all():
                with_it, without = (rows(has.index[kind]) for kind in (has, ~has))
                raise UserError(f"{path}: plant {name} has {called} ({with_it}) and without ({without}); give all one")
    moments = column.map(_moment)
    return (moments - moments.groupby(plant).transform("min")).dt.total_seconds() / SECONDS_OF_A_DAY


def _as_iso(text: str) -> str:
    """Write 2024-05-31 10:15 PM as 2024-05-31 22:15, and 2024/5/31 9:15 UTC as 2024-05-31T09:15Z."""
    given = text
    text = re.sub(r"((?:19|20)[0-9]{6})[_ ]?([0-9]{4}(?:[0-9]{2})?)", r"\1T\2", with_dashes(text))
    text = re.sub(r" (오[전후]) ?(.*)", lambda half: f" {half[2]} {'PM' if half[1] == '오후' else 'AM'}", text)
    if match := _YEAR_FIRST.fullmatch(text):
        year, month, day, time = match[1], match[3].zfill(2), match[4].zfill(2), match["time"] or ""
        time = (f"0{match['hour']}" if match["hour"] else "") + re.sub(r" (?=[+-][0-9])| ?UTC$", "", time)
        text = f"{year}-{month}-{day}" + f"T{time}" * bool(time) + "Z" * text.endswith("UTC")
    if match := _HALF_DAY.fullmatch(text):
        hour = int(match["hour"]) % 12 + 12 * (match["half"] in "pP")
        text = f"{match['date']}{hour:02}{match['rest']}"
    return text if _DATE.fullmatch(text) else given


def _fault_of_date(text: str) -> str:
    if _DATE.fullmatch(text):
        try:
            _moment(text)
        except (ValueError, OverflowError) as error:
            wrong = "its offset from UTC is a day or more" if "timedelta" in str(error) else str(error)
            return wrong.partition(", not datetime")[0]
        return ""
    readings = set()
    if match := _EITHER.fullmatch(text):
        first, second, last = int(match[1]), int(match[3]), int(match[4])
        years = [(last, second, first), (last, first, second)] + [(first, second, last)] * (last < 100)
        for year, month, day in years:
            with contextlib.suppress(ValueError):
                readings.add(f"{datetime(year + 2000 * (year < 100), month, day):%Y-%m-%d}")
    if len(readings) > 1:
        return f"may be {' or '.join(sorted(readings))}; write it like these"
    if readings:
        timed = ", with the time as in 2024-05-31T10:15" if match and match["rest"].strip() else ""
        return f"write {readings.pop()}{timed}"
    if re.fullmatch(r"[0-9]{5}(\.[0-9]+)?", text):
        return "may be Excel's number of a date; show the column as yyyy-mm-dd there, and save it again"
    return "not a date such as 2024-05-31, 2024-05-31T10:15 or 2024-05-31T10:15+09:00"


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
