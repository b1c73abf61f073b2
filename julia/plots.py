"""Pictures of what a network makes of the held-out characters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from common.images import Images
from common.plots import COLOURS, GALLERY, Gallery, new_figure, tidy
from julia.files import CLASSES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORST = 15  # classes


def confusion(counts: np.ndarray) -> Figure:
    """Draw the confusion matrix, 62×62, rows the truth, as shares of each row."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = new_figure(9, 8.4)
    axes = figure.add_subplot()
    image = axes.imshow(np.sqrt(shares), cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(range(len(CLASSES)), list(CLASSES), fontsize=7)
    axes.tick_params(length=0)
    # Digits, small and capital letters: most confusions are between these groups.
    for edge in np.flatnonzero(np.diff([name.isdigit() + 2 * name.isupper() for name in CLASSES])) + 0.5:
        axes.axhline(edge, color=COLOURS[0], linewidth=0.8)
        axes.axvline(edge, color=COLOURS[0], linewidth=0.8)
    accuracy = np.trace(counts) / max(counts.sum(), 1)
    axes.set_title(f"{counts.sum()} held-out characters, accuracy {accuracy:.3f}", fontsize=11)
    axes.set(xlabel="predicted", ylabel="truth")
    bar = figure.colorbar(image, ax=axes, shrink=0.6, label="share of the characters of a row, %")
    ticks = np.array([0, 5, 10, 25, 50, 75, 100])
    bar.set_ticks(np.sqrt(ticks / 100).tolist(), labels=[str(tick) for tick in ticks])
    return figure


def worst_classes(counts: np.ndarray) -> Figure:
    """Draw the classes that are recognised worst, and what they are taken for, from the confusion matrix, 62×62."""
    total = counts.sum(axis=1)
    present = np.flatnonzero(total)
    recognised = counts[present, present] / total[present]
    order = np.argsort(recognised, kind="stable")[:WORST][::-1]
    figure = new_figure(8, 0.34 * len(order) + 1.2)
    axes = figure.add_subplot()
    axes.barh(range(len(order)), 100 * recognised[order], color=COLOURS[0], height=0.7)
    for position, row in enumerate(present[order]):
        wrong = counts[row].copy()
        wrong[row] = 0
        others = [index for index in np.argsort(-wrong, kind="stable")[:4] if wrong[index]]
        text = ", ".join(f"{CLASSES[index]} {wrong[index]}" for index in others) or "none"
        axes.text(102, position, f"{total[row]} of it; taken for: {text}", va="center", fontsize=8)
    axes.set_yticks(range(len(order)), [CLASSES[row] for row in present[order]], fontfamily="monospace")
    axes.set_xlim(0, 100)
    axes.set_box_aspect(0.9 * (0.34 * len(order)) / 4)
    tidy(axes, f"the {len(order)} classes recognised worst", "recognised, %", "class")
    return figure


def worst_errors(evaluated: pd.DataFrame, images: Images) -> Gallery:
    """Show the characters that were missed with the greatest confidence, of images M×H×W×C, uint8.

    ``evaluated`` has a line a character: row (of the images), truth, predicted (indices of classes), probability.
    """
    missed = evaluated[evaluated["truth"] != evaluated["predicted"]]
    missed = missed.sort_values(["probability", "row"], ascending=[False, True]).head(GALLERY)
    rows = missed[["truth", "predicted", "probability"]].itertuples(index=False, name=None)
    captions = [f"{CLASSES[truth]} → {CLASSES[predicted]}, {100 * share:.0f} %" for truth, predicted, share in rows]
    bitmaps = [images[row] for row in missed["row"]]
    return Gallery("missed with the greatest confidence: truth → prediction", bitmaps, captions)
