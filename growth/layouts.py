"""The folder layout of the competition (DACON 235851), turned into tables.

``train_dataset/<species>/<plant>/<name>.<ext>`` holds the training photos, their day in the name (``growth.days``), and
``test_dataset/<species>/<plant>/<name>.<ext>`` the test photos. ``test_data.csv`` (``idx,before_file_path,
after_file_path``) pairs test photos by their names without ``.<ext>``; ``sample_submission.csv`` has the columns
``idx,time_delta``; both lie in ``test_dataset/`` or beside it. All of it may be unpacked, as it is or below
``open/``, or still be in the competition's ``open.zip``, or in ``train_dataset.zip`` and ``test_dataset.zip``; what
is unpacked comes first. Species, plants and days are those that are found.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from common.archives import open_zip
from common.errors import UserError, listed
from common.images import ImageFile, find_images
from common.submission import SampleSubmission
from common.tables import TableFile, read_table, refuse_doubles, rows
from growth.days import read_days

PAIR_COLUMNS = ["idx", "before_file_path", "after_file_path"]
SAMPLE_COLUMNS = ["idx", "time_delta"]
MAX_PIXELS = 120_000_000  # telephones take 108 million; the photos of the competition have 8 million

Part = Literal["train_dataset", "test_dataset"]
Parts = tuple[str, ...]  # of a path below train_dataset/ or test_dataset/


@dataclass(frozen=True)
class Photos:
    """The training set: one row a photo, sorted by species, plant and day.

    Attributes:
        files: the photos, N.
        species: name of the species, N, str.
        plant: ``<species>/<plant>``, so that plants of two species never share a name, N, str.
        day: day of the photo, counted as the names do or, where they are dates, from the plant's first photo, N,
            float32; no plant has two photos of one day.
    """

    files: list[ImageFile]
    species: np.ndarray
    plant: np.ndarray
    day: np.ndarray

    def take(self, rows: np.ndarray) -> Photos:
        """Keep some rows, in the order given."""
        return Photos([self.files[row] for row in rows], self.species[rows], self.plant[rows], self.day[rows])


@dataclass(frozen=True)
class PhotoPairs:
    """The test set: U photos, each once, and P pairs that index them.

    Attributes:
        files: the photos that a pair names, U, sorted by species, plant and name.
        species: name of the species of each photo, U, str.
        plant: ``<species>/<plant>`` of each photo, U, str.
        before: which of the photos is the earlier one, P, int64, in the order of ``sample.ids``.
        after: which of the photos is the later one, P, int64, of the same plant.
        sample: the ids of the pairs, in the order in which they are submitted.
    """

    files: list[ImageFile]
    species: np.ndarray
    plant: np.ndarray
    before: np.ndarray
    after: np.ndarray
    sample: SampleSubmission


def read_training_set(root: Path) -> Photos:
    """List the training photos with species, plant and day.

    Raises:
        UserError: photos are missing or lie elsewhere than in the folder of a plant; a folder is empty; a name has no
            day, or can be read in two ways; a plant has one photo, or two of one day.
    """
    listing = _listing(root, "train_dataset")
    if listing is None:
        raise _not_found(root, ["train_dataset/"])
    table = _photo_table(listing, "train_dataset")
    table["day"], table["fault"] = np.float32(0), ""
    for plant, rows_of in table.groupby("plant").indices.items():
        species, _, folder = str(plant).partition("/")
        days, faults = read_days(species, folder, table["stem"].iloc[rows_of].tolist())
        table.loc[rows_of, "fault"] = faults
        table.loc[rows_of, "day"] = np.array(days or [0] * len(rows_of), dtype=np.float32)
    if len(uncertain := table[table["fault"] != ""]):
        named = uncertain["plant"] + "/" + uncertain["stem"] + uncertain["suffix"] + " (" + uncertain["fault"] + ")"
        suffix = uncertain["suffix"].iloc[0]
        raise UserError(
            f"{listing.source}: {len(uncertain)} photos have no certain day: {listed(named)}; "
            f"name them like DAT07{suffix} or 2024-05-31{suffix}"
        )
    table = table.sort_values(["species", "plant", "day", "stem"], ignore_index=True)
    if len(doubled := table[table.duplicated(["plant", "day"], keep=False)]):
        raise UserError(f"two photos of one plant and day: {listed(doubled['file'])}; remove one of each")
    if len(lone := table[~table["plant"].duplicated(keep=False)]):
        raise UserError(
            f"{listing.source}: {len(lone)} plants have one photo, which makes no pair: {listed(lone['plant'])}; "
            "add photos of them or remove these"
        )
    return Photos(
        table["file"].tolist(), _text(table["species"]), _text(table["plant"]), table["day"].to_numpy(np.float32)
    )


def read_test_set(root: Path) -> PhotoPairs:
    """List the test pairs in the order of ``sample_submission.csv``, or of ``test_data.csv`` where it is absent.

    Raises:
        UserError: files are missing; photos lie elsewhere than in the folder of a plant, or share a name; a folder is
            empty; a row names an absent photo, one photo twice, or photos of two plants; an id appears twice; the
            sample submission has other ids than ``test_data.csv``.
    """
    listing, path = _listing(root, "test_dataset"), _find_table(root, "test_data.csv")
    if listing is None or path is None:
        raise _not_found(root, ["test_dataset/"] * (listing is None) + ["test_data.csv"] * (path is None))
    photos = _photo_table(listing, "test_dataset")
    if len(doubled := photos[photos["stem"].duplicated(keep=False)].sort_values("stem")):
        raise UserError(f"two test photos with one name: {listed(doubled['file'])}; remove or rename one of each")
    pairs = read_table(path, PAIR_COLUMNS)
    refuse_doubles(path, pairs["idx"])
    before, after = (pairs[column].str.strip().str.normalize("NFC") for column in PAIR_COLUMNS[1:])
    known = set(photos["stem"])
    if len(absent := pairs[~(before.isin(known) & after.isin(known))]):
        names = sorted({*before, *after} - known)
        where = f"{path}: {rows(absent.index)}"
        raise UserError(f"{where}: no such photo in {listing.source}: {listed(names)}; unpack open.zip again")
    if len(same := pairs[before == after]):
        raise UserError(f"{path}: {rows(same.index)}: before and after are one photo; give two, or remove the row")
    plant = photos.set_index("stem")["plant"]
    if len(mixed := pairs[before.map(plant) != after.map(plant)]):
        raise UserError(f"{path}: {rows(mixed.index)}: the photos are of two plants; give two of one plant")

    ids = _ids(root, path, pairs["idx"])
    order = pd.Index(pairs["idx"]).get_indexer(pd.Index(ids))
    used = photos[photos["stem"].isin({*before, *after})]
    number = pd.Index(used["stem"])
    return PhotoPairs(
        used["file"].tolist(),
        _text(used["species"]),
        _text(used["plant"]),
        number.get_indexer(pd.Index(before))[order].astype(np.int64),
        number.get_indexer(pd.Index(after))[order].astype(np.int64),
        SampleSubmission(SAMPLE_COLUMNS[0], SAMPLE_COLUMNS[1], ids),
    )


def all_pairs(groups: np.ndarray, day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pair each photo with every later one of its group.

    Args:
        groups: what may be paired with each other, U.
        day: day of each photo, U.

    Returns:
        Indices of the earlier and of the later photos, P each.
    """
    paired = (groups[:, None] == groups[None, :]) & (day[:, None] < day[None, :])
    before, after = np.nonzero(paired)
    return before, after


