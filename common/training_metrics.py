"""The monitored metric on the training batches, beside that on the held-out rows."""

from __future__ import annotations

import torch
from lightning import pytorch as pl

from common.resume import log_each_epoch
from common.task import ImageTask


class TrainingMetrics(pl.Callback):
    """Log ``train_metrics`` and a loss for each epoch, including one that is resumed in the middle.

    They come from the outputs that the loss is computed from, so they need no extra pass. That makes them mean
    something different from those of the held-out rows: augmented images, a network in training mode (dropout, batch
    statistics), and weights that change from batch to batch.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        log_each_epoch(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ImageTask)
        pl_module.train_metrics.reset()  # not called for an epoch that is resumed

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ImageTask)
        if all(metric.update_called for metric in pl_module.train_metrics.values()):
            pl_module.log_dict(pl_module.train_metrics.compute())

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, object]
    ) -> None:
        assert isinstance(pl_module, ImageTask)
        counted: dict[str, dict[str, torch.Tensor]] = {}
        checkpoint["train_metrics"] = counted
        for name, metric in pl_module.train_metrics.items():
            with metric.sync_context():  # over all ranks, for the epoch so far
                counted[name] = {key: torch.as_tensor(state).clone() for key, state in metric.metric_state.items()}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, object]
    ) -> None:
        assert isinstance(pl_module, ImageTask)
        # Rank 0 restores what all ranks had counted; checkpoints of earlier versions hold nothing.
        counted = checkpoint.get("train_metrics")
        if isinstance(counted, dict) and trainer.is_global_zero:
            for name, metric in pl_module.train_metrics.items():
                for key, state in counted.get(name, {}).items():
                    setattr(metric, key, state.to(metric.device))
