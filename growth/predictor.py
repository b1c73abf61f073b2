"""Days and ages from Python: what ``growth.load`` returns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.errors import UserError
from common.predictor import Checkpoints, Picture, Predictor
from growth.data import GrowthData
from growth.intervals import refusal
from growth.model import GrowthRegressor
from growth.pair_network import ages_of


class GrowthPredictor(Predictor[GrowthRegressor]):
    """Tells how many days lie between photos of one plant; for the arguments see :func:`growth.load`."""

    def __init__(self, checkpoints: Checkpoints, device: str | None = None, tta: int = 1) -> None:
        super().__init__(GrowthRegressor, GrowthData(), checkpoints, device, tta)

    def days(self, before: Picture, after: Picture) -> float:
        """Estimate the days elapsed from one photo to another of the same plant; negative if the other looks younger.

        Raises:
            UserError: one of them is not an image.
        """
        return float(self.ages([before, after])[1])

    def interval(self, before: Picture, after: Picture, level: int = 90) -> tuple[float, float]:
        """Return bounds, in days, that contain the days elapsed for ``level`` % (80 or 90) of the pairs of new plants.

        Raises:
            UserError: one of them is not an image, or too few plants were held out for that level.
        """
        bounds = self.models[0].intervals(self.ages([before, after])[1:])
        if not isinstance(level, int | np.integer) or f"low_{level}" not in bounds:
            raise UserError(refusal(level, self.models[0].calibration))
        return float(bounds[f"low_{level}"][0]), float(bounds[f"high_{level}"][0])

    def ages(self, photos: Sequence[Picture]) -> np.ndarray:
        """Estimate the days elapsed from the first of N photos of one plant to each of them, N, float32.

        A network's ages have no absolute zero, so they count from the first photo.

        Raises:
            UserError: one of them is not an image.
        """
        return ages_of(self.predict(photos)[0]["codes"])
