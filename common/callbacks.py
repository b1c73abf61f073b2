"""Callbacks of every run: its checkpoints, the link to the newest one, its pictures and its speed."""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from lightning import pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import SIGTERMException

from common.checkpoints import read_checkpoint
from common.errors import UserError, listed
from common.plots import Gallery, learning_curves, save_png
from common.submission import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAVING_SHARE = DRAWING_SHARE = 0.01
FIRST_DRAWING = 2.0  # seconds, until one has been timed


class LatestLink(pl.Callback):
    """Keep ``latest``, beside the run folders, pointing at the newest one that has begun to train."""

    def __init__(self) -> None:
        self.linked = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.run = Path(str(trainer.log_dir))  # on every rank: it is broadcast

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        # Not before: by now a resumed run has the checkpoint that it goes on from.
        if not self.linked and trainer.is_global_zero:
            temporary = self.run.parent / f".latest.{os.getpid()}"
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(self.run.name)
            temporary.replace(self.run.parent / "latest")
        self.linked = True


class WholeFiles(TorchCheckpointIO):
    """Write a checkpoint beside its place and rename it there.

    Lightning's own is written in the folder for temporary files, and on another disk copied from there: cut off, it is
    half a file.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(Path(path)) as temporary, temporary.open("wb") as stream:
            stream.write(content.getbuffer())


class Resume(pl.Callback):
    """Let a resumed fit go on as if it had never stopped: with the settings that it had, and at the batch it was at.

    Args:
        resumed: the checkpoint that is gone on from; None for a fit from the start.
        settings: of the Trainer, which each checkpoint then holds.
        callbacks: names of those that have a state in the checkpoint that is resumed.

    Raises:
        UserError: this fit lacks one of them, such as averaged weights.
    """

    def __init__(self, resumed: Path | None, settings: dict[str, Any], callbacks: set[str]) -> None:
        self.resumed, self.settings, self.callbacks = resumed, settings, callbacks

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        ours = {type(callback).__name__ for callback in trainer.callbacks}  # type: ignore[attr-defined]
        # Of these no result depends on what they remember.
        free = {"ModelCheckpoint", "BestCheckpoint", "LastCheckpoint", "Timer"}
        if lost := sorted(self.callbacks - ours - free):
            raise UserError(f"--ckpt_path {self.resumed} was fitted with {listed(lost)}: give its --config again")

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["trainer"] = self.settings

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.resumed is None:
            return
        loop: Any = trainer.fit_loop
        epoch = loop.epoch_progress.current
        if loop.restarting and epoch.ready == epoch.started == epoch.processed:
            # With max_steps Lightning would end the epoch, which has ended, a second time.
            for progress in (epoch, loop.epoch_progress.total):
                progress.completed = progress.processed
            loop._restarting = loop.epoch_loop.restarting = False
            loop.reset_restart_stage()
        sampler: Any = trainer.train_dataloader.sampler  # type: ignore[union-attr]
        sampler.epoch = epoch.processed
        batches = loop.epoch_loop.batch_progress.current.processed
        sampler.start = batches % loop.max_batches if loop.restarting else 0
        # The loader has begun an epoch before, when the schedule asked for its length.
        iter(loop._data_fetcher)
        loop._last_train_dl_reload_epoch = trainer.current_epoch
        for callback in trainer.early_stopping_callbacks:
            if callback is not None and callback.wait_count >= callback.patience:
                trainer.should_stop = True  # as before: the fit had ended but for its last pictures


class BestCheckpoint(ModelCheckpoint):
    """Write ``best.ckpt``; a resumed fit takes over that of the run it goes on from.

    Args:
        monitor: metric that decides which epoch is the best one.
        mode: min or max, which of it is better.
        resumed: as :class:`Resume`.
    """

    def __init__(self, monitor: str, mode: str, resumed: Path | None) -> None:
        super().__init__(filename="best", monitor=monitor, mode=mode)
        self.resumed = resumed

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Lightning's takes over the path of a file in another run's folder."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if self.resumed is None:
            return
        source, target = self.resumed.parent / "best.ckpt", Path(str(self.dirpath)) / "best.ckpt"
        try:
            checkpoint = read_checkpoint(source, type(pl_module))
        except UserError:  # none, or damaged
            return
        score = checkpoint["callbacks"].get(self.state_key, {}).get("best_model_score")
        # Of an epoch after the resumed one, it will come again.
        if score is None or checkpoint["global_step"] > trainer.global_step:
            return
        if trainer.is_global_zero:
            copy(source, target)
        self.best_model_score = self.current_score = self.kth_value = score
        self.best_model_path = self.kth_best_model_path = str(target)
        self.best_k_models = {str(target): score}


class LastCheckpoint(ModelCheckpoint):
    """Write ``last.ckpt`` at the end of an epoch: of the last one always, of others as far as time allows.

    Where an epoch is shorter than writing the checkpoint, as of a large network on a small set, writing it each time
    would take most of the fit; so it takes ``SAVING_SHARE`` of the time since it was last written.

    A cluster that wants its machine back sends SIGTERM: the fit then writes the checkpoint after the step it is in, or
    the next one with neither a validation due nor batches to accumulate, or at the end of the epoch; its code is 143.

    Args:
        resumed: as :class:`Resume`.
    """

    def __init__(self, resumed: Path | None) -> None:
        super().__init__(filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
        self.resumed = resumed
        self.written, self.took, self.asked = 0.0, 0.0, False

    def listen(self) -> None:
        """Take SIGTERM in the place of Lightning, which registers last before the loops and puts all back at the end.

        Its handler speaks with other ranks from inside of itself, and ends a fit with nothing saved.
        """

        def ask(*_: object) -> None:
            self.asked = True

        signal.signal(signal.SIGTERM, ask)

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.listen()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Lightning's takes over the path of a file in another run's folder."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.listen()
        if trainer.is_global_zero and self.resumed is not None:
            copy(self.resumed, self.path)

    @property
    def path(self) -> Path:
        """The file."""
        return Path(str(self.dirpath)) / "last.ckpt"

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        # All ranks must stop at one step, and none between the parts of an accumulated one. From a step with a
        # validation due Lightning goes on without that: another step, or the end of the epoch, is near.
        loop: Any = trainer.fit_loop.epoch_loop
        if trainer.strategy.reduce_boolean_decision(self.asked, all=False):
            self.asked = True
            validates = loop._should_check_val_fx(trainer.fit_loop._data_fetcher)
            if not loop._should_accumulate() and not validates and not trainer.is_last_batch:
                trainer.save_checkpoint(self.path)
                self.stop(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        due = time.monotonic() - self.written > self.took / SAVING_SHARE
        # Rank 0 decides, since all ranks take part.
        if self._at_end(trainer) or trainer.strategy.broadcast(due or self.asked):
            self.write(trainer, pl_module)
        if trainer.strategy.reduce_boolean_decision(self.asked, all=False) and not self._at_end(trainer):
            self.stop(trainer)

    def stop(self, trainer: pl.Trainer) -> None:
        """End the process, as SIGTERM wants it."""
        if not trainer.is_global_zero:
            raise SIGTERMException(0)  # or Lightning would end rank 0 before it has done so itself
        print(f"stopped by SIGTERM; to go on, give the same command --ckpt_path {self.path}", file=sys.stderr)
        raise SIGTERMException(128 + signal.SIGTERM)

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


class Ranks(pl.Callback):
    """End the other processes that this one has started when it fails: they would wait for it."""

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        launcher = trainer.strategy.launcher
        if launcher is not None and not isinstance(exception, SIGTERMException):
            launcher.kill(signal.SIGKILL)


def copy(source: Path, target: Path) -> None:
    """Give a file a second name, or a copy on another disk; neither changes when the other is written anew."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:  # another disk, or one without links
            shutil.copyfile(source, temporary)


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

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.items, self.start = 0, time.perf_counter()  # an epoch that is gone on with has no start

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
        pl_module.log(f"train/{pl_module.throughput}", rate, sync_dist=True)
