"""All that a resumed fit needs, and every access to Lightning's internal state.

The data module saves the fit's position (``ImageData.state_dict``). The rest is here: which settings and callbacks a
resumed fit must share, its metrics so far, and corrections to the state of Lightning's loops.
"""

from __future__ import annotations

import csv
import io
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from jsonargparse import ArgumentParser
from lightning import pytorch as pl
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.loops.progress import _ProcessedTracker
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only

from common.arguments import differing
from common.checkpoints import Checkpoint, Origin
from common.errors import UserError, listed
from common.files import replacing, shown, write_bytes
from common.held_out_tables import HELD_OUT
from common.platforms import lock, patiently
from common.pretrained import identify
from common.runs import RESULT
from common.task import AnyTask, ImageTask

# Callbacks whose state does not affect any result.
FREE = {"ModelCheckpoint", "BestCheckpoint", "LastCheckpoint", "Timer"}
LOCKED: dict[Path, BinaryIO] = {}  # files that this process has locked; they stay open


def lock_run(run: Path) -> None:
    """Keep other processes from writing to a run folder until this one ends, or is killed.

    Raises:
        UserError: another one writes to it.
    """
    path = run.resolve() / ".lock"
    if path in LOCKED or not run.is_dir():  # of a path that is refused when it is read
        return
    stream = path.open("ab")
    if not lock(stream.fileno()):
        stream.close()
        fix = "wait for its end, stop it, or give --name for a run of its own"
        raise UserError(f"--ckpt_path: another fit is writing to {shown(run)}; {fix}")
    LOCKED[path] = stream


def is_being_fitted(run: Path) -> bool:
    """Whether another process writes to a run folder."""
    path = run.resolve() / ".lock"
    if path in LOCKED or not path.is_file():
        return False
    with path.open("ab") as stream:
        return not lock(stream.fileno())


class WholeFiles(TorchCheckpointIO):
    """Write a checkpoint to a temporary file beside its target and, once it is on disk, rename it.

    Lightning writes it to the system's temporary folder and, if that is on another disk, copies it from there: a fit
    that is killed meanwhile leaves half a file.
    """

    def save_checkpoint(self, checkpoint: dict[str, object], path: str | Path, storage_options: object = None) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(Path(path), content.getbuffer())


class WholeMetrics(CSVLogger):
    """Write ``metrics.csv`` to a temporary file beside it and rename that.

    Lightning empties the file to add a column: a fit killed at that moment would lose all earlier epochs.
    """

    @rank_zero_only
    def save(self) -> None:
        writer = self.experiment
        path = Path(writer.metrics_file_path)
        if not writer.metrics:
            return
        with replacing(path) as temporary:
            if path.is_file():
                shutil.copyfile(path, temporary)
            writer.metrics_file_path = str(temporary)
            try:
                super().save()
            finally:
                writer.metrics_file_path = str(path)


