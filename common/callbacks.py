"""Callbacks of every run: its checkpoints and training metrics, the link to the newest run, how a failing fit ends."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from lightning import pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.types import STEP_OUTPUT

from common.checkpoints import Checkpoint, read_checkpoint
from common.errors import UserError
from common.files import link_or_copy
from common.platforms import KILL, listen, quoted
from common.resume import is_between_steps, lock_run, log_each_epoch, log_step
from common.runs import mark_latest
from common.task import ImageTask

SAVING_SHARE = 0.01


class LatestLink(pl.Callback):
    """Point ``latest``, beside the run folders, to the newest run that has begun to train."""

    def __init__(self) -> None:
        self.marked = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.run = Path(str(trainer.log_dir))  # on every rank, since it is broadcast
        if trainer.is_global_zero:
            lock_run(self.run)  # before it holds a checkpoint that another fit could resume

    def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
        # No earlier, since only now does a resumed run have the checkpoint that it resumes from.
        if not self.marked and trainer.is_global_zero:
            mark_latest(self.run)
        self.marked = True


class RunCheckpoint(ModelCheckpoint):
    """A checkpoint of this run's folder alone."""

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Restore nothing: Lightning would take over the path of a file in another run's folder."""


class BestCheckpoint(RunCheckpoint):
    """Write ``best.ckpt``; a resumed fit inherits the one of the run it continues.

    Args:
        monitor: metric that decides which epoch is best.
        mode: min or max, whichever is better.
        resumed: as in :class:`common.resume.Resume`.

    Attributes:
        taken_over: the metric of the checkpoint that a resumed fit has inherited, and its epoch, from 0.
    """

    def __init__(self, monitor: str, mode: str, resumed: Checkpoint | None) -> None:
        super().__init__(filename="best", monitor=monitor, mode=mode, enable_version_counter=False)
        self.resumed = resumed
        self.taken_over: tuple[float, int] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if self.resumed is None:
            return
        assert isinstance(pl_module, ImageTask)
        source, target = self.resumed.path.with_name("best.ckpt"), Path(str(self.dirpath)) / "best.ckpt"
        try:
            best = read_checkpoint(source, type(pl_module))
        except UserError:  # none, or damaged
            return
        # A best epoch after the resumed one will be trained again.
        if best.score is None or best.step > trainer.global_step:
            return
        if trainer.is_global_zero and source.resolve() != target.resolve():
            link_or_copy(source, target)
        self.taken_over = best.score, best.epoch
        self.best_model_score = self.current_score = self.kth_value = torch.tensor(best.score, device=pl_module.device)
        self.best_model_path = self.kth_best_model_path = str(target)
        self.best_k_models = {str(target): self.kth_value}


def best_checkpoint(trainer: pl.Trainer) -> BestCheckpoint | None:
    """Find the callback that keeps the best checkpoint of a fit, if there is one."""
    return next((one for one in trainer.checkpoint_callbacks if isinstance(one, BestCheckpoint)), None)


