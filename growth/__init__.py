"""DACON 235851, and photos of one's own: two photos of one plant → days elapsed between them.

model = growth.load("best.ckpt")
model.days("before.jpg", "after.jpg")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.predictor import Checkpoints
    from growth.predictor import GrowthPredictor


def load(checkpoints: Checkpoints, device: str | None = None, tta: int = 1) -> GrowthPredictor:
    """Load fitted networks, once, to ask them about photos.

    Args:
        checkpoints: one or several, which are averaged: paths, patterns, or last or best, of the newest run.
        device: such as cpu, cuda or cuda:1; the fastest there is if None.
        tta: how many views of each photo are averaged, as ``--submission.tta``.

    Raises:
        UserError: a checkpoint is absent, damaged or another task's.
    """
    from growth.predictor import GrowthPredictor  # here, so that `import growth` alone takes no time

    return GrowthPredictor(checkpoints, device, tta)
