"""What a task must state: the contract between a task's model and everything in ``common`` that works with it."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torchmetrics import CatMetric, Metric, MetricCollection

from common.arguments import Settings, keep_own, kinds_of
from common.batches import HasImages, ImageBatch
from common.calibration import Calibrated
from common.held_out_tables import Data, HeldOutTables
from common.optim import adamw_warmup_cosine
from common.plots import Direction, Gallery, of_metric
from common.pretrained import Pretrained, is_checkpoint, take_weights
from common.submission import Outputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Batch = TypeVar("Batch", bound=HasImages)


@dataclass(frozen=True)
class Deployed:
    """A network as it is used elsewhere.

    Attributes:
        net: from the inputs to the answer.
        inputs: an example of each, by name; images first, integers that index them after.
        sizes: what the first dimension of each is called: it may be any number.
        outputs: names of the answers.
        unit: of the answers.
    """

    net: nn.Module
    inputs: dict[str, Tensor]
    sizes: dict[str, str]
    outputs: tuple[str, ...]
    unit: str


class ImageTask(LightningModule, Calibrated, HeldOutTables[Data], ABC, Generic[Data, Batch]):
    """A task: its network, its loss, its metrics, and how outputs become values.

    A subclass calls this constructor with the network that it has built, and implements what is abstract.

    Args:
        net: the network.
        metrics: of the held-out rows, by name, logged as ``val/<name>``; that of ``monitor`` also of the training
            batches, as ``train/<name>``.
        lr: highest learning rate.
        weight_decay: AdamW's decay of matrices and kernels.
        warmup: share of all steps in which the learning rate rises.
        final_lr: share of ``lr`` that is left at the end of the cosine.
        pretrained: where the weights come from; where that is the checkpoint of a fit, of this task or another, they
            are taken here, others by :func:`common.backbones.build_backbone`.

    Attributes:
        task: name of the package, of its folder of runs and of its project.
        monitor: the metric that decides which epoch and which run is best.
        directions: of each metric that is logged, which way it gets better; an asterisk stands for any name.
        units: of the metrics that have one; an argument may decide, such as which loss it is.
        throughput: name of the rate that is logged as ``train/<throughput>``, such as ``images_per_s``.
        drawn: names of the :meth:`pictures` of every fit.
        score_unit: unit of what :meth:`explained_scores` gives, in the plural.
        classes: names of the classes, in order; None of a regression.
        about_items: what :meth:`table_of_items` has, in a few words, and what to mind when reading it.
        output_arguments: names of the arguments that say what the network's outputs mean, such as their unit.
        learned_from: ids that an earlier fit of this task has learned from, with whose weights this one begins.
        evaluated: what :meth:`evaluate` gave of all held-out rows at the latest validation, M×columns.
    """

    task: ClassVar[str]
    monitor: ClassVar[str]
    directions: ClassVar[dict[str, Direction]]
    units: Mapping[str, str] = MappingProxyType({})
    throughput: ClassVar[str]
    drawn: ClassVar[tuple[str, ...]] = ()
    score_unit: ClassVar[str]
    classes: ClassVar[str | None] = None
    output_arguments: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]]
    about_items: ClassVar[str] = "one row an image"

    net: nn.Module
    evaluated: np.ndarray

    def __init__(
        self,
        net: nn.Module,
        metrics: Mapping[str, Metric],
        lr: float,
        weight_decay: float,
        warmup: float,
        final_lr: float = 0.0,
        pretrained: Pretrained = False,
    ) -> None:
        super().__init__()
        # Those of the class that this is the base of, too; weights come from the checkpoint, not from their source.
        self.save_hyperparameters(ignore=["pretrained", "net", "metrics"], logger=False)
        keep_own(self.hparams, type(self))
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.lr, self.weight_decay, self.warmup, self.final_lr = lr, weight_decay, warmup, final_lr
        # Not in groups, which merge two metrics as soon as they agree on the first batches.
        self.val_metrics = MetricCollection(dict(metrics), prefix="val/", compute_groups=False)
        name = self.monitor.removeprefix("val/")
        self.train_metrics = MetricCollection({name: metrics[name].clone()}, prefix="train/", compute_groups=False)
        self.evaluated = np.empty((0, len(self.columns)), dtype=np.float32)
        self.rows = CatMetric(nan_strategy="disable")
        self.learned_from: set[str] = take_weights(self, str(pretrained)) if is_checkpoint(pretrained) else set()

    # What a task implements.

    @property
    @abstractmethod
    def encoder(self) -> nn.Module:
        """The part of the network whose layers can be looked at."""

    @property
    def normalize(self) -> nn.Module:
        """What brings images (float in [0, 1]) to the range of the encoder."""
        return nn.Identity()

    def count_items(self, batch: Batch) -> int:
        """Count what a training batch teaches, in the unit of ``throughput``: images, unless a task says otherwise."""
        return len(batch.images)

    @abstractmethod
    def compute_loss(self, batch: Batch) -> Tensor:
        """Update ``train_metrics`` with a training batch, and compute its loss, a scalar."""

    @abstractmethod
    def evaluate(self, batch: Batch) -> Tensor:
        """Update ``val_metrics`` with a held-out batch, and give its rows: N×columns, float, N may be 0."""

    def evaluated_estimates(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Give estimates, truth and groups of ``evaluated``, as :meth:`calibrate` takes them."""
        return np.empty(0), np.empty(0), np.empty(0)

    def log_evaluation(self) -> None:
        """Log what else ``evaluated`` shows, on every rank."""

    def pictures(self) -> dict[str, Figure | Gallery]:
        """Draw what ``evaluated`` shows, by names, those in ``drawn`` and others."""
        return {}

    def tables(self) -> dict[str, pd.DataFrame]:
        """Tabulate what ``evaluated`` shows, by names of CSV files in the run folder."""
        return {}

    @abstractmethod
    def predict_step(self, batch: ImageBatch, batch_idx: int) -> dict[str, Tensor]:
        """Give ``row`` (N, of the images predicted) and the outputs of each, N×…, that can be averaged."""

    @abstractmethod
    def estimates(self, outputs: Outputs, data: Data) -> np.ndarray:
        """Give what members of an ensemble are averaged on and differ in, ids×…."""

    @abstractmethod
    def values(self, estimates: np.ndarray) -> np.ndarray:
        """Turn estimates (ids×…) into the value of each id that is submitted, ids."""

    def spread(self, estimates: np.ndarray, deviation: np.ndarray) -> np.ndarray:
        """Pick the spread of each id's value, ids, from the deviation of the members' estimates (ids×…)."""
        spread: np.ndarray = deviation.reshape(len(deviation), -1).max(axis=1)
        return spread

    @abstractmethod
    def table_of_items(self, outputs: Outputs, data: Data) -> pd.DataFrame:
        """Tabulate the images that were predicted with what was predicted of each."""

    def notes(self, outputs: Outputs, data: Data) -> list[str]:
        """Say what to make of the prediction of each image; empty where all is as expected."""
        return [""] * len(data.test_set)

    def answers(self, outputs: Outputs, data: Data) -> dict[str, pd.DataFrame]:
        """Tabulate the answers on images of one's own, by what a table's file is called; the first has a row an image.

        Raises:
            UserError: there are too few images for an answer.
        """
        return {"images": self.table_of_items(outputs, data)}

    def picture_answers(self, answers: Mapping[str, pd.DataFrame]) -> Figure | None:
        """Draw what :meth:`answers` has tabulated, where a picture says more than the table."""
        return None

    @abstractmethod
    def explained_scores(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Give the scores of images (N×C×H×W, float in [0, 1] → N×scores) and which of them is to be explained, N."""

    @abstractmethod
    def describe(self, images: Tensor) -> list[str]:
        """Say in a few words what is predicted of each image (N×C×H×W, float in [0, 1])."""

    def judge(self, image: Tensor, attribution: Tensor) -> str:
        """Say what the attribution (H×W) of an image (1×C×H×W, float in [0, 1]) means, if there is anything to say."""
        return ""

    @abstractmethod
    def deployed(self) -> Deployed:
        """Give the network as it is used elsewhere: uint8 images in, answers out."""

    # What all tasks share.

    def counted(self, estimates: np.ndarray) -> np.ndarray:
        """Give what ``monitor`` measures of estimates: as they would be submitted, where that changes them."""
        return estimates

    @classmethod
    def with_unit(cls, metric: str, value: float, decimals: int = 4) -> str:
        """Write the value of a metric, with its unit where it has one."""
        return f"{value:.{decimals}f} {of_metric(metric, cls.units) or ''}".rstrip()

    def measure(self, estimates: np.ndarray, truth: np.ndarray) -> float:
        """Compute ``monitor`` of estimates (ids×…) beside the truth (ids)."""
        metric = self.val_metrics[self.monitor].clone().cpu()
        metric.reset()
        return float(metric(torch.from_numpy(self.counted(estimates)), torch.from_numpy(truth)))

    @property
    def data(self) -> Data:
        """The data module that the Trainer works with."""
        data: Data = vars(self.trainer)["datamodule"]  # an attribute that its class does not declare
        return data

    def on_fit_start(self) -> None:
        held_out = self.data.split.held_out if self.learned_from else []
        if (seen := self.learned_from.intersection(held_out)) and self.trainer.is_global_zero:
            number = f"{len(seen)} of the {len(held_out)} held-out rows"
            line = f"warning: the pretrained weights have learned from {number}, if equal names mean equal images"
            print(f"{line}: what is measured on them is too good", file=sys.stderr)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.compute_loss(batch)
        self.log("train/loss", loss, batch_size=self.count_items(batch))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.rows.update(self.evaluate(batch).flatten())  # as the empty rows of a rank without any are

    def on_validation_epoch_end(self) -> None:
        # Here, not with each batch: a rank without any must take part in the sums, too.
        self.log_dict(self.val_metrics)
        self.evaluated = self.rows.compute().reshape(-1, len(self.columns)).cpu().numpy()
        self.rows.reset()
        if not self.trainer.sanity_checking:
            self.calibration = self.calibrate(*self.evaluated_estimates())
        self.log_evaluation()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        return adamw_warmup_cosine(self, self.lr, self.weight_decay, self.warmup, self.final_lr)

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        checkpoint["task"], checkpoint["classes"] = self.task, self.classes
        checkpoint["precision"] = self.trainer.precision
        checkpoint["calibration"] = {1: dict(self.calibration)}  # by the number of views

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, **settings: Any) -> Self:  # type: ignore[override]
        """Build the fitted model, as Lightning's does; pretrained weights are not fetched, since it brings its own."""
        return super().load_from_checkpoint(checkpoint_path, **{**cls._untrained(), **settings})

    @classmethod
    def build(cls, arguments: Settings) -> Self:
        """Build a network with random weights from the arguments of a checkpoint."""
        return cls(**{**arguments, **cls._untrained()})

    @classmethod
    def _untrained(cls) -> dict[str, bool]:
        return {"pretrained": False} if "pretrained" in kinds_of(cls) else {}

    def select_rows(self, columns: Sequence[str]) -> pd.DataFrame:
        """Tabulate ``evaluated``, with whole numbers in some of its columns."""
        return pd.DataFrame(self.evaluated, columns=list(self.columns)).astype(dict.fromkeys(columns, int))


AnyTask = ImageTask[Any, Any]
