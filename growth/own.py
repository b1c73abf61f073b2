"""The user's own photos: found, read in one of three layouts, checked, and paired for prediction.

- A table, ``photos.csv``: see :mod:`growth.photo_table`.
- One folder, and a pattern for its names: see :mod:`growth.name_pattern`.
- ``<plant>/<name>``: one folder per plant, with the day or date in the names, as :mod:`growth.days` reads them.

In each, ``test/<plant>/`` holds photos whose days may be unknown, and ``pairs.csv`` (``before``, ``after`` and,
optionally, ``idx``) lists the pairs to predict, with photos given by path or by unique name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from common.errors import UserError, counted, listed
from common.files import other_case
from common.image_files import ImageFile, find_images
from common.tables import read_table, refuse_doubles, rows
from growth.days import read_days
from growth.name_pattern import parse_pattern, read_names, split_name
from growth.names import (
    refuse_alike,
    refuse_folders_of_cameras,
    refuse_folders_of_days,
    refuse_other_order,
    refuse_other_plants,
)
from growth.photo_table import PHOTOS, clean_path, read_photo_table, refuse
from growth.photos import (
    PhotoPairs,
    Photos,
    days_in_names,
    pairs_of,
    refuse_lone,
    refuse_mixed,
    refuse_same_day,
    refuse_uncertain,
)

PAIRS = "pairs.csv"
TEST = "test"
WRITTEN = ("cache", "runs", "wandb")  # by fits that are started in the folder of the photos
# As spreadsheets, browsers and systems name their copies: photos - Sheet1.csv, photos (1).csv, Copy of photos.csv; and
# what other programs call such tables.
_OTHER_TABLES = re.compile(
    r"((copy of|kopie von|copie de) )?(photo|pair|foto|image|label|metadata|annotation)s?([\s_.(-].*|[0-9]+)?"
    r"\.(csv|tsv|tab|txt|xls[xmb]?|ods|numbers)",
    re.IGNORECASE,
)


def read_own_training_set(root: Path, pattern: str | None) -> Photos | None:
    """List the photos whose plant and day are known; None if there are none.

    Raises:
        UserError: the layout leaves something uncertain; a plant has only one photo, or photos of one moment only; two
            plants, or two species, may be the same by their names.
    """
    table, _ = _read(root, pattern)
    return _dated(root, table) if len(table) else None


def read_own_pairs(root: Path, pattern: str | None) -> PhotoPairs | None:
    """List the pairs in ``pairs.csv``, or all pairs of photos with known days; None if there are no photos.

    Raises:
        UserError: as in :func:`read_own_training_set`, if there is no ``pairs.csv``; a row of it names no photo, one
            twice, photos of two plants, or the later one first; there are photos in ``test/`` but no ``pairs.csv``.
    """
    table, test = _read(root, pattern)
    if not (root / PAIRS).is_file():
        if test:
            raise UserError(
                f"{root}: {counted(len(test), 'photo')} in {TEST}/ but no {PAIRS} (before,after); write one"
            )
        return pairs_of(_dated(root, table))[0] if len(table) else None
    if pattern is not None:
        _refuse_other_plants_in_names(root, test, pattern)
    species = dict(zip(table["plant"], table["species"], strict=True))
    only = species.get(next(iter(species), ""), "") if len({*species.values()}) == 1 else ""
    plants = [PurePosixPath(path).parts[1] for path in test]
    columns = {"path": list(test), "where": list(test), "file": list(test.values()), "plant": plants, "day": np.nan}
    more = pd.DataFrame({**columns, "species": [species.get(plant, only) for plant in plants]})
    if not len(table) + len(more):
        return None
    new = more[~more["plant"].isin(species.keys())]  # a plant with other photos is not a day
    refuse_folders_of_days(root / TEST, new["plant"], new["path"])
    table = _named(root, pd.concat([part for part in (table, more) if len(part)], ignore_index=True))
    table = table.assign(name=table["path"]).sort_values(["species", "plant", "name"], ignore_index=True)
    return _pairs(root, table, pattern)


def find_photos(root: Path) -> dict[str, ImageFile]:
    """Find the photos under a folder, by relative path; pictures drawn by fits are left out."""
    found: dict[str, ImageFile] = {}
    for file in find_images(root):
        parts = file.path.relative_to(root).parts
        if parts[0] in WRITTEN and len(parts) > 2:
            continue
        # macOS decomposes accents and Korean letters, a CSV seldom does: compose them, so that names match.
        path = unicodedata.normalize("NFC", "/".join(parts))
        if path in found:
            raise UserError(f"{root}: two photos of one name, {path}; rename one of them")
        found[path] = file
    if deeper := [path for path in root.rglob("*.csv") if path.name in (PHOTOS, PAIRS) and path.parent != root]:
        raise UserError(f"{listed(map(str, sorted(deeper)))}: such tables are read in {root} alone; move them there")
    refuse_other_tables(root)
    return found


def refuse_other_tables(root: Path) -> None:
    """Refuse tables such as photos.xlsx, which are not read but may say which photos are whose."""
    files = (*root.glob("*.*"), *root.glob("*/*.*"))
    if others := [path for path in files if _OTHER_TABLES.fullmatch(path.name) and path.name not in (PHOTOS, PAIRS)]:
        names = listed(sorted(path.relative_to(root).as_posix() for path in others))
        raise UserError(f"{root}: {names}: only {PHOTOS} and {PAIRS} are read; save or rename it so, or remove it")


def _read(root: Path, pattern: str | None) -> tuple[pd.DataFrame, dict[str, ImageFile]]:
    """Read the photos of the layout, and find those in ``test/<plant>/`` whose day it does not give."""
    found = find_photos(root)
    test = {path: file for path, file in found.items() if path.startswith(f"{TEST}/") and path.count("/") == 2}
    if (root / PHOTOS).is_file():
        table = read_photo_table(root, found)
        known = set(table["path"])
        if unlisted := [path for path in found if path not in known and path not in test]:
            count = (
                f"{counted(len(unlisted), f'photo of {root} has', f'photos of {root} have')} no row: {listed(unlisted)}"
            )
            remedy = f"add rows, or move them elsewhere, those to predict into {TEST}/<plant>/"
            raise UserError(f"{root / PHOTOS}: {count}; {remedy}")
        return table.assign(name=table["path"]), {path: file for path, file in test.items() if path not in known}
    training = {path: file for path, file in found.items() if path not in test}
    if not training:
        return pd.DataFrame(columns=["plant", "species", "day"]), test
    table = _read_folders(root, training) if pattern is None else read_names(root, training, pattern)
    return table.assign(name=[PurePosixPath(path).stem for path in table["path"]]), test


def _read_folders(root: Path, found: Mapping[str, ImageFile]) -> pd.DataFrame:
    """Read ``<plant>/<name>``: file, path, where, species (none), plant, day and why it is uncertain."""
    if odd := other_case(root, [TEST]):
        raise UserError(f"{root}: {TEST}/ is for photos to predict{odd}, or to a name that is not so close to it")
    if astray := [path for path in found if path.count("/") != 1 or path.startswith(f"{TEST}/")]:
        count = f"{counted(len(astray), 'photo is', 'photos are')} not in <plant>/"
        raise UserError(
            f"{root}: {count}: {listed(astray)}; move each into the folder of its plant, "
            f"those to predict into {TEST}/<plant>/, or tell plants and days by {PHOTOS} or --data.pattern"
        )
    table = pd.DataFrame({"path": list(found), "where": list(found), "file": list(found.values()), "species": ""})
    table["plant"] = [PurePosixPath(path).parts[0] for path in found]
    refuse_folders_of_days(root, table["plant"], table["path"])
    refuse_folders_of_cameras(root, table["plant"])
    stems = pd.Series([PurePosixPath(path).stem for path in found])
    table["day"], table["fault"] = days_in_names(table["plant"], stems, lambda plant: ("", plant))
    return table


def _dated(root: Path, table: pd.DataFrame) -> Photos:
    if "fault" in table:
        refuse_uncertain(root, table["path"], table["fault"].tolist(), f", or tell days by {PHOTOS} (docs/photos.md)")
        refuse_same_day(root, table)
    table = _named(root, table)
    refuse_lone(root, table["plant"], table["day"].astype(np.float32))
    return Photos.of(table)


def _refuse_other_plants_in_names(root: Path, test: Mapping[str, ImageFile], pattern: str) -> None:
    """Refuse photos in ``test/<plant>/`` that belong to another plant by the pattern of their names."""
    for path in test:
        readings = split_name(parse_pattern(pattern), PurePosixPath(path).stem)
        named, plant = dict(readings[0]).get("plant") if len(readings) == 1 else None, PurePosixPath(path).parts[1]
        if named not in (None, plant):
            said = f"{path} lies in the folder of plant {plant}, but is of {named} by --data.pattern {pattern}"
            raise UserError(f"{root}: {said}; move it, or rename it")


def _named(root: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Refuse plants and species whose names may mean the same one, and strip the spaces around the names."""
    refuse_alike(root, table)
    refuse_other_plants(root, table)
    return table.assign(plant=table["plant"].str.strip(), species=table["species"].str.strip())


