"""The progress of a fit: what it shows of its network and each epoch, as a bar or as lines, and the speed it logs."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jsonargparse import Namespace
from lightning import pytorch as pl
from lightning.pytorch.callbacks import ModelSummary, ProgressBar, RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import ProcessingSpeedColumn
from lightning.pytorch.utilities.model_summary.model_summary import get_human_readable_count
from lightning.pytorch.utilities.types import STEP_OUTPUT
from rich import get_console
from rich.progress import BarColumn, ProgressColumn

from common.callbacks import best_checkpoint
from common.task import AnyTask, ImageTask

LOSS_EVERY = 10  # batches after which a bar reads the loss from a GPU


def shown_time(seconds: float) -> str:
    """Format a duration with its two largest units: 45 s, 4 min 10 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


class Reached(NamedTuple):
    """A value of the monitored metric, and the epoch in which it was measured, from 0."""

    value: float
    epoch: int

    def shown(self, module: AnyTask) -> str:
        """Format the value with its unit."""
        return module.with_unit(module.monitor, self.value)


class Progress(ProgressBar):
    """Tracks a fit: the mean training loss of the epoch, the monitored metric, and its best value so far.

    Of several processes, only the first shows it; the loss is that of its own batches.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loss, self.batches = torch.zeros(()), 0
        self.latest: Reached | None = None
        self.seen: Reached | None = None  # the best one, except for those before a fit was resumed

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.began, self.first_step = time.monotonic(), trainer.global_step

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.loss, self.batches = torch.zeros(()), 0
        super().on_train_epoch_start(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: STEP_OUTPUT, batch: object, batch_idx: int
    ) -> None:
        assert isinstance(outputs, Mapping)
        loss = outputs["loss"].detach().float()  # kept on its device: reading it at each step would make a GPU wait
        # Multiplied, since Lightning has divided it by that.
        self.loss = self.loss.to(loss.device) + loss * trainer.accumulate_grad_batches
        self.batches += 1
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            assert isinstance(pl_module, ImageTask)
            self.latest = Reached(float(trainer.callback_metrics[pl_module.monitor]), trainer.current_epoch)
            self.seen = best_of(pl_module, self.seen, self.latest)
        super().on_validation_end(trainer, pl_module)

    def mean_loss(self) -> float:
        """Compute the mean training loss of the epoch so far."""
        return float(self.loss) / max(1, self.batches)

    def best(self, trainer: pl.Trainer, module: AnyTask) -> Reached | None:
        """Find the best value so far, including those before a fit was resumed."""
        kept = best_checkpoint(trainer)
        before = None if kept is None or kept.taken_over is None else Reached(*kept.taken_over)
        return best_of(module, before, self.seen)

    def epochs(self, trainer: pl.Trainer) -> int:
        """Count the epochs of the whole fit."""
        steps = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        return math.ceil(trainer.estimated_stepping_batches / steps)

    def seconds_left(self, trainer: pl.Trainer) -> float:
        """Estimate how much longer the fit will take, including validation, from the steps that it has taken."""
        taken, total = trainer.global_step - self.first_step, trainer.estimated_stepping_batches
        return (time.monotonic() - self.began) / max(1, taken) * (total - trainer.global_step)


def best_of(module: AnyTask, *reached: Reached | None) -> Reached | None:
    """Choose the best value, or the first of equal ones."""
    choose = min if module.directions[module.monitor] == "min" else max
    return choose((one for one in reached if one is not None), key=lambda one: one.value, default=None)


class Lines(Progress):
    """Print a line at the end of each epoch, for output that cannot show a moving bar."""

    def __init__(self) -> None:
        super().__init__()
        self.enabled = True

    def disable(self) -> None:
        self.enabled = False

    def enable(self) -> None:
        self.enabled = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.enabled:
            return
        assert isinstance(pl_module, ImageTask)
        number, epoch = str(self.epochs(trainer)), trainer.current_epoch
        parts = [f"train/loss {self.mean_loss():.4f}"]
        if self.latest is not None and self.latest.epoch == epoch:
            parts.append(f"{pl_module.monitor} {self.latest.shown(pl_module)}")
        if (best := self.best(trainer, pl_module)) is not None:
            parts.append(f"best {best.shown(pl_module)} in epoch {best.epoch + 1}")
        parts.append("stopping early" if trainer.should_stop else f"{shown_time(self.seconds_left(trainer))} left")
        # Flushed, since whoever follows the log waits for this very line.
        print(f"epoch {epoch + 1:{len(number)}} of {number}: {', '.join(parts)}", flush=True)


class Bar(Progress, RichProgressBar):
    """Lightning's bar, which shows the monitored metric, its best value and the training loss."""

    def __init__(self) -> None:
        super().__init__()
        self.shown_loss: float | None = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: STEP_OUTPUT, batch: object, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self.batches % LOSS_EVERY == 0:
            self.shown_loss = self.mean_loss()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.shown_loss = self.mean_loss()
        super().on_train_epoch_end(trainer, pl_module)

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        assert isinstance(pl_module, ImageTask)
        shown: dict[str, Any] = {}
        if self.latest is not None:
            shown[pl_module.monitor] = self.latest.shown(pl_module)
        if (best := self.best(trainer, pl_module)) is not None:
            shown["best"] = f"{best.value:.4f} (epoch {best.epoch + 1})"
        if self.shown_loss is not None:
            shown["train/loss"] = self.shown_loss
        return shown

    def configure_columns(self, trainer: pl.Trainer) -> list[ProgressColumn]:
        columns = [one for one in super().configure_columns(trainer) if not isinstance(one, ProcessingSpeedColumn)]
        for column in columns:
            if isinstance(column, BarColumn):
                column.bar_width = 20  # leaves room for the metrics
        return columns

    def _get_train_description(self, current_epoch: int) -> str:  # Lightning's own counts from 0
        description = f"Epoch {current_epoch + 1}/{self.epochs(self.trainer)}"
        return f"{description:{len(self.validation_description)}}"


