"""What loggers are told about a run: Weights & Biases, whether offline or online, TensorBoard and MLflow."""

from __future__ import annotations

import netrc
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from lightning import pytorch as pl
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from common.arguments import machine_arguments
from common.errors import UserError
from common.resume import origin_of
from common.runs import describe_run
from common.task import ImageTask

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODES = ("online", "offline", "shared", "disabled", "dryrun", "run")  # of W&B
STEP = "trainer/global_step"  # Lightning's own x-axis


def wandb_key_configured() -> bool:
    """Whether W&B could log in: with ``WANDB_API_KEY``, or with what ``wandb login`` left in the netrc file."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    server = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    try:
        host = urlparse(server).hostname or ""
    except ValueError as error:
        raise UserError(f"WANDB_BASE_URL {server}: {error}; give one such as https://wandb.example.org") from None
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def wandb_logger(task: str, name: str, folder: str, tags: list[str]) -> WandbLogger | None:
    """Make the logger of a run: online if a key is configured, otherwise offline; None with WANDB_MODE=disabled.

    The task is the W&B project; the name is that of the run and, unless WANDB_RUN_GROUP names another, of its group;
    W&B keeps its files in the folder, and filters runs by the tags.
    """
    mode = os.environ.get("WANDB_MODE") or ("online" if wandb_key_configured() else "offline")
    if mode == "disabled":
        return None
    if mode not in MODES:
        raise UserError(f"WANDB_MODE {mode}: give one of {', '.join(MODES)}")
    os.environ.setdefault("WANDB_SILENT", "true")
    group = os.environ.get("WANDB_RUN_GROUP", name)
    return WandbLogger(name=name, project=task, save_dir=folder, offline=mode == "offline", group=group, tags=tags)


def log_picture(logger: Logger, key: str, figure: Figure, png: Path, step: int) -> None:
    """Send a picture to a logger; this is the only place that knows how each kind of logger takes one.

    Args:
        logger: a logger of any kind; one that takes no pictures is skipped.
        key: name of the picture, such as ``pictures/errors``.
        figure: the picture, whose title says which weights it shows.
        png: the file that it has been written to.
        step: the optimizer step.
    """
    if isinstance(logger, WandbLogger):
        logger.log_image(key, [str(png)])
    elif isinstance(logger, TensorBoardLogger):
        logger.experiment.add_figure(key, figure, step, close=False)
    elif isinstance(logger, MLFlowLogger) and logger.run_id is not None:
        logger.experiment.log_artifact(logger.run_id, str(png), key.rpartition("/")[0])


class Description(pl.Callback):
    """Describe a run in ``run.json``, and tell the loggers its code, data and network."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        run = Path(str(trainer.log_dir))  # on every rank, since it is broadcast
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, ImageTask)
        data = pl_module.data
        given = trainer.limit_val_batches
        limit = None if isinstance(given, float) and given == 1 else given  # 1.0 is all, 1 is one batch
        machine = machine_arguments(type(pl_module), type(data))
        describe_run(run, pl_module, machine, data.split, limit, origin_of(trainer))
        description = {
            "parameters": sum(parameter.numel() for parameter in pl_module.net.parameters()),
            "commit": _commit(),
            "dataset": data.fingerprint() | {"held_out_digest": data.split.digests[1]},
        }
        for logger in trainer.loggers[1:]:  # the first is the CSV, which holds only metrics
            logger.log_hyperparams(description)
            if isinstance(logger, WandbLogger):
                for metric, direction in pl_module.directions.items():
                    logger.experiment.define_metric(metric, step_metric=STEP, summary=direction)


def _commit() -> str | None:
    """Name the commit of this code, with ``-dirty`` if files have changed since; None outside a repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:  # no git
        return None
    return done.stdout.strip() or None
