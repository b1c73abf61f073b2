"""What every photo layout is read into: photos with species, plant and day, and pairs of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from common.errors import UserError, counted, listed
from common.image_files import ImageFile
from common.submission import SampleSubmission
from common.tables import rows
from growth.days import read_days
from growth.marks import around_date
from growth.words import OF_NO_PLANT, OF_NO_PLANT_AFTER

SAMPLE_COLUMNS = ("idx", "time_delta")
ONE_PHOTO = "one photo has no age, which counts from another; give two or more"
MAX_PIXELS = 120_000_000  # phones take up to 108 million; the competition's photos have 8 million


@dataclass(frozen=True)
class Photos:
    """The training set: one row per photo, sorted by species, plant and day."""

    files: list[ImageFile]  # the photos, N
    species: np.ndarray  # name of the species, empty if none is given, N, str
    plant: np.ndarray  # name of the plant, unique across species, N, str
    # As the layout counts it or, if it gives dates, from the plant's first photo, N, float32; photos of one plant and
    # day show the same moment from several cameras.
    day: np.ndarray
    name: np.ndarray  # name of the photo in tables, unique within its plant, N, str

    @classmethod
    def of(cls, table: pd.DataFrame) -> Photos:
        """Make the training set from a table with the columns file, species, plant, day and name."""
        table = table.sort_values(["species", "plant", "day", "name"])
        species, plant, name = (table[column].to_numpy(str) for column in ("species", "plant", "name"))
        return cls(table["file"].tolist(), species, plant, table["day"].to_numpy(np.float32), name)

    def take(self, rows: np.ndarray) -> Photos:
        """Keep some rows, in the order given."""
        columns = (self.species[rows], self.plant[rows], self.day[rows], self.name[rows])
        return Photos([self.files[row] for row in rows], *columns)

    def shortest_gap(self) -> float:
        """Return the fewest days between two moments of one plant."""
        order = np.lexsort((self.day, self.plant))
        plant, gap = self.plant[order], np.diff(self.day[order])
        return float(gap[(plant[1:] == plant[:-1]) & (gap > 0)].min())


@dataclass(frozen=True)
class PhotoPairs:
    """The photos to predict: U photos, each once, and P pairs that index them."""

    files: list[ImageFile]  # the photos that a pair names, U, sorted by species, plant and name
    species: np.ndarray  # name of the species of each photo, empty if none is given, U, str
    plant: np.ndarray  # name of the plant of each photo, U, str
    name: np.ndarray  # name of each photo in tables, U, str
    before: np.ndarray  # index of the earlier photo of each pair, P, int64, in the order of sample.ids
    after: np.ndarray  # index of the later photo, P, int64, of the same plant
    sample: SampleSubmission  # the ids of the pairs, in submission order
    day: np.ndarray | None = None  # of each photo, as in Photos, U, float32; None unless all are known

    @classmethod
    def of(cls, table: pd.DataFrame, before: np.ndarray, after: np.ndarray, ids: list[str]) -> PhotoPairs:
        """Pair photos by their indices (P, P) in a table with the columns file, species, plant and name.

        Photos that no pair names are left out.
        """
        used, ends = np.unique([before, after], return_inverse=True)
        before, after = ends.reshape(2, -1).astype(np.int64)
        table = table.iloc[used]
        species, plant, name = (table[column].to_numpy(str) for column in ("species", "plant", "name"))
        sample = SampleSubmission(*SAMPLE_COLUMNS, ids)
        return cls(table["file"].tolist(), species, plant, name, before, after, sample)


def all_pairs(groups: np.ndarray, day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pair each photo (group and day, U each) with every later one of its group: indices before and after, P each."""
    before, after = np.nonzero((groups[:, None] == groups) & (day[:, None] < day))
    return before, after


def pairs_of(photos: Photos) -> tuple[PhotoPairs, np.ndarray]:
    """Make a test set from photos with known days, all pairs within a plant, and the days of each (P, float32).

    An id is ``<plant>/<day>-<day>``; photos of one moment are numbered, as in ``0.5#2``.
    """
    parts = []
    for plant in np.unique(photos.plant):  # not all at once: there may be many plants
        rows = np.flatnonzero(photos.plant == plant)
        parts.append(rows[np.stack(all_pairs(photos.plant[rows], photos.day[rows]))])
    before, after = np.concatenate(parts, axis=1)
    order = np.argsort(before, kind="stable")
    before, after = before[order], after[order]

    moments = pd.DataFrame({"plant": photos.plant, "day": photos.day}).groupby(["plant", "day"])["day"]
    number, of = moments.cumcount() + 1, moments.transform("size")
    days = [f"{int(day):02}" if day.is_integer() else str(day) for day in photos.day]
    names = [f"{day}#{one}" if many > 1 else day for day, one, many in zip(days, number, of, strict=True)]
    ids = [f"{photos.plant[b]}/{names[b]}-{names[a]}" for b, a in zip(before, after, strict=True)]
    sample = SampleSubmission(*SAMPLE_COLUMNS, ids)
    pairs = PhotoPairs(photos.files, photos.species, photos.plant, photos.name, before, after, sample, photos.day)
    return pairs, photos.day[after] - photos.day[before]


