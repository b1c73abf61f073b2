"""How predicted images differ from those that a model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from common.decoding import Images

SLACK = 0.1  # fraction of the range seen in training, added at either end
CHUNK = 256  # images measured together


class Familiar(TypedDict):
    """What the training images look like: the ranges of their brightness and contrast, and what they show."""

    low: list[float]
    high: list[float]
    kinds: list[str]


def describe_images(images: Images, rows: np.ndarray) -> np.ndarray:
    """Measure the brightness (mean) and the contrast (standard deviation) of images, 0 to 255: N×2, float32."""
    parts = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    measured = [np.stack([images[part].mean((1, 2, 3)), images[part].std((1, 2, 3))], axis=1) for part in parts]
    return np.concatenate(measured).astype(np.float32)


def learn_familiar(images: Images, rows: np.ndarray, kinds: Sequence[str]) -> Familiar:
    """Summarize images in plain values, so that images unlike them can be recognized later.

    Args:
        images: M×H×W×C, uint8.
        rows: rows of the training set, N.
        kinds: what the images show, N, if that is also known for images to predict; otherwise each is "", or the list
            is empty.
    """
    measured = describe_images(images, rows)
    low, high = measured.min(axis=0), measured.max(axis=0)
    slack = SLACK * (high - low)
    return {"low": (low - slack).tolist(), "high": (high + slack).tolist(), "kinds": sorted(set(kinds) - {""})}


def find_unfamiliar(images: Images, rows: np.ndarray, kinds: Sequence[str], familiar: Familiar) -> list[str]:
    """Say how each image differs from all training images; empty if it does not.

    Args:
        images: M×H×W×C, uint8.
        rows: rows that are predicted, N.
        kinds: what each shows, N; empty if that is not known.
        familiar: summary of the training set, from :func:`learn_familiar`.
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
