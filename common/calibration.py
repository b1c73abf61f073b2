"""How certain answers are: learned from held-out rows, stored in the checkpoint, measured on rows not learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from common.plots import Gallery

Calibration = Mapping[str, float]
NONE: Calibration = MappingProxyType({})
ONE_OUT = 20  # up to this many groups are left out one at a time
PARTS = 5  # more groups are dealt into this many parts


class Calibrated:
    """The part of a task's contract that says how certain its answers are; a task that cannot tell keeps the defaults.

    Attributes:
        calibration: what was learned from held-out rows, as :meth:`calibrate` returns it; empty if nothing is known.
    """

    calibration: Calibration = NONE

    def calibrate(self, estimates: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> Calibration:
        """Learn from held-out rows how reliable estimates are.

        Args:
            estimates: rows×….
            truth: the truth of each row.
            groups: which rows belong together, such as those of one subject, which say little about another.
        """
        return NONE

    def calibrated(self, estimates: np.ndarray, calibration: Calibration | None = None) -> np.ndarray:
        """Express how certain estimates (rows×…) are, in a form of rows×…, by default with its own calibration."""
        return estimates

    def calibration_metrics(self, calibrated: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        """Measure the result of :meth:`calibrated` (rows×…) against the truth, keyed by metric."""
        return {}

    def picture_estimates(
        self, estimates: np.ndarray, calibrated: np.ndarray, truth: np.ndarray
    ) -> dict[str, Figure | Gallery]:
        """Draw what both fits and cross-validations show of estimates: what they get wrong, and how reliable they are.

        Args:
            estimates: estimates of held-out rows, rows×….
            calibrated: the same after calibration.
            truth: the truth of each row.

        Returns:
            Pictures by name.
        """
        return {}

    def intervals(self, estimates: np.ndarray) -> dict[str, np.ndarray]:
        """Return the bounds within which each row's truth lies with a stated probability, rows each, by name."""
        return {}

    def answered(self, estimates: np.ndarray, least: float) -> np.ndarray:
        """Whether the answer of each row is at least this probable, rows; 0 suits any estimates."""
        if not least:
            return np.ones(len(estimates), dtype=bool)
        answered: np.ndarray = self.calibrated(estimates).max(axis=1) >= least
        return answered

    def about_calibration(self) -> str:
        """Say in one line how certain answers are and how that is known; empty if it is not."""
        return ""

    def cross_fitted(self, estimates: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Calibrate each part of some held-out rows by what was learned from the others; see :func:`deal_groups`."""
        parts = deal_groups(groups)
        numbers = np.unique(parts)
        if len(numbers) < 2:
            return self.calibrated(estimates, NONE)
        calibrated = []
        for number in numbers:
            others = parts != number
            learned = self.calibrate(estimates[others], truth[others], groups[others])
            calibrated.append(self.calibrated(estimates[~others], learned))
        found: np.ndarray = np.concatenate(calibrated)[np.argsort(np.argsort(parts, kind="stable"))]
        return found


def deal_groups(groups: np.ndarray) -> np.ndarray:
    """Deal groups into parts at random, always in the same way, and return each row's part. Few groups get one each."""
    names, inverse = np.unique(groups, return_inverse=True)
    number = len(names) if len(names) <= ONE_OUT else PARTS
    parts: np.ndarray = (np.random.default_rng(0).permutation(len(names)) % number)[inverse]
    return parts


def average_calibrations(members: Sequence[Mapping[int, Calibration]], views: int) -> Calibration:
    """Return the calibration of an ensemble: the mean over its members of each value that all of them have.

    Args:
        members: calibrations of each checkpoint, by the number of views averaged.
        views: how many are averaged now; a member without a calibration for that many uses the one for a single view.
    """
    found = [member.get(views) or member.get(1) or NONE for member in members]
    return {
        name: float(np.mean([one[name] for one in found])) for name in found[0] if all(name in one for one in found)
    }


def fit_temperature(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Find the temperature that makes the truth (N classes) most probable, given probabilities (N×classes).

    Logits are divided by it (Guo et al., On Calibration of Modern Neural Networks, ICML 2017).
    """
    logs, rows = _logs(probabilities), np.arange(len(truth))

    def loss(logarithm: float) -> float:
        return -float(log_softmax(logs / np.exp(logarithm), axis=1)[rows, truth].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def scale_probabilities(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Divide the logits of probabilities by a temperature, N×classes, in their own precision."""
    scaled: np.ndarray = np.exp(log_softmax(_logs(probabilities) / temperature, axis=1)).astype(probabilities.dtype)
    return scaled


def _logs(probabilities: np.ndarray) -> np.ndarray:
    logs: np.ndarray = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny), dtype=np.float64)
    return logs
