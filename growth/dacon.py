"""The competition's folder layout (DACON 235851), read into tables.

``train_dataset/<species>/<plant>/<name>.<ext>`` holds the training photos, with the day in the name (``growth.days``),
and ``test_dataset/<species>/<plant>/<name>.<ext>`` the test photos. ``test_data.csv`` (``idx,before_file_path,
after_file_path``) pairs test photos by name, without ``.<ext>``; ``sample_submission.csv`` has the columns
``idx,time_delta``; both are in ``test_dataset/`` or next to it. Everything may be unpacked, in place or under
``open/``, or still be in the competition's ``open.zip``, or in ``train_dataset.zip`` and ``test_dataset.zip``;
several copies must be the same. Species, plants and days are whatever is found.
"""

from __future__ import annotations

import re
import unicodedata
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import Literal, NamedTuple

import pandas as pd

from common.archives import open_zip
from common.errors import UserError, counted, listed
from common.files import other_case
from common.image_files import ImageFile, find_images, refuse_unlike
from common.platforms import quoted
from common.tables import TableFile, read_table, refuse_doubles, rows
from growth.names import refuse_alike, refuse_folders_of_days, refuse_other_order, refuse_other_plants
from growth.photos import SAMPLE_COLUMNS, PhotoPairs, Photos, days_in_names, refuse_lone, refuse_mixed, refuse_uncertain

_TEST_NAME = re.compile(r"idx_(.+)_(.+)_[0-9]+")  # species, plant and number
PAIR_COLUMNS = ["idx", "before_file_path", "after_file_path"]

# Composes accents and Korean letters, which macOS decomposes and a CSV or an archive seldom does.
_composed = partial(unicodedata.normalize, "NFC")

Part = Literal["train_dataset", "test_dataset"]
PARTS: tuple[Part, ...] = ("train_dataset", "test_dataset")
Parts = tuple[str, ...]  # of a path below train_dataset/ or test_dataset/


def part_found(root: Path) -> str:
    """Return the first folder or archive of the competition in ``root`` or ``root/open``; an empty string if none."""
    folders = [f"{home}{part}" for part in PARTS for home in ("", "open/") if (root / home / part).is_dir()]
    archives = [name for name in (*(f"{part}.zip" for part in PARTS), "open.zip") if (root / name).is_file()]
    return next(iter([*(f"{folder}/" for folder in folders), *archives]), "")


def read_training_set(root: Path) -> Photos:
    """List the training photos with species, plant and day.

    Raises:
        UserError: photos are missing or outside a plant's folder; a folder is empty; a name has no day or an ambiguous
            one, or is of another plant; a plant has only one photo, or two for the same day.
    """
    listing = _listing(root, "train_dataset")
    if listing is None:
        raise _not_found(root, ["train_dataset/"])
    table = _photo_table(listing, "train_dataset")
    path = table["plant"] + "/" + table["name"] + table["suffix"]
    named = table["plant"].map(lambda plant: _folders(plant)[1])
    refuse_folders_of_days(listing.source, named, path, numbered=False)
    table["day"], faults = days_in_names(table["plant"], table["name"], _folders)
    refuse_uncertain(listing.source, path, faults)
    table = table.sort_values(["species", "plant", "day", "name"])
    if len(doubled := table[table.duplicated(["plant", "day"], keep=False)]):
        raise UserError(f"two photos of one plant and day: {listed(doubled['file'])}; remove one of each")
    refuse_lone(listing.source, table["plant"], table["day"])
    refuse_alike(listing.source, table.assign(where=path))
    refuse_other_plants(listing.source, table.assign(path=path, where=path, plant=named))
    return Photos.of(table)


