"""DACON 235851 and your own photos: two photos of one plant → the days between them.

model = growth.load("best.ckpt")
model.days("before.jpg", "after.jpg")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.predictor import Checkpoints
    from growth.predictor import GrowthPredictor


def load(checkpoints: Checkpoints, device: str | None = None, tta: int = 1) -> GrowthPredictor:
    """Load trained networks once, to use on any number of photos.

    Args:
        checkpoints: paths, glob patterns, or last or best of the newest run; the predictions of several are averaged.
        device: such as cpu, cuda or cuda:1; None picks the fastest available.
        tta: number of views of each photo to average, like ``--submission.tta``.

    Raises:
        UserError: a checkpoint is missing, damaged or from another task.
    """
    from growth.predictor import GrowthPredictor  # here, to keep `import growth` fast

    return GrowthPredictor(checkpoints, device, tta)
