"""How sure answers are: temperatures, and what is learned from which rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from common.calibration import (
    Calibrated,
    Calibration,
    average_calibrations,
    deal_groups,
    fit_temperature,
    scale_probabilities,
)


def drawn(rows: int, classes: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Draw probabilities (rows×classes) and classes that are as probable as they say."""
    rng = np.random.default_rng(0)
    probabilities = softmax(rng.normal(scale=2, size=(rows, classes)), axis=1)
    truth = (probabilities.cumsum(axis=1) > rng.random((rows, 1))).argmax(axis=1)
    return probabilities.astype(np.float32), truth


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_was_taken_away_is_found(temperature: float) -> None:
    probabilities, truth = drawn(20_000)
    found = fit_temperature(scale_probabilities(probabilities, 1 / temperature), truth)
    assert found == pytest.approx(temperature, rel=0.03)


def test_scaling_keeps_the_order_and_the_sum() -> None:
    probabilities, _ = drawn(100)
    scaled = scale_probabilities(probabilities, 0.5)
    assert scaled.dtype == np.float32
    assert np.array_equal(scaled.argsort(axis=1), probabilities.argsort(axis=1))
    assert np.allclose(scaled.sum(axis=1), 1, atol=1e-6)
    assert np.allclose(scale_probabilities(probabilities, 1.0), probabilities, atol=1e-7)
    # A class that is held to be impossible stays so, and breaks nothing.
    sure = scale_probabilities(np.float32([[1, 0, 0]]), 2.0)
    assert np.isfinite(sure).all() and sure[0, 0] > 0.999


class Remembers(Calibrated):
    """Calibrates by the groups that it was shown."""

    def calibrate(self, estimates: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> Calibration:
        return {str(group): 1.0 for group in groups}

    def calibrated(self, estimates: np.ndarray, calibration: Calibration | None = None) -> np.ndarray:
        return np.array([calibration is not None and str(one) in calibration for one in estimates])


@pytest.mark.parametrize("number", [2, 7, 20, 21, 500])
def test_no_row_is_judged_by_what_its_own_group_has_taught(number: int) -> None:
    groups = np.repeat(np.arange(number), 3)
    seen = Remembers().cross_fitted(groups, groups, groups)
    assert len(seen) == len(groups) and not seen.any()
    parts = deal_groups(groups)
    assert len(np.unique(parts)) == (number if number <= 20 else 5)
    assert all(len(set(parts[groups == group])) == 1 for group in range(number))
    assert np.array_equal(parts, deal_groups(groups))


def test_one_group_cannot_be_judged_by_others() -> None:
    assert not Remembers().cross_fitted(np.zeros(4), np.zeros(4), np.zeros(4)).any()


def test_the_calibration_of_several_is_what_all_of_them_have() -> None:
    one: dict[int, Calibration] = {1: {"temperature": 0.6, "rows": 10.0}, 10: {"temperature": 0.8, "rows": 10.0}}
    other: dict[int, Calibration] = {1: {"temperature": 1.0}}
    assert average_calibrations([one], 10) == {"temperature": 0.8, "rows": 10}
    assert average_calibrations([one], 4) == one[1]
    assert average_calibrations([one, other], 10) == {"temperature": pytest.approx(0.9)}
    assert average_calibrations([one, {}], 1) == {}
