"""Pictures of what a network makes of the held-out characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from common.decoding import Images
from common.plots import COLOURS, DASHES, GALLERY, GREY, MARKERS, Gallery, new_figure, tidy
from julia.files import CLASSES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORST = 15  # classes
NAMED = 4  # classes that one is taken for
GAP = 2  # cells between two groups of classes
RELIABILITY_BINS = 15  # as many as the expected calibration error has


def confusion(counts: np.ndarray) -> Figure:
    """Draw the confusion matrix, 62×62, rows the truth, as shares of each row.

    Between small letters, capitals and digits, across which most confusions are, there is a gap with the names again.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    edges = np.flatnonzero(np.diff([name.isdigit() + 2 * name.isupper() for name in CLASSES])) + 1
    place = np.arange(len(CLASSES)) + GAP * np.searchsorted(edges, np.arange(len(CLASSES)), side="right")
    spread = np.full((place[-1] + 1, place[-1] + 1), np.nan)
    spread[np.ix_(place, place)] = np.sqrt(shares)
    figure = new_figure(10, 9.4)
    axes = figure.add_subplot()
    image = axes.imshow(spread, cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(place, list(CLASSES), fontsize=9)
    axes.tick_params(length=0, pad=2, labeltop=True, labelright=True)
    for gap in place[edges] - (GAP + 1) / 2:
        for name, at in zip(CLASSES, place, strict=True):
            for x, y in ((at, gap), (gap, at)):
                axes.text(x, y, name, ha="center", va="center", fontsize=9, color=COLOURS[0])
    accuracy = np.trace(counts) / max(counts.sum(), 1)
    axes.set_title(f"{counts.sum():,} held-out characters, accuracy {accuracy:.3f}", fontsize=13)
    axes.set_xlabel("predicted", fontsize=13)
    axes.set_ylabel("truth", fontsize=13)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, label="share of the characters of a row, %")
    ticks = np.array([0, 5, 10, 25, 50, 75, 100])
    bar.set_ticks(np.sqrt(ticks / 100).tolist(), labels=[str(tick) for tick in ticks])
    return figure


def worst_classes(counts: np.ndarray) -> Figure:
    """Draw the classes of which most were missed, and what they were taken for, from the confusion matrix, 62×62."""
    total, missed = counts.sum(axis=1), counts.sum(axis=1) - np.diag(counts)
    order = [row for row in np.argsort(-missed, kind="stable")[:WORST] if missed[row]][::-1]
    figure = new_figure(6.4, 0.32 * len(order) + 1.6)
    axes = figure.add_subplot()
    if not order:
        said = f"None of the {total.sum():,} held-out characters was missed."
        axes.text(0.5, 0.5, said, ha="center", va="center", fontsize=11)
        axes.set_axis_off()
        return figure
    axes.barh(range(len(order)), total[order], color=COLOURS[5], alpha=0.4, height=0.7, label="held out")
    axes.barh(range(len(order)), missed[order], color=COLOURS[0], height=0.7, label="missed")
    for position, row in enumerate(order):
        wrong = counts[row].copy()
        wrong[row] = 0
        others = [index for index in np.argsort(-wrong, kind="stable") if wrong[index]]
        text = ", ".join(f"{CLASSES[index]} ×{wrong[index]}" for index in others[:NAMED])
        text = f"{missed[row]} of {total[row]} → {text}{', …' if len(others) > NAMED else ''}"
        axes.text(1.02, position, text, va="center", fontsize=10, transform=axes.get_yaxis_transform())
    axes.set_yticks(range(len(order)), [CLASSES[row] for row in order], fontfamily="monospace", fontsize=11)
    axes.set_ylim(-0.7, len(order) - 0.3)
    tidy(axes, f"{missed.sum():,} of {total.sum():,} characters missed, by class", "characters", "class")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
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