def _pairs(root: Path, photos: pd.DataFrame, pattern: str | None) -> PhotoPairs:
    path = root / PAIRS
    pairs = read_table(path, ["before", "after"], optional=["idx"])
    called: dict[str, set[int]] = {}
    for row, name in enumerate(photos["path"]):
        for known in {name, PurePosixPath(name).name, PurePosixPath(name).stem}:
            called.setdefault(known, set()).add(row)

    def numbers(text: str) -> list[int]:
        return sorted(called.get(clean_path(text), ()))

    def fault(text: str) -> str:
        names = photos["path"].iloc[numbers(text)]
        return "" if len(names) == 1 else f"may be {listed(names)}" if len(names) else f"no such photo in {root}"

    ends = []
    for column in ("before", "after"):
        refuse(path, pairs[column], fault)
        ends.append(np.array([numbers(text)[0] for text in pairs[column]]))
    before, after = ends
    refuse_mixed(path, pairs, before, after, photos["plant"].to_numpy())
    day = photos["day"].to_numpy(float)
    if len(same := pairs[day[before] == day[after]]):
        raise UserError(f"{path}: {rows(same.index)}: both photos are of one moment; remove the row")
    if len(late := pairs[day[before] > day[after]]):
        raise UserError(f"{path}: {rows(late.index)}: before is not the earlier photo by their days; swap them")
    unknown = np.isnan(day[before]) | np.isnan(day[after])
    where = pd.Series([rows([row]) for row in pairs.index[unknown]])
    refuse_other_order(path, where, *(photos["path"].iloc[end[unknown]] for end in (before, after)))
    told = day if (root / PHOTOS).is_file() else _days_by_names(photos, pattern)
    if len(late := pairs[told[before] > told[after]]):
        said = f"{late['before'].iloc[0]} is of a later day than {late['after'].iloc[0]} by the names"
        raise UserError(f"{path}: {rows(late.index)}: {said}; swap them, or rename the photos without their days")
    if len(same := pairs[told[before] == told[after]]):
        raise UserError(f"{path}: {rows(same.index)}: both photos are of one day by the names; remove the row")
    _refuse_circles(path, pairs, before, after, photos.assign(day=day))
    if "idx" not in pairs:
        pairs["idx"] = [str(row) for row in range(len(pairs))]
    refuse_doubles(path, pairs["idx"])
    return PhotoPairs.of(photos, before, after, pairs["idx"].tolist())


