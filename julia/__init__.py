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
    """Load trained networks once, to use on any number of bitmaps.

    Args:
        checkpoints: paths, glob patterns, or last or best of the newest run; the predictions of several are averaged.
        device: such as cpu, cuda or cuda:1; None picks the fastest available.
        tta: number of views of each bitmap to average, like ``--submission.tta``.

    Raises:
        UserError: a checkpoint is missing, damaged or from another task.
    """
    from julia.predictor import CharacterPredictor  # here, to keep `import julia` fast

    return CharacterPredictor(checkpoints, device, tta)