def read_test_set(root: Path) -> PhotoPairs:
    """List the test pairs in the order of ``sample_submission.csv``, or of ``test_data.csv`` if it is missing.

    Raises:
        UserError: files are missing; photos are outside a plant's folder, in that of another plant, or share a name; a
            folder is empty; a row names a missing photo, one photo twice, or photos of two plants; an id appears
            twice; the ids of the sample submission differ from those of ``test_data.csv``.
    """
    listing, found = _listing(root, "test_dataset"), _find_table(root, "test_data.csv", PAIR_COLUMNS)
    if listing is None or found is None:
        raise _not_found(root, ["test_dataset/"] * (listing is None) + ["test_data.csv"] * (found is None))
    path, pairs = found
    photos = _photo_table(listing, "test_dataset")
    if len(doubled := photos[photos["name"].duplicated(keep=False)].sort_values("name")):
        raise UserError(f"two test photos with one name: {listed(doubled['file'])}; remove or rename one of each")
    if other := [
        f"{file} (of plant {plant}, but named after {match[1]}/{match[2]})"
        for file, plant, name in zip(photos["file"], photos["plant"], photos["name"], strict=True)
        if (match := _TEST_NAME.fullmatch(name)) and f"{match[1]}/{match[2]}" != plant
    ]:
        raise UserError(f"test photos in the folder of another plant: {listed(other)}; unpack open.zip again")
    refuse_doubles(path, pairs["idx"])
    before, after = (pairs[column].str.strip().str.normalize("NFC") for column in PAIR_COLUMNS[1:])
    known = set(photos["name"])
    if len(absent := pairs[~(before.isin(known) & after.isin(known))]):
        names = sorted({*before, *after} - known)
        where = f"{path}: {rows(absent.index)}"
        raise UserError(f"{where}: no such photo in {listing.source}: {listed(names)}; unpack open.zip again")
    number = pd.Index(photos["name"])
    earlier, later = (number.get_indexer(pd.Index(names)) for names in (before, after))
    refuse_mixed(path, pairs, earlier, later, photos["plant"].to_numpy())
    refuse_other_order(path, pd.Series([rows([row]) for row in pairs.index]), before, after)
    ids = _ids(root, path, pairs["idx"])
    order = pd.Index(pairs["idx"]).get_indexer(pd.Index(ids))
    return PhotoPairs.of(photos, earlier[order], later[order], ids)


def _ids(root: Path, pairs_path: TableFile, known: pd.Series) -> list[str]:
    """Return the ids in submission order; they must be the same as those of the pairs."""
    found = _find_table(root, "sample_submission.csv", list(SAMPLE_COLUMNS))
    if found is None:
        return known.tolist()
    path, ids = found[0], found[1]["idx"]
    refuse_doubles(path, ids)
    if len(extra := ids[~ids.isin(known)]):
        raise UserError(f"{path}: {rows(extra.index)}: idx {listed(extra)} not in {pairs_path}; download both again")
    if len(lost := known[~known.isin(ids)]):
        count = counted(len(lost), f"idx of {pairs_path} is", f"idx of {pairs_path} are")
        raise UserError(f"{path}: {count} not in it: {listed(lost)}; download both again")
    return ids.tolist()


class _Listing(NamedTuple):
    """What was found under ``train_dataset/`` or ``test_dataset/``, unpacked or zipped."""

    source: str  # the folder, or the archive and the folder in it
    images: list[tuple[Parts, ImageFile]]
    folders: list[Parts]  # of species and plants; in an archive, only those with an entry of their own


def _listing(root: Path, part: Part) -> _Listing | None:
    """Find the photos of a part; several copies must be the same."""
    found = [_unpacked(folder) for folder in (root / part, root / "open" / part) if folder.is_dir()]
    for archive in (root / f"{part}.zip", root / "open.zip"):
        with suppress(UserError) if found else nullcontext():  # a damaged archive is not needed
            if archive.is_file() and (packed := _packed(archive, part)) is not None:
                found.append(packed)
    for other in found[1:]:
        ours, theirs = ({_composed("/".join(parts)): file for parts, file in one.images} for one in (found[0], other))
        refuse_unlike(found[0].source, ours, other.source, theirs)
    return found[0] if found else None


