"""What is refused early: arguments beside a checkpoint, whose settings are the defaults, and those of the Trainer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from jsonargparse import Namespace
from lightning import pytorch as pl
from lightning.pytorch.callbacks import BatchSizeFinder

from common.arguments import RESUMED, Kind, kinds_of
from common.checkpoints import Checkpoint, precision_of
from common.data import ImageData
from common.errors import UserError
from common.runs import is_finished
from common.task import AnyTask


@dataclass(frozen=True)
class Guard:
    """Keeps the meaning of a checkpoint's weights.

    Args:
        task: class of the model.
        data: class of the data module.
        checkpoints: those that were typed; the first one decides.
        resuming: whether its fit is continued.
    """

    task: type[AnyTask]
    data: type[ImageData]
    checkpoints: Sequence[Checkpoint]
    resuming: bool

    def defaults(self, settings: Namespace) -> dict[str, object]:
        """Give the checkpoint's settings, named by their paths: the held-out rows stay held out, what is typed wins."""
        first = self.checkpoints[0]
        defaults: dict[str, object] = {}
        for part, saved in (("model", first.model), ("data", first.data)):
            known = set(settings[part].keys()) - {"cache_dir"}  # no file from elsewhere says where to write
            defaults |= {f"{part}.{name}": value for name, value in saved.items() if name in known}
        if self.resuming:
            defaults |= {f"trainer.{name}": first.trainer[name] for name in RESUMED if name in first.trainer}
            defaults |= {"seed_everything": first.stands["fit_seed"]} if first.stands else {}
            defaults |= {"trainer.precision": first.precision} if first.precision else {}
        elif precision := precision_of(self.checkpoints):
            defaults["trainer.precision"] = precision
        return defaults

    def check(self, settings: Namespace) -> None:
        """Refuse what would change what the weights mean, or have no effect.

        Raises:
            UserError: it names the flag, and what the checkpoint has.
        """
        first = self.checkpoints[0]
        for part, declaring, saved in (("model", self.task, first.model), ("data", self.data, first.data)):
            for name, kind in kinds_of(declaring).items():
                typed = settings[part].get(name)
                if kind is Kind.GUARDED and name in saved and typed != saved[name]:
                    has = f"the checkpoint {first.path} has {saved[name]}"
                    raise UserError(f"--{part}.{name} {typed}: {has}, which stays; leave it out")
        if self.resuming:
            self._check_resumable(settings.trainer.max_epochs)

    def _check_resumable(self, max_epochs: int | None) -> None:
        first = self.checkpoints[0]
        if not first.stands:
            reason = "of an earlier version, whose fits cannot be resumed; predict and validate accept it"
            raise UserError(f"--ckpt_path {first.path}: {reason}")
        epochs, most = first.epochs, first.epochs + 1 if max_epochs in (None, -1) else max_epochs
        if epochs > most or (is_finished(first.run) and epochs == most):
            raise UserError(f"--ckpt_path {first.path}: {epochs} epochs are done; give a larger --trainer.max_epochs")


def check_trainer(subcommand: str, flags: Namespace) -> None:
    """Refuse arguments of the Trainer that do not suit the way things are done here.

    Raises:
        UserError: it names the flag and what to give instead.
    """
    refused = {
        # Lightning would replace our sampler, which gives whole batches, with one of single rows.
        "overfit_batches": (flags.overfit_batches, "give --trainer.limit_train_batches instead"),
        "barebones": (flags.barebones, "it leaves no run and no checkpoint; leave it out"),
        "strategy": (re.search("spawn|fork", str(flags.strategy)), "give ddp, which starts commands"),
    }
    if subcommand in ("predict", "crossval"):
        for flag in ("fast_dev_run", "limit_predict_batches"):
            refused[flag] = (flags[flag], f"{subcommand} needs all images; leave it out")
    if subcommand == "crossval":
        for flag in ("logger", "enable_checkpointing"):
            refused[flag] = (flags[flag] is False, "it leaves no run to predict from; leave it out")
    if subcommand in ("fit", "crossval"):
        endless = flags.max_epochs in (None, -1) and flags.max_steps == -1
        refused["max_epochs"] = (endless, "the learning rate's schedule must know the end; give a number of epochs")
    for flag, (given, reason) in refused.items():
        if given:
            raise UserError(f"--trainer.{flag} {flags[flag]}: {reason}")


def check_callbacks(callbacks: Sequence[pl.Callback]) -> None:
    """Refuse callbacks that appear twice, or that do not suit our batches.

    Raises:
        UserError: it names the callback.
    """
    keys = [callback.state_key for callback in callbacks]
    if twice := [key for number, key in enumerate(keys) if key in keys[:number]]:
        name = twice[0].split("{")[0]
        raise UserError(f"{name} appears twice among the callbacks, as in a recipe and an overlay: keep one")
    if any(isinstance(callback, BatchSizeFinder) for callback in callbacks):
        raise UserError("BatchSizeFinder changes batches that the schedule has counted; try --data.*batch* instead")
