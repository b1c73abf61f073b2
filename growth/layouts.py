"""Which layout a folder of photos has: the competition's (:mod:`growth.dacon`), or one's own (:mod:`growth.own`)."""

from __future__ import annotations

from pathlib import Path

from common.errors import UserError
from common.images import SUFFIXES
from growth import dacon
from growth.days import read_days
from growth.own import PAIRS, WRITTEN, read_own_pairs, read_own_training_set
from growth.photo_table import PHOTOS
from growth.photos import PhotoPairs, Photos


def read_training_set(root: Path, pattern: str | None = None) -> Photos:
    """List the photos to train on with species, plant and day.

    Args:
        root: the folder.
        pattern: of the names of one's own photos, where they tell plant and day; see :mod:`growth.name_pattern`.

    Raises:
        UserError: there are none, the folder can be read in two layouts, or as :func:`growth.dacon.read_training_set`
            and :func:`growth.own.read_own_training_set` say.
    """
    if _is_competition(root, pattern):
        return dacon.read_training_set(root)
    photos = read_own_training_set(root, pattern) if root.is_dir() else None
    if photos is None:
        raise _nothing_found(root)
    return photos


def read_test_set(root: Path, pattern: str | None = None) -> PhotoPairs:
    """List the pairs to predict; see :func:`read_training_set`.

    Raises:
        UserError: as :func:`read_training_set` and the functions of the layouts say.
    """
    if _is_competition(root, pattern):
        return dacon.read_test_set(root)
    pairs = read_own_pairs(root, pattern) if root.is_dir() else None
    if pairs is None:
        raise _nothing_found(root)
    return pairs


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
    """Name the folders beside the competition's that hold photos of a plant, with their days in their names."""
    plants = []
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        if folder.name not in (*dacon.PARTS, "open", *WRITTEN) and not folder.name.startswith("."):
            stems = [path.stem for path in folder.glob("*") if path.suffix[1:].lower() in SUFFIXES]
            if stems and not any(read_days("", folder.name, stems)[1]):
                plants.append(folder.name)
    return plants


def _nothing_found(root: Path) -> UserError:
    return UserError(
        f"{root} holds no photos in a layout that is read (train_dataset/<species>/<plant>/ or open.zip, as the "
        f"competition has them; {PHOTOS}; <plant>/; --data.pattern: see docs/photos.md); for the competition's, "
        f"{dacon.how_to_get(root)}"
    )