def _unpacked(folder: Path) -> _Listing:
    inside = [path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.is_dir()]
    return _Listing(
        str(folder),
        [(file.path.relative_to(folder).parts, file) for file in find_images(folder)],
        [path.relative_to(folder).parts for path in inside],
    )


def _packed(archive: Path, part: Part) -> _Listing | None:
    paths = {name: PurePosixPath(name).parts for name in _members(archive)}
    # The part's own archive may start with its folder, or directly with the species.
    bare = archive.stem == part and not any(part in parts for parts in paths.values())
    if not bare:
        paths = {name: parts[parts.index(part) + 1 :] for name, parts in paths.items() if part in parts}
    if not paths:
        return None
    return _Listing(
        str(archive) if bare else f"{archive}:{part}",
        [(paths[file.member], file) for file in find_images(archive, paths.__contains__)],
        [below for name, below in paths.items() if name.endswith("/") and len(below) in (1, 2)],
    )


def _members(archive: Path) -> list[str]:
    with open_zip(archive) as stream:
        return stream.namelist()


def _photo_table(listing: _Listing, part: Part) -> pd.DataFrame:
    """Turn a listing into sorted rows, one per photo: species, plant, stem, suffix, file."""
    source, images, folders = listing
    if not images:
        raise UserError(f"{source}: no image files in it; unpack open.zip there again")
    if astray := [file for parts, file in images if len(parts) != 3]:
        count = f"{counted(len(astray), 'photo is', 'photos are')} not in {part}/<species>/<plant>/"
        raise UserError(f"{count}: {listed(astray)}; move each into the folder of its plant")
    filled = {parts[:depth] for parts, _ in images for depth in (1, 2)}
    visible = {parts for parts in folders if not any(name.startswith((".", "__MACOSX")) for name in parts)}
    if empty := sorted("/".join(parts) for parts in visible - filled):
        raise UserError(f"{source}: no image files in {listed(empty)}; remove these folders or put photos into them")
    lines = []
    for parts, file in images:
        species, plant, name = map(_composed, parts)
        lines.append((species, f"{species}/{plant}", PurePath(name).stem, PurePath(name).suffix, file))
    table = pd.DataFrame(lines, columns=["species", "plant", "name", "suffix", "file"])
    return table.sort_values(["species", "plant", "name"], ignore_index=True)


def _find_table(root: Path, name: str, columns: list[str]) -> tuple[TableFile, pd.DataFrame] | None:
    """Find and read a CSV of the test set, in its folder or next to it, unpacked or zipped; copies must be the same."""
    homes = [home / inside for home in (root, root / "open") for inside in ("test_dataset", "")]
    found = [TableFile(home / name) for home in homes if (home / name).is_file()]
    for archive in (root / "test_dataset.zip", root / "open.zip"):
        with suppress(UserError) if found else nullcontext():
            members = _members(archive) if archive.is_file() else []
            named = [m for m in members if PurePosixPath(m).name == name and "__MACOSX" not in m]
            found += [TableFile(archive, member) for member in sorted(named, key=lambda member: member.count("/"))]
    if not found:
        return None
    table = read_table(found[0], columns)
    for other in found[1:]:
        if not read_table(other, columns).equals(table):
            raise UserError(f"{found[0]} and {other} differ; remove one of the two")
    return found[0], table


def _folders(plant: str) -> tuple[str, str]:
    species, _, folder = plant.partition("/")
    return species, folder


def _not_found(root: Path, missing: list[str]) -> UserError:
    alike = other_case(root, [*PARTS, "open.zip", "test_data.csv"])
    return UserError(f"{root} lacks {' and '.join(missing)}, unpacked or in open.zip{alike}; {how_to_get(root)}")


def how_to_get(root: Path) -> str:
    """Say how to get the competition's photos, or synthetic ones."""
    return (
        "download open.zip of dacon.io/competitions/official/235851 into it, give its folder with --data.root DIR, or "
        f"draw a synthetic set: python -m growth.synthetic {quoted(str(root))}"
    )
