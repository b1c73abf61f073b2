"""Pictures of a run, as figures and as PNG files: readable in grey and by the colour-blind, with units on the axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import pandas as pd

from common.files import replacing

if TYPE_CHECKING:  # importing matplotlib takes as long as starting
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Direction = Literal["min", "max"]  # whether a lower or a higher metric is better
BETTER: dict[Direction, str] = {"min": "lower is better", "max": "higher is better"}
Said = TypeVar("Said", bound=str)

# Okabe and Ito's colours, which the colour-blind can tell apart; markers and dashes distinguish them in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)))
LOOKS = tuple(zip(COLOURS, MARKERS, DASHES, strict=True))
GREY = "#555555"
DPI = 120
GALLERY = 24  # pictures per gallery
WIDE = 5  # factor by which a curve must have fallen to be drawn on a logarithmic scale


def of_metric(name: str, patterns: Mapping[str, Said]) -> Said | None:
    """Look up a property of a metric, such as its unit, by patterns in which an asterisk stands for anything."""
    return next((said for pattern, said in patterns.items() if fnmatch(name, pattern)), None)


@dataclass(frozen=True)
class Gallery:
    """Images (each H×W×C, uint8) with captions (a line or two each), in order, and a title for them all."""

    title: str
    images: Sequence[np.ndarray]
    captions: Sequence[str]

    def figure(self) -> Figure:
        """Lay them out in a grid, which is narrower the fewer there are."""
        height, width = self.images[0].shape[:2] if self.images else (1, 1)
        columns = max(1, round(math.sqrt(len(self.images) * 1.5 * height / width)))
        rows = -(-len(self.images) // columns) or 1
        cell = min(3.0, 7 / columns)
        lines = max((caption.count("\n") + 1 for caption in self.captions), default=1)
        figure = new_figure(max(columns * cell, 5.0), rows * (cell * height / width + 0.1 + 0.17 * lines) + 0.6)
        figure.suptitle(self.title)
        for number, (image, caption) in enumerate(zip(self.images, self.captions, strict=True)):
            axes = figure.add_subplot(rows, columns, number + 1)
            axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set_title(caption, fontsize=9)
            axes.set_axis_off()
        return figure


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure of ``width``×``height`` inches, without pyplot's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file, whole or not at all."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def tidy(axes: Axes, title: str, x: str, y: str) -> None:
    """Title the axes, and leave only what helps to read them; x counts something, so its ticks are whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(title, fontsize=11)
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3, linewidth=0.6)
    axes.set_axisbelow(True)


def data_curve(table: pd.DataFrame, metric: str, direction: Direction, unit: str) -> Figure:
    """Draw a metric over the amount of training data, on a logarithmic axis to base 2.

    Args:
        table: one line per fraction, as :func:`common.data_curve.tabulate` makes it.
        metric: the metric over all out-of-fold rows.
        direction: which way it gets better.
        unit: unit of the metric; none if empty.
    """
    figure = new_figure(6.5, 4.5)
    axes = figure.add_subplot()
    counted = [name for name in table.columns if name.startswith("trained_")][-1]
    trained = table[counted]
    axes.plot(trained, table[metric], color=COLOURS[0], marker=MARKERS[0], label="all out-of-fold rows", zorder=3)
    if (folds := int(table["folds"].min())) > 1:
        label = f"mean ± standard deviation over {folds} folds"
        mean, spread = table["mean"], table["deviation"]
        axes.errorbar(trained, mean, spread, fmt=MARKERS[1], color=COLOURS[1], capsize=4, ms=4, label=label)
        axes.legend(frameon=False, fontsize=9)
    noun = counted.removeprefix("trained_")
    y = f"{metric}{f', {unit}' if unit else ''} ({BETTER[direction]})"
    tidy(axes, "What more data would bring", f"{noun} trained on (fraction of those not held out)", y)
    axes.set_xscale("log", base=2)
    shares = zip(trained, table["train_fraction"], strict=True)
    axes.set_xticks(trained, [f"{round(count, 1):,}".removesuffix(".0") + f"\n({share:g})" for count, share in shares])
    axes.minorticks_off()
    return figure


