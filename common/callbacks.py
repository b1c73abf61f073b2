"""Callbacks of every run: the link to the newest one, its last checkpoint, its pictures and its speed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from lightning import pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

from common.plots import Gallery, learning_curves, save_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAVING_SHARE = DRAWING_SHARE = 0.01
FIRST_DRAWING = 2.0  # seconds, until one has been timed


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


class Pictures(pl.Callback):
    """Draw what the held-out rows look like after a validation: PNG files in the run folder, images for its loggers.

    At the end of the fit always, before it as far as drawing takes ``DRAWING_SHARE`` of the time.
    """

    def __init__(self) -> None:
        self.drawn, self.took, self.pending = time.monotonic(), FIRST_DRAWING, False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.run = Path(str(trainer.log_dir))  # on every rank: it is broadcast

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        self.pending = True
        if time.monotonic() - self.drawn > self.took / DRAWING_SHARE:
            self.draw(trainer, pl_module)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.pending:
            self.draw(trainer, pl_module)

    def draw(self, trainer: pl.Trainer, module: Any) -> None:
        """Draw what the module and the metrics so far have to show."""
        start = time.monotonic()
        folder = self.run / "pictures"
        folder.mkdir(exist_ok=True)
        for logger in trainer.loggers:
            logger.save()
        pictures: dict[str, Figure | Gallery] = module.pictures()
        for name, picture in pictures.items():
            figure = picture.figure() if isinstance(picture, Gallery) else picture
            save_png(figure, folder / f"{name}.png")
            for logger in trainer.loggers:
                key = f"pictures/{name}"
                if isinstance(logger, WandbLogger) and isinstance(picture, Gallery):
                    logger.log_image(key, list(picture.images), caption=list(picture.captions))
                elif isinstance(logger, WandbLogger):
                    logger.log_image(key, [str(folder / f"{name}.png")])
                elif isinstance(logger, TensorBoardLogger):
                    logger.experiment.add_figure(key, figure, trainer.global_step, close=False)
        metrics = pd.read_csv(self.run / "metrics.csv")
        save_png(learning_curves(metrics, module.directions, module.units), folder / "learning_curves.png")
        self.drawn, self.pending = time.monotonic(), False
        self.took = self.drawn - start


class Throughput(pl.Callback):
    """Log how many images (julia) or pairs (growth) an epoch trains on a second, without its validation."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.items, self.start = 0, time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, index: int) -> None:
        self.items += pl_module.items(batch)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.paused = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.start += time.perf_counter() - self.paused

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        rate = self.items * trainer.world_size / (time.perf_counter() - self.start)
        pl_module.log(f"train/{pl_module.throughput}", rate)
