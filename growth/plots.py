"""Plots of a network's predictions for pairs of held-out plants."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from common.decoding import Images
from common.plots import GALLERY, GREY, LOOKS, Gallery, new_figure, tidy
from growth.intervals import LEVELS

NAMED = 12  # plants at most whose names fit into a picture
BINS = 12  # of elapsed days, with equally many pairs each
JITTER = 0.35  # largest shift of a point, as a fraction of the gap between two numbers of days

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def days(evaluated: pd.DataFrame) -> Figure:
    """Draw the predicted against the true days of each pair, by species, with the RMSE of each and overall.

    Args:
        evaluated: one row per pair: species (name), days, predicted.
    """
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(6.4, 6.8)
    axes = figure.add_subplot()
    both = evaluated[["days", "predicted"]].to_numpy()
    low, high = min(0.0, both.min()), both.max()
    axes.plot([low, high], [low, high], color=GREY, linewidth=1)
    elapsed = np.unique(both[:, 0])
    gap = np.median(np.diff(elapsed)) if len(elapsed) > 1 else 1.0
    rng, groups = np.random.default_rng(0), list(evaluated.groupby("species"))
    for (name, pairs), (colour, marker, _) in zip(groups, cycle(LOOKS), strict=False):
        alpha = float(np.clip(400 / len(pairs), 0.1, 0.7))
        # All species about the true number: beside each other, they would look biased in opposite directions.
        x = pairs["days"] + rng.uniform(-JITTER, JITTER, len(pairs)) * gap
        label = f"{str(name) or 'all'}: {_rmse(pairs)}"
        axes.plot(x, pairs["predicted"], marker, color=colour, ms=3, alpha=alpha, mew=0)
        axes.plot([], [], marker, color=colour, ms=5, mew=0, label=label)
    axes.legend(loc="upper left", frameon=False)
    title = f"held-out plants, all pairs: {_rmse(evaluated)}" if len(groups) > 1 else "held-out plants, all pairs"
    tidy(axes, title, "elapsed, days (points spread around each number)", "predicted, days")
    margin = max(0.03 * (high - low), JITTER * gap + 0.01 * (high - low))
    axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin), aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(8, integer=True))
    return figure


def _rmse(pairs: pd.DataFrame) -> str:
    wrong = (pairs["predicted"] - pairs["days"]).astype(float)
    rmse = (wrong**2).mean() ** 0.5
    return f"RMSE {rmse:.2f} days, {len(pairs):,} {'pair' if len(pairs) == 1 else 'pairs'}"


def errors(evaluated: pd.DataFrame) -> Figure:
    """Draw the error against the elapsed days: the median and the middle half, by species; see :func:`days`."""
    figure = new_figure(7.5, 4.5)
    axes = figure.add_subplot()
    axes.axhline(0, color=GREY, linewidth=1)
    for (name, pairs), (colour, marker, dash) in zip(evaluated.groupby("species"), cycle(LOOKS), strict=False):
        by_days = (pairs["predicted"] - pairs["days"]).groupby(pairs["days"].round())
        low, middle, high = (by_days.quantile(share) for share in (0.25, 0.5, 0.75))
        axes.fill_between(middle.index, low, high, alpha=0.2, linewidth=0, color=colour)
        axes.plot(middle, color=colour, marker=marker, ms=4, linestyle=dash, label=str(name or "all"))
    axes.legend(title="median and middle half", frameon=False, alignment="left")
    tidy(axes, "error of held-out pairs by their distance", "elapsed, days", "predicted − elapsed, days")
    return figure


def growth_curves(ages: pd.DataFrame) -> Figure:
    """Draw the estimated age of each plant, in days since its first photo.

    Args:
        ages: one row per photo, those of a plant in order: days_since_first; plant and day if known.
    """
    figure = new_figure(7.5, 4.5)
    axes = figure.add_subplot()
    curves = ages if "plant" in ages else ages.assign(plant="")
    x, label = curves.groupby("plant").cumcount() + 1, "number of the photo"
    if "day" in ages:
        x, label, most = ages["day"], "days since the first photo, by their dates", ages["day"].max()
        axes.plot([0, most], [0, most], color=GREY, linewidth=1)
    plants = curves.assign(x=x).groupby("plant", sort=False)
    for (name, curve), (colour, marker, dash) in zip(plants, cycle(LOOKS), strict=False):
        age = curve["days_since_first"]
        axes.plot(curve["x"], age, marker, color=colour, linestyle=dash, ms=4, label=str(name))
    if 1 < curves["plant"].nunique() <= NAMED:
        axes.legend(frameon=False)
    tidy(axes, "growth curve", label, "estimated days since the first photo")
    return figure


def worst_errors(evaluated: pd.DataFrame, images: Images) -> Gallery:
    """Show the pair with the largest error of each plant, its photos side by side.

    Args:
        evaluated: as in :func:`days`, with before and after (rows of ``images``) and plant (name).
        images: M×H×W×C, uint8.
    """
    wrong = evaluated.assign(error=evaluated["predicted"] - evaluated["days"])
    order = wrong["error"].abs().sort_values(ascending=False, kind="stable").index
    # One per plant, since its neighbouring pairs look alike.
    worst = wrong.loc[order].drop_duplicates("plant").head(GALLERY // 2)
    gap = np.full((images.shape[1], max(2, images.shape[2] // 32), images.shape[3]), 255, dtype=np.uint8)
    photos = [np.hstack([images[one], gap, images[other]]) for one, other in worst[["before", "after"]].to_numpy()]
    rows = worst[["plant", "days", "predicted"]].itertuples(index=False, name=None)
    captions = [
        f"{plant}\n{days:.4g} {'day' if days == 1 else 'days'}, predicted {predicted:.1f}"
        for plant, days, predicted in rows
    ]
    return Gallery("greatest error of each plant: earlier and later photo", photos, captions)


def intervals(bounds: np.ndarray, days: np.ndarray) -> Figure:
    """Draw the fraction of pairs that the intervals contain, and how wide these are, against the elapsed days.

    Args:
        bounds: P×4, days, in the order of :data:`growth.intervals.COLUMNS`; NaN for an unknown level.
        days: elapsed days, P.
    """
    figure = new_figure(7.5, 6)
    coverage, width = figure.subplots(2, 1, sharex=True)
    edges = np.unique(np.quantile(days, np.linspace(0, 1, BINS + 1)))
    place = np.searchsorted(edges[1:-1], days, side="right")
    for number, (level, (colour, marker, dash)) in enumerate(zip(LEVELS, LOOKS, strict=False)):
        low, high = bounds[:, 2 * number], bounds[:, 2 * number + 1]
        if np.isnan(low).all():
            continue
        held = (low <= days) & (days <= high)
        by = pd.DataFrame({"days": days, "held": held, "width": high - low}).groupby(place).mean()
        look = {"color": colour, "marker": marker, "linestyle": dash, "ms": 4}
        coverage.axhline(level, color=colour, linewidth=0.8, linestyle=dash)
        label = f"{level} % intervals"
        coverage.plot(by["days"], 100 * by["held"], **look, label=f"{label}: hold {100 * held.mean():.1f} %")
        width.plot(by["days"], by["width"], **look, label=f"{label}: {np.mean(high - low):.2f} days wide")
    coverage.set_ylim(max(0, coverage.get_ylim()[0]), 100)
    for axes in (coverage, width):
        axes.legend(frameon=False)
    tidy(coverage, "intervals for plants that they were not learned from", "", "pairs held, %")
    tidy(width, "", "elapsed, days", "mean width, days")
    width.set_ylim(0)
    return figure
