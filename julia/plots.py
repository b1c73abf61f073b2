"""Plots of a network's predictions for the held-out characters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from common.decoding import Images
from common.plots import COLOURS, GALLERY, GREY, LOOKS, MARKERS, Gallery, new_figure, tidy
from julia.files import CLASSES, LOOK_ALIKES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORST = 15  # classes
NAMED = 4  # classes shown that one is mistaken for
CONFUSED = 16  # classes in the confusion matrix, few enough for numbers to fit
OTHERS = "others"
PAIRS = 2  # of truth and prediction that are named for each group of look-alikes
RELIABILITY_BINS = 15  # as many as in the expected calibration error


def confusion(counts: np.ndarray) -> Figure:
    """Draw the classes most confused with each other, from the confusion matrix (62×62, truth in rows)."""
    wrong = counts - np.diag(np.diag(counts))
    both = np.triu(wrong + wrong.T)
    pairs = np.argsort(-both, axis=None, kind="stable")[: np.count_nonzero(both)]
    chosen = list(dict.fromkeys(np.column_stack(np.unravel_index(pairs, both.shape)).ravel().tolist()))[:CONFUSED]
    order = sorted(chosen, key=lambda index: (_kind(index).lower(), index))  # look-alikes side by side
    figure = new_figure(6.4, 0.33 * len(order) + 1.6)
    axes = figure.add_subplot()
    if not order:
        return _none_missed(figure, axes, int(counts.sum()))
    # The last column is all other classes, so that a row sums to the held-out characters of its class.
    among = counts[np.ix_(order, order)]
    shown = np.column_stack([among, counts[order].sum(axis=1) - among.sum(axis=1)])
    shares = np.sqrt(shown / np.maximum(shown.sum(axis=1, keepdims=True), 1))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    for (row, column), count in np.ndenumerate(shown):
        if count:
            colour = "white" if shares[row, column] > 0.7 else "black"
            axes.text(column, row, f"{count}", ha="center", va="center", fontsize=9, color=colour)
    names = [CLASSES[index] for index in order]
    axes.set_xticks(range(len(order) + 1), [*names, "other"], fontfamily="monospace", fontsize=11)
    axes.set_yticks(range(len(order)), names, fontfamily="monospace", fontsize=11)
    axes.get_xticklabels()[-1].set(fontfamily="sans-serif", fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.axvline(len(order) - 0.5, color=GREY, linewidth=1)
    axes.set_title(f"the {len(order)} classes most confused, of {len(CLASSES)}: number of characters", fontsize=11)
    axes.set(xlabel="predicted", ylabel="truth")
    return figure


def _kind(index: int) -> str:
    """Name the group of look-alikes that a class belongs to; the class itself if there is none."""
    return next((group for group in LOOK_ALIKES if CLASSES[index] in group), CLASSES[index])


def _none_missed(figure: Figure, axes: Axes, total: int) -> Figure:
    """Say in words that there is nothing to draw."""
    said = f"None of the {total:,} held-out characters was missed."
    axes.text(0.5, 0.5, said, ha="center", va="center", fontsize=11)
    axes.set_axis_off()
    return figure


def errors(truth: np.ndarray, predicted: np.ndarray) -> Figure:
    """Draw how many errors are between look-alikes, which only a crop's context tells apart, and how many are not.

    Args:
        truth: indices of classes, N.
        predicted: likewise.
    """
    missed = [(t, p) for t, p in zip(truth.tolist(), predicted.tolist(), strict=True) if t != p]
    by_kind: dict[str, Counter[str]] = {}
    for one, other in missed:
        kind = _kind(one) if _kind(one) == _kind(other) else OTHERS
        by_kind.setdefault(kind, Counter())[f"{CLASSES[one]} → {CLASSES[other]}"] += 1
    # The others at the bottom, since they are not a group.
    order = sorted(by_kind, key=lambda kind: (kind != OTHERS, by_kind[kind].total()))
    figure = new_figure(6.4, 0.32 * len(order) + 1.4)
    axes = figure.add_subplot()
    if not order:
        return _none_missed(figure, axes, len(truth))
    totals = [by_kind[kind].total() for kind in order]
    colours = [COLOURS[1] if kind == OTHERS else COLOURS[0] for kind in order]
    axes.barh(range(len(order)), totals, color=colours, height=0.7)
    for position, (kind, total) in enumerate(zip(order, totals, strict=True)):
        most = ", ".join(f"{pair} ×{count}" for pair, count in by_kind[kind].most_common(PAIRS))
        more = ", …" if len(by_kind[kind]) > PAIRS else ""
        text = f"{total} ({100 * total / len(missed):.0f} %): {most}{more}"
        axes.text(1.02, position, text, va="center", fontsize=10, transform=axes.get_yaxis_transform())
    axes.set_yticks(range(len(order)), order, fontfamily="monospace", fontsize=11)
    axes.set_ylim(-0.6, len(order) - 0.4)
    alike = len(missed) - by_kind.get(OTHERS, Counter()).total()
    share = f"{100 * alike / len(missed):.0f} % within look-alikes, {100 - 100 * alike / len(missed):.0f} % others"
    tidy(axes, "", "errors", "")
    figure.suptitle(f"{len(missed):,} of {len(truth):,} held-out characters missed:\n{share}", fontsize=11)
    return figure


def worst_classes(counts: np.ndarray) -> Figure:
    """Draw the most missed classes, and what they were mistaken for, from the confusion matrix, 62×62."""
    total, missed = counts.sum(axis=1), counts.sum(axis=1) - np.diag(counts)
    order = [row for row in np.argsort(-missed, kind="stable")[:WORST] if missed[row]][::-1]
    figure = new_figure(6.4, 0.32 * len(order) + 1.6)
    axes = figure.add_subplot()
    if not order:
        return _none_missed(figure, axes, int(total.sum()))
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
    """Show the characters missed with the greatest confidence, from images M×H×W×C, uint8.

    ``evaluated`` has one row per character: row (of the images), truth, predicted (indices of classes), probability.
    """
    missed = evaluated[evaluated["truth"] != evaluated["predicted"]]
    missed = missed.sort_values(["probability", "row"], ascending=[False, True]).head(GALLERY)
    rows = missed[["truth", "predicted", "probability"]].itertuples(index=False, name=None)
    captions = [f"{CLASSES[truth]} → {CLASSES[predicted]}, {100 * share:.0f} %" for truth, predicted, share in rows]
    bitmaps = [images[row] for row in missed["row"]]
    return Gallery("missed with the greatest confidence: truth → prediction", bitmaps, captions)


def reliability(probabilities: Sequence[np.ndarray], labels: Sequence[str], right: np.ndarray) -> Figure:
    """Draw how often answers are right against their predicted probability; ideally, on the diagonal.

    Args:
        probabilities: those of the answers, N, one array for each of ``labels``.
        labels: names of the curves.
        right: whether each answer is right, N.
    """
    figure = new_figure(6, 6.6)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    axes.plot([0, 100], [0, 100], color=GREY, linewidth=1)
    edges = np.linspace(0, 1, RELIABILITY_BINS + 1)
    for given, label, (colour, marker, dash) in zip(probabilities, labels, LOOKS, strict=False):
        place = np.searchsorted(edges[1:-1], given)
        by = pd.DataFrame({"given": given, "right": right}).groupby(place).mean() * 100
        axes.plot(by["given"], by["right"], color=colour, marker=marker, linestyle=dash, label=label)
        below.hist(100 * given, 100 * edges, histtype="step", color=colour, linestyle=dash)
    axes.legend(frameon=False)
    tidy(axes, f"{len(right):,} held-out characters: how far probabilities can be relied on", "", "right, %")
    tidy(below, "", "probability of the answer, %", "characters")
    axes.set(xlim=(0, 100), ylim=(0, 100))
    return figure


def answered(probability: np.ndarray, right: np.ndarray) -> Figure:
    """Draw how often answers are right if only the most probable fraction of them are given.

    Args:
        probability: probability of each answer, N.
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