def days_in_names(
    plant: pd.Series, stem: pd.Series, folders: Callable[[str], tuple[str, str]]
) -> tuple[np.ndarray, list[str]]:
    """Read the days of photos from their names, plant by plant; see :func:`growth.days.read_days`.

    ``folders`` maps a plant to its folders: that of its species, and its own. Returns the days (N, float32), NaN for
    plants with an uncertain one, and what makes each uncertain, N.
    """
    day, faults = np.zeros(len(plant), dtype=np.float32), [""] * len(plant)
    for name, own in plant.groupby(plant).indices.items():
        days, faults_of = read_days(*folders(str(name)), stem.iloc[own].tolist())
        day[own] = days or np.nan
        for row, fault in zip(own, faults_of, strict=True):
            faults[row] = fault
    return day, faults


def refuse_uncertain(source: object, photo: pd.Series, faults: list[str], otherwise: str = "") -> None:
    """Raise a :class:`UserError` that names the photos whose day is uncertain, why, and another way to tell it."""
    if uncertain := {name: f"{name} ({fault})" for name, fault in zip(photo, faults, strict=True) if fault}:
        suffix, count = PurePosixPath(next(iter(uncertain))).suffix, counted(len(uncertain), "photo has", "photos have")
        raise UserError(
            f"{source}: {count} no certain day: {listed(uncertain.values(), most=3)}; "
            f"name each like DAT07{suffix} or 2024-05-31{suffix}{otherwise}"
        )


def refuse_same_day(source: object, table: pd.DataFrame) -> None:
    """Raise a :class:`UserError` that names the photos (path, plant, day) that share plant and day with others."""
    if len(doubled := table[table.duplicated(["plant", "day"], keep=False)]):
        remedy = "make one folder for each plant, remove one of each, or tell their days by photos.csv"
        raise UserError(f"{source}: two photos of one plant and day: {listed(doubled['path'])}; {remedy}")
    # Of photos that are seconds apart, what stands beside their dates may tell that they are of two plants, or views.
    table = table.assign(day=table["day"] // 1, label=table["path"].map(lambda path: _label(PurePosixPath(path).stem)))
    days = table[table["label"] != ""].drop_duplicates(["plant", "day", "label"])
    for _, own in days.groupby("plant"):
        shared = own[own.duplicated("day", keep=False)]
        # Milliseconds may agree by chance, but seldom.
        often = 2 if shared["label"].str.fullmatch("[0-9]+").all() else 0
        again = shared.groupby("label")["day"].nunique()
        if shared["day"].nunique() > 1 and again.max() > 1 and again.mean() >= often:
            said = f"{listed(shared['path'], most=4)} may be of one plant, or of one for each word beside the dates"
            raise UserError(f"{source}: {said}; make one folder for each plant, or tell plants and days by photos.csv")


def _label(stem: str) -> str:
    """Return the words beside the date of a photo that may name a plant, or a number there; empty if there are none."""
    before, after = around_date(stem)
    before = re.sub(r"[\W\d_]+$", "", before).casefold()
    words = "" if OF_NO_PLANT.fullmatch(before) else before
    more = "" if OF_NO_PLANT_AFTER.fullmatch(after) else re.sub(r"[\W_]+", " ", after).strip().casefold()
    return f"{words} {more}".strip()


def refuse_mixed(path: object, pairs: pd.DataFrame, before: np.ndarray, after: np.ndarray, plant: np.ndarray) -> None:
    """Raise a :class:`UserError` that names the rows (P) whose photos, by index, are the same or of two plants (N)."""
    if len(same := pairs[before == after]):
        raise UserError(f"{path}: {rows(same.index)}: before and after are one photo; give two, or remove the row")
    if len(mixed := pairs[plant[before] != plant[after]]):
        raise UserError(f"{path}: {rows(mixed.index)}: the photos are of two plants; give two of one plant")


def refuse_lone(source: object, plant: pd.Series, day: pd.Series) -> None:
    """Raise a :class:`UserError` that names the plants with only one photo, or only one moment."""
    photos, moments = plant.value_counts(), day.groupby(plant).nunique()
    for number, has, remedy in (
        (photos, "one photo, which makes no pair", "add photos of each, or remove it"),
        (moments, "photos of one moment only, which make no pair", "add photos of other days or remove these"),
    ):
        if lone := sorted(number.index[number == 1]):
            count = counted(len(lone), "plant has", "plants have")
            raise UserError(f"{source}: {count} {has}: {listed(lone)}; {remedy}")