# How a quantity was measured, keyed by the pattern of its metric's name, and how its curve looks.
CURVES = {
    "train/{}": ("training", COLOURS[1], MARKERS[1], "--"),
    "val/{}": ("validation", COLOURS[0], MARKERS[0], "-"),
    "val/{}_calibrated": ("validation, calibrated", COLOURS[2], MARKERS[2], ":"),
}
ABOUT_TRAINING = """training: the batches as they were trained on, with augmented images and
the weights of that moment; the loss of those steps that were logged"""


def learning_curves(
    metrics: pd.DataFrame, monitor: str, directions: Mapping[str, Direction], units: Mapping[str, str]
) -> Figure:
    """Draw each quantity measured on held-out rows, and the loss, over the epochs, beside its values in training.

    Args:
        metrics: Lightning's metrics.csv.
        monitor: the metric that decides which epoch is best; that epoch is marked in all panels.
        directions: which way each metric gets better.
        units: units of the metrics that have one.
    """
    measured = {name: curve for name in directions if len(curve := curve_of(metrics, name))}
    shown = [name.removeprefix("val/") for name in measured if name.startswith("val/") or name == "train/loss"]
    shown = [name.removeprefix("train/").removesuffix("_calibrated") for name in shown]
    # The monitored metric comes first, then the loss.
    names = sorted(dict.fromkeys(shown), key=lambda name: (f"val/{name}" != monitor, name != "loss"))
    columns = min(2, len(names)) or 1
    rows = -(-len(names) // columns) or 1
    figure = new_figure(4 * columns, 2.8 * rows + 0.8)
    if monitor in measured:
        curve = measured[monitor]
        at = int(curve.argmin() if directions[monitor] == "min" else curve.argmax())
        best = float(curve.index[at])
        figure.suptitle(f"best epoch: {math.ceil(best)}, {monitor} {curve.iloc[at]:.4f}", fontsize=11)
    last = max((curve.index.max() for curve in measured.values()), default=1)
    looks: dict[str, Line2D] = {}
    for number, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, number + 1)
        drawn = {key: look for pattern, look in CURVES.items() if (key := pattern.format(name)) in measured}
        for key, (label, colour, marker, dash) in drawn.items():
            size = 4 if len(measured[key]) <= 30 else 2
            (looks[label],) = axes.plot(measured[key], color=colour, marker=marker, linestyle=dash, ms=size, lw=1.2)
        if monitor in measured:
            looks["best epoch"] = axes.axvline(best, color=GREY, linewidth=1, linestyle="-.", zorder=0)
            if f"val/{name}" in measured and best in (curve := measured[f"val/{name}"]).index:
                value = float(curve.loc[best])
                axes.plot(best, value, MARKERS[3], color="black", ms=6, zorder=4)
                axes.set_title(f"best epoch {value:.3g}, last {curve.iloc[-1]:.3g}")
        one = next(iter(drawn))
        direction, unit = directions[one], units.get(one, "")
        tidy(axes, axes.get_title(), "epoch", f"{name}{f', {unit}' if unit else ''}\n({BETTER[direction]})")
        axes.set_xlim(min(0.5, last - 0.5), last + 0.5)
        if direction == "min" and any(0 < WIDE * measured[key].min() < measured[key].iloc[0] for key in drawn):
            scale_by_ratios(axes)
    figure.legend(
        list(looks.values()),
        list(looks),
        loc="outside lower center",
        ncols=len(looks) or 1,
        frameon=False,
        title=ABOUT_TRAINING if "training" in looks else None,
    )
    return figure


def curve_of(metrics: pd.DataFrame, name: str) -> pd.Series[float]:
    """Return the values of a metric by when they were measured, counted in epochs: 2 is the end of the second.

    Values logged at training steps are averaged over each epoch; several validations in an epoch are spread over it.
    """
    if name not in metrics.columns:
        return pd.Series(dtype=float)
    logged = metrics[["epoch", name]].dropna()
    epochs = logged.groupby("epoch")[name]
    if name.startswith("train/"):
        means = epochs.mean()
        return means.set_axis(means.index + 1)
    share = (epochs.cumcount() + 1) / epochs.transform("size")
    return pd.Series(logged[name].to_numpy(), index=(logged["epoch"] + share).to_numpy())


def scale_by_ratios(axes: Axes) -> None:
    """Give the y axis a logarithmic scale, with ticks at plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
