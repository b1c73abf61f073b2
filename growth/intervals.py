"""Intervals that contain the days between two photos of a new plant with a stated probability.

This is conformal prediction in which plants, not their pairs, are exchangeable: each held-out plant counts once (pooled
distributions of Dunn, Wasserman and Ramdas, Distribution-free prediction sets for two-layer hierarchical models, JASA
2023), and the coverage that plants lose when left out corrects the level. Intervals scale with the expected error
(Lei et al., Distribution-free predictive inference for regression, JASA 2018).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import nnls

from common.calibration import Calibration

LEVELS = (80, 90)  # %
COLUMNS = tuple(f"{side}_{level}" for level in LEVELS for side in ("low", "high"))
LEAST = 0.2  # of the mean error: the smallest error ever expected


def plants_for(level: int) -> int:
    """Return how many held-out plants a level (%) needs: with fewer, a new plant is too often the worst of all."""
    return math.ceil(level / (100 - level))


def learn_intervals(predicted: np.ndarray, days: np.ndarray, plants: np.ndarray) -> dict[str, float]:
    """Learn from pairs of held-out plants how wide intervals must be.

    Args:
        predicted: predicted days of P pairs.
        days: elapsed days, P.
        plants: plant of each pair, P.

    Returns:
        ``plants``, their number; ``base`` (days) and ``slope`` of the absolute error expected of a pair; and, for each
        level that this many plants support, ``width_<level>``, by which that error is multiplied.
    """
    errors, names = np.abs(predicted - days), sorted(set(plants.tolist()))
    learned = {"plants": float(len(names))}
    if len(names) < 2:
        return learned
    scores = np.empty(len(errors))
    for name in names:  # scaled by the other plants, as a new plant will be by all of these
        own: np.ndarray = plants == name
        scores[own] = errors[own] / _expected_error(predicted[own], *_fit_expected_error(predicted[~own], errors[~own]))
    learned["base"], learned["slope"] = _fit_expected_error(predicted, errors)
    _, inverse, counts = np.unique(plants, return_inverse=True, return_counts=True)
    weights = 1 / counts[inverse]
    for level in LEVELS:
        if len(names) < plants_for(level):
            continue
        # Plants that helped to set a bound fall within it more often than new ones.
        covered = [
            (scores[inverse == one] <= _quantile(scores, weights * (inverse != one), level / 100)).mean()
            for one in range(len(names))
        ]
        lost = max(0.0, level / 100 - float(np.mean(covered)))
        learned[f"width_{level}"] = _quantile(scores, weights, min(1.0, level / 100 + lost))
    return learned


def _quantile(scores: np.ndarray, weights: np.ndarray, share: float) -> float:
    """Find the smallest score (P) at which the cumulative weight (P) reaches a fraction of the total."""
    return float(np.quantile(scores, share - 1e-9, weights=weights, method="inverted_cdf"))


def half_widths_of(calibration: Calibration) -> dict[int, tuple[float, float]]:
    """Return base (days) and slope of the half-width of each supported interval, by level (%)."""
    learned = {level: calibration[f"width_{level}"] for level in LEVELS if f"width_{level}" in calibration}
    return {level: (width * calibration["base"], width * calibration["slope"]) for level, width in learned.items()}


def intervals_of(days: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Return the bounds for each predicted number of days (P): P×4, ``COLUMNS``; NaN for unsupported levels."""
    bounds, widths = np.full((len(days), len(COLUMNS)), np.nan, dtype=np.float32), half_widths_of(calibration)
    for number, level in enumerate(LEVELS):
        if level in widths:
            half = _expected_error(days, *widths[level])
            bounds[:, 2 * number], bounds[:, 2 * number + 1] = days - half, days + half
    return bounds


def named_bounds(bounds: np.ndarray) -> dict[str, np.ndarray]:
    """Return the bounds (P×4) of the supported levels by name, P each."""
    return {name: column for name, column in zip(COLUMNS, bounds.T, strict=True) if not np.isnan(column).any()}


def measure_intervals(bounds: np.ndarray, days: np.ndarray) -> dict[str, float]:
    """Measure, for each level, the fraction of elapsed days (P) within the bounds (P×4) and their mean width (days)."""
    measured = {}
    for number, level in enumerate(LEVELS):
        low, high = bounds[:, 2 * number], bounds[:, 2 * number + 1]
        if not np.isnan(low).any():
            measured[f"coverage_{level}"] = float(((low <= days) & (days <= high)).mean())
            measured[f"width_{level}"] = float((high - low).mean())
    return measured


def refusal(level: int, calibration: Calibration) -> str:
    """Explain why there is no interval at a level (%)."""
    if not isinstance(level, int | np.integer) or level not in LEVELS:  # such as 90.0
        return f"level {level}: give one of {', '.join(map(str, LEVELS))}"
    needed = f"it takes {plants_for(level)} held-out plants"
    plants = calibration.get("plants", 0)
    lower = [f"{other} % is known" for other in half_widths_of(calibration)]
    instead = "; ".join(lower) or "crossval holds out all in turn"
    held_out = f"{plants:.4g} {'was' if plants == 1 else 'were'} held out"
    return f"no interval of {level} %: {needed}, and {held_out}; {instead}"


def about_intervals(calibration: Calibration) -> str:
    """Summarise in one line which intervals there are, and from how many plants."""
    if not calibration:
        return ""
    plants, known = calibration["plants"], half_widths_of(calibration)
    words = [
        f"of {level} %" if level in known else f"none of {level} %, which takes {plants_for(level)}" for level in LEVELS
    ]
    mean = "" if plants.is_integer() else " on average"  # over the members of an ensemble
    return f"intervals: {', '.join(words)}; learned from {plants:.4g} held-out plant{'' if plants == 1 else 's'}{mean}"


def _expected_error(days: np.ndarray, base: float, slope: float) -> np.ndarray:
    expected: np.ndarray = base + slope * np.abs(days)
    return expected


def _fit_expected_error(predicted: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Fit the mean error as a non-decreasing line in the predicted days that starts well above 0."""
    least = max(LEAST * float(errors.mean()), 1e-6)
    parts = np.stack([np.ones(len(errors)), np.abs(predicted)], axis=1)
    (base, slope), _ = nnls(parts, errors - least)
    return least + float(base), float(slope)
