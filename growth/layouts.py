"""Find the layout of a folder of photos: the competition's (:mod:`growth.dacon`) or the user's (:mod:`growth.own`)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from common.archives import open_zip
from common.arguments import T
from common.errors import UserError, listed
from common.files import expand, natural
from common.image_files import SUFFIXES, ImageFile, find_given
from growth import dacon
from growth.days import any_day_marked, read_days
from growth.marks import find_marks, orders_of_dates, unambiguous_day
from growth.name_pattern import parse_pattern, read_names, split_name
from growth.names import refuse_alike, refuse_folders_of_cameras, refuse_folders_of_days, refuse_other_plants
from growth.own import PAIRS, WRITTEN, read_own_pairs, read_own_training_set, refuse_other_tables
from growth.photo_table import PHOTOS
from growth.photos import (
    ONE_PHOTO,
    PhotoPairs,
    Photos,
    days_in_names,
    pairs_of,
    refuse_lone,
    refuse_same_day,
    refuse_uncertain,
)
from growth.words import BACKWARDS, CAMERAS, HALVES, TIMES_IN_WORDS, VIEWS, told_backwards, with_dashes

# What makes a number in a name negative or a fraction, and what may be numbered instead of a plant's photos.
_SIGNED = r"(?:^|[\s_(]|day|da[tspeg]|(?<![^\W\d_])t)[-−–]$|[.,]$"
_THINGS = (
    r"(?<![^\W\d_])(plants?|pflanzen?|plantes?|plantas?|piante?|pots?|topf|maceta|vaso|trays?|leaf|blatt|rep|replicate|"
    rf"wdh|wiederholung|wells?|plates?|platten?|samples?|probe|genotype|seedling|keimling|plot|식물|개체|화분|[株鉢]|"
    rf"{VIEWS})[\s_.#-]*(?:n[or][\s_.]*)?$"
)
_DEGREES = re.compile(r"[\s_]*(?:[°º](?!\s?[CF])|deg(?![^\W\d_]))", re.IGNORECASE)
_DOSES = re.compile(r"[\s_]*(?:[mµμun]M|ppm|%|m?g)(?![^\W\d_])")


def read_training_set(root: Path, pattern: str | None = None) -> Photos:
    """List the photos to train on with species, plant and day.

    Args:
        root: the folder.
        pattern: of the names of the user's photos, if these tell plant and day; see :mod:`growth.name_pattern`.

    Raises:
        UserError: there are none, the folder matches two layouts, or for the reasons given in
            :func:`growth.dacon.read_training_set` and :func:`growth.own.read_own_training_set`.
    """
    return _read(root, pattern, dacon.read_training_set, read_own_training_set)


def read_test_set(root: Path, pattern: str | None = None) -> PhotoPairs:
    """List the pairs to predict; refuse what :func:`read_training_set` does, and the layouts' own functions do."""
    return _read(root, pattern, dacon.read_test_set, read_own_pairs)


def _read(
    root: Path, pattern: str | None, competition: Callable[[Path], T], own: Callable[[Path, str | None], T | None]
) -> T:
    if _is_competition(root, pattern):
        return competition(root)
    found = own(root, pattern) if root.is_dir() else None
    if found is None:
        raise _nothing_found(root)
    return found