def _refuse_circles(
    path: Path, pairs: pd.DataFrame, before: np.ndarray, after: np.ndarray, photos: pd.DataFrame
) -> None:
    """Refuse rows (P) by which a photo would come before itself, together with the days that are known."""
    later: dict[object, set[object]] = {}
    for one, other in zip(before, after, strict=True):
        later.setdefault(int(other), set()).add(int(one))
    for plant, own in photos.dropna(subset="day").groupby("plant"):
        # Between two points in time, one before and one after the photos of a moment.
        for number, moment in enumerate(own.groupby("day").groups.values()):
            for photo in moment:
                later.setdefault(photo, set()).add((plant, number))
                later.setdefault((plant, number + 1), set()).add(photo)
    try:
        TopologicalSorter(later).prepare()
    except CycleError as error:
        circle = {node for node in error.args[1] if isinstance(node, int)}
        at_fault = pairs[[one in circle and other in circle for one, other in zip(before, after, strict=True)]]
        names = listed(photos["path"].iloc[sorted(circle)], most=4)
        raise UserError(
            f"{path}: {rows(at_fault.index)}: {names} would come before one another; correct a row"
        ) from None


def _days_by_names(photos: pd.DataFrame, pattern: str | None) -> np.ndarray:
    """Return the days of photos (N), for those of unknown day what the layout would read in their names, or NaN.

    Of a plant of which no day is known, they count from its first photo.
    """
    day, tokens = photos["day"].to_numpy(float).copy(), parse_pattern(pattern or "{plant}{day}")

    def said(row: int) -> str:
        stem = PurePosixPath(photos["path"][row]).stem
        readings = [dict(fields) for fields in split_name(tokens, stem)] if pattern is not None else [{"date": stem}]
        return readings[0].get("date") or readings[0]["day"] if len(readings) == 1 else ""

    for plant, own in photos.groupby("plant").indices.items():
        first, *others = sorted(own, key=lambda row: (np.isnan(day[row]), row))
        day[first] = 0 if np.isnan(day[first]) else day[first]
        for row in others:
            if np.isnan(day[row]):
                days, _ = read_days("", str(plant) if pattern is None else "", [said(first), said(row)])
                day[row] = day[first] + days[1] - days[0] if days else np.nan
    return day
