"""Interleaved repetitions, so that a noisy machine disturbs both sides of a ratio alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def interleaved(sides: dict[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Call every side in turn, ``repetitions`` times over: the seconds of each call, by side."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repetitions):
        for name, call in sides.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def median_ratio(numerator: list[float], denominator: list[float]) -> float:
    """The median of the ratios of calls made one after the other."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))
