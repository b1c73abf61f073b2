"""The losses of ``growth``, over pairs of photos."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

Loss = Literal["mse", "rmse", "l1", "huber"]
LOSS_UNITS: dict[Loss, str] = {"mse": "days²", "rmse": "days", "l1": "days"}  # huber has either, depending on the error


def pair_loss(name: Loss, predicted: Tensor, days: Tensor) -> Tensor:
    """Compute the loss over pairs, P and P → scalar; ``rmse`` is in days, ``huber`` becomes linear at one day."""
    if name == "mse":
        return nn.functional.mse_loss(predicted, days)
    if name == "rmse":
        return (nn.functional.mse_loss(predicted, days) + 1e-8).sqrt()  # the slope of the root is infinite at 0
    if name == "l1":
        return nn.functional.l1_loss(predicted, days)
    return nn.functional.huber_loss(predicted, days)
