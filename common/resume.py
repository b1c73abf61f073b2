"""All that a resumed fit needs, and every access to Lightning's internal state.

The data module says where a fit stands (``ImageData.state_dict``). The rest is here: which settings and callbacks a
resumed fit takes over, its metrics so far, and what Lightning's loops must be told.
"""

from __future__ import annotations

import csv
import io
import shutil
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

from common.checkpoints import Checkpoint
from common.errors import UserError, listed
from common.files import replacing, shown, write_bytes
from common.folds import Split
from common.platforms import lock, patiently
from common.runs import RESULT
from common.task import ImageTask

# Callbacks on whose state no result depends.
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


class WholeFiles(TorchCheckpointIO):
    """Write a checkpoint beside its place and, once the disk has it, rename it there.

    Lightning writes it to the folder for temporary files and, onto another disk, copies it from there: a kill leaves
    half a file.
    """

    def save_checkpoint(self, checkpoint: dict[str, object], path: str | Path, storage_options: object = None) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(Path(path), content.getbuffer())


class WholeMetrics(CSVLogger):
    """Write ``metrics.csv`` beside its place and rename it there.

    Lightning empties the file to add a column: a kill at that moment would take all earlier epochs with it.
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
        resumed: the checkpoint that is resumed; None for a fit from the start.
        settings: of the Trainer, which each checkpoint then holds, and how weights are averaged, as ``averaging``.

    Raises:
        UserError: this fit lacks a callback of the resumed one, averages weights in another way, or has
            other rows.
    """

    def __init__(self, resumed: Checkpoint | None, settings: dict[str, object]) -> None:
        self.resumed, self.settings = resumed, settings

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self.resumed is None:
            return
        ours = {type(callback).__name__ for callback in callbacks_of(trainer)}
        if lost := sorted(self.resumed.callbacks - ours - FREE):
            path = self.resumed.path
            raise UserError(f"--ckpt_path {path} was fitted with {listed(lost)}: give its --config again")
        theirs, averaging = self.resumed.trainer.get("averaging"), self.settings["averaging"]
        if theirs is not None and theirs != averaging:
            how = f"was fitted with {theirs or 'no averaging'}, not with {averaging or 'none'}"
            fix = "give its --config again" if theirs else "give --trainer.callbacks null"
            raise UserError(f"--ckpt_path {self.resumed.path} {how}: {fix}")
        assert isinstance(pl_module, ImageTask) and self.resumed.stands is not None
        pl_module.data.split.check(Split(**self.resumed.stands["split"]))
        # Only now, since a refusal leaves a finished run as it was.
        if trainer.is_global_zero and isinstance(trainer.logger, CSVLogger):
            (Path(trainer.logger.log_dir) / RESULT).unlink(missing_ok=True)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, object]
    ) -> None:
        checkpoint["trainer"] = self.settings

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.resumed is not None:
            finish_epoch(trainer)
            for callback in trainer.early_stopping_callbacks:
                if callback is not None and callback.wait_count >= callback.patience:
                    trainer.should_stop = True  # the fit had ended but for its last pictures


def callbacks_of(trainer: pl.Trainer) -> list[pl.Callback]:
    """Give the callbacks of a Trainer, an attribute that its class does not declare."""
    callbacks: list[pl.Callback] = vars(trainer)["callbacks"]
    return callbacks


def finish_epoch(trainer: pl.Trainer) -> None:
    """Mark an epoch that had ended as completed: with ``max_steps`` Lightning would end it a second time."""
    loop = trainer.fit_loop
    epoch, total = loop.epoch_progress.current, loop.epoch_progress.total
    assert isinstance(epoch, _ProcessedTracker) and isinstance(total, _ProcessedTracker)
    if loop.restarting and epoch.ready == epoch.started == epoch.processed:
        for progress in (epoch, total):
            progress.completed = progress.processed
        loop._restarting = loop.epoch_loop.restarting = False
        loop.reset_restart_stage()


def is_between_steps(trainer: pl.Trainer) -> bool:
    """Whether a fit can stop after this batch: neither a validation is due nor batches are to be accumulated."""
    loop = trainer.fit_loop.epoch_loop
    validates = loop._should_check_val_fx(trainer.fit_loop._data_fetcher)  # type: ignore[arg-type]
    return not loop._should_accumulate() and not validates and not trainer.is_last_batch


def log_step(trainer: pl.Trainer) -> None:
    """Write what the step has logged, which Lightning does only after the hooks of the batch."""
    trainer._logger_connector.on_batch_end()
    trainer._logger_connector.update_train_step_metrics()


def disable_requeue(trainer: pl.Trainer) -> None:
    """Keep Lightning from saving under SLURM: in the middle of a step, and where any later fit would start from it."""
    environment = trainer._accelerator_connector.cluster_environment
    if isinstance(environment, SLURMEnvironment):
        environment.auto_requeue = False


def without_obsolete_arguments(logger: Logger) -> Logger:
    """Keep Lightning from giving W&B an argument that W&B warns of, whatever its value."""
    if isinstance(logger, WandbLogger):
        logger._wandb_init.pop("anonymous", None)
    return logger


def parser_of(cli: LightningCLI, subcommand: str) -> ArgumentParser:
    """Give the parser of a subcommand, whose defaults a checkpoint changes."""
    return cli._subcommand_parsers[subcommand]


def continue_metrics(logger: CSVLogger, step: int) -> None:
    """Let ``metrics.csv`` continue from a step: what was logged before stays, what will come again is dropped.

    Lightning deletes the file, so it waits beside its place, where the next resume finds it after a kill.

    Raises:
        UserError: a whole line of the file is damaged, or it has none.
    """
    path = Path(logger.log_dir) / "metrics.csv"
    waiting = path.with_name(".metrics.csv.kept")
    if path.is_file():
        lines = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
        try:
            header, *rows = csv.reader(lines)
            # Each as long as the header, which the writer relies on.
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
