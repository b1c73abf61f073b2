"""What Weights & Biases is told of a run, offline and online alike."""

from __future__ import annotations

import netrc
import os
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from lightning import pytorch as pl
from lightning.pytorch.loggers import WandbLogger

from common.errors import UserError

STEP = "trainer/global_step"  # Lightning's own x-axis


def wandb_key_configured() -> bool:
    """Whether W&B could log in: ``WANDB_API_KEY``, or what ``wandb login`` left in the netrc file.

    Raises:
        UserError: ``WANDB_BASE_URL`` is no address.
    """
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
    """Make the logger of a run: online where a key is configured, offline elsewhere, None with WANDB_MODE=disabled.

    Args:
        task: W&B's project.
        name: of the run, and of its group unless WANDB_RUN_GROUP names another.
        folder: where W&B keeps its files.
        tags: what runs can be filtered by.
    """
    mode = os.environ.get("WANDB_MODE") or ("online" if wandb_key_configured() else "offline")
    if mode == "disabled":
        return None
    os.environ.setdefault("WANDB_SILENT", "true")
    group = os.environ.get("WANDB_RUN_GROUP", name)
    return WandbLogger(name=name, project=task, save_dir=folder, offline=mode == "offline", group=group, tags=tags)


class Description(pl.Callback):
    """Tell the loggers which way metrics get better, and what code, data and network a run is of."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        module: Any = pl_module
        description = {
            "parameters": sum(parameter.numel() for parameter in module.net.parameters()),
            "commit": _commit(),
            "dataset": trainer.datamodule.fingerprint(),  # type: ignore[attr-defined]
        }
        for logger in trainer.loggers[1:]:  # the first is the CSV, which holds metrics alone
            logger.log_hyperparams(description)
            if isinstance(logger, WandbLogger):
                for metric, direction in module.directions.items():
                    logger.experiment.define_metric(metric, step_metric=STEP, summary=direction)


def _commit() -> str | None:
    """Name the commit of this code, with ``-dirty`` where files have changed since; None outside a repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:  # no git
        return None
    return done.stdout.strip() or None
