"""Training of ``growth``: its loss and metrics, and how photo codes become days."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torchmetrics.functional.regression import mean_squared_error
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError, R2Score

from common.arguments import Answering, Resumable
from common.backbones import Head, Stem, build_backbone, checkpoint_blocks, constants_of
from common.batches import ImageBatch
from common.calibration import Calibration
from common.held_out_tables import HeldOutColumns
from common.networks import Normalization, Normalize
from common.plots import Direction, Gallery
from common.pretrained import Pretrained
from common.submission import Outputs
from common.task import Deployed, ImageTask
from growth import intervals, plots, tables
from growth.data import GrowthData
from growth.leaf_hull import LeafHull, build_leaf_hull, judge_by_leaves, warn_of_photos
from growth.losses import LOSS_UNITS, Loss, pair_loss
from growth.pair_network import DeployedPairNet, Design, PairNet, pair_days
from growth.pairs import PairBatch

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class GrowthRegressor(ImageTask[GrowthData, PairBatch]):
    """Estimates the days elapsed between two photos of one plant.

    Logged over all pairs of the held-out plants: ``rmse`` and ``mae`` (days, lower is better), ``r2`` (higher is
    better), ``rmse_<species>`` (days).

    Args:
        backbone: a torchvision or timm (timm/<name>) classifier, lenet, or leaf_hull (few photos of green plants).
        design: siamese (one encoder, an age for each photo) or twin (two encoders, as in the seed design).
        stem: imagenet, or small: a 3×3 first convolution with stride 1, for images of few pixels.
        head: linear, or imagenet to keep the 1000 logits and put a linear layer on top of them.
        image_size: side of the square that photos are resized to, in pixels.
        channels: 3 for colour, 1 for grey.
        normalize: auto (by the mean and standard deviation that the backbone's published weights expect, even if it
            starts from random ones), imagenet (by those of ImageNet), image (by each photo's own) or none.
        pretrained: true for published weights, a file of them (.pth, .safetensors) or another fit's checkpoint (.ckpt).
        days_scale: days per unit of the network's output.
        grad_checkpointing: keep only the activations between blocks and recompute the others: less memory, more time.
        loss: mse, rmse, l1 or huber, over the pairs of a batch.
        lr: peak learning rate.
        weight_decay: AdamW's weight decay, for matrices and kernels only.
        warmup: fraction of all steps over which the learning rate rises.
        final_lr: fraction of lr left at the end of the cosine; 1 keeps the rate constant.
        min_days: smallest number of days in a submission; null means 1, or 0 if the fit has seen photos of a
            plant less than a day apart.
        round_days: round the days in a submission to whole days.
    """

    task = "growth"
    monitor = "val/rmse"
    directions: ClassVar[dict[str, Direction]] = {
        "val/rmse": "min",
        "val/rmse_*": "min",  # for each species
        "val/mae": "min",
        "val/r2": "max",
        "val/loss": "min",
        "train/rmse": "min",
        "train/loss": "min",
        "train/pairs_per_s": "max",
    }
    units: Mapping[str, str] = dict.fromkeys(("val/rmse", "val/rmse_*", "val/mae", "train/rmse"), "days")
    throughput = "pairs_per_s"
    drawn = ("days", "errors", "worst_errors")
    score_unit = "days"
    output_arguments = ("days_scale",)
    columns = ("before", "after", "species", "days", "predicted")
    held_out_columns = HeldOutColumns(ids=("plant", "before", "after"), group="plant", truth="days")
    about_items = "one row a photo; ages have no zero of their own: only their differences within a plant are days"
    net: PairNet

    def __init__(
        self,
        backbone: str = "mobilenet_v2",
        design: Design = "siamese",
        stem: Stem = "imagenet",
        head: Head = "linear",
        image_size: PositiveInt = 224,
        channels: Literal[1, 3] = 3,
        normalize: Normalization = "auto",
        pretrained: Pretrained = True,
        days_scale: PositiveFloat = 10.0,
        grad_checkpointing: Resumable[bool] = False,
        loss: Resumable[Loss] = "mse",
        lr: PositiveFloat = 5e-4,
        weight_decay: NonNegativeFloat = 0.05,
        warmup: Resumable[ClosedUnitInterval] = 0.1,
        final_lr: Resumable[ClosedUnitInterval] = 0.0,
        min_days: Answering[float | None] = None,
        round_days: Answering[bool] = False,
    ) -> None:
        def build_encoder() -> nn.Module:
            network = build_backbone(
                backbone,
                in_channels=channels,
                num_outputs=1,
                image_size=image_size,
                stem=stem,
                head=head,
                pretrained=pretrained,
                own={"leaf_hull": partial(build_leaf_hull, normalize)},
            )
            if grad_checkpointing:
                checkpoint_blocks(network)
            return network

        normal = Normalize(normalize, channels, constants_of(backbone))
        net = PairNet(build_encoder, normal, design, days_scale)
        metrics = {"rmse": MeanSquaredError(squared=False), "mae": MeanAbsoluteError(), "r2": R2Score()}
        super().__init__(net, metrics, lr, weight_decay, warmup, final_lr, pretrained)
        self.loss: Loss = loss
        if loss in LOSS_UNITS:
            self.units = {**self.units, "val/loss": LOSS_UNITS[loss], "train/loss": LOSS_UNITS[loss]}
        self.min_days = 1.0 if min_days is None else min_days
        self.round_days = round_days
        photos = torch.zeros(2, channels, image_size, image_size)
        self.example_input_array = (photos, torch.tensor([0]), torch.tensor([1]))

    def setup(self, stage: str) -> None:
        """Choose ``min_days``, unless it is given, from the photos of a fit; the checkpoint keeps it."""
        super().setup(stage)
        if stage == "fit" and self.hparams["min_days"] is None:
            self.min_days = self.hparams["min_days"] = 1.0 if self.data.photos.shortest_gap() >= 1 else 0.0
            self.chosen = ("min_days",)

    def on_fit_start(self) -> None:
        super().on_fit_start()
        if isinstance(self.encoder, LeafHull) and self.trainer.is_global_zero:
            warn_of_photos(self.encoder, self.data.train_set)

    def forward(self, images: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Photos U×C×H×W, float in [0, 1], and indices P, P → days P."""
        days: Tensor = self.net(images, before, after)
        return days

    def compute_loss(self, batch: PairBatch) -> Tensor:
        predicted = self(batch.images, batch.before, batch.after)
        self.train_metrics.update(self.as_submitted(predicted.detach().float()), batch.days)
        return pair_loss(self.loss, predicted, batch.days)

    def count_items(self, batch: PairBatch) -> int:
        return len(batch.days)

    def evaluate(self, batch: PairBatch) -> Tensor:
        if len(batch.days) == 0:
            return batch.days.new_empty(0, len(self.columns))
        # a plant may have more photos than fit into memory at once
        codes = torch.cat([self.net.encode(images) for images in torch.split(batch.images, 64)])
        predicted = pair_days(codes, batch.before, batch.after)
        self.val_metrics.update(self.as_submitted(predicted), batch.days)
        rows = (batch.row[batch.before], batch.row[batch.after], batch.species, batch.days, predicted)
        return torch.stack([column.float() for column in rows], dim=1)

    def evaluated_estimates(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the predicted and elapsed days of pairs (P, P), and their plants (P)."""
        return self.evaluated[:, 4], self.evaluated[:, 3], self.data.val_set.plant[self.evaluated[:, 0].astype(int)]

    def log_evaluation(self) -> None:
        species, days, predicted = torch.from_numpy(self.evaluated).T[2:]
        measured, submitted = {"val/loss": pair_loss(self.loss, predicted, days)}, self.as_submitted(predicted)
        for number in species.unique().int().tolist():
            if name := self.data.species[number]:
                own = species == number
                measured[f"val/rmse_{name}"] = mean_squared_error(submitted[own], days[own], squared=False)
        self.log_dict({name: float(value) for name, value in measured.items()}, sync_dist=True)

    def pictures(self) -> dict[str, Figure | Gallery]:
        photos = self.data.val_set
        evaluated = self.select_rows(["before", "after", "species"])
        evaluated["species"] = [self.data.species[number] for number in evaluated["species"]]
        days, truth, evaluated["plant"] = self.evaluated_estimates()
        evaluated["predicted"] = self.values(days)
        return self.picture_estimates(days, self.cross_fitted(days, truth, evaluated["plant"].to_numpy()), truth) | {
            "days": plots.days(evaluated),
            "errors": plots.errors(evaluated),
            "worst_errors": plots.worst_errors(evaluated, photos.images[photos.rows]),
        }

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> dict[str, Tensor]:
        """Return ``row`` (U, index of each photo) and ``codes`` (U×2, days, as the earlier and as the later photo)."""
        return {"row": batch.row, "codes": self.net.encode(batch.images)}

    def estimates(self, outputs: Outputs, data: GrowthData) -> np.ndarray:
        """Return the days of each pair as the networks predict them, P."""
        return pair_days(outputs["codes"], data.test_pairs.before, data.test_pairs.after)

    def values(self, estimates: np.ndarray) -> np.ndarray:
        """Return the days of each pair as submitted: at least ``min_days``, P."""
        return self.as_submitted(torch.from_numpy(estimates)).numpy()

    def as_submitted(self, days: Tensor) -> Tensor:
        """Raise predicted days (P) to ``min_days``, and round them if asked to: what all metrics of days score."""
        days = days.clamp(min=self.min_days)
        return days.round() if self.round_days else days

    def as_scored(self, estimates: np.ndarray) -> np.ndarray:
        return self.values(estimates)

    def table_of_items(self, outputs: Outputs, data: GrowthData) -> pd.DataFrame:
        return tables.tabulate_photos(outputs["codes"], data.test_pairs, self.net.design == "twin")

    def answers(self, outputs: Outputs, data: GrowthData) -> dict[str, pd.DataFrame]:
        """Tabulate the age of each photo, and the days of all pairs within a plant."""
        pairs, days = data.test_pairs, self.estimates(outputs, data)
        ages = tables.tabulate_ages(outputs["codes"], pairs)
        return {"ages": ages, "days": tables.tabulate_pairs(days, self.intervals(days), pairs)}

    def picture_answers(self, answers: Mapping[str, pd.DataFrame]) -> Figure | None:
        """Draw the growth curves: age against day or, if days are unknown, against the number of the photo."""
        return plots.growth_curves(answers["ages"]) if len(answers["ages"]) > 2 else None

    def notes(self, outputs: Outputs, data: GrowthData) -> list[str]:
        """Note the photos whose pairs look reversed, which are submitted as ``min_days``."""
        return tables.note_reversed(self.estimates(outputs, data), data.test_pairs)

    def table_of_held_out(self, outputs: Outputs, data: GrowthData) -> pd.DataFrame:
        """Tabulate the pairs of held-out plants with elapsed days, predicted days as submitted, and intervals."""
        days, pairs = self.estimates(outputs, data), data.test_pairs
        bounds = {name: self.values(bound) for name, bound in self.intervals(days).items()}
        columns = {"days": data.truth, "predicted": self.values(days), **bounds}
        return tables.tabulate_held_out(pairs, pairs.before, pairs.after, columns)

    def table_of_evaluated(self) -> pd.DataFrame:
        photos, (before, after) = self.data.photos.take(self.data.val_set.rows), self.evaluated[:, :2].astype(int).T
        columns = {"days": self.evaluated[:, 3], "predicted": self.values(self.evaluated[:, 4])}
        return tables.tabulate_held_out(photos, before, after, columns)

    def calibrate(self, estimates: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> Calibration:
        """Learn from pairs (P) of held-out plants how wide intervals must be."""
        return intervals.learn_intervals(estimates, truth, groups)

    def calibrated(self, estimates: np.ndarray, calibration: Calibration | None = None) -> np.ndarray:
        """Return the days of pairs (P) and the bounds of their intervals, P×5."""
        bounds = intervals.intervals_of(estimates, self.calibration if calibration is None else calibration)
        return np.concatenate([estimates[:, None], bounds], axis=1)

    def calibration_metrics(self, calibrated: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        """Measure the fraction of pairs that the intervals contain, and how wide these are (days)."""
        return intervals.measure_intervals(calibrated[:, 1:], truth)

    def picture_estimates(
        self, estimates: np.ndarray, calibrated: np.ndarray, truth: np.ndarray
    ) -> dict[str, Figure | Gallery]:
        """Draw coverage and width of the intervals, if any, against the elapsed days."""
        bounds = calibrated[:, 1:]
        return {} if np.isnan(bounds).all() else {"intervals": plots.intervals(bounds, truth)}

    def about_calibration(self) -> str:
        return intervals.about_intervals(self.calibration)

    def intervals(self, estimates: np.ndarray) -> dict[str, np.ndarray]:
        """Return the interval bounds of pairs (P), in days, by name; empty if too few plants were held out."""
        return intervals.named_bounds(intervals.intervals_of(estimates, self.calibration))

    @property
    def encoder(self) -> nn.Module:
        """The network after normalisation; for the twin design, the one of the later photo."""
        return self.net.after_net

    def explained_scores(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes of photos, N×2, days, and which of them to explain: that as the later photo."""
        codes = self.net.encode(images)
        return codes, torch.ones(len(codes), dtype=torch.int64, device=codes.device)

    def describe(self, images: Tensor) -> list[str]:
        """Describe the prediction for each photo; only differences of ages mean anything."""
        name = "age" if self.net.design == "siamese" else "code as the later photo"
        return [f"{name} {code:.1f} days" for code in self.net.encode(images)[:, 1].tolist()]

    def judge(self, image: Tensor, attribution: Tensor) -> str:
        """Say whether an attribution lies on green leaves."""
        return judge_by_leaves(image, attribution) if image.shape[1] == 3 else ""

    def deployed(self) -> Deployed:
        """Return the network to deploy: uint8 photos (U) and indices of pairs (P) in; days and bounds (P each) out."""
        size, channels = self.hparams["image_size"], self.hparams["channels"]
        photos = torch.zeros(2, channels, size, size, dtype=torch.uint8)
        inputs = {"images": photos, "before": torch.tensor([0, 0, 1]), "after": torch.tensor([1, 0, 0])}
        net = DeployedPairNet(self.net, intervals.half_widths_of(self.calibration))
        return Deployed(net, inputs, {"images": "U", "before": "P", "after": "P"}, net.outputs, "days")
