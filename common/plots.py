"""Pictures of a run, as figures and as PNG files: readable in grey and by the colour-blind, axes with units."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from common.files import replacing

if TYPE_CHECKING:  # importing matplotlib takes as long as starting
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Direction = Literal["min", "max"]  # of a metric: which way it gets better

# Okabe and Ito's colours, which the colour-blind tell apart; markers and dashes tell them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)))
GREY = "#555555"
DPI = 120
GALLERY = 24  # pictures of a gallery


@dataclass(frozen=True)
class Gallery:
    """Images (each H×W×C, uint8) with captions (a line or two each), in order, and what they have in common."""

    title: str
    images: Sequence[np.ndarray]
    captions: Sequence[str]

    def figure(self) -> Figure:
        """Lay them out in a grid."""
        height, width = self.images[0].shape[:2] if self.images else (1, 1)
        columns = max(1, min(len(self.images), round(math.sqrt(GALLERY * 1.5 * height / width))))
        rows = -(-len(self.images) // columns) or 1
        cell = 9 / columns
        figure = new_figure(9, rows * (cell * height / width + 0.25) + 0.5)
        figure.suptitle(self.title)
        for number, (image, caption) in enumerate(zip(self.images, self.captions, strict=True)):
            axes = figure.add_subplot(rows, columns, number + 1)
            axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set_title(caption, fontsize=8)
            axes.set_axis_off()
        return figure


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure of ``width``×``height`` inches, without pyplot's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    with replacing(path) as temporary:
        temporary.write_bytes(stream.getvalue())


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
    """Draw a metric over what was trained on, which doubles from one line of the grid to the next.

    Args:
        table: a line for each share, as :func:`common.data_curve.tabulate` makes it.
        metric: over all out-of-fold rows.
        direction: which way it gets better.
        unit: of the metric; none if empty.
    """
    figure = new_figure(6.5, 4.5)
    axes = figure.add_subplot()
    counted = [name for name in table.columns if name.startswith("trained_")][-1]
    trained = table[counted]
    axes.plot(trained, table[metric], color=COLOURS[0], marker=MARKERS[0], label="all out-of-fold rows", zorder=3)
    if (folds := int(table["folds"].min())) > 1:
        label = f"mean ± deviation over {folds} folds"
        mean, spread = table["mean"], table["deviation"]
        axes.errorbar(trained, mean, spread, fmt=MARKERS[1], color=COLOURS[1], capsize=4, ms=4, label=label)
        axes.legend(frameon=False, fontsize=9)
    better = "lower" if direction == "min" else "higher"
    noun = counted.removeprefix("trained_")
    y = f"{metric}{f', {unit}' if unit else ''} ({better} is better)"
    tidy(axes, "What more data would bring", f"{noun} trained on (share of those not held out)", y)
    axes.set_xscale("log", base=2)
    shares = zip(trained, table["train_fraction"], strict=True)
    axes.set_xticks(trained, [f"{round(count, 1):,}".removesuffix(".0") + f"\n({share:g})" for count, share in shares])
    axes.minorticks_off()
    return figure


def learning_curves(metrics: pd.DataFrame, directions: dict[str, Direction], units: Mapping[str, str]) -> Figure:
    """Draw a panel for each metric of ``directions`` over the epochs of Lightning's metrics.csv, the best marked."""
    names = [name for name in directions if name in metrics.columns and metrics[name].notna().any()]
    columns = min(3, len(names)) or 1
    rows = -(-len(names) // columns) or 1
    figure = new_figure(4 * columns, 3 * rows)
    for number, name in enumerate(names):
        curve = metrics[["epoch", name]].dropna().groupby("epoch")[name].mean()
        epochs, values = curve.index.to_numpy() + 1, curve.to_numpy()
        axes = figure.add_subplot(rows, columns, number + 1)
        axes.plot(epochs, values, color=COLOURS[0], marker="." if len(values) < 50 else "")
        best, better = (values.argmin(), "lower") if directions[name] == "min" else (values.argmax(), "higher")
        title = f"last {values[-1]:.4g}"
        if name.startswith("val/"):
            axes.plot(epochs[best], values[best], MARKERS[3], color=COLOURS[1])
            title = f"best {values[best]:.4g}, epoch {epochs[best]:.0f}"
        unit = f", {units[name]}" if name in units else ""
        tidy(axes, title, "epoch", f"{name}{unit}\n({better} is better)")
    return figure