def read_given(given: Sequence[str], pattern: str | None) -> PhotoPairs:
    """List the photos whose ages are wanted, and all pairs of each plant.

    Photos given one by one are of one plant, in that order. In folders and archives, each folder is one plant, in the
    order of the days in its names or, if these give none, of the names; ``photos.csv`` in a folder, or a name pattern,
    can say more.

    Args:
        given: files, folders, archives or glob patterns.
        pattern: ``--data.pattern``; it need not match any name unless a single folder is given.

    Raises:
        UserError: for the reasons of the layouts; the day in a name is ambiguous; it is unclear which photos are of one
            plant; there is only one photo.
    """
    paths = [path for word in given for path in expand("--images", word)]
    inside = [path for path in paths if path.is_dir() or path.suffix.lower() == ".zip"]
    if inside and len(inside) < len(paths):
        one, other = inside[0], next(path for path in paths if path not in inside)
        raise UserError(f"--images: {one} holds plants in folders, {other} is one photo; give either folders or photos")
    folder = paths[0] if len(paths) == 1 and paths[0].is_dir() else None
    if _has_table(inside, folder) and folder and (photos := read_own_training_set(folder, None)):
        return pairs_of(photos)[0]
    files = find_given(given)
    if len(files) < 2:
        raise UserError(f"--images {given[0]}: {ONE_PHOTO}")
    table = pd.DataFrame({"file": files, "path": [str(file) for file in files], "species": "", "plant": ""})
    table["name"] = [file.name.stem for file in files]
    homes = [file.path.joinpath(file.member.lstrip("/")).parent if file.member else file.path.parent for file in files]
    if pattern is not None and (folder or any(split_name(parse_pattern(pattern), name) for name in table["name"])):
        if {*homes} != {folder or homes[0]}:
            lie = f"is for one folder of photos, but these lie in {listed(sorted({*map(str, homes)}), most=3)}"
            raise UserError(f"--data.pattern {pattern} {lie}; give one folder, or --data.pattern null")
        found = {file.name.name: file for file in files}
        if len(found) < len(files):
            raise UserError(f"--data.pattern {pattern}: of {len(files)} photos some have one name; rename one of each")
        table = read_names(paths[0].parent, found, pattern)
        refuse_lone(given[0], table["plant"], pd.Series(table["day"]))
        return pairs_of(Photos.of(table.assign(name=table["path"])))[0]
    several = set(homes)
    nested = any(parent in several for home in several for parent in home.parents)
    if nested if inside else 1 < len(several) < len(homes):
        where = listed(sorted(map(str, several)))
        raise UserError(f"--images: photos in {where} may be of one plant or of several; give the folders for several")
    if inside:
        table["plant"] = [home.as_posix() for home in homes]
        if len(inside) == 1:
            relative = [home.relative_to(inside[0]) for home in homes]
            table["plant"] = [home.as_posix() if home.name else "" for home in relative]
        refuse_alike("--images", table.assign(where=table["path"]))
        table["folder"] = below = table["plant"].replace("", inside[0].resolve().name)
        names = [PurePosixPath(plant).name for plant in below]
        inner = [f"{name}/{file.name.name}" for name, file in zip(names, files, strict=True)]
        refuse_other_plants("--images", table.assign(where=table["path"], path=inner, plant=names))
        refuse_folders_of_days(
            "--images", below if len(inside) == 1 else pd.Series(home.name for home in homes), table["path"]
        )
        refuse_folders_of_cameras("--images", below)
        table = table.iloc[sorted(range(len(table)), key=lambda row: natural(table["path"][row]))]
        table = table.reset_index(drop=True)
        stems = table.groupby("folder")["name"].agg(list)
        tells = [any_day_marked(PurePosixPath(str(plant)).name, names) for plant, names in stems.items()]
        for names, told in zip(stems, tells, strict=True):
            if not told:
                _refuse_unordered(names)
    else:
        _refuse_order(given, files, homes)
    day, dated = np.arange(len(table), dtype=np.float32), False
    if inside and any(tells):
        day, faults = days_in_names(table["folder"], table["name"], lambda plant: ("", PurePosixPath(plant).name))
        refuse_uncertain(given[0], table["path"], faults)
        refuse_same_day(given[0], table.assign(plant=table["folder"], day=day))
        dated = True
    refuse_lone(given[0], table["plant"].replace("", given[0]), pd.Series(day))
    pairs = pairs_of(Photos.of(table.assign(day=day)))[0]
    return pairs if dated else replace(pairs, day=None)


