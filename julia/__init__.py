"""Kaggle "First Steps With Julia": one character bitmap → one of 62 classes.

model = julia.load("best.ckpt")
model.classify(["bitmap.png"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.predictor import Checkpoints
    from julia.predictor import CharacterPredictor


def load(checkpoints: Checkpoints, device: str | None = None, tta: int = 1) -> CharacterPredictor:
    """Load fitted networks, once, to ask them about bitmaps.

    Args:
        checkpoints: one or several, which are averaged: paths, patterns, or last or best, of the newest run.
        device: such as cpu, cuda or cuda:1; the fastest there is if None.
        tta: how many views of each bitmap are averaged, as ``--submission.tta``.

    Raises:
        UserError: a checkpoint is absent, damaged or another task's.
    """
    from julia.predictor import CharacterPredictor  # here, so that `import julia` alone takes no time

    return CharacterPredictor(checkpoints, device, tta)
