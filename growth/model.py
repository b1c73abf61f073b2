"""The networks of ``growth``: first the plain module, then its training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveFloat, PositiveInt
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError, R2Score

from common.backbones import Head, Normalization, Normalize, Pretrained, Stem, build_backbone, checkpoint_blocks
from common.data import ImageBatch
from common.export import Deployed
from common.metrics import Rows
from common.optim import adamw_warmup_cosine
from common.plots import Gallery
from common.submission import Outputs
from growth import plots
from growth.data import GrowthData
from growth.metrics import DIRECTIONS, UNITS
from growth.pairs import PairBatch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Design = Literal["siamese", "twin"]
Loss = Literal["mse", "rmse", "l1", "huber"]
EVALUATED = ["before", "after", "species", "days", "predicted"]


class PairNet(nn.Module):
    """Encodes each photo once; the days of a pair are a difference of two encodings.

    ``siamese``: one encoder gives the age of a plant, days = age(after) - age(before): swapping the photos changes
    the sign, and differences add up along a plant.
    ``twin``: two encoders with weights of their own, days = after_net(after) - before_net(before), as the seed design.

    Args: as :class:`GrowthRegressor`.
    """

    def __init__(
        self,
        backbone: str = "mobilenet_v2",
        design: Design = "siamese",
        stem: Stem = "imagenet",
        head: Head = "linear",
        image_size: int = 224,
        channels: int = 3,
        normalize: Normalization = "imagenet",
        pretrained: Pretrained = False,
        days_scale: float = 10.0,
        grad_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.design = design
        self.days_scale = days_scale
        self.normalize = Normalize(normalize, channels)

        def encoder() -> nn.Module:
            network = build_backbone(
                backbone,
                in_channels=channels,
                num_outputs=1,
                image_size=image_size,
                stem=stem,
                head=head,
                normalize=normalize,
                pretrained=pretrained,
            )
            if grad_checkpointing:
                checkpoint_blocks(network)
            return network

        self.after_net = encoder()
        self.before_net = encoder() if design == "twin" else None

    def encode(self, images: Tensor) -> Tensor:
        """Encode photos: U×C×H×W, float in [0, 1] → U×2, days, as the earlier and as the later photo of a pair."""
        images = self.normalize(images)
        after = self.after_net(images)
        before = after if self.before_net is None else self.before_net(images)
        return torch.cat([before, after], dim=1).float() * self.days_scale

    def forward(self, images: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Give the days of pairs (P) of photos (U×C×H×W) at the indices ``before`` and ``after`` (P, int64)."""
        return pair_days(self.encode(images), before, after)


class DeployedPairNet(nn.Module):
    """From uint8 photos (U×C×S×S) and indices of pairs (P and P, int64) to days (P)."""

    def __init__(self, net: PairNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor, before: Tensor, after: Tensor) -> Tensor:
        days: Tensor = self.net(images.float() / 255, before, after)
        return days


