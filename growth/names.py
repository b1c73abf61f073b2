"""Check what photo names say about plant and day against what a table, a folder or a row of pairs says."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from common.errors import UserError, listed
from growth.days import any_day_marked
from growth.marks import is_named_after_day, may_be_date, may_be_months_and_days, unambiguous_day
from growth.words import BACKWARDS, OF_A_CAMERA, UNITS, told_backwards

ROUNDED = 1.1  # days by which whole days and dates may differ from moments, with an hour of daylight saving
_SEPARATORS = r"[\s_.,\-‐‑–—]+"  # within a name; at its end, + and - may mean a treatment
_UNSEEN = "\u3164\ufe0e\ufe0f"  # a filler, and selectors of a variant; others are format characters
# What systems add to the name of a folder that is copied.
_COPY = "copy|kopie|copie|copia|복사본|コピー|副本"
_OF_COPY = re.compile(
    rf"^(?:copy of|kopie von|copie de|copia de) |(?<=.)(?:(?: -)? \(?(?:{_COPY})\)?(?: [0-9]+)?)?(?: ?\([0-9]+\))?$"
)
SHIFTED = 0.05  # days by which clocks may be moved between two photos: that hour, and a little


def refuse_other_plants(source: object, table: pd.DataFrame) -> None:
    """Refuse photos that are named after a plant of the table other than their own.

    Args:
        source: the folder.
        table: path, where (its row, or its path) and plant of each photo.

    Raises:
        UserError: there are such photos; the message names both plants.
    """
    plants = {_key(name): name for name in table["plant"].unique()}
    # A bare number of up to four digits or a single letter may denote a camera.
    telling = r"[^\W\d].|.[^\W\d]|^[0-9]{5,}$"
    longest = sorted(plants.values(), key=len, reverse=True)
    names = [_pattern_of(name) for name in longest if re.search(telling, _plain(name))]
    if not names:
        # Numbered plants are told by the folders, or by the beginnings of names (1_2024-05-31), if most tell their own.
        keys, paths = table["plant"].map(_key), table["path"].map(PurePosixPath)
        at_home = paths.map(lambda path: _key(path.parent.name)) == keys
        begun = paths.map(lambda path: _key(re.split(r"[\W_]", path.stem)[0])) == keys
        if at_home.mean() <= 0.5 and begun.mean() <= 0.5:
            return
        names = ["(?!)" if at_home.mean() > 0.5 else r"^[^\W_]+"]
    within, faults = whole_word("|".join(names)), []
    for path, where, plant in zip(table["path"], table["where"], table["plant"], strict=True):
        *folders, stem = PurePosixPath(path).with_suffix("").parts
        named = [_key(name) for name in within.findall(_plain(stem))]
        own = _plain(stem if named else path)
        others = [name for name in named or map(_key, folders) if name in plants]
        for other in {*others} - {_key(plant)}:  # P1-2 is not P1
            own = whole_word(_pattern_of(plants[other])).sub(" ", own)
        if others and not whole_word(_pattern_of(plant)).search(own):
            row = "" if where == path else f"{where}: "
            faults.append(f"{row}{path} (of plant {plant}, but named after {plants[others[0]]})")
    if faults:
        raise UserError(f"{source}: {listed(faults)}; rename these photos, or give them their plant")


def refuse_alike(source: object, table: pd.DataFrame) -> None:
    """Refuse species and plants whose names may mean the same one, since a split would part their photos.

    They differ only in case, separators, leading zeros, invisible characters, or a decimal point and zeros after a
    number.

    Args:
        source: the folder or table.
        table: where (its row, or its path), species (may be empty) and plant of each photo.

    Raises:
        UserError: there are such names.
    """
    plants = table.assign(said=table["plant"] + " of species " + table["species"])
    for column, named in (("species", table.assign(said=table["species"])), ("plant", plants)):
        first = named[named[column] != ""].drop_duplicates("said")
        for _, alike in first.groupby(first[column].map(_key)):
            if len(alike) > 1:
                said = [
                    f"{text.removesuffix(' of species ')!r} ({where})"
                    for text, where in zip(alike["said"], alike["where"], strict=True)
                ]
                remedy = "give each one name, and each plant one species"
                raise UserError(f"{source}: one {column} or {len(said)}: {listed(said)}; {remedy}")


def _key(name: str) -> str:
    seen = "".join(sign for sign in name if unicodedata.category(sign) != "Cf" and sign not in _UNSEEN)
    plain = re.sub(r"^([0-9]+)\.0+$", r"\1", unicodedata.normalize("NFKC", seen).casefold().strip())
    plain = re.sub(r"(?<![0-9])(?<![0-9]\.)0+(?=[0-9])", "", plain)
    plain = _OF_COPY.sub("", plain)
    parted = re.sub(rf"(?<=\w){_SEPARATORS}(?=\w)|[.,_\s]+$", "_", plain).rstrip("_")
    return re.sub(r"(?<=[0-9])_(?=[^\W\d_])|(?<=[^\W\d_])_(?=[0-9])", "", parted)  # P 1 is P1, but 1 11 is not 11 1


@lru_cache(maxsize=2**14)
def _pattern_of(name: str) -> str:
    """Return a pattern for a plain name, also with other zeros, and without separators: KM 1 as km01 and km_001."""
    plain = _plain(name)
    if re.fullmatch("[dhjtw]_?[0-9]+", plain):  # T02 in a folder T1 is a point in time
        return re.escape(plain)
    optional = re.sub(r"(?<=[^\W\d_])_(?=[0-9])|(?<=[0-9])_(?=[^\W\d_])", "\0", plain)  # 1 11 is not 111
    parts = re.findall("[0-9]+|\0|[^0-9\0]+", optional)
    written = {"\0": "_?"} | {part: f"0*{part.lstrip('0') or '0'}" for part in parts if part.isdecimal()}
    return "".join(written.get(part) or re.escape(part) for part in parts)


def _plain(name: str) -> str:
    """Write spaces and dashes as ``_``, and capitals as small letters."""
    return re.sub(r"[\s_-]+", "_", name.casefold())


def refuse_folders_of_days(source: object, folder: pd.Series, photo: pd.Series, numbered: bool = True) -> None:
    """Refuse folders (N) named after a day, unless their photos (N) tell several days of their own.

    Args:
        source: the folder of these folders.
        folder: the folder of each photo.
        photo: the path of each photo.
        numbered: whether folders may be of days if all are numbered like dates without dashes, such as 0531.

    Raises:
        UserError: there are such folders; the message states both readings.
    """
    names = {PurePosixPath(name).name for name in folder}
    ends = {re.sub(r".*?([\s_-]+[^\W\d_]+)?\Z", r"\1", name) for name in names}  # 240531_tomato, 240607_tomato
    end = ends.pop() if len(ends) == 1 else ""
    of_date = {name for name in names if may_be_date(name.removesuffix(end))}
    # Plants are seldom numbered so that each number may be a date.
    others = names - of_date
    numbered &= 1 < len(of_date) > len(others) and not any(re.fullmatch(r"[\d\W_]+", name) for name in others)
    for name, paths in photo.groupby(folder):
        # One is enough: whatever the other folders are, this one can be read in two ways.
        stems = [PurePosixPath(path).stem for path in paths]
        last = PurePosixPath(str(name)).name
        # Photos are named after plants, not after days.
        of_day = numbered and last in of_date and not any(map(whole_word(re.escape(last)).search, stems))
        told = {one and (one.form, int(one.day)) for one in map(unambiguous_day, stems)}
        of_one_day = len(told) == 1 and None not in told  # as cameras name them
        if (of_day or is_named_after_day(str(name))) and (of_one_day or not any_day_marked(last, stems)):
            said = f"folder {name} may hold one day's photos of several plants, or one plant's photos of several days"
            raise UserError(
                f"{source}: {said}: {listed(paths, most=3)}; make one folder for each plant, with names like DAT07 or "
                "2024-05-31 in it, rename the folder if it is a plant, or tell plants and days by photos.csv"
            )


def refuse_folders_of_cameras(source: object, folder: pd.Series) -> None:
    """Refuse folders (N) that are all named after cameras or views, such as cam1 and cam2.

    Raises:
        UserError: there are such folders; the message states both readings.
    """
    names = sorted(map(str, folder.unique()))
    if len(names) > 1 and all(OF_A_CAMERA.fullmatch(PurePosixPath(name).name) for name in names):
        said = f"folders {listed(names, most=3)} may hold photos of one plant each, or all of the same plants"
        raise UserError(
            f"{source}: {said}; rename the folders after their plants, or tell plants and days by photos.csv"
        )


def refuse_dates_as_numbers(source: object, plants: pd.Series, days: pd.Series, remedy: str) -> None:
    """Refuse days (N, str) of plants (N) that may all be dates, such as 0531 and 0601, 31.05 and 01.06, 24.5 and 7.6.

    Raises:
        UserError: they may; the message states both readings.
    """
    given = days.unique()
    # 1.5 and 2.5 are numbers: only 01 as in 01.06 is written in dates alone.
    decimal = any("." in day for day in given) and not any(re.match("0[0-9]", day) for day in given)
    dates = all(map(may_be_date, given)) and (
        not decimal or any(_are_in_order_as_dates(own.tolist()) for _, own in days.groupby(plants))
    )
    if len(given) > 1 and (dates or may_be_months_and_days(given.tolist())):
        said = f"days {listed(given, most=3)} may be numbers, or dates"
        raise UserError(f"{source}: {said}; count days from the first, or {remedy}")


def _are_in_order_as_dates(days: list[str]) -> bool:
    """Return whether days such as 24.5, 31.5 and 7.6 are in order as days and months, but not as numbers."""
    parts = [[int(part) for part in day.split(".")] for day in days]
    orders = [order for order in (parts, [part[::-1] for part in parts]) if max(order)[0] <= 12]  # the month first
    return sorted(days, key=float) != days and any(order == sorted(order) for order in orders)


def whole_word(pattern: str) -> re.Pattern[str]:
    """Compile a pattern that matches whole words only, since KM1 is also a prefix of KM10; ``_`` separates words."""
    return re.compile(rf"(?<![^\W_])(?:{pattern})(?![^\W_])")


def refuse_other_days(source: Path, table: pd.DataFrame) -> None:
    """Refuse days whose differences within a plant contradict the photo names, which state ``DAT07`` or a date.

    Args:
        source: the table.
        table: path, where (its row), plant and day of each photo.

    Raises:
        UserError: there are such days; the message states both.
    """
    told = [unambiguous_day(PurePosixPath(path).stem) for path in table["path"]]
    teller, renamed = "name", "photo"
    if not any(told):  # then their folders may, if they hold one day's photos each
        teller = renamed = "folder"
        told = [unambiguous_day(PurePosixPath(path).parent.name) for path in table["path"]]
        within = table["day"].astype(float).groupby([pd.Series(told, table.index, object), table["plant"]])
        if len({*told} - {None}) < 2 or (within.max() - within.min() > ROUNDED).any():
            return
    by_name = table.assign(told=pd.Series(told, table.index, object))[[one is not None for one in told]]
    for (plant, form), rows in by_name.groupby(["plant", by_name["told"].map(lambda one: one.form)]):
        named = np.array([one.day for one in rows["told"]])
        apart = named - rows["day"].to_numpy(float)
        if np.ptp(apart) > ROUNDED and (form != "d" or np.ptp(named)):  # d1 of all photos may be a dose
            odd = rows.iloc[np.abs(apart - np.median(apart)).argmax()]
            said = f"{odd['where']}: {odd['path']} is of day {odd['day']:g}, but {odd['told'].text} by its {teller}"
            remedy = f"correct the row, or rename the {renamed} without its day"
            raise UserError(f"{source}: {said}, unlike others of plant {plant}; {remedy}")
    timed = by_name[by_name["told"].map(lambda one: one.clock != "").astype(bool)]
    for _, rows in timed.groupby(["plant", timed["told"].map(lambda one: one.clock)]):
        named, day = np.array([one.day for one in rows["told"]]), rows["day"].to_numpy(float)
        order = np.argsort(named)
        named, day = named[order], day[order]
        earlier = np.searchsorted(named, named - SHIFTED)  # how many photos are earlier by their names
        late = np.flatnonzero((earlier > 0) & (np.maximum.accumulate(day)[earlier - 1] > day))
        if len(late):
            odd, early = (rows.iloc[order[at]] for at in (late[0], day[: earlier[late[0]]].argmax()))
            said = f"{odd['where']}: {odd['path']} is of day {odd['day']:g}, {early['path']} of day {early['day']:g}"
            raise UserError(f"{source}: {said}, but the other way round by their names; correct the rows")


def refuse_other_order(source: object, rows: pd.Series, before: pd.Series, after: pd.Series) -> None:
    """Refuse pairs (P) of photos with unknown days if the names say that the later photo comes first.

    Args:
        source: the table of pairs.
        rows: which row of it each pair is, in words.
        before, after: paths of the photos.

    Raises:
        UserError: there are such pairs; the message states both days.
    """
    told = {path: unambiguous_day(PurePosixPath(path).stem) for path in {*before, *after}}
    for where, *ends in zip(rows, before, after, strict=True):
        one, other = (told[path] for path in ends)
        if one and other and one.form == other.form and one.day > other.day:
            said = f"before is {one.text} by its name {ends[0]}, after is {other.text} by its name {ends[1]}"
            raise UserError(f"{source}: {where}: {said}; swap them, or rename the photos without their days")
        early, late = (PurePosixPath(path).stem for path in ends)
        if told_backwards([early, late]) or _is_numbered_later(early, late):
            said = f"before is {early} and after is {late}, but the other way round by their words"
            raise UserError(f"{source}: {where}: {said}; swap them, or rename the photos")


def _is_numbered_later(name: str, other: str) -> bool:
    """Return whether two names differ only in a number beside a word of time, and the first has the larger one."""
    parts, others = (re.split(r"([0-9]+)", text) for text in (name, other))
    differ = [place for place, (one, two) in enumerate(zip(parts, others, strict=False)) if one != two]
    if len(parts) != len(others) or len(differ) != 1 or differ[0] % 2 == 0 or BACKWARDS.search(name):
        return False
    before, number, after = parts[differ[0] - 1 : differ[0] + 2]
    beside = re.search(rf"(?<![^\W\d_])(?:{UNITS}|[dtw])[\s_.]*$", before, re.IGNORECASE)
    beside = beside or re.match(rf"[\s_.]*(?:{UNITS})(?![^\W\d_])", after, re.IGNORECASE)
    return beside is not None and int(number) > int(others[differ[0]])