def pairs_of(photos: Photos) -> tuple[PhotoPairs, np.ndarray]:
    """Make a test set of training photos, all pairs within a plant, and the days elapsed in each (P, float32)."""
    before, after = all_pairs(photos.plant, photos.day)
    days = [f"{int(day):02}" if day.is_integer() else str(day) for day in photos.day]
    ids = [f"{photos.plant[b]}/{days[b]}-{days[a]}" for b, a in zip(before, after, strict=True)]
    sample = SampleSubmission(SAMPLE_COLUMNS[0], SAMPLE_COLUMNS[1], ids)
    pairs = PhotoPairs(photos.files, photos.species, photos.plant, before, after, sample)
    return pairs, photos.day[after] - photos.day[before]


def _ids(root: Path, pairs_path: TableFile, known: pd.Series) -> list[str]:
    """Return the ids in the order to submit, which must be those of the pairs."""
    path = _find_table(root, "sample_submission.csv")
    if path is None:
        return known.tolist()
    ids = read_table(path, SAMPLE_COLUMNS)["idx"]
    refuse_doubles(path, ids)
    if len(extra := ids[~ids.isin(known)]):
        raise UserError(f"{path}: {rows(extra.index)}: idx {listed(extra)} not in {pairs_path}; download both again")
    if len(lost := known[~known.isin(ids)]):
        raise UserError(f"{path}: {len(lost)} idx of {pairs_path} are not in it: {listed(lost)}; download both again")
    return ids.tolist()


