"""The pictures of a run: what the weights in ``best.ckpt`` predicted for the held-out rows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from lightning import pytorch as pl

from common.callbacks import best_checkpoint
from common.files import write_text
from common.plots import Gallery, learning_curves, save_png
from common.task import AnyTask, ImageTask
from common.tracking import log_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWING_SHARE = 0.01
FIRST_DRAWING = 2.0  # seconds, assumed until one has been timed


class Pictures(pl.Callback):
    """Draw the results on the held-out rows: PNG files in the run folder, images for its loggers, and tables.

    It always does so at the end of the fit, and earlier if drawing takes no more than ``DRAWING_SHARE`` of the time.

    The pictures show ``best.ckpt``, which the end of a fit names and a user predicts with, not the last epoch. That
    needs neither a second validation nor the weights: a checkpoint stores its validation's results on held-out rows.
    """

    def __init__(self) -> None:
        self.drawn, self.took, self.pending = time.monotonic(), FIRST_DRAWING, False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.run = Path(str(trainer.log_dir))  # on every rank, since it is broadcast

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, object]
    ) -> None:
        assert isinstance(pl_module, ImageTask)
        checkpoint["evaluated"] = torch.from_numpy(pl_module.evaluated)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.pending = self.pending or not trainer.sanity_checking

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Not right after the validation, since best.ckpt is written only after that.
        if time.monotonic() - self.drawn > self.took / DRAWING_SHARE:
            self.draw(trainer, pl_module)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.draw(trainer, pl_module)

    def draw(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the module's pictures, write its tables, and draw the learning curves so far."""
        if not self.pending or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, ImageTask)
        start = time.monotonic()
        folder = self.run / "pictures"
        folder.mkdir(exist_ok=True)
        for logger in trainer.loggers:
            logger.save()
        with showing_best(trainer, pl_module) as about:
            pictures, tables = pl_module.pictures(), pl_module.tables()
        for name, picture in pictures.items():
            figure = entitled(picture, about)
            save_png(figure, folder / f"{name}.png")
            for logger in trainer.loggers:
                log_picture(logger, f"pictures/{name}", figure, folder / f"{name}.png", trainer.global_step)
        for name, table in tables.items():
            write_text(self.run / f"{name}.csv", table.to_csv())
        metrics = pd.read_csv(self.run / "metrics.csv")
        curves = learning_curves(metrics, pl_module.monitor, pl_module.directions, pl_module.units)
        save_png(curves, folder / "learning_curves.png")
        self.drawn, self.pending = time.monotonic(), False
        self.took = self.drawn - start


@contextmanager
def showing_best(trainer: pl.Trainer, model: AnyTask) -> Iterator[str]:
    """Set ``evaluated`` and ``calibration`` to those of ``best.ckpt`` for the block; yield its epoch and metric.

    If a fit writes no checkpoints, or the best one is from an earlier version, the latest validation stands in.
    """
    latest, best = (model.evaluated, model.calibration), best_checkpoint(trainer)
    which, epoch = "the latest validation, not best.ckpt", trainer.current_epoch
    value = float(trainer.callback_metrics[model.monitor])
    if best is not None and best.best_model_score is not None and Path(best.best_model_path).is_file():
        saved = torch.load(best.best_model_path, map_location="cpu", weights_only=True, mmap=True)
        if "evaluated" in saved:
            which, epoch, value = "best.ckpt", saved["epoch"] + 1, float(best.best_model_score)
            model.evaluated, model.calibration = saved["evaluated"].numpy().copy(), saved["calibration"][1]
    try:
        yield f"{which}: epoch {epoch}, {model.monitor} {model.with_unit(model.monitor, value)}"
    finally:
        model.evaluated, model.calibration = latest


def entitled(picture: Figure | Gallery, about: str) -> Figure:
    """Turn a picture into a figure, and write above its own title which weights it shows."""
    figure = picture.figure() if isinstance(picture, Gallery) else picture
    figure.suptitle("\n".join(filter(None, [about, figure.get_suptitle()])), fontsize=11)
    return figure