def _has_table(inside: list[Path], folder: Path | None) -> bool:
    """Return whether the only thing given is a folder with a ``photos.csv``; refuse tables that would not be read."""
    tables = []
    for path in inside:
        if path.is_dir() and (above := path.resolve().parent / PHOTOS).is_file():
            said = f"{above} may tell plants and days of these photos, but is read only where its folder is given alone"
            raise UserError(f"--images {path}: {said}; give {above.parent}, or the photos one by one")
        if path.is_dir():
            refuse_other_tables(path)
            tables += sorted(path.rglob(PHOTOS))
        elif path.is_file():
            with open_zip(path) as archive:
                names = [name for name in archive.namelist() if PurePosixPath(name).name == PHOTOS and name[0] != "_"]
            if names:
                raise UserError(
                    f"--images: {path}:{names[0]} is not read in an archive; unpack it, and give the folder"
                )
    if tables and (folder is None or tables != [folder / PHOTOS]):
        alone = f"is read only where its folder is given alone; give {tables[-1].parent}"
        raise UserError(f"--images: {tables[-1]} {alone}")
    return bool(tables)


def _refuse_unordered(names: list[str]) -> None:
    """Refuse names whose order no single number tells, such as before and after, or 31 May and 1 June."""
    parts = [re.split(r"(\d+)", name) for name in names]
    differ: set[int] = set()
    remedy = "name them like DAT07 or 2024-05-31, or type them in their order"
    for one, same in pairwise(names):
        if natural(one) == natural(same):
            said = f"{one} and {same} have the same name or number, so neither is the earlier photo"
            raise UserError(f"--images: {said}; renumber one, or remove it")
    for name, other in zip(names, parts, strict=True):
        differ |= {place for place, pair in enumerate(zip(parts[0], other, strict=False)) if len({*pair}) > 1}
        alike = len(other) == len(parts[0]) and len(differ) < 2 and all(place % 2 for place in differ)
        sign = any(re.search(_SIGNED, other[place - 1], re.IGNORECASE) for place in differ) or BACKWARDS.search(name)
        if not alike or sign or any(HALVES.match(other[place + 1].strip(" _.-")) for place in differ):  # 3pm
            other_name = name if name != names[0] else names[-1]
            said = f"{names[0]} and {other_name} have no number that tells which is the earlier photo"
            raise UserError(f"--images: {said}; {remedy}")
    for place in differ:
        numbers = [part[place] for part in parts]
        thing = re.search(_THINGS, parts[0][place - 1], re.IGNORECASE)
        dose = _DOSES.match(parts[0][place + 1])
        if thing or dose or _DEGREES.match(parts[0][place + 1]):
            of = thing[1] if thing else "dose" if dose else "side"
            said = f"{names[0]} and {names[-1]} may be photos of one plant, or each of another {of}"
            raise UserError(f"--images: {said}; make one folder for each plant, or {remedy}")
        low, high = (sorted(numbers, key=int)[end] for end in (0, -1))
        digits = {4, 5} if parts[0][place - 1].endswith("DSC") else {4}  # Sony writes four digits as five
        if {*map(len, numbers)} <= digits and int(low) < 1000 and 9000 < int(high) < 10_000:
            said = f"{low} may come before {high}, or after it if the camera began again after 9999"
            raise UserError(f"--images: {said}; {remedy}")
        counter = re.fullmatch(rf"(?:{CAMERAS}|P)[_-]?", parts[0][place - 1], re.IGNORECASE)
        for dates in [] if counter else orders_of_dates(numbers):
            if dates != sorted(dates):
                said = f"{listed(numbers, most=3)} may be numbers in their order, or dates in another"
                raise UserError(f"--images: {said}; {remedy}")


