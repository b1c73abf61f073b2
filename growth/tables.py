"""Tables of photos and pairs: what is predicted for each."""

from __future__ import annotations

import numpy as np
import pandas as pd

from growth.pair_network import ages_of
from growth.photos import PhotoPairs, Photos


def tabulate_photos(codes: np.ndarray, pairs: PhotoPairs, twin: bool) -> pd.DataFrame:
    """Tabulate the photos (U) with species, plant and age (days) from ``codes`` (U×2); for twins, both codes."""
    table = pd.DataFrame({"photo": pairs.name, "species": pairs.species, "plant": pairs.plant})
    names = ["before_code", "after_code"] if twin else ["age"]
    return table.assign(**{name: codes[:, column] for column, name in enumerate(names)})


def tabulate_ages(codes: np.ndarray, pairs: PhotoPairs) -> pd.DataFrame:
    """Tabulate the age of each photo (U), in days since the first photo of its plant."""
    _, firsts, plants = np.unique(pairs.plant, return_index=True, return_inverse=True)
    first = firsts[plants]
    names = [str(file) for file in pairs.files]
    ages = pd.DataFrame({"photo": names, "plant": pairs.plant, "days_since_first": ages_of(codes, first)})
    if pairs.day is not None:
        ages.insert(2, "day", pairs.day - pairs.day[first])
    return ages if pairs.plant[0] else ages.drop(columns="plant")


def tabulate_pairs(days: np.ndarray, bounds: dict[str, np.ndarray], pairs: PhotoPairs) -> pd.DataFrame:
    """Tabulate the predicted days of each pair (P) and the bounds of their intervals (days, P each, by name)."""
    names = np.array([str(file) for file in pairs.files])
    return pd.DataFrame({"before": names[pairs.before], "after": names[pairs.after], "days": days, **bounds})


def tabulate_held_out(
    photos: Photos | PhotoPairs, before: np.ndarray, after: np.ndarray, columns: dict[str, np.ndarray]
) -> pd.DataFrame:
    """Tabulate pairs (P) of held-out plants: plant, names of the photos, and ``columns``, P each, by name."""
    named = {"plant": photos.plant[before], "before": photos.name[before], "after": photos.name[after]}
    return pd.DataFrame({**named, **columns})


def note_reversed(days: np.ndarray, pairs: PhotoPairs) -> list[str]:
    """Note the photos (U) that look younger than an earlier one, the one by which most, by the predicted days (P)."""
    notes = [""] * len(pairs.files)
    for row in np.argsort(days)[::-1]:  # the most negative last
        if days[row] < -0.05:
            notes[pairs.after[row]] = f"looks {-days[row]:.1f} days younger than {pairs.name[pairs.before[row]]}"
    return notes
