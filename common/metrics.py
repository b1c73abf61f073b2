"""What metrics of a single number leave out: the rows behind them."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class Rows(Metric):
    """Keeps two numbers or more of every row evaluated, of all ranks.

    ``update`` takes the columns of some rows, N each; ``compute`` gives all rows, M×columns, float32.
    """

    full_state_update = False
    values: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("values", default=[], dist_reduce_fx="cat")

    def update(self, *columns: Tensor) -> None:
        self.values.append(torch.stack([column.float() for column in columns], dim=1))

    def compute(self) -> Tensor:
        rows: Tensor = dim_zero_cat(self.values)
        return rows
