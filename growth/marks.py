"""Find the numbers and dates in the name of one photo, and what each may mean."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from growth.words import CAMERAS, COUNTED, HALF, MONTHS, OF_A_MOMENT, UNITS, with_dashes

MAX_DAY = 100_000  # 273 years; larger numbers mean something else

# A date (2024-05-31, 2024.5.31, 20240531, 31-05-2024), optionally followed by a time of a clock of 12 hours (1.15 PM,
# 0115PM, 9 AM) or of 24 (1015, 101500, 101500123, 10.15, 10-15-00, T10); otherwise a number. After a time with seconds,
# phones write milliseconds or number copies (101500_123, 101500~2, 101500(1)), which say nothing more about the day.
_MARK = re.compile(
    r"""(?<![0-9])
    (?: (?P<year>(?:19|20)[0-9]{2}) (?P<a>[-_. ]) (?P<month>[0-9]{1,2}) (?P=a) (?P<day>[0-9]{1,2})
      | (?P<compact>(?:19|20)[0-9]{6})
      | (?P<first>[0-9]{1,2}) (?P<b>[-_. ]) (?P<second>[0-9]{1,2}) (?P=b) (?P<last>(?:19|20)[0-9]{2}) )
    (?P<time> (?:[T\s_.-]|AT|,\s) [0-9]{1,2}
        (?: (?:(?:[-_.:h][0-9]{2}){1,2}(?:[.,][0-9]+)?|[0-9]{4}) [\W_]* | (?:[0-9]{2})? \s* ) (?P<h> HALF )
      | [\s_] 오[전후] \s? [0-9]{1,2} (?:[-_.:][0-9]{2}){1,2}
      | (?: [T\s_.-]? (?!(?:19|20)[0-9]{2}[-_. ][0-9]) HOUR SIXTY (?P<s> SIXTY (?:[0-9]{3})? )?
          | (?:[T\s_]|AT) HOUR [-.:h] SIXTY (?![-.:]?[0-9])
          | (?:[T\s_.-]|AT) HOUR (?P<c>[-_.:]) SIXTY (?P=c) SIXTY (?: [.,][0-9]+ )?
          | T HOUR ) (?![\W_]* HALF) )?
    (?P<mark> (?(s)|(?(c)|(?(h)|(?!)))) (?: [-_\s]0?[0-9]{3} | ~[0-9]+ | \s?\([0-9]+\) ) )?
    (?![0-9])
    | [\d²³¹⁰-⁹₀-₉①-⑳]+""".replace("HOUR", "(?:[01][0-9]|2[0-3])")
    .replace("SIXTY", "[0-5][0-9]")
    .replace("AT", r"\s(?:at|um|à)\s")
    .replace("HALF", HALF),
    re.VERBOSE | re.IGNORECASE,
)
# A number beside a word is a day only if the word says so, since it may count anything.
_WORD_BEFORE = re.compile(r"[^\W\d_][\W_]*\Z")
_WORD_AFTER = re.compile(r"[\W_]*[^\W\d_]")
_TIME = rf"(?:{UNITS}|{MONTHS})"
_TIME_BESIDE = re.compile(
    rf"(?<![^\W\d_]){_TIME}[ _.-]*[0-9]|[0-9][ _.-]*(?:st|nd|rd|th)?[ _.-]*{_TIME}(?![^\W\d_])|"
    r"[0-9][ _.-]*(?:개?월|[일주차月日天週周])|주[ _.-]*[0-9]",
    re.IGNORECASE,
)
# Words that make a day one before, not after, an event, beside what marks it as a day.
_EARLIER_BEFORE = re.compile(r"(?<![^\W\d_])(?:pre|before|vor|avant|antes)[\W_]*(?:days?|d)?[\W_]*\Z", re.IGNORECASE)
_EARLIER_AFTER = re.compile(r"[\W_]*(?:days?|d)[\W_]*(?:before|prior|ago|left)(?![^\W\d_])", re.IGNORECASE)
# A dash may be a minus sign, unless a 0 follows.
# A small d alone only with few digits, since D7000 is a camera, 12D a place, and letters and digits mix in identifiers.
_CALLED_DAY = re.compile(
    r"(?:(?<![a-z])(?P<word>dat|day|das|dap)(?:[ _]?|-(?=0))(?P<day>[0-9]{1,6})(?![0-9])|"
    r"(?<![^\W_])(?P<d>(?-i:d))(?P<few>[0-9]{1,3})(?![^\W_])|"
    r"(?<![^\W_])(?<!\.)(?P<number>[0-9]{1,3})[ _-]?(?P<unit>(?-i:d)|days?|dat|das|dap)(?![^\W\d_]|[ _-]*[0-9]))",
    re.IGNORECASE,
)
_ZONE = re.compile(
    r"(?:[\W_]*(?!Z))?(Z|UTC|GMT|(?:[CEMP]|AK|H)[SD]T|WET|[CE]ES?T|[BIJK]ST|(?:AE|AC|AW|NZ)[SD]T)(?![^\W_])"
)
_DAY_AFTER = re.compile(r"[ _-]?(?:(?P<since>dat|das|dap)|d|days?|일차?)(?![^\W\d_])", re.IGNORECASE)
_DAY_BEFORE = re.compile(r"(?<![a-z])(?:(?P<since>dat|das|dap)|day|d)[ _-]?\Z", re.IGNORECASE)


# What phones and cameras write before the number of a photo; beside a date, it says nothing about the day.
_COUNTER = re.compile(rf"(?<![^\W\d_])(?:WA|BURST|RAW-|(?:{CAMERAS})[_-]?)\Z", re.IGNORECASE)
# Forms of dates without separators, by their length.
_COMPACT = {4: ("%m%d%Y", "%d%m%Y"), 6: ("%y%m%d", "%d%m%y", "%m%d%y"), 8: ("%d%m%Y", "%m%d%Y")}


@dataclass(frozen=True)
class Mark:
    """A number or a date in a name."""

    text: str  # as written, a number with the letters before it
    readings: dict[str, int | datetime]  # the possible meanings, in words, with the day or moment of each; may be empty
    dated: bool  # whether it is written as a date
    time: str = ""  # the time of day that follows the date, as written; empty if there is none
    clock: str = "no time of day"  # whether there is a time, and of which time zone, in words
    doubt: str = ""  # why the time is uncertain, and left out of the reading; empty if it is certain
    dash: bool = False  # whether the number follows a dash, which may be a minus sign
    named: bool = False  # whether a word beside the number marks it as a day
    since: str = ""  # DAT, DAS or DAP beside the number: days after transplanting or treatment, sowing, planting


class Told(NamedTuple):
    """The day that a name states unambiguously."""

    text: str  # as written
    form: str  # "date", or the word that marks a number as a day, in small letters; others count from elsewhere
    day: float  # for a date, the days since year 1
    clock: str = ""  # whether a date has a certain time of day, and of which time zone, in words; empty if it has none


def find_marks(species: str, plant: str, stem: str) -> list[Mark]:
    """Find the numbers and dates in a name after the names of its folders, or in all of it if none follow."""
    counted = COUNTED.fullmatch(plant)
    stem, species, plant = with_dashes(stem), *(re.escape(with_dashes(name)) for name in (species, plant))
    names = (
        rf"{name}(?!(?<=[0-9]){'[.,]?' * name.isdecimal()}[0-9])"
        for name in (plant, rf"{species}[\W_]*{plant}", species)
    )
    # P1 does not begin P10, nor 1 begin 1.5.
    folders = [] if counted else [re.match(name, stem, re.IGNORECASE) for name in names]
    start = max((folder.end() for folder in folders if folder), default=0)
    found = list(_MARK.finditer(stem))
    marks = {mark: _mark(mark, stem, start) for mark in [mark for mark in found if mark.end() > start] or found}
    dated = any(mark.dated for mark in marks.values())
    return [mark for at, mark in marks.items() if not (dated and _COUNTER.search(stem[: at.start()])) or mark.dated]


def unambiguous_day(stem: str) -> Told | None:
    """Return the day that a name states unambiguously: its only date, or else its only number marked as a day."""
    if dates := [mark for mark in find_marks("", "", stem) if mark.dated]:
        readings = [(mark, day) for mark in dates for day in mark.readings.values() if isinstance(day, datetime)]
        if len(readings) != 1:
            return None
        mark, day = readings[0]
        clock = mark.clock if mark.time and not mark.doubt else ""
        return Told(mark.text, "date", (day - datetime.min) / timedelta(days=1), clock)
    days = list(_CALLED_DAY.finditer(stem))
    if len(days) != 1:
        return None
    named = days[0].groupdict()
    word, number = named["word"] or named["d"] or named["unit"], named["day"] or named["few"] or named["number"]
    return Told(days[0].group(), {"days": "day"}.get(word.lower(), word.lower()), float(number))


def is_named_after_day(folder: str) -> bool:
    """Return whether a folder is named after a date, or a number beside a word such as day or week."""
    dated = any(mark.dated for mark in find_marks("", "", folder))
    return dated or _TIME_BESIDE.search(with_dashes(folder)) is not None


def may_be_date(folder: str) -> bool:
    """Return whether a name may be a date in another form: 240531, 31052024, 0531, 05-31, 24.05.31, 2024-05, D01."""
    folder = folder.rstrip(".")
    if OF_A_MOMENT.fullmatch(folder):
        return True
    text = folder if re.fullmatch("[0-9]+", folder) else ""
    if parts := re.fullmatch(r"([0-9]{1,2})([-._])([0-9]{1,2})(?:\2([0-9]{2}))?", folder):
        text = "".join(part.zfill(2) for part in parts.group(1, 3, 4) if part)
    meanings = _meanings(text) if text else {}
    return "a year" in meanings or any(isinstance(day, datetime) for day in meanings.values())


def ends_of_date(name: str, start: int) -> list[int]:
    """Return where the date that starts at ``start`` may end: after its time of day, or before an uncertain one."""
    match = _MARK.match(name, start)
    if match is None or not _is_dated(match):
        return []
    end = match.start("mark") if match["mark"] else match.end()  # it may be a camera
    return [end, *([match.start("time")] if match["time"] and _clock(match["time"])[1] else [])]


def around_date(stem: str) -> tuple[str, str]:
    """Return what a name has before its first date, and after the time of day; all of it before, if it has no date."""
    stem = with_dashes(stem)
    for match in _MARK.finditer(stem):
        if _is_dated(match):
            return stem[: match.start()], (match["mark"] or "") + stem[match.end() :]
    return stem, ""


def _is_dated(match: re.Match[str]) -> bool:
    return any(match[form] for form in ("year", "compact", "last"))


def _as_dates(texts: Sequence[str], form: str) -> list[datetime]:
    """Read texts as dates of a form for :func:`~datetime.datetime.strptime`; none if one of them is no such date."""
    try:
        return [datetime.strptime(text + "2024" * (len(text) == 4), form) for text in texts]
    except ValueError:
        return []


def orders_of_dates(texts: Sequence[str]) -> list[list[datetime]]:
    """Read texts as dates without separators, such as 0531 or 31052024, in each form that suits all of them."""
    forms = _COMPACT.get(len(texts[0]), ()) if len({*map(len, texts)}) == 1 else ()
    return [dates for form in forms if (dates := _as_dates(texts, form))]


def may_be_months_and_days(numbers: Sequence[str]) -> bool:
    """Return whether numbers of days, such as 531 and 607, may all be dates that lie other numbers of days apart."""
    if not all(re.fullmatch("[1-9][0-9]{2}|1[0-2][0-9]{2}", number) for number in numbers):
        return False
    dates = _as_dates([number.zfill(4) for number in numbers], "%m%d%Y")
    return any(
        (day - dates[0]).days != int(number) - int(numbers[0]) for day, number in zip(dates, numbers, strict=False)
    )


def _mark(match: re.Match[str], stem: str, start: int) -> Mark:
    part = match.groupdict()
    text = match.group().removesuffix(part["mark"] or "")
    before, after = stem[: match.start()], stem[match.end() :]
    # Without the names of its folders; but WT1 in the folder WT may be the first of several plants.
    own = before if start == match.start() else stem[start : match.start()]
    if compact := part["compact"]:
        dates = [(compact[:4], compact[4:6], compact[6:])]
    elif part["year"]:
        dates = [(part["year"], part["month"], part["day"])]
    elif part["last"]:
        dates = [(part["last"], part["second"], part["first"]), (part["last"], part["first"], part["second"])]
    else:
        label = re.split(r"[\W\d_]", before)[-1] + text
        dash, day = before.endswith(("-", "−", "–")), _DAY_BEFORE.search(before) or _DAY_AFTER.match(after)
        since = (day["since"] or "").upper() if day else ""
        beside = _WORD_BEFORE.search(own) or _WORD_AFTER.match(after)
        of_copy = beside is None and before.endswith("(") and after.startswith(")")
        meanings = _meanings(text, named=day is not None, beside_word=beside is not None, of_copy=of_copy)
        if meanings and day and not since and (_EARLIER_BEFORE.search(own) or _EARLIER_AFTER.match(after)):
            meanings[f"day -{int(text)}"] = -int(text)
        return Mark(label, meanings, dated=False, dash=dash, named=day is not None, since=since)
    time = part["time"] or ""
    since_midnight, doubt = _clock(time) if time else (timedelta(), "")
    moments = []
    for date in dates:
        with contextlib.suppress(ValueError):
            moments.append(datetime.strptime("-".join(date), "%Y-%m-%d") + since_midnight)
    half = re.search(HALF, time, re.IGNORECASE)
    clock = "a time with AM or PM" if half else "a time of day" if time else Mark.clock
    if time and (zone := _ZONE.match(after)):
        clock = f"{clock} of {zone[1]}"
    return Mark(text, {f"{moment:%Y-%m-%d}": moment for moment in moments}, True, time, clock, doubt)


def _clock(time: str) -> tuple[timedelta, str]:
    """Return a time of day, to the second, and why it is uncertain: "" if it is not, and midnight if it is."""
    digits, half = "".join(re.findall("[0-9]+", time)), re.search(HALF, time, re.IGNORECASE)
    if half and len(re.findall("[0-9]+", time)[0]) % 2:  # an hour of one digit
        digits = f"0{digits}"
    hour, minute, second = (int(digits[start : start + 2] or 0) for start in (0, 2, 4))
    if half and not (1 <= hour <= 12 and minute < 60 and second < 60):
        return timedelta(), f"{time.strip(' _.-')} may be a time of 24 hours, or a misspelt one of 12"
    if re.fullmatch("[^0-9T]?[0-9]{4}", time, re.IGNORECASE):
        said = f"{digits} may be the time {digits[:2]}:{digits[2:]}, if so to be written T{digits}, or a number"
        return timedelta(), said
    if half:
        hour = hour % 12 + 12 * (half[0][0] in "pP" or half[0].endswith("후"))
    return timedelta(hours=hour, minutes=minute, seconds=second), ""


def _meanings(
    text: str, named: bool = False, beside_word: bool = False, of_copy: bool = False
) -> dict[str, int | datetime]:
    """List what a number may mean: a day, a date without dashes, a year, a copy, or what the word next to it counts."""
    number = int(text) if text.isascii() and len(text.lstrip("0")) < 10 else 10**10
    meanings: dict[str, int | datetime] = {f"day {number}": number}
    if named:
        return meanings if number <= MAX_DAY else {}
    for (date,) in orders_of_dates([text]):
        meanings[f"{date:%B} {date.day}" if len(text) == 4 else f"{date:%Y-%m-%d}"] = date
    if number > MAX_DAY and len(meanings) == 1:
        return {}
    if len(meanings) == 1 and re.fullmatch("0[1-9][0-5][0-9](?:[0-5][0-9])?", text):  # the others may be 1000 and 1600
        meanings[f"the time {text[:2]}:{text[2:4]}"] = number
    if re.fullmatch("(?:19|20)[0-9]{2}", text):
        meanings["a year"] = number
    if beside_word:
        meanings["something else, by the word beside it"] = number
    if of_copy:
        meanings["the number of a copy, by its parentheses"] = number
    return meanings
