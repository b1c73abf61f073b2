"""The metric that decides, of the training batches, beside that of the held-out rows."""

from __future__ import annotations

import torch
from lightning import pytorch as pl

from common.task import ImageTask


class TrainingMetrics(pl.Callback):
    """Log ``train_metrics`` of each epoch, also of one that is resumed in its middle.

    They come from the outputs that the loss is computed from, and so cost no pass of their own. That makes them mean
    something else than those of the held-out rows: images as augmented, a network in training (dropout, statistics of
    the batch), and weights that change from batch to batch.
    """

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ImageTask)
        pl_module.train_metrics.reset()  # not called of an epoch that is resumed

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
            with metric.sync_context():  # of all ranks, as far as the epoch has come
                counted[name] = {key: torch.as_tensor(state).clone() for key, state in metric.metric_state.items()}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, object]
    ) -> None:
        assert isinstance(pl_module, ImageTask)
        # The first rank takes what all had counted; checkpoints of earlier versions hold nothing.
        counted = checkpoint.get("train_metrics")
        if isinstance(counted, dict) and trainer.is_global_zero:
            for name, metric in pl_module.train_metrics.items():
                for key, state in counted.get(name, {}).items():
                    setattr(metric, key, state.to(metric.device))