class Resume(pl.Callback):
    """Let a resumed fit continue as if it had never stopped.

    Args:
        resumed: the checkpoint to resume from; None for a new fit.
        settings: the Trainer's settings to store in each checkpoint, and how weights are averaged, as ``averaging``.
        pretrained: ``--model.pretrained`` of a new fit.

    Raises:
        UserError: this fit lacks a callback of the resumed one, averages weights differently, or has other rows.
    """

    def __init__(self, resumed: Checkpoint | None, settings: dict[str, object], pretrained: object) -> None:
        self.resumed, self.settings = resumed, settings
        self.caught_up = resumed is None
        self.origin: Origin | None = {"given": str(pretrained), "pretrained": identify(pretrained), "changed": []}
        if resumed is not None:
            self.origin = resumed.origin

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self.resumed is None:
            return
        ours = {type(callback).__name__ for callback in vars(trainer)["callbacks"]}  # undeclared
        if lost := sorted(self.resumed.callbacks - ours - FREE):
            path = self.resumed.path
            raise UserError(f"--ckpt_path {path} was fitted with {listed(lost)}: give its --config again")
        theirs, averaging = self.resumed.trainer.get("averaging"), self.settings["averaging"]
        if theirs is not None and theirs != averaging:
            how = f"was fitted with {theirs or 'no averaging'}, not with {averaging or 'none'}"
            fix = "give its --config again" if theirs else "give --trainer.callbacks null"
            raise UserError(f"--ckpt_path {self.resumed.path} {how}: {fix}")
        assert isinstance(pl_module, ImageTask) and self.resumed.split is not None
        data = pl_module.data
        data.split = data.split.checked_against(self.resumed.split)
        if self.origin is not None:
            changed = differing_from(self.resumed, pl_module, self.settings)
            self.origin = {**self.origin, "changed": sorted({*self.origin["changed"], *changed})}
        # Only now, since a refusal must leave a finished run as it was.
        if trainer.is_global_zero and isinstance(trainer.logger, CSVLogger):
            for name in (RESULT, HELD_OUT):
                (Path(trainer.logger.log_dir) / name).unlink(missing_ok=True)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, object]
    ) -> None:
        checkpoint["trainer"] = self.settings
        if self.origin is not None:
            checkpoint["origin"] = self.origin

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.resumed is not None:
            finish_epoch(trainer)
            self.catch_up(trainer, pl_module)
            for callback in trainer.early_stopping_callbacks:
                if callback is not None and callback.wait_count >= callback.patience:
                    trainer.should_stop = True  # the fit had ended, except for its last pictures

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.caught_up:  # no epoch was left, so no training started
            self.catch_up(trainer, pl_module)

    def catch_up(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the training metrics of an epoch if the fit was killed between its checkpoint and its log."""
        self.caught_up = True
        assert isinstance(pl_module, ImageTask) and self.resumed is not None and self.resumed.data_state is not None
        if self.resumed.data_state["batch"]:  # stopped within an epoch
            return
        metrics, step = pl_module.train_metrics, self.resumed.step - 1
        with warnings.catch_warnings(action="ignore"):  # of a metric that is computed before an update: it is restored
            values = metrics.compute()  # on all ranks, which share it
        states = [torch.as_tensor(state) for metric in metrics.values() for state in metric.metric_state.values()]
        restored = any(state.any() for state in states)  # not from a checkpoint of an earlier version
        if not restored or not trainer.is_global_zero or not isinstance(trainer.logger, CSVLogger):
            return
        path = Path(trainer.logger.log_dir) / "metrics.csv"
        if not path.is_file():  # a new run's folder
            return
        with path.open(newline="", encoding="utf-8") as stream:
            logged = {name for row in csv.DictReader(stream) if int(row["step"]) == step for name in row if row[name]}
        if lost := {name: value for name, value in values.items() if name not in logged}:
            lost["epoch"] = torch.tensor(self.resumed.data_state["epoch"] - 1)
            trainer._logger_connector.log_metrics(lost, step)


def differing_from(resumed: Checkpoint, model: AnyTask, trainer: Mapping[str, object]) -> list[str]:
    """List the settings of a fit, by path, that are others than those of the fit it resumes."""
    kept = trainer.keys() & resumed.trainer.keys()
    ours = {
        "model": dict(model.hparams),
        "data": dict(model.data.hparams),
        "trainer": {name: trainer[name] for name in kept},
    }
    theirs = {"model": resumed.model, "data": resumed.data, "trainer": {name: resumed.trainer[name] for name in kept}}
    if resumed.precision is not None:
        ours["trainer"]["precision"], theirs["trainer"]["precision"] = model.trainer.precision, resumed.precision
    chosen = {f"model.{name}" for name in resumed.chosen}  # which this fit has not yet chosen
    return differing(theirs, ours, type(model), type(model.data), chosen)


def origin_of(trainer: pl.Trainer) -> Origin | None:
    """Return what a fit started from, and what was changed on a resume; None if it is not known."""
    return next((one.origin for one in vars(trainer)["callbacks"] if isinstance(one, Resume)), None)


def finish_epoch(trainer: pl.Trainer) -> None:
    """Mark an epoch that had ended as completed, since with ``max_steps`` Lightning would end it a second time."""
    loop = trainer.fit_loop
    epoch, total = loop.epoch_progress.current, loop.epoch_progress.total
    assert isinstance(epoch, _ProcessedTracker) and isinstance(total, _ProcessedTracker)
    if loop.restarting and epoch.ready == epoch.started == epoch.processed:
        for progress in (epoch, total):
            progress.completed = progress.processed
        loop._restarting = loop.epoch_loop.restarting = False
        loop.reset_restart_stage()


def is_between_steps(trainer: pl.Trainer) -> bool:
    """Whether a fit can stop after this batch: it is not the last, no validation is due, no gradients are pending."""
    loop = trainer.fit_loop.epoch_loop
    validates = loop._should_check_val_fx(trainer.fit_loop._data_fetcher)  # type: ignore[arg-type]
    return not loop._should_accumulate() and not validates and not trainer.is_last_batch


def log_step(trainer: pl.Trainer) -> None:
    """Write what the step has logged, which Lightning does only after the batch's hooks."""
    trainer._logger_connector.on_batch_end()
    trainer._logger_connector.update_train_step_metrics()


def log_each_epoch(trainer: pl.Trainer) -> None:
    """Log the loss at least once an epoch, however few steps that has."""
    steps = min(trainer.num_training_batches, 2**31) // trainer.accumulate_grad_batches
    settings = vars(trainer)  # its class does not declare the attribute
    settings["log_every_n_steps"] = min(settings["log_every_n_steps"], max(1, int(steps)))


def disable_requeue(trainer: pl.Trainer) -> None:
    """Keep Lightning from saving under SLURM: it would do so in mid-step, where any later fit would start from it."""
    environment = trainer._accelerator_connector.cluster_environment
    if isinstance(environment, SLURMEnvironment):
        environment.auto_requeue = False


def without_obsolete_arguments(logger: Logger) -> Logger:
    """Keep Lightning from passing W&B an argument that W&B warns about, whatever its value."""
    if isinstance(logger, WandbLogger):
        logger._wandb_init.pop("anonymous", None)
    return logger


def parser_of(cli: LightningCLI, subcommand: str) -> ArgumentParser:
    """Return the parser of a subcommand, whose defaults a checkpoint changes."""
    return cli._subcommand_parsers[subcommand]


def continue_metrics(logger: CSVLogger, step: int) -> None:
    """Let ``metrics.csv`` continue from a step: keep what was logged before it, drop what will be logged again.

    Lightning deletes the file, so it waits under another name, where the next resume finds it if this one is killed.

    Raises:
        UserError: a complete line of the file is damaged, or there is none.
    """
    path = Path(logger.log_dir) / "metrics.csv"
    waiting = path.with_name(".metrics.csv.kept")
    if path.is_file():
        lines = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
        try:
            header, *rows = csv.reader(lines)
            # Each row must be as long as the header, since the writer relies on it.
            steps = [float(dict(zip(header, row, strict=True))["step"]) for row in rows]
        except (ValueError, KeyError):
            raise UserError(f"{path} is damaged; give --name for a run of its own") from None
        kept = [row for row, at in zip(rows, steps, strict=True) if at < step]
        with replacing(waiting) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([header, *kept])
        patiently(path.unlink)
    writer = logger.experiment
    if waiting.is_file():
        with waiting.open(newline="", encoding="utf-8") as stream:
            writer.metrics_keys = next(csv.reader(stream), [])
        patiently(lambda: waiting.replace(path))
