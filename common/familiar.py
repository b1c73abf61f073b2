"""How predicted images differ from those that a model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from common.decoding import Images

SLACK = 0.1  # of the range seen in training, at either end
CHUNK = 256  # images looked at together


class Familiar(TypedDict):
    """What the training images are like: ranges of their brightness and contrast, and what they show."""

    low: list[float]
    high: list[float]
    kinds: list[str]


def describe_images(images: Images, rows: np.ndarray) -> np.ndarray:
    """Measure the brightness (mean) and the contrast (standard deviation) of images, 0 to 255: N×2, float32."""
    parts = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    measured = [np.stack([images[part].mean((1, 2, 3)), images[part].std((1, 2, 3))], axis=1) for part in parts]
    return np.concatenate(measured).astype(np.float32)


def learn_familiar(images: Images, rows: np.ndarray, kinds: Sequence[str]) -> Familiar:
    """Keep what is needed to tell later which images are unlike these, in plain values.

    Args:
        images: M×H×W×C, uint8.
        rows: of the training set.
        kinds: what the images show, N, where that is also known of images to predict, each "" or the list empty if
            not.
    """
    measured = describe_images(images, rows)
    low, high = measured.min(axis=0), measured.max(axis=0)
    slack = SLACK * (high - low)
    return {"low": (low - slack).tolist(), "high": (high + slack).tolist(), "kinds": sorted(set(kinds) - {""})}


def find_unfamiliar(images: Images, rows: np.ndarray, kinds: Sequence[str], familiar: Familiar) -> list[str]:
    """Say how each image is unlike all training images; empty where it is not.

    Args:
        images: M×H×W×C, uint8.
        rows: that are predicted.
        kinds: what each shows, N; empty where that is not known.
        familiar: of the training set, as :func:`learn_familiar`.
    """
    measured = describe_images(images, rows)
    notes: list[list[str]] = [[] for _ in rows]
    for column, words in enumerate((("darker", "brighter"), ("of less contrast", "of more contrast"))):
        for number in np.flatnonzero(measured[:, column] < familiar["low"][column]):
            notes[number].append(f"{words[0]} than any training image")
        for number in np.flatnonzero(measured[:, column] > familiar["high"][column]):
            notes[number].append(f"{words[1]} than any training image")
    for note, kind in zip(notes, kinds or [""] * len(notes), strict=True):
        if kind and familiar["kinds"] and kind not in familiar["kinds"]:
            note.append(f"{kind} was not among the training images")
    return ["; ".join(note) for note in notes]
