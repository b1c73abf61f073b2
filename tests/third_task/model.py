"""The colour of a square: three logits from one convolution."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from third_task.data import COLOURS, SquareData
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from common.batches import ImageBatch, LabelledBatch
from common.held_out_tables import HeldOutColumns
from common.networks import FromBytes
from common.plots import Gallery
from common.submission import Outputs
from common.task import Deployed, ImageTask


class SquareClassifier(ImageTask[SquareData, LabelledBatch]):
    """Tells the colour of a square."""

    task, monitor, throughput, score_unit, classes = "third_task", "val/acc", "images_per_s", "logits", "".join(COLOURS)
    directions = {"val/acc": "max", "train/acc": "max", "train/loss": "min"}  # noqa: RUF012
    drawn, columns = ("squares",), ("row", "truth", "predicted")
    held_out_columns = HeldOutColumns(ids=("id",), group="colour", truth="colour")

    def __init__(self, image_size: int = 8, channels: int = 3, lr: float = 0.05) -> None:
        net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, 3))
        super().__init__(net, {"acc": MulticlassAccuracy(3, average="micro")}, lr, weight_decay=0.0, warmup=0.1)

    def compute_loss(self, batch: LabelledBatch) -> Tensor:
        logits = self.net(batch.images)
        self.train_metrics.update(logits.detach(), batch.targets)
        return nn.functional.cross_entropy(logits, batch.targets)

    def evaluate(self, batch: LabelledBatch) -> Tensor:
        logits = self.net(batch.images)
        self.val_metrics.update(logits, batch.targets)
        return torch.stack([batch.row, batch.targets, logits.argmax(dim=1)], dim=1).float()

    def pictures(self) -> dict[str, Gallery]:
        table, images = self.select_rows(self.columns), self.data.val_set.images[self.data.val_set.rows]
        captions = [self.classes[i] for i in table["predicted"]]
        return {"squares": Gallery("held out", list(images[table["row"]]), captions)}

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> dict[str, Tensor]:
        return {"row": batch.row, "probabilities": self.net(batch.images).softmax(dim=1)}

    def estimates(self, outputs: Outputs, data: SquareData) -> np.ndarray:
        return outputs["probabilities"]

    def values(self, estimates: np.ndarray) -> np.ndarray:
        return np.array(list(self.classes))[estimates.argmax(axis=1)]

    def table_of_items(self, outputs: Outputs, data: SquareData) -> pd.DataFrame:
        return pd.DataFrame({"id": data.sample.ids, "colour": self.values(outputs["probabilities"])})

    def table_of_held_out(self, outputs: Outputs, data: SquareData) -> pd.DataFrame:
        items, truth = self.table_of_items(outputs, data), [self.classes[i] for i in data.truth]
        return items.rename(columns={"colour": "predicted"}).assign(colour=truth)

    def table_of_evaluated(self) -> pd.DataFrame:
        table = self.select_rows(self.columns).rename(columns={"truth": "colour"})
        names = table[["colour", "predicted"]].map(self.classes.__getitem__)
        return names.assign(id=self.data.held_out_ids(table["row"].to_numpy()))

    encoder = property(lambda self: self.net)

    def explained_scores(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return (logits := self.net(images)), logits.argmax(dim=1)

    def describe(self, images: Tensor) -> list[str]:
        return [self.classes[i] for i in self.net(images).argmax(dim=1)]

    def deployed(self) -> Deployed:
        images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
        return Deployed(nn.Sequential(FromBytes(), self.net), {"images": images}, {"images": "N"}, ("logits",), "1")