class _Listing(NamedTuple):
    """What is found below ``train_dataset/`` or ``test_dataset/``, unpacked or not."""

    source: str  # its folder, or archive and folder
    images: list[tuple[Parts, ImageFile]]
    folders: list[Parts]  # those of species and plants; in an archive, only those that are members of their own


def _listing(root: Path, part: Part) -> _Listing | None:
    for folder in (root / part, root / "open" / part):
        if folder.is_dir():
            inside = [path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.is_dir()]
            return _Listing(
                str(folder),
                [(file.path.relative_to(folder).parts, file) for file in find_images(folder)],
                [path.relative_to(folder).parts for path in inside],
            )
    for path in (root / f"{part}.zip", root / "open.zip"):
        if path.is_file():
            names = _members(path)
            # The part's own archive may begin with its folder, or with the species.
            bare = path.stem == part and not any(part in PurePosixPath(name).parts for name in names)
            inside_zip = {name: below for name in names if (below := _below(name, part, bare)) is not None}
            if inside_zip:
                return _Listing(
                    str(path) if bare else f"{path}:{part}",
                    [(inside_zip[file.member], file) for file in find_images(path, inside_zip.__contains__)],
                    [below for name, below in inside_zip.items() if name.endswith("/") and len(below) in (1, 2)],
                )
    return None


def _members(archive: Path) -> list[str]:
    with open_zip(archive) as stream:
        return stream.namelist()


def _below(member: str, part: Part, bare: bool) -> Parts | None:
    """Return the path of an archive's member below the folder of the part, or None if it is not there."""
    parts = PurePosixPath(member).parts
    if bare:
        return parts
    return parts[parts.index(part) + 1 :] if part in parts else None


def _photo_table(listing: _Listing, part: Part) -> pd.DataFrame:
    """Turn a listing into one row a photo, sorted: species, plant, stem, suffix, file."""
    source, images, folders = listing
    if not images:
        raise UserError(f"{source}: no image files in it; unpack open.zip there again")
    if astray := [file for parts, file in images if len(parts) != 3]:
        count = f"{len(astray)} photos are not in {part}/<species>/<plant>/"
        raise UserError(f"{count}: {listed(astray)}; move them into the folder of their plant")
    filled = {parts[:depth] for parts, _ in images for depth in (1, 2)}
    visible = {parts for parts in folders if not any(name.startswith((".", "__MACOSX")) for name in parts)}
    if empty := sorted("/".join(parts) for parts in visible - filled):
        raise UserError(f"{source}: no image files in {listed(empty)}; remove these folders or put photos into them")
    lines = []
    for parts, file in images:
        # macOS stores accents and Korean letters in pieces, a CSV seldom does: both are put together here.
        species, plant, name = (unicodedata.normalize("NFC", text) for text in parts)
        lines.append((species, f"{species}/{plant}", PurePath(name).stem, PurePath(name).suffix, file))
    table = pd.DataFrame(lines, columns=["species", "plant", "stem", "suffix", "file"])
    return table.sort_values(["species", "plant", "stem"], ignore_index=True)


def _find_table(root: Path, name: str) -> TableFile | None:
    """Find a CSV of the test set: in its folder or beside it, unpacked or not."""
    for home in (root, root / "open"):
        for path in (home / "test_dataset" / name, home / name):
            if path.is_file():
                return TableFile(path)
    for path in (root / "test_dataset.zip", root / "open.zip"):
        if path.is_file():
            members = [member for member in _members(path) if PurePosixPath(member).name == name]
            if visible := [member for member in members if "__MACOSX" not in member]:
                return TableFile(path, min(visible, key=lambda member: member.count("/")))
    return None


def _text(column: pd.Series) -> np.ndarray:
    return np.array(column.tolist(), dtype=str)


def _not_found(root: Path, missing: list[str]) -> UserError:
    return UserError(
        f"{root} lacks {' and '.join(missing)}, unpacked or in open.zip. Download open.zip of "
        "dacon.io/competitions/official/235851 into it, give its folder with --data.root DIR, or draw a synthetic "
        f"set: python -m growth.synthetic {root}"
    )
