"""Metrics of ``julia`` that torchmetrics lacks."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy

from julia.files import CLASSES


class CaseBlindAccuracy(MulticlassAccuracy):
    """Accuracy that treats upper and lower case of a letter as the same character. Higher is better."""

    # Not a buffer: weight averaging would average it, too, and truncate its integers.
    folded = torch.tensor([CLASSES.index(name.lower()) for name in CLASSES])

    def __init__(self) -> None:
        super().__init__(num_classes=len(CLASSES), average="micro")

    def update(self, preds: Tensor, target: Tensor) -> None:
        folded = self.folded.to(target.device)
        super().update(folded[preds.argmax(dim=1)], folded[target])