def pair_days(codes: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Subtract: codes U×2 (days, as earlier and later photo), indices P → days P."""
    return codes[after, 1] - codes[before, 0]


def pair_loss(name: Loss, predicted: Tensor, days: Tensor) -> Tensor:
    """The loss over pairs, P and P → scalar; ``rmse`` is in days, ``huber`` turns linear at one day."""
    if name == "mse":
        return nn.functional.mse_loss(predicted, days)
    if name == "rmse":
        return (nn.functional.mse_loss(predicted, days) + 1e-8).sqrt()  # its slope is infinite at 0
    if name == "l1":
        return nn.functional.l1_loss(predicted, days)
    return nn.functional.huber_loss(predicted, days)


class GrowthRegressor(LightningModule):
    """Estimates the days elapsed between two photos of one plant.

    Logged for validation and test, over all pairs: ``rmse`` and ``mae`` (days, lower is better), ``r2`` (higher is
    better), ``rmse_<species>`` (days).

    Args:
        backbone: name of a torchvision classifier, lenet, or leaf_hull (for few photos of green plants).
        design: siamese (one encoder, an age for each photo) or twin (two encoders, as the seed design).
        stem: imagenet, or small: a first convolution of 3×3 taps with stride 1, for images of few pixels.
        head: linear, or imagenet to keep the 1000 logits and stack a linear layer on them.
        image_size: pixels a side that photos are resized to.
        channels: 3 for colour, 1 for grey.
        normalize: imagenet (constants), image (each by its own mean and deviation) or none.
        pretrained: true for torchvision's ImageNet weights, or the path of a file of them.
        days_scale: days that one unit of the network's output stands for.
        grad_checkpointing: keep only the activations between blocks and compute the rest again: less memory, more time.
        loss: mse, rmse, l1 or huber, over the pairs of a batch.
        lr: highest learning rate.
        weight_decay: AdamW's decay of matrices and kernels.
        warmup: share of all steps in which the learning rate rises.
        final_lr: share of lr left at the end of the cosine; 1 keeps the rate constant.
        min_days: smallest number of days in a submission.
        round_days: whether a submission holds whole days.
    """

    task = "growth"
    score_unit = "days"
    classes = None
    directions = DIRECTIONS
    units = UNITS
    throughput = "pairs_per_s"
    drawn = ("days", "errors", "worst_errors")  # the names of :meth:`pictures`

    def __init__(
        self,
        backbone: str = "mobilenet_v2",
        design: Design = "siamese",
        stem: Stem = "imagenet",
        head: Head = "linear",
        image_size: PositiveInt = 224,
        channels: Literal[1, 3] = 3,
        normalize: Normalization = "imagenet",
        pretrained: Pretrained = True,
        days_scale: PositiveFloat = 10.0,
        grad_checkpointing: bool = False,
        loss: Loss = "mse",
        lr: PositiveFloat = 5e-4,
        weight_decay: NonNegativeFloat = 0.05,
        warmup: ClosedUnitInterval = 0.1,
        final_lr: ClosedUnitInterval = 0.0,
        min_days: float = 1.0,
        round_days: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore="pretrained", logger=False)
        self.loss = loss
        self.lr, self.weight_decay, self.warmup, self.final_lr = lr, weight_decay, warmup, final_lr
        self.min_days, self.round_days = min_days, round_days
        self.net = PairNet(
            backbone,
            design,
            stem,
            head,
            image_size,
            channels,
            normalize,
            pretrained,
            days_scale,
            grad_checkpointing,
        )
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.example_input_array = (
            torch.zeros(2, channels, image_size, image_size),
            torch.tensor([0]),
            torch.tensor([1]),
        )
        metrics = MetricCollection(
            {"rmse": MeanSquaredError(squared=False), "mae": MeanAbsoluteError(), "r2": R2Score()}
        )
        self.val_metrics = metrics.clone(prefix="val/")
        self.test_metrics = metrics.clone(prefix="test/")
        self.species_rmse = nn.ModuleList()
        self.rows = Rows()

    def setup(self, stage: str) -> None:
        if stage != "predict":
            species = self.trainer.datamodule.species  # type: ignore[attr-defined]
            self.species_rmse = nn.ModuleList(MeanSquaredError(squared=False) for _ in species)

    def forward(self, images: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Photos U×C×H×W, float in [0, 1], and indices P, P → days P."""
        days: Tensor = self.net(images, before, after)
        return days

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        predicted = self(batch.images, batch.before, batch.after)
        loss = pair_loss(self.loss, predicted, batch.days)
        self.log("train/loss", loss, batch_size=len(batch.days))
        return loss

    def validation_step(self, batch: PairBatch, batch_idx: int) -> None:
        self._evaluate(self.val_metrics, batch)

    def test_step(self, batch: PairBatch, batch_idx: int) -> None:
        self._evaluate(self.test_metrics, batch)

    def _evaluate(self, metrics: MetricCollection, batch: PairBatch) -> None:
        if len(batch.days) == 0:
            self.rows.update(*[batch.days] * len(EVALUATED))
            return
        # a plant may have more photos than memory holds at once
        codes = torch.cat([self.net.encode(images) for images in torch.split(batch.images, 64)])
        predicted = pair_days(codes, batch.before, batch.after)
        metrics.update(predicted, batch.days)
        self.rows.update(batch.row[batch.before], batch.row[batch.after], batch.species, batch.days, predicted)
        metric: MeanSquaredError = self.species_rmse[int(batch.species[0])]  # type: ignore[assignment]
        metric.update(predicted, batch.days)

    def on_validation_epoch_end(self) -> None:
        self._log_evaluation("val/", self.val_metrics)

    def on_test_epoch_end(self) -> None:
        self._log_evaluation("test/", self.test_metrics)

    def _log_evaluation(self, prefix: str, metrics: MetricCollection) -> None:
        # Here, not with each batch: a rank without a plant, or without one of a species, takes part in the sums, too.
        self.log_dict(metrics, prog_bar=True)
        self.evaluated = self.rows.compute().cpu().numpy()
        self.rows.reset()
        data: GrowthData = self.trainer.datamodule  # type: ignore[attr-defined]
        for number in np.unique(data.val_set.species):
            self.log(f"{prefix}rmse_{data.species[number]}", self.species_rmse[number])  # type: ignore[arg-type]

    @property
    def encoder(self) -> nn.Module:
        """The network behind the normalisation; of a twin network that of the later photo."""
        return self.net.after_net

    def scores(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Give what is to be explained of photos (N×C×H×W, float in [0, 1]): codes, N×2, days; the later one, N."""
        codes = self.net.encode(images)
        return codes, torch.ones(len(codes), dtype=torch.int64, device=codes.device)

    def told(self, images: Tensor) -> list[str]:
        """Say what is predicted of each photo (N×C×H×W, float in [0, 1]); only differences of ages mean anything."""
        name = "age" if self.net.design == "siamese" else "code as the later photo"
        return [f"{name} {code:.1f} days" for code in self.net.encode(images)[:, 1].tolist()]

    def deployed(self) -> Deployed:
        """Give the network for use elsewhere: uint8 photos (U) and indices of pairs (P) in, days (P) out."""
        photos = torch.zeros(2, *self.example_input_array[0].shape[1:], dtype=torch.uint8)  # type: ignore[index]
        inputs = {"images": photos, "before": torch.tensor([0, 0, 1]), "after": torch.tensor([1, 0, 0])}
        sizes = {"images": "U", "before": "P", "after": "P"}
        return Deployed(DeployedPairNet(self.net), inputs, sizes, "days", "days")

    def items(self, batch: PairBatch) -> int:
        """Count the pairs of a batch."""
        return len(batch.days)

    def pictures(self) -> dict[str, Figure | Gallery]:
        """Draw what the latest evaluation has shown."""
        data: GrowthData = self.trainer.datamodule  # type: ignore[attr-defined]
        evaluated = pd.DataFrame(self.evaluated, columns=EVALUATED).astype(dict.fromkeys(EVALUATED[:3], int))
        evaluated["species"] = [data.species[number] for number in evaluated["species"]]
        evaluated["plant"] = data.val_set.plant[evaluated["before"]]
        return {
            "days": plots.days(evaluated),
            "errors": plots.errors(evaluated),
            "worst_errors": plots.worst_errors(evaluated, data.val_set.images[data.val_set.rows]),
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["task"], checkpoint["classes"] = self.task, self.classes
        checkpoint["precision"] = self.trainer.precision

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> dict[str, Tensor]:
        """Give ``row`` (U, of the photos predicted) and ``codes`` (U×2, days, as earlier and as later photo)."""
        return {"row": batch.row, "codes": self.net.encode(batch.images)}

    def estimates(self, outputs: Outputs, data: GrowthData) -> np.ndarray:
        """Give the days of each pair as the networks have them, P."""
        codes = outputs["codes"]
        days: np.ndarray = codes[data.test_pairs.after, 1] - codes[data.test_pairs.before, 0]
        return days

    def submission_values(self, outputs: Outputs, data: GrowthData) -> np.ndarray:
        """Give the days of each pair of the test set, at least ``min_days``, P."""
        return self._submitted(self.estimates(outputs, data))

    def _submitted(self, days: np.ndarray) -> np.ndarray:
        days = np.maximum(days, self.min_days)
        return np.round(days) if self.round_days else days

    def submission_spread(self, outputs: Outputs, data: GrowthData, deviation: np.ndarray) -> np.ndarray:
        """Give the deviation of the days over the members, P."""
        return deviation

    def held_out_table(self, outputs: Outputs, data: GrowthData) -> pd.DataFrame:
        """Tabulate the pairs of held-out plants with the days elapsed and predicted, as submitted."""
        pairs = data.test_pairs
        return pd.DataFrame(
            {
                "plant": pairs.plant[pairs.before],
                "before": [pairs.files[row].name.stem for row in pairs.before],
                "after": [pairs.files[row].name.stem for row in pairs.after],
                "days": data.truth,
                "predicted": self.submission_values(outputs, data),
            }
        )

    def figure(self, estimates: np.ndarray, truth: np.ndarray) -> float:
        """Give the RMSE (days) of the days of pairs (P), as they would be submitted, beside the true ones (P)."""
        return float(((self._submitted(estimates) - truth) ** 2).mean() ** 0.5)

    def submission_items(self, outputs: Outputs, data: GrowthData) -> pd.DataFrame:
        """Tabulate the test photos with plant, species and predicted age, days; of a twin network, both its codes."""
        pairs = data.test_pairs
        table = pd.DataFrame(
            {"photo": [file.name.stem for file in pairs.files], "species": pairs.species, "plant": pairs.plant}
        )
        names = ["age"] if self.net.design == "siamese" else ["before_code", "after_code"]
        for column, name in enumerate(names):
            table[name] = outputs["codes"][:, column]
        return table

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        return adamw_warmup_cosine(self, self.lr, self.weight_decay, self.warmup, self.final_lr)