class NetworkSummary(ModelSummary):
    """Print the largest parts of the network before a fit, but not its metrics and losses."""

    def __init__(self) -> None:
        super().__init__(max_depth=2)

    @staticmethod
    def summarize(
        summary_data: list[tuple[str, list[str]]],
        total_parameters: int,
        trainable_parameters: int,
        model_size: float,
        total_training_modes: dict[str, int],
        total_flops: int,
        **_: object,
    ) -> None:
        columns = dict(summary_data)
        kept = [row for row, name in enumerate(columns["Name"]) if name.split(".")[0] == "net"]
        titles = [title for title in columns if title not in (" ", "Mode")]
        cells = [titles] + [[columns[title][row].strip() for title in titles] for row in kept]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
        total, trainable = map(get_human_readable_count, (total_parameters, trainable_parameters))
        some = "" if trainable_parameters == total_parameters else f", {trainable.strip()} of them trainable"
        lines.append(f"{total.strip()} parameters ({model_size:,.1f} MB){some}")
        print("", *lines, "", sep="\n", file=sys.stderr)


def displays(flags: Namespace, given: Sequence[pl.Callback]) -> list[pl.Callback]:
    """Choose what shows a fit: a bar on a terminal, lines elsewhere, and a summary of the network before.

    Args:
        flags: the Trainer's arguments, which may turn them off.
        given: the user's callbacks, which may replace them.
    """
    chosen: list[pl.Callback] = []
    if flags.enable_progress_bar is not False and not any(isinstance(one, ProgressBar) for one in given):
        chosen.append(Bar() if sys.stdout.isatty() and get_console().is_interactive else Lines())
    if flags.enable_model_summary is not False and not any(isinstance(one, ModelSummary) for one in given):
        chosen.append(NetworkSummary())
    return chosen


class Throughput(pl.Callback):
    """Log how many items per second an epoch trains on, excluding its validation."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.items, self.start = 0, time.perf_counter()

    on_train_epoch_start = on_train_start  # an epoch that is resumed within has no start of its own

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, index: int
    ) -> None:
        assert isinstance(pl_module, ImageTask)
        self.items += pl_module.count_items(batch)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.paused = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.start += time.perf_counter() - self.paused

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ImageTask)
        rate = self.items * trainer.world_size / (time.perf_counter() - self.start)
        pl_module.log(f"train/{pl_module.throughput}", rate, sync_dist=True)
