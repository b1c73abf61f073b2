"""Pictures of what a network makes of the pairs of held-out plants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from common.images import Images
from common.plots import COLOURS, DASHES, GALLERY, GREY, MARKERS, Gallery, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def days(evaluated: pd.DataFrame, rmse: dict[str, float]) -> Figure:
    """Draw the predicted against the true days of each pair, by species.

    Args:
        evaluated: a line a pair: species (name), days, predicted.
        rmse: of each species, days.
    """
    figure = new_figure(6.4, 6)
    axes = figure.add_subplot()
    most = max(evaluated["days"].max(), evaluated["predicted"].max())
    axes.plot([0, most], [0, most], color=GREY, linewidth=1)
    for number, (name, pairs) in enumerate(evaluated.groupby("species")):
        label = f"{str(name) or 'all'}: RMSE {rmse[str(name)]:.2f} days, {len(pairs)} pairs"
        look: Any = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "markersize": 4}
        axes.plot(pairs["days"], pairs["predicted"], ls="", alpha=0.5, markeredgewidth=0, label=label, **look)
    axes.legend(loc="upper left", frameon=False)
    tidy(axes, "held-out plants, all pairs", "elapsed, days", "predicted, days")
    return figure


def errors(evaluated: pd.DataFrame) -> Figure:
    """Draw the error against the elapsed days: the median and the middle half, by species; see :func:`days`."""
    figure = new_figure(7.5, 4.5)
    axes = figure.add_subplot()
    axes.axhline(0, color=GREY, linewidth=1)
    for number, (name, pairs) in enumerate(evaluated.groupby("species")):
        by_days = (pairs["predicted"] - pairs["days"]).groupby(pairs["days"].round())
        low, middle, high = (by_days.quantile(share) for share in (0.25, 0.5, 0.75))
        look: Any = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "markersize": 4}
        axes.fill_between(middle.index, low, high, color=look["color"], alpha=0.2, linewidth=0)
        axes.plot(middle, linestyle=DASHES[number % len(DASHES)], label=str(name or "all"), **look)
    axes.legend(title="median and middle half", frameon=False, alignment="left")
    tidy(axes, "error of held-out pairs by their distance", "elapsed, days", "predicted − elapsed, days")
    return figure


def worst_errors(evaluated: pd.DataFrame, images: Images) -> Gallery:
    """Show the pairs with the greatest errors, the photos side by side.

    Args:
        evaluated: as :func:`days`, with before and after (rows of ``images``) and plant (name).
        images: M×H×W×C, uint8.
    """
    wrong = evaluated.assign(error=evaluated["predicted"] - evaluated["days"])
    order = wrong["error"].abs().sort_values(ascending=False, kind="stable").index
    # Neighbouring pairs of one plant look alike: the worst three of each plant.
    worst = wrong.loc[order].groupby("plant", sort=False).head(3).head(GALLERY // 2)
    gap = np.full((images.shape[1], max(2, images.shape[2] // 32), images.shape[3]), 255, dtype=np.uint8)
    pairs: Any = list(worst.itertuples())
    photos = [np.concatenate([images[pair.before], gap, images[pair.after]], axis=1) for pair in pairs]
    captions = [f"{pair.plant}: {pair.days:.4g} days, predicted {pair.predicted:.1f}" for pair in pairs]
    return Gallery("greatest errors, at most three a plant: earlier and later photo", photos, captions)
