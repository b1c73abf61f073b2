"""The task contract: what a task's model must provide for the code in ``common`` to work with it."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, cast

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torchmetrics import CatMetric, Metric, MetricCollection

from common.arguments import Settings, keep_own, kinds_of
from common.batches import HasImages, ImageBatch
from common.cache import digests_of
from common.calibration import Calibrated
from common.held_out_tables import Data, HeldOutTables
from common.optim import adamw_warmup_cosine
from common.plots import Direction, Gallery, of_metric
from common.pretrained import Pretrained, is_checkpoint, take_weights
from common.split import find_contradictions
from common.submission import Outputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Batch = TypeVar("Batch", bound=HasImages)


@dataclass(frozen=True)
class Deployed:
    """A network in the form it is exported in.

    Attributes:
        net: maps the inputs to the answers.
        inputs: an example of each input, by name: images first, then integers that index them.
        sizes: name of each input's first dimension, which may have any size.
        outputs: names of the answers.
        unit: unit of the answers.
    """

    net: nn.Module
    inputs: dict[str, Tensor]
    sizes: dict[str, str]
    outputs: tuple[str, ...]
    unit: str


class ImageTask(LightningModule, Calibrated, HeldOutTables[Data], ABC, Generic[Data, Batch]):
    """A task: its network, its loss, its metrics, and how outputs become values.

    A subclass passes the network it has built to this constructor, and implements the abstract methods.

    Args:
        net: the network.
        metrics: metrics of the held-out rows by name, logged as ``val/<name>``; the ``monitor`` one is also computed
            on the training batches and logged as ``train/<name>``.
        lr: peak learning rate.
        weight_decay: AdamW's weight decay, applied to matrices and kernels only.
        warmup: fraction of all steps over which the learning rate rises.
        final_lr: learning rate at the end of the cosine, as a fraction of ``lr``.
        pretrained: source of the initial weights. Those in the checkpoint of a fit, of this task or another, are
            loaded here; :func:`common.backbones.build_backbone` loads all others.

    Attributes:
        task: name of the package, its folder of runs and its W&B project.
        monitor: the metric that decides which epoch and which run is best.
        directions: whether lower or higher is better, for each logged metric; an asterisk matches any name.
        units: units of the metrics that have one; they may depend on an argument, such as the choice of loss.
        columns: names of the columns of ``evaluated``.
        throughput: name of the rate that is logged as ``train/<throughput>``, such as ``images_per_s``.
        drawn: names of the :meth:`pictures` that every fit draws.
        score_unit: unit of the scores from :meth:`explained_scores`, in the plural.
        classes: names of the classes, in order; None for a regression.
        about_items: a few words on the contents of :meth:`table_of_items`, and how to read it.
        output_arguments: names of the arguments that determine what the network's outputs mean, such as their unit.
        chosen: names of the arguments that a fit has chosen from its data, since they were null.
        learned_from: the split of an earlier fit of this task, if this fit starts from its weights.
        evaluated: the rows :meth:`evaluate` returned for all held-out data at the latest validation, M×columns.
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
    chosen: tuple[str, ...] = ()
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
        # This also saves the subclass's arguments. Weights come from the checkpoint, so their source is not saved.
        self.save_hyperparameters(ignore=["pretrained", "net", "metrics"], logger=False)
        keep_own(self.hparams, type(self))
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.lr, self.weight_decay, self.warmup, self.final_lr = lr, weight_decay, warmup, final_lr
        # No compute groups, since they merge two metrics that happen to agree on the first batches.
        self.val_metrics = MetricCollection(dict(metrics), prefix="val/", compute_groups=False)
        name = self.monitor.removeprefix("val/")
        self.train_metrics = MetricCollection({name: metrics[name].clone()}, prefix="train/", compute_groups=False)
        self.evaluated = np.empty((0, len(self.columns)), dtype=np.float32)
        self.rows = CatMetric(nan_strategy="disable")
        self.learned_from = take_weights(self, str(pretrained)) if is_checkpoint(pretrained) else None

    # What a task implements.

    @property
    @abstractmethod
    def encoder(self) -> nn.Module:
        """The part of the network whose layers can be visualized."""

    @property
    def normalize(self) -> nn.Module:
        """The module that scales images (float in [0, 1]) to the encoder's input range."""
        return cast("nn.Module", getattr(self.net, "normalize", nn.Identity()))

    def count_items(self, batch: Batch) -> int:
        """Count the items in a training batch, in the unit of ``throughput``: images, unless a task overrides this."""
        return len(batch.images)

    @abstractmethod
    def compute_loss(self, batch: Batch) -> Tensor:
        """Update ``train_metrics`` with a training batch, and return its loss, a scalar."""

    @abstractmethod
    def evaluate(self, batch: Batch) -> Tensor:
        """Update ``val_metrics`` with a held-out batch, and return its rows: N×columns, float; N may be 0."""

    def evaluated_estimates(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the estimates, truth and groups of ``evaluated``, in the form that :meth:`calibrate` takes."""
        return np.empty(0), np.empty(0), np.empty(0)

    def log_evaluation(self) -> None:
        """Log whatever else ``evaluated`` shows; called on every rank."""

    def pictures(self) -> dict[str, Figure | Gallery]:
        """Draw what ``evaluated`` shows: pictures by name, those in ``drawn`` and any others."""
        return {}

    def tables(self) -> dict[str, pd.DataFrame]:
        """Tabulate what ``evaluated`` shows, keyed by the name of the CSV file in the run folder."""
        return {}

    @abstractmethod
    def predict_step(self, batch: ImageBatch, batch_idx: int) -> dict[str, Tensor]:
        """Return ``row`` (N, the index of each predicted image) and outputs for each, N×…, that can be averaged."""

    def refine(self, outputs: Outputs, data: Data) -> Outputs:
        """Correct the outputs for test images and held-out rows, not those from elsewhere, by what else is known."""
        return outputs

    @abstractmethod
    def estimates(self, outputs: Outputs, data: Data) -> np.ndarray:
        """Turn outputs into the estimates on which ensemble members are averaged and compared, ids×…."""

    @abstractmethod
    def values(self, estimates: np.ndarray) -> np.ndarray:
        """Turn estimates (ids×…) into the value to submit for each id, ids."""

    def spread(self, estimates: np.ndarray, deviation: np.ndarray) -> np.ndarray:
        """Reduce the deviation of the members' estimates (ids×…) to the spread of each id's value, ids."""
        return cast("np.ndarray", deviation.reshape(len(deviation), -1).max(axis=1))

    @abstractmethod
    def table_of_items(self, outputs: Outputs, data: Data) -> pd.DataFrame:
        """Tabulate the predicted images, with what was predicted for each."""

    def notes(self, outputs: Outputs, data: Data) -> list[str]:
        """Return a caveat on the prediction for each image; empty where all is as expected."""
        return [""] * len(data.test_set)

    def answers(self, outputs: Outputs, data: Data) -> dict[str, pd.DataFrame]:
        """Tabulate the answers on the user's own images, keyed by file name; the first table has one row per image.

        Raises:
            UserError: there are too few images for an answer.
        """
        return {"images": self.table_of_items(outputs, data)}

    def picture_answers(self, answers: Mapping[str, pd.DataFrame]) -> Figure | None:
        """Draw the tables of :meth:`answers`, if a picture says more than they do."""
        return None

    @abstractmethod
    def explained_scores(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores of images (N×C×H×W, float in [0, 1] → N×scores) and the index of the one to explain, N."""

    @abstractmethod
    def describe(self, images: Tensor) -> list[str]:
        """Describe in a few words what is predicted for each image (N×C×H×W, float in [0, 1])."""

    def judge(self, image: Tensor, attribution: Tensor) -> str:
        """Interpret the attribution (H×W) of an image (1×C×H×W, float in [0, 1]), if there is anything to say."""
        return ""

    @abstractmethod
    def deployed(self) -> Deployed:
        """Return the network in its exported form: uint8 images in, answers out."""

    # What all tasks share.

    def as_scored(self, estimates: np.ndarray) -> np.ndarray:
        """Return estimates as ``monitor`` scores them: as they would be submitted, if submitting changes them."""
        return estimates

    def with_unit(self, metric: str, value: float, decimals: int = 4) -> str:
        """Format the value of a metric, with its unit if it has one."""
        return f"{value:.{decimals}f} {of_metric(metric, self.units) or ''}".rstrip()

    def measure(self, estimates: np.ndarray, truth: np.ndarray) -> float:
        """Compute ``monitor`` for estimates (ids×…) against the truth (ids)."""
        metric = self.val_metrics[self.monitor].clone().cpu()
        metric.reset()
        return float(metric(torch.from_numpy(self.as_scored(estimates)), torch.from_numpy(truth)))

    @property
    def data(self) -> Data:
        """The Trainer's data module."""
        return cast("Data", vars(self.trainer)["datamodule"])  # its class does not declare the attribute

    def setup(self, stage: str) -> None:
        if stage == "fit" and self.learned_from is not None:
            self.data.split = self.data.split.following(self.learned_from)

    def on_fit_start(self) -> None:
        if self.trainer.is_global_zero:
            data = self.data
            if pairs := find_contradictions(data.listing, digests_of(data.train_set.images), data.group):
                print(f"warning: {pairs}; one of each is wrong", file=sys.stderr)
            data.split.warn_of_learned(self.learned_from)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.compute_loss(batch)
        self.log("train/loss", loss, batch_size=self.count_items(batch))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.rows.update(self.evaluate(batch).flatten())  # flat, like the state of a rank that has no rows

    def on_validation_epoch_end(self) -> None:
        # Logged here rather than with each batch, since a rank without batches must join the reductions, too.
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
        checkpoint["precision"], checkpoint["chosen"] = self.trainer.precision, list(self.chosen)
        checkpoint["calibration"] = {1: dict(self.calibration)}  # by the number of views

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, **settings: Any) -> Self:  # type: ignore[override]
        """Build the fitted model, as Lightning does, without fetching the pretrained weights that it started from."""
        return super().load_from_checkpoint(checkpoint_path, **{**cls._untrained(), **settings})

    @classmethod
    def build(cls, arguments: Settings) -> Self:
        """Build a network with random weights from a checkpoint's arguments."""
        return cls(**{**arguments, **cls._untrained()})

    @classmethod
    def _untrained(cls) -> dict[str, bool]:
        return {"pretrained": False} if "pretrained" in kinds_of(cls) else {}

    def select_rows(self, columns: Sequence[str]) -> pd.DataFrame:
        """Return ``evaluated`` as a table, with integers in the given columns."""
        return pd.DataFrame(self.evaluated, columns=list(self.columns)).astype(dict.fromkeys(columns, int))


AnyTask = ImageTask[Any, Any]