def _refuse_order(given: Sequence[str], files: list[ImageFile], homes: list[Path]) -> None:
    """Refuse photos of a plant in an order that contradicts the days in their names, or that nobody has chosen.

    If the names tell no days, those of the photos' folders (N) may: ``DAT07/P1.png``.
    """
    plant, names, stems = homes[0].name, [file.name.name for file in files], [file.name.stem for file in files]
    if len({*homes}) == len(homes):
        folders = [home.name for home in homes]
        if not any_day_marked(plant, stems) and (any_day_marked("", folders) or len({*stems}) == 1):
            plant, stems, names = "", folders, folders
    days, faults = read_days("", plant, stems) if any_day_marked(plant, stems) else ([], [])
    said = [("", day) for day in days]
    if any(not Path(word).exists() for word in given):  # a pattern's photos come in the order of their numbers
        if any(faults):
            refuse_uncertain("--images", pd.Series(map(str, files)), faults)
        if not days:
            _refuse_unordered(stems)
    elif turned := told_backwards(stems):
        raise UserError(f"--images: {turned[0]} comes before {turned[1]}, but is the later one by its words; swap them")
    if not days:
        # Where a time of day or another number is uncertain, a date or DAT07 still is not.
        told = [unambiguous_day(stem) for stem in stems]
        said = [(one.form, one.day) if one else ("", math.nan) for one in told]
        dated = any(mark.dated for stem in stems for mark in find_marks("", plant, stem))
        if (None not in told and len({*told}) == 1) or not dated:
            _refuse_order_of_a_shell(names)
    for ((form, day), file), ((next_form, next_day), later) in pairwise(zip(said, files, strict=False)):
        if form == next_form and day > next_day:
            raise UserError(f"--images: {file} is typed before {later}, but is the later one by their names; swap them")


def _refuse_order_of_a_shell(names: list[str]) -> None:
    """Refuse names sorted as text, 1, 10, 2, where their numbers say 1, 2, 10; some systems pass over punctuation."""
    by_text = names in (sorted(names), sorted(names, key=lambda name: re.sub(r"[\W_]", "", name)))
    by_number = sorted(names, key=natural)
    if by_text and any(TIMES_IN_WORDS.search(with_dashes(name)) for name in names):
        said = f"{listed(names, most=4)} may be in their order, or sorted as text"
        raise UserError(f"--images: {said}; name them like DAT07 or 2024-05-31, or number them")
    if by_text and names != by_number:
        said = f"{listed(names, most=4)}, as a shell sorts them, or {listed(by_number, most=4)}, as their numbers do"
        raise UserError(
            f"--images: the order may be {said}; give the folder, or a pattern in quotes, for the latter; rename the "
            "photos for the former"
        )


def _is_competition(root: Path, pattern: str | None) -> bool:
    if root.is_file():
        raise UserError(f"--data.root {root}: is a file; give the folder that it lies in, or unpack it and give that")
    part = dacon.part_found(root)
    layouts = [part] * (part != "") + [PHOTOS] * (root / PHOTOS).is_file()
    layouts += [f"--data.pattern {pattern}"] * (pattern is not None)
    if part:
        layouts += [PAIRS] * (root / PAIRS).is_file() + [f"{plant}/, photos of a plant" for plant in _plants(root)]
    if len(layouts) > 1:
        remedy = "" if pattern is None else ", or give --data.pattern null"
        raise UserError(f"{root} has two layouts: {' and '.join(layouts)}; move one elsewhere{remedy}")
    return part != ""


def _plants(root: Path) -> list[str]:
    """List the folders next to the competition's that hold photos of a plant, with days in their names."""
    plants = []
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        if folder.name not in (*dacon.PARTS, "open", *WRITTEN) and not folder.name.startswith("."):
            stems = [path.stem for path in folder.glob("*") if path.suffix[1:].lower() in SUFFIXES]
            if stems and not any(read_days("", folder.name, stems)[1]):
                plants.append(folder.name)
    return plants


def _nothing_found(root: Path) -> UserError:
    if not root.exists():
        return UserError(f"--data.root {root}: no such folder; for the competition's photos, {dacon.how_to_get(root)}")
    return UserError(
        f"{root} holds no photos in a layout that is read (train_dataset/<species>/<plant>/ or open.zip, as the "
        f"competition has them; {PHOTOS}; <plant>/; --data.pattern: see docs/photos.md); for the competition's, "
        f"{dacon.how_to_get(root)}"
    )
