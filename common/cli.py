"""The command line of a task, ``python -m <task> fit|validate|predict|…``, on LightningCLI.

Adds to Lightning's own: a folder for every run (``runs/<task>/<name>/version_N/``), CSV and W&B logs, a checkpoint
that is enough to validate, predict or resume from, and errors of one line.
"""

from __future__ import annotations

import re
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt
from lightning import pytorch as pl
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import ModelCheckpoint, ModelSummary
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import distributed

from common.arguments import RESUMED, Kind, kinds_of
from common.callbacks import BestCheckpoint, LastCheckpoint, LatestLink, Pictures, Ranks, Throughput
from common.checkpoints import Checkpoint, find_checkpoints, read_checkpoint
from common.config import read_config
from common.data import ImageData
from common.errors import UserError, exit_on_user_error
from common.files import replacing, shown
from common.libraries import explain_library_errors, silence_libraries
from common.machine import default_precision, keep_freed_memory
from common.resume import Resume, WholeFiles, continue_metrics, disable_requeue, parser_of
from common.runs import RESULT, RUNS, claim, give_up, is_finished, write_json
from common.task import ImageTask
from common.tracking import Description, wandb_logger
from common.trainer import Trainer

FILES = ("-c", "--model", "--data", "--trainer")  # flags, beside --config, after which a file of settings may stand
# Subcommands, and whether they take no checkpoint, may take one, need one, or take several.
CHECKPOINTS = {
    "fit": "may",
    "validate": "one",
    "predict": "several",
    "crossval": "none",
    "feature_maps": "several",
    "export": "one",
    "dashboard": "none",
}


class SaveConfig(SaveConfigCallback):
    """Save the resolved configuration in the run folder and, nested, to every logger but the CSV."""

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        config = self.config.clone()
        if config.ckpt_path and Path(config.ckpt_path[0]).resolve().is_relative_to(
            Path(str(trainer.log_dir)).resolve()
        ):
            config.ckpt_path = (
                None  # of this very run: typed again, its configuration makes the same run from the start
            )
        text = self.parser.dump(config, skip_none=False)
        run = Path(str(trainer.loggers[0].log_dir))
        run.mkdir(parents=True, exist_ok=True)
        with replacing(run / "config.yaml") as temporary:
            temporary.write_text(text, encoding="utf-8")
        # As read back from YAML: W&B takes numbers of jsonargparse's own classes for text, which does not sort.
        settings = yaml.safe_load(text)
        for logger in trainer.loggers[1:]:
            logger.log_hyperparams(settings)