class LastCheckpoint(RunCheckpoint):
    """Write ``last.ckpt`` at the end of an epoch: always after the last one, after others as far as time allows.

    If an epoch takes less time than writing the checkpoint, as with a large network on a small set, writing it every
    time would take most of the fit, so writing may take no more than ``SAVING_SHARE`` of the time.

    A cluster that wants its machine back sends SIGTERM; a user types Ctrl-C. The fit then writes the checkpoint after
    the current step, or after the next one with no validation due and no gradients pending, or at the end of the
    epoch, and exits with code 143 or 130. A second Ctrl-C ends it immediately.

    Args:
        resumed: as in :class:`common.resume.Resume`.
    """

    def __init__(self, resumed: Checkpoint | None) -> None:
        super().__init__(filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
        self.resumed = resumed
        self.written, self.took, self.asked = 0.0, 0.0, 0

    def listen(self) -> None:
        """Handle signals instead of Lightning, which last registers just before the loops and restores all at the end.

        Lightning's handler communicates with other ranks from within, and ends a fit with nothing saved.
        """

        def ask(number: int) -> None:
            if self.asked == number == signal.SIGINT:
                raise SIGTERMException(128 + number)  # Lightning turns a KeyboardInterrupt into code 1
            self.asked = number
            if number == signal.SIGINT:
                print("\nstopping after this step; Ctrl-C again ends at once, with less saved", file=sys.stderr)

        listen(ask)

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.listen()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.listen()
        if trainer.is_global_zero and self.resumed is not None and self.resumed.path.resolve() != self.path.resolve():
            link_or_copy(self.resumed.path, self.path)

    @property
    def path(self) -> Path:
        """The path of ``last.ckpt``."""
        return Path(str(self.dirpath)) / "last.ckpt"

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: STEP_OUTPUT, batch: object, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        # All ranks must stop at the same step. If it cannot be this one, another or the end of the epoch comes soon.
        if self._any_asked(trainer) and is_between_steps(trainer):
            trainer.save_checkpoint(self.path, weights_only=False)
            log_step(trainer)
            self.stop(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        due = time.monotonic() - self.written > self.took / SAVING_SHARE
        # Rank 0 decides, since all ranks take part in saving.
        if self._at_end(trainer) or trainer.strategy.broadcast(due or bool(self.asked)):
            self.write(trainer, pl_module)
        if self._any_asked(trainer) and not self._at_end(trainer):
            self.stop(trainer)

    def _any_asked(self, trainer: pl.Trainer) -> bool:
        asked = trainer.strategy.reduce_boolean_decision(bool(self.asked), all=False)
        if asked and not self.asked:  # another rank was asked
            self.asked = signal.SIGTERM
        return asked

    def stop(self, trainer: pl.Trainer) -> None:
        """End the process, as the signal asks."""
        if not trainer.is_global_zero:
            raise SIGTERMException(0)  # or Lightning would end rank 0 before it has done so itself
        name = signal.Signals(self.asked).name
        path = quoted(str(self.path))
        print(f"stopped by {name}; to resume, give the same command with --ckpt_path {path}", file=sys.stderr)
        raise SIGTERMException(128 + self.asked)

    def write(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the checkpoint, and record how long that takes."""
        start = time.monotonic()
        super().on_train_epoch_end(trainer, pl_module)
        self.written = time.monotonic()
        self.took = self.written - start

    def _at_end(self, trainer: pl.Trainer) -> bool:
        epochs_end = trainer.max_epochs not in (None, -1) and trainer.current_epoch + 1 >= (trainer.max_epochs or 0)
        steps_end = trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps
        return trainer.should_stop or epochs_end or steps_end


class LastValidation(pl.Callback):
    """Validate after the last epoch, whatever ``check_val_every_n_epoch`` is: ``last.ckpt`` needs its own score."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.check_val_every_n_epoch is not None and trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1

    on_train_epoch_start = on_train_start  # not called for an epoch that is resumed


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


class Finite(pl.Callback):
    """End a fit that has diverged, before a checkpoint of it is written.

    Raises:
        UserError: a loss, or the monitored metric, is not finite.
    """

    def __init__(self) -> None:
        self.diverged: torch.Tensor | None = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: STEP_OUTPUT, batch: object, batch_idx: int
    ) -> None:
        assert isinstance(outputs, Mapping)
        bad = ~outputs["loss"].detach().isfinite()  # kept on its device: reading it at each step would make a GPU wait
        self.diverged = bad if self.diverged is None else self.diverged | bad

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.check(trainer, "the loss of a batch")

    on_train_epoch_end = on_validation_start

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ImageTask)
        if (value := trainer.callback_metrics.get(pl_module.monitor)) is not None and not trainer.sanity_checking:
            self.diverged = ~value.isfinite()
            self.check(trainer, pl_module.monitor)

    def check(self, trainer: pl.Trainer, what: str) -> None:
        """End the fit if something was not finite."""
        if self.diverged is not None and bool(self.diverged):
            where = f"epoch {trainer.current_epoch + 1}"
            raise UserError(f"the fit has diverged: {what} is not finite in {where}; give a smaller --model.lr")


class EndOtherRanks(pl.Callback):
    """When this process fails, kill those that it has started, which would otherwise wait for it."""

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        launcher = trainer.strategy.launcher
        if launcher is not None and not isinstance(exception, SIGTERMException):
            launcher.kill(KILL)
