"""Intervals of days: how often they hold the days of new plants, and when there are none."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import counted
from growth.intervals import (
    COLUMNS,
    about_intervals,
    intervals_of,
    learn_intervals,
    measure_intervals,
    named_bounds,
    plants_for,
    refusal,
)

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]


def drawn(plants: int, rng: np.random.Generator) -> Pairs:
    """Draw predicted and elapsed days of all pairs of 12 photos of each plant, which keeps a pace of its own."""
    before, after = np.triu_indices(12, 1)
    days = np.tile((after - before).astype(np.float32), plants)
    names = np.repeat(np.arange(plants), len(before))
    pace = rng.normal(1, 0.15, plants)[names]
    return days * pace + rng.normal(0, 0.3, len(days)), days, names.astype(str)


@pytest.mark.parametrize("plants", [9, 30])
def test_new_plants_are_covered_as_stated(plants: int) -> None:
    rng = np.random.default_rng(0)
    held: dict[int, list[float]] = {80: [], 90: []}
    short, long = [], []
    for _ in range(60):
        learned = learn_intervals(*drawn(plants, rng))
        predicted, days, _ = drawn(30, rng)
        bounds = intervals_of(predicted, learned)
        measured = measure_intervals(bounds, days)
        for level, values in held.items():
            values.append(measured[f"coverage_{level}"])
        inside = (bounds[:, 2] <= days) & (days <= bounds[:, 3])
        short.append(inside[days <= 3].mean())
        long.append(inside[days >= 8].mean())
    for level, values in held.items():
        error = np.std(values) / np.sqrt(len(values))
        assert abs(np.mean(values) - level / 100) < 3 * error and error < 0.015
    assert 0.85 < np.mean(short) < 0.95 and 0.85 < np.mean(long) < 0.95


def test_intervals_are_wider_for_longer_gaps() -> None:
    learned = learn_intervals(*drawn(20, np.random.default_rng(1)))
    bounds = intervals_of(np.float32([0, 2, 10, -10]), learned)
    widths = bounds[:, 1::2] - bounds[:, ::2]
    assert (widths[:-1] > 0).all() and (np.diff(widths[:3], axis=0) > 0).all()
    assert np.allclose(widths[2], widths[3])
    assert (widths[:, 1] > widths[:, 0]).all()  # 90 % wider than 80 %


@pytest.mark.parametrize(("plants", "levels"), [(1, []), (3, []), (4, [80]), (7, [80]), (8, [80]), (9, [80, 90])])
def test_few_plants_carry_no_high_level(plants: int, levels: list[int]) -> None:
    learned = learn_intervals(*drawn(plants, np.random.default_rng(2)))
    bounds = named_bounds(intervals_of(np.float32([1, 5]), learned))
    assert list(bounds) == [name for name in COLUMNS if int(name[-2:]) in levels]
    said = about_intervals(learned)
    assert said.endswith(f"learned from {counted(plants, 'held-out plant')}")
    for level in (80, 90):
        assert (f"of {level} %" in said) == (level in levels or f"none of {level} %" in said)
        if level not in levels:
            there = counted(plants, "was", "were")
            assert f"it takes {plants_for(level)} held-out plants, and {there} held out" in refusal(level, learned)
    assert refusal(75, learned) == "level 75: give one of 80, 90"


def test_a_plant_counts_once_however_many_photos_it_has() -> None:
    rng = np.random.default_rng(3)
    predicted, days, plants = drawn(12, rng)
    errs = plants == "0"
    predicted = np.where(errs, predicted + 50, predicted)
    whole = learn_intervals(predicted, days, plants)
    again = np.concatenate([np.arange(len(days)), *[np.flatnonzero(errs)] * 30])
    weighted = learn_intervals(predicted[again], days[again], plants[again])
    # One plant of twelve is wrong in every pair: 80 % intervals leave it out, however often it was photographed.
    far = intervals_of(np.float32([5]), weighted)[0]
    assert far[1] - far[0] < 60
    assert intervals_of(np.float32([5]), whole)[0, 1] - 5 < 30


def test_perfect_predictions_have_narrow_intervals() -> None:
    _, days, plants = drawn(10, np.random.default_rng(4))
    bounds = intervals_of(days, learn_intervals(days, days, plants))
    assert measure_intervals(bounds, days)["coverage_90"] == 1
    assert (bounds[:, 3] - bounds[:, 2]).max() < 0.01
