"""The competition's folder layout, read into tables.

``train/`` and ``test/`` hold the bitmaps as ``<ID>.Bmp`` in their original sizes, ``trainResized/`` and
``testResized/`` at 20×20; each may also be a ``.zip`` of that name. ``trainLabels.csv`` and
``sampleSubmission.csv`` have the columns ``ID,Class``.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from contextlib import suppress
from os.path import lexists
from pathlib import Path
from typing import Literal

import numpy as np

from common.errors import UserError, counted, listed
from common.files import other_case
from common.image_files import ImageFile, find_images, refuse_unlike
from common.platforms import quoted
from common.split import Listing
from common.submission import SampleSubmission
from common.tables import read_table, refuse_doubles, rows

CLASSES = string.ascii_lowercase + string.ascii_uppercase + string.digits
# Characters that can hardly be told apart in a crop.
LOOK_ALIKES = ("oO0", "sS", "cC", "iIl1", "xX", "zZ", "vV", "wW", "uU", "kK", "pP")
COLUMNS = ("ID", "Class")
MAX_PIXELS = 16_000_000  # the largest bitmap of the competition has 0.34 million

Variant = Literal["original", "resized"]
FOLDERS = {"original": ("train", "test"), "resized": ("trainResized", "testResized")}


def read_training_set(root: Path, variant: Variant) -> Listing:
    """List the training bitmaps in the order of ``trainLabels.csv``; their truth is an index into ``CLASSES``, int64.

    Raises:
        UserError: files are missing; an id appears twice, or lacks a bitmap or a label; a label is not a class.
    """
    source, files = _bitmaps(root, variant, "train")
    path = root / "trainLabels.csv"
    if not lexists(path):
        raise UserError(_how_to_get(root, path.name))
    table = read_table(path, COLUMNS)
    refuse_doubles(path, table["ID"])
    unknown = table[~table["Class"].isin(list(CLASSES))]
    if len(unknown):
        given = listed(map(ascii, sorted(set(unknown["Class"]))))  # in which spaces and other scripts can be told
        raise UserError(f"{path}: {rows(unknown.index)}: Class is {given}; give one of a-z, A-Z, 0-9")
    ids = table["ID"].tolist()
    _match_ids(ids, files, path, source)
    labels = np.array([CLASSES.index(name) for name in table["Class"]], dtype=np.int64)
    version = "" if variant == "original" else variant
    return Listing([files[i] for i in ids], ids, labels, labels, version=version)


def read_test_set(root: Path, variant: Variant) -> tuple[SampleSubmission, list[ImageFile]]:
    """List the test bitmaps in the order of ``sampleSubmission.csv``, or of their ids if it is missing.

    Raises:
        UserError: files are missing; the ids of the sample submission differ from those of the bitmaps.
    """
    source, files = _bitmaps(root, variant, "test")
    path = root / "sampleSubmission.csv"
    if lexists(path):  # also a link to nothing, which is refused
        table = read_table(path, COLUMNS, blank=["Class"])
        refuse_doubles(path, table["ID"])
        ids = table["ID"].tolist()
        _match_ids(ids, files, path, source)
    elif alike := other_case(root, [path.name]):
        raise UserError(f"{root} lacks {path.name}{alike}")
    else:
        ids = sorted(files, key=lambda name: (not name.isdecimal(), len(name) if name.isdecimal() else 0, name))
    return SampleSubmission(*COLUMNS, ids), [files[i] for i in ids]


def _bitmaps(root: Path, variant: Variant, part: Literal["train", "test"]) -> tuple[Path, dict[str, ImageFile]]:
    """Find the folder or archive of one part, and the bitmaps in it, by id."""
    name = FOLDERS[variant][part == "test"]
    folder, archive = root / name, root / f"{name}.zip"
    if not folder.is_dir() and not archive.is_file():
        other = "resized" if variant == "original" else "original"
        other_name = FOLDERS[other][part == "test"]
        if (root / other_name).is_dir() or (root / f"{other_name}.zip").is_file():
            lacks = f"{root} has no {name}.zip or {name}/{other_case(root, [archive.name, name])}"
            raise UserError(f"{lacks} but {other_name}: give --data.variant {other}")
        raise UserError(_how_to_get(root, archive.name, folder.name))
    source = folder if folder.is_dir() else archive
    alike = other_case(root, [name, archive.name])
    if alike and source.name in {path.name for path in root.iterdir()}:  # or case makes no difference here
        raise UserError(f"{root}: {source.name} would be read, and another not{alike}; keep one")
    found = find_images(source)
    if folder.is_dir() and archive.is_file():
        packed = None
        with suppress(UserError):  # a damaged archive is not needed
            packed = find_images(archive)
        if packed is not None:
            ours, theirs = ({file.name.name: file for file in files} for files in (found, packed))
            refuse_unlike(folder, ours, archive, theirs)
    if not found:
        raise UserError(f"{source}: no image files in it; unpack {name}.zip there again")
    others = {folder for pair in FOLDERS.values() for folder in pair} - {name}
    for file in found:
        inside = file.name if file.member else file.path.relative_to(source)
        if astray := others.intersection(inside.parts[:-1]):
            raise UserError(f"{source} holds {astray.pop()}/ ({file}), which may not belong to {name}; move it out")
    files: dict[str, ImageFile] = {}
    for file in found:
        name = file.name.stem
        if name in files:
            raise UserError(f"{source}: two files with the ID {name}: {files[name]} and {file}")
        files[name] = file
    return source, files


def _match_ids(ids: Sequence[str], files: dict[str, ImageFile], table: Path, source: Path) -> None:
    known = set(ids)
    if absent := [i for i in ids if i not in files]:
        number = f"{counted(len(absent), 'ID has', 'IDs have')} no bitmap in {source}: {listed(absent)}"
        plain = absent[0].strip().partition(".")[0].lstrip("0")  # of 001, 1.0, 1.Bmp, or with a space around it
        raise UserError(f"{table}: {number}" + (f"; if {absent[0]!r} is {plain}, write so" if plain in files else ""))
    if extra := [i for i in files if i not in known]:
        raise UserError(
            f"{source}: {counted(len(extra), 'bitmap has', 'bitmaps have')} no row in {table}: {listed(extra)}"
        )


def _how_to_get(root: Path, *missing: str) -> str:
    lacks = f"{root} lacks {' or '.join(missing)}{other_case(root, missing)}"
    fault = lacks if root.exists() else f"--data.root {root}: no such folder"
    command = f"python -m julia.synthetic {quoted(str(root))}"
    return (
        f"{fault}. Download the files of kaggle.com/c/street-view-getting-started-with-julia into it, "
        f"give their folder with --data.root DIR, or draw a synthetic set: {command}"
    )
