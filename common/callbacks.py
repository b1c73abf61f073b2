"""Callbacks of every run: the link to the newest one, and its two checkpoints."""

from __future__ import annotations

import os
import time
from pathlib import Path

from lightning import pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint

SAVING_SHARE = 0.01


class LatestLink(pl.Callback):
    """Keep ``latest``, beside the run folders, pointing at the newest one."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        log_dir = trainer.log_dir  # on every rank: it is broadcast
        if trainer.is_global_zero and log_dir:
            run = Path(log_dir)
            temporary = run.parent / f".latest.{os.getpid()}"
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(run.name)
            temporary.replace(run.parent / "latest")


class LastCheckpoint(ModelCheckpoint):
    """Write ``last.ckpt`` at the end of an epoch: of the last one always, of others as far as time allows.

    Where an epoch is shorter than writing the checkpoint, as of a large network on a small set, writing it each time
    would take most of the fit; so it takes ``SAVING_SHARE`` of the time since it was last written.
    """

    def __init__(self) -> None:
        super().__init__(filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
        self.written, self.took = 0.0, 0.0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        due = time.monotonic() - self.written > self.took / SAVING_SHARE
        # Rank 0 decides, since all ranks take part.
        if self._at_end(trainer) or trainer.strategy.broadcast(due):
            self.write(trainer, pl_module)

    def write(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write it, and note how long that takes."""
        start = time.monotonic()
        super().on_train_epoch_end(trainer, pl_module)
        self.written = time.monotonic()
        self.took = self.written - start

    def _at_end(self, trainer: pl.Trainer) -> bool:
        epochs_end = trainer.max_epochs not in (None, -1) and trainer.current_epoch + 1 >= (trainer.max_epochs or 0)
        steps_end = trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps
        return trainer.should_stop or epochs_end or steps_end
