"""Refuse unsuitable arguments before the long part begins."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch

from jsonargparse import Namespace
from lightning import pytorch as pl
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BatchSizeFinder,
    ModelPruning,
    StochasticWeightAveraging,
    WeightAveraging,
)

from common.errors import UserError, no_such
from common.platforms import UNUSABLE
from common.plots import Direction


def check_trainer(subcommand: str, flags: Namespace) -> None:
    """Refuse arguments of the Trainer that do not suit the way things are done here.

    Raises:
        UserError: there is one; the error names the flag and what to give instead.
    """
    refused = [
        # Lightning would replace our sampler, which yields whole batches, with one that yields single rows.
        ("overfit_batches", flags.overfit_batches, "give --trainer.limit_train_batches instead"),
        ("barebones", flags.barebones, "it leaves no run and no checkpoint; leave it out"),
        ("strategy", re.search("spawn|fork", str(flags.strategy)), "give ddp, which starts commands"),
    ]
    if subcommand in ("predict", "validate", "crossval"):
        limit = "limit_val_batches" if subcommand == "validate" else "limit_predict_batches"
        all_of_them = f"{subcommand} needs all images; leave it out"
        refused += [("fast_dev_run", flags.fast_dev_run, all_of_them), (limit, flags[limit] is not None, all_of_them)]
    if subcommand == "crossval":
        none_left = "it leaves no run to predict from; leave it out"
        refused += [(flag, flags[flag] is False, none_left) for flag in ("logger", "enable_checkpointing")]
    if subcommand in ("fit", "crossval"):
        above_0 = ("accumulate_grad_batches", "check_val_every_n_epoch", "val_check_interval", "limit_train_batches")
        refused += [(flag, flags[flag] == 0, "give more than 0") for flag in above_0]
        refused += [(flag, flags[flag] == 0, "nothing would be trained") for flag in ("max_epochs", "max_steps")]
        endless = flags.max_epochs in (None, -1) and flags.max_steps == -1
        no_end = "the learning rate's schedule must know the end; give a number of epochs"
        refused += [("max_epochs", endless, no_end)]
    for flag, given, reason in refused:
        if given:
            raise UserError(f"--trainer.{flag} {flags[flag]}: {reason}")


def check_callbacks(callbacks: Sequence[pl.Callback], directions: Mapping[str, Direction]) -> None:
    """Refuse callbacks that appear twice, or do not suit our networks and batches.

    So are those that watch none of the metrics in ``directions``, or take the worst value for the best.

    Raises:
        UserError: there is one; the error names the callback.
    """
    keys = [callback.state_key for callback in callbacks]
    if twice := [key for number, key in enumerate(keys) if key in keys[:number]]:
        name = twice[0].split("{")[0]
        raise UserError(f"{name} appears twice among the callbacks, as in a recipe and an overlay: keep one")
    averages = [one for one in callbacks if isinstance(one, WeightAveraging | StochasticWeightAveraging)]
    if len(averages) > 1:
        raise UserError(f"{' and '.join(type(one).__name__ for one in averages)} would average each other: keep one")
    for callback in callbacks:
        if isinstance(callback, BackboneFinetuning | ModelPruning):
            raise UserError(f"{type(callback).__name__} does not suit these networks; leave it out")
        monitor = getattr(callback, "monitor", None)
        if not isinstance(monitor, str):
            continue
        name, better = type(callback).__name__, [best for known, best in directions.items() if fnmatch(monitor, known)]
        if not better:
            raise no_such(f"{name}.monitor", monitor, directions, "metrics.csv of a run")
        if (mode := getattr(callback, "mode", better[0])) != better[0]:
            why = f"{'more' if better[0] == 'max' else 'less'} of {monitor} is better; give mode: {better[0]}"
            raise UserError(f"{name}.mode {mode}: {why}")
    if any(isinstance(callback, BatchSizeFinder) for callback in callbacks):
        raise UserError("BatchSizeFinder changes batches that the schedule has counted; try --data.*batch* instead")


def check_values(settings: Namespace, words: Iterable[tuple[str, str]]) -> None:
    """Refuse unusable names, seeds and numbers, and paths with a ``~`` that no shell has expanded.

    Args:
        settings: all arguments of a subcommand.
        words: the flags that were typed, with their values.

    Raises:
        UserError: there is one; the error names its flag.
    """
    flat = vars(settings.as_flat())
    for flag, value in words:
        read = flat.get(flag.lstrip("-"))
        if isinstance(read, int | float) and re.search("[0-9][:_][0-9]", value):
            times = "" if "_" in value else ", or two digits for each part of a time, such as 01:12:00:00"
            raise UserError(f"{flag} {value}: it would be read as {read}; give a plain number{times}")
    for flag, value in flat.items():
        for word in value if isinstance(value, list) else [value]:
            if isinstance(word, float) and not math.isfinite(word):
                raise UserError(f"--{flag} {word}: give a finite number")
            if word == "" and ".init_args." not in flag:  # an unset shell variable; a class's own default may be empty
                raise UserError(f"--{flag}: is empty; give a value, or leave it out")
            if isinstance(word, str) and re.match("~(/|$)", word):
                raise UserError(f"--{flag} {word}: ~ is not replaced by your home here; write the whole path")
    name, seed = settings.name, settings.get("seed_everything")
    if name is not None and (UNUSABLE.search(name) or not re.fullmatch(r"\w[\w.+=-]*(/\w[\w.+=-]*)*", name)):
        but = "no dot at the end, nor con, nul or another device of Windows"
        raise UserError(f"--name {name}: give letters, digits and . _ + = -, with / for a folder; {but}")
    if name is not None and re.search(r"(^|/)(latest|version_\d+)(/|$)", name):
        raise UserError(f"--name {name}: latest and version_N are the names of run folders")
    for flag, number in (("seed_everything", seed), ("data.seed", flat.get("data.seed"))):
        if isinstance(number, int) and not isinstance(number, bool) and not 0 <= number < 2**32:
            raise UserError(f"--{flag} {number}: give a number from 0 to {2**32 - 1}")


def check_fold(subcommand: str, settings: Namespace, words: Iterable[tuple[str, str]]) -> None:
    """Refuse typed flags of the split that have no effect, since others decide.

    Args:
        subcommand: the command.
        settings: all its arguments.
        words: as in :func:`check_values`.

    Raises:
        UserError: there is one.
    """
    typed = dict(words)
    fold, fraction = settings.get("data.fold"), typed.get("--data.val_fraction")
    if fraction is not None and (subcommand == "crossval" or fold is not None):
        decides = "crossval holds out each of --data.num_folds" if fold is None else f"--data.fold {fold} decides"
        raise UserError(f"--data.val_fraction {fraction}: {decides}; leave it out")
    number = typed.get("--data.num_folds")
    if number is not None and subcommand == "fit" and fold is None and settings.ckpt_path is None:
        raise UserError(f"--data.num_folds {number}: --data.val_fraction decides unless --data.fold says which fold")
