"""Pictures of what a network makes of the held-out characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from common.images import Images
from common.plots import COLOURS, DASHES, GALLERY, GREY, MARKERS, Gallery, new_figure, tidy
from julia.files import CLASSES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORST = 15  # classes
RELIABILITY_BINS = 15  # as many as the expected calibration error has


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


def reliability(probabilities: Sequence[np.ndarray], labels: Sequence[str], right: np.ndarray) -> Figure:
    """Draw how often answers are right against how probable they were held to be, as far as possible on the diagonal.

    Args:
        probabilities: of the answers, N, one array for each of ``labels``.
        labels: what the curves are called.
        right: whether each answer is right, N.
    """
    figure = new_figure(6, 6.6)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    axes.plot([0, 100], [0, 100], color=GREY, linewidth=1)
    edges = np.linspace(0, 1, RELIABILITY_BINS + 1)
    for given, label, colour, marker, dash in zip(probabilities, labels, COLOURS, MARKERS, DASHES, strict=False):
        place = np.clip(np.searchsorted(edges, given) - 1, 0, RELIABILITY_BINS - 1)
        by = pd.DataFrame({"given": given, "right": right}).groupby(place).mean() * 100
        axes.plot(by["given"], by["right"], color=colour, marker=marker, linestyle=dash, label=label)
        below.hist(100 * given, 100 * edges, histtype="step", color=colour, linestyle=dash)
    axes.legend(frameon=False)
    tidy(axes, f"{len(right):,} held-out characters: how far probabilities can be relied on", "", "right, %")
    tidy(below, "", "probability of the answer, %", "characters")
    axes.set(xlim=(0, 100), ylim=(0, 100))
    return figure


def answered(probability: np.ndarray, right: np.ndarray) -> Figure:
    """Draw how often answers are right if only the most probable share of them is given.

    Args:
        probability: of each answer, N.
        right: whether it is right, N.
    """
    order = np.argsort(-probability, kind="stable")
    share = np.arange(1, len(right) + 1) / len(right)
    accuracy = np.cumsum(right[order]) / np.arange(1, len(right) + 1)
    figure = new_figure(6.4, 4.5)
    axes = figure.add_subplot()
    axes.plot(100 * share, 100 * accuracy, color=COLOURS[0])
    for least, marker in zip((0.5, 0.7, 0.9, 0.95), MARKERS, strict=False):
        if number := int((probability >= least).sum()):
            x, y = 100 * share[number - 1], 100 * accuracy[number - 1]
            label = f"{100 * least:.0f} % or more: {x:.0f} % answered, {y:.1f} % of them right"
            axes.plot(x, y, marker, color=COLOURS[1], label=label, linestyle="")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(title="if an answer must be as probable as", frameon=False, loc="lower left")
    tidy(
        axes,
        f"{len(right):,} held-out characters: leaving out the least sure",
        "answered, %",
        "right, of those answered, %",
    )
    axes.set_xlim(0, 100)
    return figure
