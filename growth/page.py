"""The web page of ``growth``: the days between two photos of a plant, or the growth curve of more."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import UserError
from common.page import Page, heading, picture, table
from common.submission import Outputs
from growth.intervals import LEVELS, plants_for
from growth.pair_network import ages_of
from growth.photos import ONE_PHOTO
from growth.plots import growth_curves
from growth.pots import Pot

PHONE = (4.8, 3.4)  # size in inches at which the lettering is still readable on a phone


class GrowthPage(Page):
    """Shows days and ages as ``growth.load`` gives them."""

    asks = "Drop two photos of one plant, the earlier first, to get the days between them; more for a growth curve."

    def show(self, outputs: Outputs, names: Sequence[str]) -> str:
        """Show the days and, for more than two photos, the curve and the table of ages."""
        if len(names) < 2:
            raise UserError(f"{names[0]}: {ONE_PHOTO}")
        ages = ages_of(outputs["codes"])
        days, first, last = round(float(ages[-1]), 2), names[0], names[-1]
        younger = f": {last} looks younger, so it may be the earlier one" if days < 0 else ""
        said = heading(f"{days + 0.0:.2f} days", f"from {first} to {last}{younger}") + self._interval(ages[-1:])
        if len(names) == 2:
            return said
        rows = pd.DataFrame({"photo": names, "days_since_first": ages})
        figure = growth_curves(rows)
        figure.set_size_inches(*PHONE)
        written = table(rows.rename(columns={"days_since_first": "days since the first photo"}))
        return said + picture(figure, "growth curve, as in the table") + written

    def _interval(self, days: np.ndarray) -> str:
        """State the interval of a predicted number of days (1), or why there is none."""
        model = self.predictor.models[0]
        if not (bounds := model.intervals(days)):
            return f"<p>{escape(model.about_calibration())}</p>"
        said = [
            f"{level} % sure: {bounds[f'low_{level}'][0]:.1f} to {bounds[f'high_{level}'][0]:.1f} days"
            if f"low_{level}" in bounds
            else f"{level} % takes {plants_for(level)} held-out plants"
            for level in LEVELS
        ]
        return f"<p>{'; '.join(said)}</p>"

    def draw_examples(self, folder: Path) -> list[Path]:
        """Draw two photos of one plant, six days apart."""
        plant, photos = Pot(0, "BC", 1, (320, 240)), [folder / f"DAT{day:02}.png" for day in (2, 8)]
        for photo, day in zip(photos, (2, 8), strict=True):
            plant.photo(day).save(photo)
        return photos
