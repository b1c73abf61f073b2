"""Characters from Python: what ``julia.load`` returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from common.predictor import Checkpoints, Picture, Predictor
from julia.data import CharacterData
from julia.files import CLASSES
from julia.model import CharacterClassifier


class Guess(NamedTuple):
    """What a bitmap shows.

    Attributes:
        character: the most probable class.
        probability: its probability, by the temperature that the checkpoint learned from held-out bitmaps.
        probabilities: likewise for all 62 classes, the greatest first.
    """

    character: str
    probability: float
    probabilities: dict[str, float]


class CharacterPredictor(Predictor[CharacterClassifier]):
    """Tells which character a bitmap shows; for the arguments see :func:`julia.load`."""

    def __init__(self, checkpoints: Checkpoints, device: str | None = None, tta: int = 1) -> None:
        super().__init__(CharacterClassifier, CharacterData(), checkpoints, device, tta)

    def classify(self, bitmaps: Sequence[Picture]) -> list[Guess]:
        """Name the character of each of N bitmaps.

        Raises:
            UserError: one of them is not an image.
        """
        return guesses_of(self.models[0].calibrated(self.predict(bitmaps)[0]["probabilities"]))


def guesses_of(probabilities: np.ndarray) -> list[Guess]:
    """Rank the classes of each bitmap by their probabilities, N×62."""
    guesses = []
    for row in probabilities.tolist():
        ranked = dict(sorted(zip(CLASSES, row, strict=True), key=lambda pair: -pair[1]))
        guesses.append(Guess(*next(iter(ranked.items())), ranked))
    return guesses
