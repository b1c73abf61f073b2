"""The command line of a task, ``python -m <task> fit|validate|predict|…``, on LightningCLI.

It adds a folder for every run (``runs/<task>/<name>/version_N/``), CSV and W&B logs, checkpoints that are all it takes
to validate, predict or resume, and one-line errors.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import yaml
from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt
from lightning import pytorch as pl
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from torch import distributed

from common.arguments import shared_arguments
from common.callbacks import EndOtherRanks
from common.checkpoint_settings import Guard
from common.checkpoints import SHORTCUTS, Checkpoint, find_checkpoints, read_checkpoint
from common.config import read_config
from common.data import ImageData
from common.errors import UserError, exit_on_user_error, no_such
from common.files import shown
from common.fitting import SaveConfig, as_list, continued_run, finish_run, fit_callbacks, open_run
from common.guards import check_callbacks, check_fold, check_trainer, check_values
from common.libraries import explain_library_errors, silence_libraries
from common.machine import act_alone, default_precision, is_first_process, keep_freed_memory
from common.page import Page
from common.parser import (
    CHECKPOINTS,
    CONFIG,
    Help,
    OneLineParser,
    about_checkpoints,
    given_words,
    overview,
    parse,
    refuse_undone,
    taking,
    usage,
)
from common.platforms import end_tidily
from common.progress import displays
from common.resume import WholeFiles, disable_requeue, lock_run, parser_of
from common.runs import RUNS, give_up
from common.task import AnyTask
from common.timm_backbones import SyncBatchNorm
from common.trainer import Trainer

GROUPS = ("model", "data", "trainer", "submission")  # of settings
LISTS = ("--ckpt_path", "--images", "--image", "--folds", "--others", "--layers")
FILES = (*CONFIG, *(f"--{group}" for group in GROUPS))  # flags that may take a file of settings


class TaskCLI(LightningCLI):
    """The command line of one task; it takes the arguments of :func:`main`."""

    trainer: Trainer

    def __init__(
        self, model: type[AnyTask], data: type[ImageData], recipe: Mapping[str, object], page: type[Page]
    ) -> None:
        self.task, self.data_class, self.recipe, self.page = model, data, recipe, page
        self.checkpoints: list[Checkpoint] = []
        self.claimed: Path | None = None
        helps = {name: {"usage": usage(model.task, name), "formatter_class": Help} for name in self.subcommands()}
        try:
            super().__init__(
                model,
                data,
                save_config_callback=SaveConfig,
                save_config_kwargs={"save_to_log_dir": False},  # SaveConfig does that
                trainer_class=Trainer,
                parser_class=OneLineParser,
                parser_kwargs={
                    "prog": f"python -m {model.task}",
                    "usage": f"python -m {model.task} COMMAND [--FLAG VALUE ...]",
                    "description": overview(model.task, model.__doc__),
                    "formatter_class": Help,
                    "allow_abbrev": False,  # a word that begins several names would be read as one
                    **helps,
                },
                auto_configure_optimizers=False,
            )
        finally:
            if self.claimed is not None:  # removes the folder if the fit was refused before it wrote anything
                give_up(self.claimed, self.root)

    @property
    def settings(self) -> Namespace:
        """The arguments of the subcommand."""
        settings: Namespace = self.config[self.config.subcommand]
        return settings

    @property
    def root(self) -> Path:
        """The folder that holds ``runs``."""
        return Path(self.settings.trainer.default_root_dir or ".")

    @property
    def name(self) -> str:
        """The name of the run: ``--name``, or the backbone, or the task."""
        return str(self.settings.name or self.settings.model.get("backbone") or self.task.task)

    @property
    def resumed(self) -> Checkpoint | None:
        """The checkpoint that a fit resumes from."""
        return self.checkpoints[0] if self.subcommand == "fit" and self.checkpoints else None

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Return the one that was typed, or all: each has its own parser of every argument, which is slow to build."""
        typed = set(sys.argv[1:2]) & CHECKPOINTS.keys()
        wanted = typed | ({"fit"} if "crossval" in typed else set()) or CHECKPOINTS
        return {name: {"model", "datamodule"} for name in CHECKPOINTS if name in wanted}

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        seed = "Seed of all random numbers except the split's, from 0; true draws one."
        parser.add_argument("--seed_everything", type=bool | int, default=0, help=seed)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        name = "Name of the run, by default the backbone; last and best look only among runs of this name."
        parser.add_argument("--name", type=str | None, help=name)
        parser.add_argument("--ckpt_path", nargs="+", help=about_checkpoints())
        upload = "For fit and crossval: upload the best checkpoint to W&B as an artifact."
        parser.add_argument("--log_model", type=bool, default=False, help=upload)
        every = "For fit and crossval: also keep a checkpoint of every n-th epoch."
        parser.add_argument("--save_every_n_epochs", type=PositiveInt | None, help=every)
        for shared in sorted(shared_arguments(self.task, self.data_class)):
            parser.link_arguments(f"model.{shared}", f"data.{shared}")
        # Our samplers handle ranks. Unlike LightningCLI's trainer_defaults, this keeps a recipe's callbacks arguments.
        defaults = {"log_every_n_steps": 10, "use_distributed_sampler": False, **self.recipe}
        parser.set_defaults({f"trainer.{key}": value for key, value in defaults.items()})

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        words = sys.argv[1:]
        typed = given_words(words)
        for place, (flag, value) in enumerate(typed):
            if flag in FILES and os.path.isfile(value):  # noqa: PTH113, Path's raises if settings are too long for a name
                later = read_config(Path(value), groups=GROUPS if flag in CONFIG else ())
                refuse_undone(typed[:place], value, later if flag in CONFIG else {flag[2:]: later})
            elif flag in CONFIG and Path(value).suffix in (".yaml", ".yml"):
                raise no_such("--config", value, [str(path) for path in Path(value).parent.glob("*.y*ml")], "configs/")
        # Added here, since those above go to every subcommand, and those of a method's signature take a single word.
        if "predict" in self.subcommands():
            parser_of(self, "predict").add_argument(
                "--images",
                nargs="+",
                default=[],
                help="Your own images to predict instead of the test files: files, folders, archives or patterns.",
            )
        if "dashboard" in self.subcommands():
            flag = "Write or publish a report on the runs: which is best, and why."
            parser_of(self, "dashboard").add_argument("--report", action="store_true", help=flag)
        flags = [word.partition("=")[0] for word in words]
        if twice := [flag for flag in LISTS if flags.count(flag) > 1]:
            raise UserError(f"{twice[0]} is given twice, and only the last would count; give it once, with all of them")
        self.config = parse(parser, words)
        self.subcommand = subcommand = self.config.subcommand
        check_values(self.settings, typed)
        check_fold(subcommand, self.settings, typed)
        act_alone(self.settings.trainer)
        given, takes = as_list(self.settings.ckpt_path), CHECKPOINTS[subcommand]  # as text, if a configuration has one
        if takes == "none" and given:
            raise UserError(f"--ckpt_path {given[0]}: {subcommand} takes none; leave it out")
        if takes in ("one", "several") and not given:
            flag = f"python -m {self.task.task} {subcommand} --ckpt_path <checkpoint>"
            raise UserError(f"{subcommand} needs trained weights: {flag} (or last, or best, of the newest run)")
        if not given:
            return
        home = self.root / RUNS / self.task.task
        paths = find_checkpoints(given, home, self.settings.name)
        if len(paths) > 1 and takes != "several":
            several = f"{subcommand} takes one, {taking('several')} take several"
            raise UserError(f"--ckpt_path names {len(paths)} checkpoints: {several}")
        writes = subcommand == "fit" and self.settings.trainer.logger is not False and is_first_process()
        if writes and (run := continued_run(paths[0], home, self.settings.name)) is not None:
            lock_run(run)  # before it is read, since another fit might still replace it
        self.checkpoints = [read_checkpoint(path, self.task) for path in paths]
        for checkpoint in self.checkpoints if len(paths) > 1 else []:
            doubt = " (its fit has not finished)" if checkpoint.unfinished else ""
            print(f"member: {shown(checkpoint.path)}{doubt}", file=sys.stderr)
        guard = Guard(self.task, self.data_class, self.checkpoints, resuming=subcommand == "fit")
        parser_of(self, subcommand).set_defaults(guard.defaults(self.settings))
        self.config = parse(parser, words)
        guard.check(self.settings)
        guard.check_folds()
        if unlike := guard.unlike(subcommand == "predict" and not self.settings.images):
            parser_of(self, subcommand).set_defaults(unlike)
            guard.check_typed(unlike, self.settings, parse(parser, words)[subcommand])
        if is_first_process() and (subcommand == "fit" or {*given} & {*SHORTCUTS}):
            print(f"{'resuming' if subcommand == 'fit' else 'checkpoint:'} {shown(paths[0])}", file=sys.stderr)
        self.settings.ckpt_path = None  # LightningCLI would let its settings override what was typed
        self._leave_weights_out()  # the checkpoint brings them

    def _leave_weights_out(self) -> None:
        if "pretrained" in self.settings.model:
            self.settings.model.pretrained = False

    def before_instantiate_classes(self) -> None:
        settings = self.settings
        settings.trainer.precision = settings.trainer.precision or default_precision(settings.trainer.accelerator)
        if self.checkpoints:
            settings.ckpt_path = [str(checkpoint.path) for checkpoint in self.checkpoints]
        check_trainer(str(self.subcommand), settings.trainer)
        if self.subcommand == "crossval":
            self._plan_folds()
        if self.subcommand == "dashboard":
            self._leave_weights_out()
        if self.subcommand != "fit" or settings.trainer.logger is False:
            self.save_config_callback = None  # there is no run folder to save it in
        if self.subcommand != "fit":
            settings.trainer.callbacks = None
            settings.trainer.logger = False
            settings.trainer.enable_checkpointing = False

    def _plan_folds(self) -> None:
        """Store the settings that each fold is fitted with."""
        settings = self.settings
        if settings.data.fold is not None:
            raise UserError(f"--data.fold {settings.data.fold}: crossval goes over the folds; choose some with --folds")
        fit = settings.clone()
        for flag in ("folds", "tta", "others"):
            del fit[flag]
        self.fit_settings = yaml.safe_load(parser_of(self, "fit").dump(fit, skip_none=False))

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except ValueError as error:  # raised by a class that an argument names
            reason = [line.strip(" -") for line in str(error).splitlines() if line.startswith("  - ")]
            raise UserError(
                f"the arguments do not go together: {(reason or [' '.join(str(error).split())])[0]}"
            ) from error

    def instantiate_trainer(self, **kwargs: object) -> pl.Trainer:
        given = self.config_init[self.subcommand].trainer
        callbacks = as_list(given.callbacks)
        callbacks += [*displays(self.settings.trainer, callbacks), EndOtherRanks()]
        plugins = as_list(given.plugins)
        if self.subcommand == "fit" and not self.settings.trainer.fast_dev_run:
            plugins.append(WholeFiles())
            if self.settings.trainer.logger is not False:
                run = (self.settings, self.task, self.root, self.name, self.resumed)
                self.claimed, kwargs["logger"] = open_run(*run, given.logger)
            callbacks += fit_callbacks(self.settings, self.task, self.resumed)
        if self.settings.trainer.sync_batchnorm:
            plugins.append(SyncBatchNorm())
            kwargs["sync_batchnorm"] = False  # it would add Lightning's own beside ours
        kwargs["plugins"] = plugins
        if self.subcommand == "crossval":  # this process only predicts, on one device; each fit is its own process
            kwargs |= {"devices": 1, "num_nodes": 1, "strategy": "auto", "plugins": LightningEnvironment()}
        check_callbacks(callbacks, self.task.directions)
        try:
            trainer = super().instantiate_trainer(callbacks=callbacks, **kwargs)
        except TypeError as error:  # such as numbers of devices that an accelerator does not take
            raise UserError(f"--trainer.*: {' '.join(str(error).split())}") from error
        assert isinstance(trainer, Trainer)
        disable_requeue(trainer)
        trainer.checkpoints = self.checkpoints
        trainer.images, trainer.page = self.settings.get("images") or [], self.page
        trainer.report = bool(self.settings.get("report"))
        if self.subcommand == "crossval":
            trainer.fit_settings = self.fit_settings
            trainer.crossval_home = (self.name, self.root / RUNS / self.task.task / self.name)
        return trainer

    def before_fit(self) -> None:
        self.started = time.monotonic()

    def after_fit(self) -> None:
        """Write the result, and print where the run is and the next command."""
        if not self.settings.trainer.fast_dev_run:
            finish_run(self.trainer, self.model, time.monotonic() - self.started, self.settings.log_model)


def main(model: type[AnyTask], data: type[ImageData], recipe: Mapping[str, object], page: type[Page] = Page) -> None:
    """Run the command line of a task.

    Args:
        model: its LightningModule.
        data: its LightningDataModule.
        recipe: defaults for the Trainer's arguments.
        page: class of the page that ``app`` shows in the browser.
    """
    silence_libraries()
    keep_freed_memory()
    end_tidily()
    with exit_on_user_error(), explain_library_errors():
        TaskCLI(model, data, recipe, page)
        if distributed.is_initialized():
            # Lightning does this only for NCCL, but gloo's threads occasionally crash a process that has finished.
            distributed.destroy_process_group()