class TaskCLI(LightningCLI):
    """One task's command line.

    Args:
        model: class of the model.
        data: class of the data module.
        recipe: defaults of the Trainer's arguments.
        args: the arguments; those of the process if None.
    """

    trainer: Trainer

    def __init__(
        self, model: type[ImageTask[Any, Any]], data: type[ImageData], recipe: dict[str, Any], args: ArgsType = None
    ) -> None:
        self.task, self.data_class, self.recipe = model, data, recipe
        self.checkpoints: list[Checkpoint] = []
        self.claimed: Path | None = None
        try:
            super().__init__(
                model,
                data,
                save_config_callback=SaveConfig,
                save_config_kwargs={"save_to_log_dir": False},  # it does
                trainer_class=Trainer,
                parser_kwargs={"prog": f"python -m {model.task}"},
                seed_everything_default=0,
                auto_configure_optimizers=False,
                args=args,
            )
        finally:
            if self.claimed is not None:  # of a fit that was refused before it wrote anything
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
        """What the run is called: ``--name``, or the backbone."""
        return str(self.settings.name or self.settings.model.get("backbone") or self.task.task)

    @property
    def resumed(self) -> Checkpoint | None:
        """The checkpoint that a fit continues."""
        return self.checkpoints[0] if self.subcommand == "fit" and self.checkpoints else None

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        return {name: {"model", "datamodule"} for name in CHECKPOINTS}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--name", type=str | None, help="Name of the run's folder; the backbone if null.")
        parser.add_argument(
            "--ckpt_path",
            nargs="+",
            help="Checkpoint to start from: paths, patterns, or last or best, of the newest run.",
        )
        parser.add_argument(
            "--log_model", type=bool, default=False, help="Give W&B the best checkpoint as an artifact."
        )
        parser.add_argument(
            "--save_every_n_epochs", type=PositiveInt | None, help="Also keep the checkpoint of every n-th epoch."
        )
        parser.link_arguments("model.image_size", "data.image_size")
        parser.link_arguments("model.channels", "data.channels")
        # Our samplers know the ranks. A recipe's callbacks stay arguments, which LightningCLI's defaults would not.
        defaults = {"log_every_n_steps": 10, "use_distributed_sampler": False, **self.recipe}
        parser.set_defaults({f"trainer.{key}": value for key, value in defaults.items()})

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        words = sys.argv[1:] if args is None else args
        for flag, value in _given(words if isinstance(words, list) else []):
            if (flag in FILES or flag.startswith("--conf")) and Path(value).is_file():
                read_config(Path(value))
        self.config = parser.parse_args(args)  # type: ignore[arg-type]
        self.subcommand = subcommand = self.config.subcommand
        self._check_names()
        given, takes = self.settings.ckpt_path or [], CHECKPOINTS[subcommand]
        if takes == "none" and given:
            raise UserError(f"--ckpt_path {given[0]}: {subcommand} takes none; leave it out")
        if takes in ("one", "several") and not given:
            flag = f"python -m {self.task.task} {subcommand} --ckpt_path <checkpoint>"
            raise UserError(f"{subcommand} needs trained weights: {flag} (or last, or best, of the newest run)")
        if not given:
            return
        paths = find_checkpoints(given, self.root / RUNS / self.task.task, self.settings.name)
        if len(paths) > 1 and takes != "several":
            several = " and ".join(name for name, takes in CHECKPOINTS.items() if takes == "several")
            raise UserError(
                f"--ckpt_path names {len(paths)} checkpoints: {subcommand} takes one, {several} take several"
            )
        self.checkpoints = [read_checkpoint(path, self.task) for path in paths]
        for checkpoint in self.checkpoints if len(paths) > 1 else []:
            doubt = " (its fit has not come to its end)" if checkpoint.unfinished else ""
            print(f"member: {shown(checkpoint.path)}{doubt}", file=sys.stderr)
        parser_of(self, subcommand).set_defaults(self._defaults_of(self.checkpoints[0]))
        self.config = parser.parse_args(args)  # type: ignore[arg-type]
        self._check_guarded(self.checkpoints[0])
        self.settings.ckpt_path = None  # LightningCLI would read it and let its settings win over what is typed
        self._leave_weights_out()  # the checkpoint brings them

    def _leave_weights_out(self) -> None:
        if "pretrained" in self.settings.model:
            self.settings.model.pretrained = False

    def _check_names(self) -> None:
        """Refuse names of runs and seeds that cannot be used."""
        name, seed = self.settings.name, self.settings.get("seed_everything")
        if name is not None and not re.fullmatch(r"\w[\w.+=-]*(/\w[\w.+=-]*)*", name):
            raise UserError(f"--name {name}: give letters, digits and . _ + = -, with / for a folder")
        if name is not None and re.search(r"(^|/)(latest|version_\d+)(/|$)", name):
            raise UserError(f"--name {name}: latest and version_N are what runs themselves are called")
        if isinstance(seed, int) and not isinstance(seed, bool) and not 0 <= seed < 2**32:
            raise UserError(f"--seed_everything {seed}: give a number from 0 to {2**32 - 1}")

    def _defaults_of(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Take the checkpoint's settings for defaults: the held-out rows stay held out, and what is typed wins."""
        defaults: dict[str, Any] = {}
        for part, saved in (("model", checkpoint.model), ("data", checkpoint.data)):
            known = set(self.settings[part].keys()) - {"cache_dir"}  # no file from elsewhere says where to write
            defaults |= {f"{part}.{name}": value for name, value in saved.items() if name in known}
        if self.subcommand == "fit":
            defaults |= {f"trainer.{name}": checkpoint.trainer[name] for name in RESUMED if name in checkpoint.trainer}
            defaults |= {"seed_everything": checkpoint.stands["fit_seed"]} if checkpoint.stands else {}
            defaults |= {"trainer.precision": checkpoint.precision} if checkpoint.precision else {}
        # A recipe's choice; others are the machine's.
        elif any(member.precision == "32-true" for member in self.checkpoints):
            defaults["trainer.precision"] = "32-true"
        return defaults

    def _check_guarded(self, checkpoint: Checkpoint) -> None:
        """Refuse what is typed beside a checkpoint and would change what its weights mean, or have no effect."""
        for part, declaring, saved in (
            ("model", self.task, checkpoint.model),
            ("data", self.data_class, checkpoint.data),
        ):
            for name, kind in kinds_of(declaring).items():
                typed = self.settings[part].get(name)
                if kind is Kind.GUARDED and name in saved and typed != saved[name]:
                    has = f"the checkpoint {checkpoint.path} has {saved[name]}"
                    raise UserError(f"--{part}.{name} {typed}: {has}, which stays; leave it out")
        if self.subcommand != "fit":
            return
        if not checkpoint.stands:
            path = checkpoint.path
            raise UserError(
                f"--ckpt_path {path}: of an earlier version, whose fits cannot be resumed; predict can use it"
            )
        epochs, most = checkpoint.epochs, self.settings.trainer.max_epochs
        most = most if most not in (None, -1) else epochs + 1
        if epochs > most or (is_finished(checkpoint.run) and epochs == most):
            path = checkpoint.path
            raise UserError(f"--ckpt_path {path}: {epochs} epochs are fitted; give a larger --trainer.max_epochs")
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            print(f"resuming {shown(checkpoint.path)}", file=sys.stderr)

    def before_instantiate_classes(self) -> None:
        settings = self.settings
        settings.trainer.precision = settings.trainer.precision or default_precision(settings.trainer.accelerator)
        if self.checkpoints:
            settings.ckpt_path = [str(checkpoint.path) for checkpoint in self.checkpoints]
        if settings.trainer.overfit_batches:
            # Lightning would put a sampler of single rows in the place of ours, which gives whole batches.
            raise UserError("--trainer.overfit_batches: give --trainer.limit_train_batches instead")
        if self.subcommand in ("predict", "crossval"):
            for flag in ("fast_dev_run", "limit_predict_batches"):
                if settings.trainer[flag]:
                    raise UserError(f"--trainer.{flag}: {self.subcommand} needs all images; leave it out")
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
        """Keep what each fold is fitted with."""
        settings = self.settings
        if settings.data.fold is not None:
            raise UserError(f"--data.fold {settings.data.fold}: crossval goes over the folds; choose some with --folds")
        for flag in ("logger", "enable_checkpointing"):
            if settings.trainer[flag] is False:
                raise UserError(f"--trainer.{flag} false leaves no run to predict from; leave it out")
        fit = settings.clone()
        for flag in ("folds", "tta", "others"):
            del fit[flag]
        self.fit_settings = yaml.safe_load(parser_of(self, "fit").dump(fit, skip_none=False))

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        given = self.config_init[self.subcommand].trainer
        callbacks = _listed(given.callbacks)
        if self.settings.trainer.enable_model_summary is not False:
            callbacks.append(ModelSummary(max_depth=3))
        callbacks.append(Ranks())
        if self.subcommand == "fit" and not self.settings.trainer.fast_dev_run:
            kwargs["plugins"] = [*_listed(given.plugins), WholeFiles()]
            if self.settings.trainer.logger is not False:
                kwargs["logger"] = self._loggers(given.logger)
                callbacks += [LatestLink(), Description(), Pictures(), Throughput()]
            callbacks += self._checkpoint_callbacks()
        if self.subcommand == "crossval":  # here it only predicts, on one device; the fits are processes of their own
            kwargs |= {"devices": 1, "num_nodes": 1, "strategy": "auto", "plugins": LightningEnvironment()}
        if self.settings.trainer.enable_progress_bar is None:
            kwargs["enable_progress_bar"] = sys.stderr.isatty()
        keys = [callback.state_key for callback in callbacks]
        if twice := [key for number, key in enumerate(keys) if key in keys[:number]]:
            name = twice[0].split("{")[0]
            raise UserError(
                f"{name} stands twice among the callbacks, as where a recipe and an overlay have it: give it once"
            )
        trainer = super().instantiate_trainer(callbacks=callbacks, **kwargs)
        assert isinstance(trainer, Trainer)
        disable_requeue(trainer)
        trainer.checkpoints = self.checkpoints
        if self.subcommand == "crossval":
            trainer.fit_settings = self.fit_settings
            trainer.crossval_home = (self.name, self.root / RUNS / self.task.task / self.name)
        return trainer

    def _checkpoint_callbacks(self) -> list[pl.Callback]:
        settings, resumed = self.settings.trainer, self.resumed
        callbacks: list[pl.Callback] = [Resume(resumed, {name: settings[name] for name in RESUMED})]
        if settings.enable_checkpointing is False:
            return callbacks
        # Two, since save_last of one callback writes last.ckpt only when there is a new best.
        monitor = self.task.monitor
        callbacks += [BestCheckpoint(monitor, self.task.directions[monitor], resumed), LastCheckpoint(resumed)]
        if (number := self.settings.save_every_n_epochs) is not None:
            kept = ModelCheckpoint(
                filename="epoch_{epoch:03d}",
                auto_insert_metric_name=False,
                every_n_epochs=number,
                save_top_k=-1,
                save_on_train_epoch_end=True,
            )
            callbacks.append(kept)
        return callbacks

    def _loggers(self, others: Any) -> list[Logger]:
        task, resumed = self.task.task, self.resumed
        home = (self.root / RUNS / task).resolve()
        same = resumed is not None and resumed.path.name == "last.ckpt" and not self.settings.name
        if resumed is not None and same and resumed.run.resolve().is_relative_to(home):
            # Resumed where it stopped, a fit goes on in its folder; from an earlier point, it leaves that as it is.
            run = resumed.run.resolve()
            name = run.parent.relative_to(home).as_posix()
        else:
            name, run = self.name, None
        if rank_zero_only.rank == 0 and run is None:  # type: ignore[attr-defined]
            run = self.claimed = claim(self.root / RUNS / task / name)
        version = None if run is None else int(run.name.removeprefix("version_"))
        csv = CSVLogger(self.root / RUNS, name=f"{task}/{name}", version=version)
        if resumed is not None and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            (Path(csv.log_dir) / RESULT).unlink(missing_ok=True)  # it has not come to its end any more
            continue_metrics(csv, resumed.step)
        if others not in (None, True):
            return [csv, *_listed(others)]
        # What runs are most often told apart by.
        fold = self.settings.data.fold
        tags = [
            self.settings.model.get("backbone"),
            self.settings.model.get("design"),
            fold is not None and f"fold {fold}",
        ]
        board = wandb_logger(task, name, csv.log_dir, [tag for tag in tags if tag])
        return [csv] if board is None else [csv, board]

    def before_fit(self) -> None:
        self.started = time.monotonic()

    def after_fit(self) -> None:
        """Leave the result, and say where the run lies and what to type next."""
        best = next((one for one in self.trainer.callbacks if isinstance(one, BestCheckpoint)), None)  # type: ignore[attr-defined]
        score = None if best is None or best.best_model_score is None else float(best.best_model_score)
        run = self.trainer.log_dir
        first = self.trainer.is_global_zero and not self.settings.trainer.fast_dev_run
        if first and run is not None and self.trainer.loggers and not self.trainer.interrupted:
            last = self.trainer.callback_metrics.get(self.task.monitor)
            result = {
                "metric": self.task.monitor,
                "last": None if last is None else float(last),
                "best": score,
                "epochs": self.trainer.current_epoch,
                "seconds": round(time.monotonic() - self.started, 1),
            }
            write_json(Path(run) / RESULT, result)
        boards = []
        path = best.best_model_path if best is not None else ""
        for logger in self.trainer.loggers:
            logger.finalize("success")
            if isinstance(logger, WandbLogger):
                if self.settings.log_model and path and first:
                    name = f"{self.task.task}-{logger.experiment.id}"
                    logger.experiment.log_model(path, name, aliases=["best"])
                boards.append(str(Path(logger.experiment.dir).parent))
                logger.experiment.finish()
        if not first or run is None:
            return
        print(f"\nrun: {run}")
        if boards and "offline-run" in boards[0]:
            print(f"W&B: wandb sync {shlex.quote(shown(boards[0]))}")
        if score is not None:
            print(f"best {self.task.monitor}: {score:.4f}")
            print(f"next: python -m {self.task.task} predict --ckpt_path {shlex.quote(shown(path))}")


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list) else [value]


def _given(words: list[Any]) -> Iterator[tuple[str, str]]:
    """Pair flags with values, written as ``--flag value`` or ``--flag=value``."""
    for before, word in pairwise(["", *map(str, words)]):
        flag, equals, value = word.partition("=")
        yield (flag, value) if equals and flag.startswith("-") else (before, word)


def main(
    model: type[ImageTask[Any, Any]], data: type[ImageData], recipe: dict[str, Any], args: ArgsType = None
) -> None:
    """Run the command line of a task.

    Args:
        model: its LightningModule.
        data: its LightningDataModule.
        recipe: defaults of the Trainer's arguments.
        args: the arguments; those of the process if None.
    """
    silence_libraries()
    keep_freed_memory()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # not without tidying up
    with exit_on_user_error(), explain_library_errors():
        TaskCLI(model, data, recipe, args)
        if distributed.is_initialized():
            # Lightning does for NCCL alone; gloo's threads now and then end a process that has ended well.
            distributed.destroy_process_group()
