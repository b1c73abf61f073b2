"""The networks of ``growth``: first the plain module, then its training."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torchmetrics.functional.regression import mean_squared_error
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError, R2Score

from common.arguments import Resumable
from common.backbones import Head, Pretrained, Stem, build_backbone, checkpoint_blocks
from common.batches import ImageBatch
from common.networks import Normalization, Normalize
from common.plots import Direction, Gallery
from common.submission import Outputs
from common.task import Deployed, ImageTask
from growth import plots
from growth.data import GrowthData
from growth.leaf_hull import build_leaf_hull, leaves
from growth.pairs import Loss, PairBatch, pair_days, pair_loss

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Design = Literal["siamese", "twin"]


class PairNet(nn.Module):
    """Encodes each photo once; the days of a pair are a difference of two encodings.

    ``siamese``: one encoder gives the age of a plant, days = age(after) - age(before): swapping the photos changes
    the sign, and differences add up along a plant.
    ``twin``: two encoders with weights of their own, days = after_net(after) - before_net(before), as the seed design.

    Args:
        build_encoder: builds an encoder, U×C×H×W → U×1.
        normalize: brings photos (float in [0, 1]) to the encoder's range.
        design: siamese or twin.
        days_scale: days that one unit of an encoder's output stands for.
    """

    def __init__(
        self, build_encoder: Callable[[], nn.Module], normalize: Normalize, design: Design, days_scale: float
    ) -> None:
        super().__init__()
        self.design, self.days_scale = design, days_scale
        self.normalize = normalize
        self.after_net = build_encoder()
        self.before_net = build_encoder() if design == "twin" else None

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


class GrowthRegressor(ImageTask[GrowthData, PairBatch]):
    """Estimates the days elapsed between two photos of one plant.

    Logged of the held-out plants, over all pairs: ``rmse`` and ``mae`` (days, lower is better), ``r2`` (higher is
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
        min_days: smallest number of days in a submission; where none is given, 1, or 0 where photos of a plant that
            the fit has seen are less than a day apart.
        round_days: whether a submission holds whole days.
    """

    task = "growth"
    monitor = "val/rmse"
    directions: ClassVar[dict[str, Direction]] = {
        "val/rmse": "min",
        "val/rmse_*": "min",  # of each species
        "val/mae": "min",
        "val/r2": "max",
        "train/loss": "min",
        "train/pairs_per_s": "max",
    }
    units: ClassVar[dict[str, str]] = {"val/rmse": "days", "val/rmse_*": "days", "val/mae": "days"}
    throughput = "pairs_per_s"
    drawn = ("days", "errors", "worst_errors")
    score_unit = "days"
    columns = ("before", "after", "species", "days", "predicted")
    net: PairNet

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
        grad_checkpointing: Resumable[bool] = False,
        loss: Resumable[Loss] = "mse",
        lr: PositiveFloat = 5e-4,
        weight_decay: NonNegativeFloat = 0.05,
        warmup: Resumable[ClosedUnitInterval] = 0.1,
        final_lr: Resumable[ClosedUnitInterval] = 0.0,
        min_days: Resumable[float | None] = None,
        round_days: Resumable[bool] = False,
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

        net = PairNet(build_encoder, Normalize(normalize, channels), design, days_scale)
        metrics = {"rmse": MeanSquaredError(squared=False), "mae": MeanAbsoluteError(), "r2": R2Score()}
        super().__init__(net, metrics, lr, weight_decay, warmup, final_lr)
        self.loss: Loss = loss
        self.min_days = 1.0 if min_days is None else min_days
        self.round_days = round_days
        photos = torch.zeros(2, channels, image_size, image_size)
        self.example_input_array = (photos, torch.tensor([0]), torch.tensor([1]))

    def setup(self, stage: str) -> None:
        """Choose ``min_days``, where none is given, by the photos of a fit; the checkpoint keeps it."""
        if stage == "fit" and self.hparams["min_days"] is None:
            self.min_days = self.hparams["min_days"] = 1.0 if self.data.photos.shortest_gap() >= 1 else 0.0

    def forward(self, images: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Photos U×C×H×W, float in [0, 1], and indices P, P → days P."""
        days: Tensor = self.net(images, before, after)
        return days

    def compute_loss(self, batch: PairBatch) -> Tensor:
        return pair_loss(self.loss, self(batch.images, batch.before, batch.after), batch.days)

    def count_items(self, batch: PairBatch) -> int:
        return len(batch.days)

    def evaluate(self, batch: PairBatch) -> Tensor:
        if len(batch.days) == 0:
            return batch.days.new_empty(0, len(self.columns))
        # a plant may have more photos than memory holds at once
        codes = torch.cat([self.net.encode(images) for images in torch.split(batch.images, 64)])
        predicted = pair_days(codes, batch.before, batch.after)
        self.val_metrics.update(predicted, batch.days)
        rows = (batch.row[batch.before], batch.row[batch.after], batch.species, batch.days, predicted)
        return torch.stack([column.float() for column in rows], dim=1)

    def log_evaluation(self) -> None:
        self.species_rmse = {}
        species, days, predicted = torch.from_numpy(self.evaluated).T[2:]
        for number in species.unique().int().tolist():
            own = species == number
            rmse = mean_squared_error(predicted[own], days[own], squared=False)
            self.species_rmse[self.data.species[number]] = float(rmse)
        self.log_dict({f"val/rmse_{name}": rmse for name, rmse in self.species_rmse.items() if name}, sync_dist=True)

    def pictures(self) -> dict[str, Figure | Gallery]:
        photos = self.data.val_set
        evaluated = self.select_rows(["before", "after", "species"])
        evaluated["species"] = [self.data.species[number] for number in evaluated["species"]]
        evaluated["plant"] = photos.plant[evaluated["before"]]
        return {
            "days": plots.days(evaluated, self.species_rmse),
            "errors": plots.errors(evaluated),
            "worst_errors": plots.worst_errors(evaluated, photos.images[photos.rows]),
        }

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> dict[str, Tensor]:
        """Give ``row`` (U, of the photos predicted) and ``codes`` (U×2, days, as earlier and as later photo)."""
        return {"row": batch.row, "codes": self.net.encode(batch.images)}

    def estimates(self, outputs: Outputs, data: GrowthData) -> np.ndarray:
        """Give the days of each pair as the networks have them, P."""
        days: np.ndarray = outputs["codes"][data.test_pairs.after, 1] - outputs["codes"][data.test_pairs.before, 0]
        return days

    def values(self, estimates: np.ndarray) -> np.ndarray:
        """Give the days of each pair as they are submitted: at least ``min_days``, P."""
        days: np.ndarray = np.maximum(estimates, self.min_days)
        return np.round(days) if self.round_days else days

    def counted(self, estimates: np.ndarray) -> np.ndarray:
        return self.values(estimates)

    def table_of_items(self, outputs: Outputs, data: GrowthData) -> pd.DataFrame:
        """Tabulate the photos with plant, species and predicted age, days; of a twin network, both its codes."""
        pairs = data.test_pairs
        table = pd.DataFrame({"photo": pairs.name, "species": pairs.species, "plant": pairs.plant})
        names = ["age"] if self.net.design == "siamese" else ["before_code", "after_code"]
        for column, name in enumerate(names):
            table[name] = outputs["codes"][:, column]
        return table

    def notes(self, outputs: Outputs, data: GrowthData) -> list[str]:
        """Note the photos of pairs whose order looks reversed, which are submitted as ``min_days``."""
        pairs, days = data.test_pairs, self.estimates(outputs, data)
        notes = [""] * len(pairs.files)
        for row in np.flatnonzero(days < 0):
            earlier, later = pairs.before[row], pairs.after[row]
            notes[later] = notes[later] or f"looks {-days[row]:.1f} days younger than {pairs.name[earlier]}"
        return notes

    def table_of_held_out(self, outputs: Outputs, data: GrowthData) -> pd.DataFrame:
        """Tabulate the pairs of held-out plants with the days elapsed and predicted, as submitted."""
        pairs = data.test_pairs
        return pd.DataFrame(
            {
                "plant": pairs.plant[pairs.before],
                "before": pairs.name[pairs.before],
                "after": pairs.name[pairs.after],
                "days": data.truth,
                "predicted": self.values(self.estimates(outputs, data)),
            }
        )

    @property
    def encoder(self) -> nn.Module:
        """The network behind the normalisation; of a twin network that of the later photo."""
        return self.net.after_net

    @property
    def normalize(self) -> nn.Module:
        return self.net.normalize

    def explained_scores(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Give the codes of photos, N×2, days, of which the one as the later photo is explained."""
        codes = self.net.encode(images)
        return codes, torch.ones(len(codes), dtype=torch.int64, device=codes.device)

    def describe(self, images: Tensor) -> list[str]:
        """Say what is predicted of each photo; only differences of ages mean anything."""
        name = "age" if self.net.design == "siamese" else "code as the later photo"
        return [f"{name} {code:.1f} days" for code in self.net.encode(images)[:, 1].tolist()]

    def judge(self, image: Tensor, attribution: Tensor) -> str:
        """Say how much of an attribution lies on green leaves."""
        if image.shape[1] != 3:
            return ""
        plant, weight = leaves(image)[0], attribution.abs()
        share = float((weight * plant).sum() / weight.sum().clamp(min=1e-12))
        return (
            f"{100 * share:.0f} % of what the answer rests on lies on green leaves, "
            f"which cover {100 * float(plant.mean()):.0f} % of the photo"
        )

    def deployed(self) -> Deployed:
        """Give the network as it is used elsewhere: uint8 photos (U) and indices of pairs (P) in, days (P) out."""
        size, channels = self.hparams["image_size"], self.hparams["channels"]
        photos = torch.zeros(2, channels, size, size, dtype=torch.uint8)
        inputs = {"images": photos, "before": torch.tensor([0, 0, 1]), "after": torch.tensor([1, 0, 0])}
        return Deployed(DeployedPairNet(self.net), inputs, {"images": "U", "before": "P", "after": "P"}, "days", "days")
