"""The command line of both tasks: ``python -m <task> fit|validate|test|predict|crossval``, on LightningCLI.

Adds to Lightning's own: a folder for every run (``runs/<task>/<name>/version_N/`` and a ``latest`` link), CSV and
W&B logs, a checkpoint that is enough to validate, test or predict from, and errors of one line.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from itertools import count, pairwise
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt
from lightning import pytorch as pl
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint, ModelSummary
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import distributed

from common.callbacks import (
    BestCheckpoint,
    LastCheckpoint,
    LatestLink,
    Pictures,
    Ranks,
    Resume,
    Throughput,
    WholeFiles,
)
from common.checkpoints import find_checkpoints, load_model, read_checkpoint
from common.config import read_config
from common.crossval import RESULT, CrossValidation
from common.data import ImageData
from common.ensemble import averaged
from common.errors import UserError, exit_on_user_error
from common.export import export
from common.feature_maps import Member, draw
from common.images import read_image
from common.machine import default_precision, keep_freed_memory
from common.submission import Submission, SubmissionFiles, default_path, replacing
from common.tracking import Description, wandb_logger

RUNS = "runs"
# What Lightning and its libraries say at every start and no user can act on.
NOISE = (
    "Tip: For seamless",
    "Trainer already configured with model summary",
    "TPU available",
    "Loading `train_dataloader` to estimate",
    "is not supported by the model summary",
    "does not have many workers",
    "Restoring states from the checkpoint path",
    "Loaded model weights from the checkpoint",
    "callbacks used to create the checkpoint need to be provided",
    "using the WeightAveraging callback, but loading a checkpoint outside",
    "LeafSpec",
    "`tensorboardX` has been removed",
    "exists and is not empty. Previous log files",  # of a folder that this very run has made
    "is smaller than the logging interval",
    "dataloader is not resumable",  # its sampler is told where to go on
)
# Settings of the Trainer that a resumed fit goes on with.
RESUMED = (
    "accumulate_grad_batches",
    "check_val_every_n_epoch",
    "gradient_clip_algorithm",
    "gradient_clip_val",
    "limit_train_batches",
    "limit_val_batches",
    "max_epochs",
    "max_steps",
    "min_epochs",
    "min_steps",
    "val_check_interval",
)
# What a resumed fit cannot change: its network, what its optimizer holds, which rows it learns from, in which batches.
KEPT = (
    *("model.backbone", "model.stem", "model.head", "model.design", "model.image_size", "model.channels"),
    *("model.normalize", "model.days_scale", "model.lr", "model.weight_decay"),
    *("data.species", "data.variant", "data.val_fraction", "data.num_folds", "data.fold", "data.seed"),
    *("data.batch_size", "data.plants_per_batch", "data.images_per_plant", "data.pairs", "data.pair_within"),
    *("data.num_pairs", "data.pairs_per_batch"),
)
FILES = ("-c", "--model", "--data", "--trainer")  # flags, beside --config, after which a file of settings may stand
DEFAULT_SUBMISSION = Submission()


class Trainer(pl.Trainer):
    """Lightning's Trainer, whose ``predict`` writes a submission, with a cross-validation of its own."""

    crossvalidation: CrossValidation

    def predict(  # type: ignore[override]
        self,
        model: pl.LightningModule,
        datamodule: ImageData,
        ckpt_path: list[str] | str | None = None,
        submission: Submission = DEFAULT_SUBMISSION,
    ) -> None:
        """Predict the competition's test files and write the submission.

        Args:
            model: the network to predict with.
            datamodule: where the test files come from.
            ckpt_path: checkpoint of the model, or last or best of the latest run; of several, or a pattern in quotes
                ('runs/julia/resnet18/fold_*/latest/checkpoints/last.ckpt'), the outputs are averaged.
            submission: where the predictions go, and how they are made.
        """
        checkpoints = [Path(path) for path in ([ckpt_path] if isinstance(ckpt_path, str) else ckpt_path or [])]
        if submission.path is None and not checkpoints:
            raise UserError("--submission.path is needed where no checkpoint names the file")
        files = SubmissionFiles(Path(submission.path or default_path(checkpoints, submission.tta)))
        outputs, deviation = averaged(self, model, datamodule, checkpoints, submission.tta)
        if self.is_global_zero:
            files.write(outputs, deviation, datamodule.sample, model, datamodule)
            print(f"\nsubmission: {_shown(str(files.path))}")
            print(f"beside it: {files.raw_path.name} (raw outputs), {files.items_path.name} (one row an image)")
            if deviation is not None:
                print(f"           {files.spread_path.name} (how far the {len(checkpoints)} checkpoints differ)")

    def crossval(
        self,
        model: pl.LightningModule,
        datamodule: ImageData,
        folds: list[int] | int | str | None = None,
        tta: PositiveInt = 1,
        others: list[str] | None = None,
    ) -> None:
        """Fit every fold (--data.num_folds) and measure each held-out row with the model that has not seen it.

        Args:
            model: the network.
            datamodule: the data; --data.num_folds says how many folds.
            folds: some of the folds, such as 0,1; all if null. One whose run is finished is not fitted again.
            tta: how many views of each held-out image are averaged, as --submission.tta of predict.
            others: files out_of_fold.npz of other cross-validations, as [A, B], to average the estimates with.
        """
        number: int = datamodule.hparams["num_folds"]
        if number < 2:
            raise UserError(f"--data.num_folds {number}: give 2 or more")
        chosen = _chosen_folds(folds, number)
        self.crossvalidation.run(self, model, datamodule, chosen, tta, [Path(path) for path in others or []])

    def feature_maps(
        self,
        model: pl.LightningModule,
        datamodule: ImageData,
        image: str,
        ckpt_path: list[str] | str | None = None,
        layers: list[str | int] | None = None,
        channels: PositiveInt = 12,
        output: str | None = None,
    ) -> None:
        """Draw what networks see in one image: channels of their layers, and what their answer rests on.

        Args:
            model: the network of the first checkpoint.
            datamodule: how images are read.
            image: the file to look at, of any size.
            ckpt_path: checkpoint of the model, or last or best of the latest run; several of one network, or a
                pattern in quotes, are drawn side by side.
            layers: names of layers, as [layer1,layer4]; three of different depth if null.
            channels: channels of each layer at most.
            output: folder for the pictures; the run folder of the first checkpoint if null.
        """
        paths = [Path(path) for path in ([ckpt_path] if isinstance(ckpt_path, str) else ckpt_path or [])]
        home = paths[0].parent.parent if paths[0].parent.name == "checkpoints" else paths[0].parent
        folder = home if output is None else Path(output)
        if not folder.is_dir():
            raise UserError(f"--output {folder}: no such folder; make it first")
        members = []
        for path in paths:
            loaded, checkpoint = load_model(path, type(model))
            if any(loaded.hparams[name] != model.hparams[name] for name in ("backbone", "image_size", "channels")):
                raise UserError(f"--ckpt_path {path}: another network than {paths[0]}; give checkpoints of one run")
            members.append(Member(loaded, f"{path.stem} (epoch {checkpoint.get('epoch', 0) + 1})"))
        pixels = read_image(Path(image), model.hparams["image_size"], datamodule.mode, datamodule.max_pixels)
        names = None if layers is None else [str(layer) for layer in layers]
        draw(members, pixels, names, channels, folder / Path(image).stem)

    def export(
        self,
        model: pl.LightningModule,
        datamodule: ImageData,
        output: str,
        ckpt_path: str | None = None,
    ) -> None:
        """Write a trained network as ONNX: uint8 images in, days or probabilities out, any batch size.

        Args:
            model: the network.
            datamodule: not used.
            output: the .onnx file to write.
            ckpt_path: checkpoint of the model, or last or best of the latest run.
        """
        assert ckpt_path is not None  # refused before
        loaded, _ = load_model(Path(ckpt_path), type(model))
        export(loaded, Path(ckpt_path), Path(output))


class SaveConfig(SaveConfigCallback):
    """Save the resolved configuration in the run folder and, nested, to every logger but the CSV."""

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        text = self.parser.dump(self.config, skip_none=False)
        run = Path(trainer.loggers[0].log_dir)  # type: ignore[arg-type]
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
        monitor: metric that decides which checkpoint is the best one.
        mode: whether more or less of it is better.
        recipe: defaults of the Trainer's arguments.
        args: the arguments, as ``LightningCLI``.
        options: further arguments of ``LightningCLI``.
    """

    def __init__(
        self, *args: Any, monitor: str, mode: Literal["min", "max"], recipe: dict[str, Any], **options: Any
    ) -> None:
        self.monitor, self.mode, self.recipe = monitor, mode, recipe
        self.checkpoints: list[str] = []
        self.callbacks: set[str] = set()
        self.claimed: list[Path] = []
        try:
            super().__init__(*args, **options)
        finally:
            # Of a fit that was refused before it wrote anything.
            with suppress(OSError):
                for folder in self.claimed:
                    folder.rmdir()

    @property
    def task(self) -> str:
        return str(self._model_class.task)  # type: ignore[union-attr]

    @property
    def settings(self) -> Namespace:
        """The arguments of the subcommand."""
        settings: Namespace = self.config[self.config.subcommand]
        return settings

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        skipped = {"model", "dataloaders", "datamodule", "weights_only"}
        return {
            "fit": skipped | {"train_dataloaders", "val_dataloaders"},
            "validate": skipped,
            "test": skipped,
            "predict": skipped,
            "crossval": skipped,
            "feature_maps": skipped,
            "export": skipped,
        }

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--name", type=str | None, help="Name of the run's folder; the backbone if null.")
        parser.add_argument(
            "--log_model", type=bool, default=False, help="Give W&B the best checkpoint as an artifact."
        )
        parser.add_argument(
            "--save_every_n_epochs", type=PositiveInt | None, help="Also keep the checkpoint of every n-th epoch."
        )
        parser.link_arguments("model.image_size", "data.image_size")
        parser.link_arguments("model.channels", "data.channels")
        # Callbacks among them stay arguments, which LightningCLI's own defaults would not.
        parser.set_defaults({f"trainer.{key}": value for key, value in self.recipe.items()})

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        args = _joined_checkpoints(sys.argv[1:]) if args is None else args
        for flag, value in _given(args if isinstance(args, list) else []):
            if (flag in FILES or flag.startswith("--conf")) and Path(value).is_file():
                read_config(Path(value))
        self.config = parser.parse_args(args)  # type: ignore[arg-type]
        settings, subcommand = self.settings, self.config.subcommand
        if settings.name is not None and not re.fullmatch(r"\w[\w.+=-]*(/\w[\w.+=-]*)*", settings.name):
            raise UserError(f"--name {settings.name}: give letters, digits and . _ + = -, with / for a folder")
        if settings.name is not None and re.search(r"(^|/)(latest|version_\d+)(/|$)", settings.name):
            raise UserError(f"--name {settings.name}: latest and version_N are what runs themselves are called")
        seed = settings.get("seed_everything")
        if isinstance(seed, int) and not isinstance(seed, bool) and not 0 <= seed < 2**32:
            raise UserError(f"--seed_everything {seed}: give a number from 0 to {2**32 - 1}")
        if settings.get("ckpt_path") is None:
            if subcommand not in ("fit", "crossval"):
                flag = f"python -m {self.task} {subcommand} --ckpt_path <checkpoint>"
                raise UserError(f"{subcommand} needs trained weights: {flag} (or last, or best, of the latest run)")
            return
        runs = Path(settings.trainer.default_root_dir or ".") / RUNS / self.task
        given = settings.ckpt_path
        joined = isinstance(given, str) and given.startswith('["')  # where the type is text alone
        paths = find_checkpoints(json.loads(given) if joined else given, runs, settings.name)
        if len(paths) > 1 and subcommand not in ("predict", "feature_maps"):
            raise UserError(
                f"--ckpt_path names {len(paths)} checkpoints: {subcommand} takes one, predict and feature_maps several"
            )
        checkpoints = [read_checkpoint(path, self._model_class) for path in paths]  # type: ignore[arg-type]
        checkpoint = checkpoints[0]
        for path in paths if len(paths) > 1 else []:
            print(f"member: {_shown(str(path))}{_doubt(path)}", file=sys.stderr)
        # The checkpoint's settings are the defaults: the held-out rows stay held out, and what is typed still wins.
        for part, saved in (("model", "hyper_parameters"), ("data", "datamodule_hyper_parameters")):
            known = set(settings[part].keys()) - {"cache_dir"}  # no file from elsewhere says where to write
            defaults = {f"{part}.{k}": v for k, v in checkpoint.get(saved, {}).items() if k in known}
            self._parser(subcommand).set_defaults(defaults)
        if subcommand == "fit":
            if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
                print(f"going on from {_shown(str(paths[0]))}", file=sys.stderr)
            seed = checkpoint.get(self._datamodule_class.__qualname__, {}).get("seed")  # type: ignore[union-attr]
            saved = checkpoint.get("trainer", {})
            defaults = {f"trainer.{name}": saved[name] for name in RESUMED if name in saved}
            defaults |= {"trainer.precision": checkpoint["precision"]} if "precision" in checkpoint else {}
            self.callbacks = {key.split("{")[0] for key in checkpoint.get("callbacks", {})}
            self._parser(subcommand).set_defaults(defaults | ({} if seed is None else {"seed_everything": seed}))
        # A recipe's choice; others are the machine's.
        if any(checkpoint.get("precision") == "32-true" for checkpoint in checkpoints):
            self._parser(subcommand).set_defaults({"trainer.precision": "32-true"})
        self.config = parser.parse_args(args)  # type: ignore[arg-type]
        self._check_kept(paths[0], checkpoint)
        self.settings.ckpt_path = None  # LightningCLI would read it and let its settings win over what is typed
        self.checkpoints = [str(path) for path in paths]
        self.settings.model.pretrained = False  # the checkpoint brings the weights

    def _check_kept(self, path: Path, checkpoint: dict[str, Any]) -> None:
        """Refuse what is typed beside a checkpoint and would be without effect, or would make its figures wrong."""
        kept = {"fit": KEPT, "export": ("model",), "feature_maps": ("model",)}.get(self.config.subcommand, ())
        for part, saved in (("model", "hyper_parameters"), ("data", "datamodule_hyper_parameters")):
            for name, value in checkpoint.get(saved, {}).items():
                flag, given = f"{part}.{name}", self.settings[part].get(name, value)
                if (part in kept or flag in kept) and name != "pretrained" and given != value:
                    raise UserError(f"--{flag} {given}: the checkpoint {path} has {value}, which stays; leave it out")
        if self.config.subcommand != "fit":
            return
        settings, ended = self.settings.trainer, (path.parent.parent / RESULT).is_file()
        epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        most = settings.max_epochs if settings.max_epochs not in (None, -1) else epochs + 1
        if epochs > most or (ended and epochs == most):
            raise UserError(f"--ckpt_path {path}: {epochs} epochs are fitted; give a larger --trainer.max_epochs")

    def before_instantiate_classes(self) -> None:
        settings = self.settings
        settings.trainer.precision = settings.trainer.precision or default_precision(settings.trainer.accelerator)
        if self.checkpoints:
            settings.ckpt_path = self.checkpoints if len(self.checkpoints) > 1 else self.checkpoints[0]
        if self.subcommand != "fit" or settings.trainer.logger is False:
            self.save_config_callback = None  # there is no run folder to save it in
        if settings.trainer.overfit_batches:
            # Lightning would put a sampler of single rows in the place of ours, which gives whole batches.
            raise UserError("--trainer.overfit_batches: give --trainer.limit_train_batches instead")
        if self.subcommand in ("predict", "crossval"):
            for flag in ("fast_dev_run", "limit_predict_batches"):
                if settings.trainer[flag]:
                    raise UserError(f"--trainer.{flag}: {self.subcommand} needs all images; leave it out")
        if self.subcommand == "crossval":
            self._plan_folds()
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
        name = settings.name or settings.model.backbone
        fit = settings.clone()
        for flag in ("folds", "tta", "others"):
            del fit[flag]
        self.crossvalidation = CrossValidation(
            self.task,
            name,
            Path(settings.trainer.default_root_dir or ".") / RUNS / self.task / name,
            yaml.safe_load(self._parser("fit").dump(fit, skip_none=False)),
            self.monitor,
            leads=rank_zero_only.rank == 0,  # type: ignore[attr-defined]
        )

    def before_crossval(self) -> None:
        self.trainer.crossvalidation = self.crossvalidation  # type: ignore[attr-defined]

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        summary = self.settings.trainer.enable_model_summary is not False
        callbacks: list[pl.Callback] = [ModelSummary(max_depth=3)] if summary else []
        callbacks.append(Ranks())
        if self.subcommand == "fit" and not self.settings.trainer.fast_dev_run:
            settings = self.settings.trainer
            # Not the Trainer's ckpt_path, in whose place a search for the learning rate puts a file of its own.
            resumed = Path(self.checkpoints[0]) if self.checkpoints else None
            callbacks.append(Resume(resumed, {name: settings[name] for name in RESUMED}, self.callbacks))
            kwargs["plugins"] = [*_listed(self._get(self.config_init, "trainer").get("plugins")), WholeFiles()]
            if self.settings.trainer.logger is not False:
                kwargs["logger"] = self._loggers()
                callbacks += [LatestLink(), Description(), Pictures(), Throughput()]
            if self.settings.trainer.enable_checkpointing is not False:
                # Two, since save_last of one callback writes last.ckpt only when there is a new best.
                callbacks.append(BestCheckpoint(self.monitor, self.mode, resumed))
                callbacks.append(LastCheckpoint(resumed))
                if (number := self.settings.save_every_n_epochs) is not None:
                    name = "epoch_{epoch:03d}"
                    kept = ModelCheckpoint(
                        filename=name,
                        auto_insert_metric_name=False,
                        every_n_epochs=number,
                        save_top_k=-1,
                        save_on_train_epoch_end=True,
                    )
                    callbacks.append(kept)
        if self.subcommand == "crossval":  # here it only predicts, on one device; the fits are processes of their own
            kwargs |= {"devices": 1, "num_nodes": 1, "strategy": "auto", "plugins": LightningEnvironment()}
        if self.settings.trainer.enable_progress_bar is None:
            kwargs["enable_progress_bar"] = sys.stderr.isatty()
        config = {**self._get(self.config_init, "trainer"), **kwargs}
        trainer = self._instantiate_trainer(config, callbacks)
        environment = trainer._accelerator_connector.cluster_environment
        if isinstance(environment, SLURMEnvironment):
            # It saves in the middle of a step, and what it saves any later fit of that folder would start from.
            environment.auto_requeue = False
        return trainer

    def _loggers(self) -> list[Logger]:
        settings = self.settings
        name = settings.name or settings.model.backbone
        root = Path(settings.trainer.default_root_dir or ".") / RUNS
        csv = CSVLogger(root, name=f"{self.task}/{name}", version=self._claimed(root.parent, root / self.task / name))
        others = self._get(self.config_init, "trainer").get("logger")
        if others not in (None, True):
            return [csv, *(others if isinstance(others, list) else [others])]
        board = wandb_logger(self.task, name, csv.log_dir, self._tags())
        return [csv] if board is None else [csv, board]

    def _claimed(self, root: Path, home: Path) -> int | None:
        """Make the folder of a new run, so that no other fit takes it; of other ranks, rank 0 does."""
        if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
            return None
        taken = [int(path.name[8:]) for path in home.glob("version_*") if path.name[8:].isdecimal()]
        for version in count(max(taken, default=-1) + 1):
            with suppress(FileExistsError):
                run = home / f"version_{version}"
                run.mkdir(parents=True)
                self.claimed = [run, *run.parents[: len(run.relative_to(root).parts) - 1]]
                return version
        raise AssertionError

    def _tags(self) -> list[str]:
        """Name what runs are most often told apart by: backbone, design, fold."""
        settings = self.settings
        tags = [settings.model.backbone, settings.model.get("design")]
        tags += [f"fold {settings.data.fold}"] if settings.data.fold is not None else []
        return [tag for tag in tags if tag]

    def before_fit(self) -> None:
        self.started = time.monotonic()

    def after_fit(self) -> None:
        """Say where the run lies and what to type next."""
        checkpoint = self.trainer.checkpoint_callback
        run = self.trainer.log_dir
        first = self.trainer.is_global_zero and not self.settings.trainer.fast_dev_run
        if first and run is not None and self.trainer.loggers and not self.trainer.interrupted:
            self._write_result(Path(run))
        boards = []
        best = getattr(checkpoint, "best_model_path", "")
        for logger in self.trainer.loggers:
            logger.finalize("success")
            if isinstance(logger, WandbLogger):
                if self.settings.log_model and best and first:
                    logger.experiment.log_model(best, f"{self.task}-{logger.experiment.id}", aliases=["best"])
                boards.append(str(Path(logger.experiment.dir).parent))
                logger.experiment.finish()
        if not first or run is None:
            return
        print(f"\nrun: {run}")
        if boards and "offline-run" in boards[0]:
            print(f"W&B: wandb sync {shlex.quote(_shown(boards[0]))}")
        if best:
            score = checkpoint.best_model_score  # type: ignore[union-attr]
            if score is not None:  # of a resumed run that had no epochs left
                print(f"best {self.monitor}: {float(score):.4f}")
            print(f"next: python -m {self.task} predict --ckpt_path {shlex.quote(_shown(best))}")

    def _write_result(self, run: Path) -> None:
        """Leave the figures of a fit that has come to its end: its last and best value, and what it took."""
        checkpoint = self.trainer.checkpoint_callback
        last = self.trainer.callback_metrics.get(self.monitor)
        best = getattr(checkpoint, "best_model_score", None)
        result = {
            "metric": self.monitor,
            "last": None if last is None else float(last),
            "best": None if best is None else float(best),
            "epochs": self.trainer.current_epoch,
            "seconds": round(time.monotonic() - self.started, 1),
        }
        with replacing(run / RESULT) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n")


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _given(words: list[Any]) -> Iterator[tuple[str, str]]:
    """Pair flags with values, written as ``--flag value`` or ``--flag=value``."""
    for before, word in pairwise(["", *map(str, words)]):
        flag, equals, value = word.partition("=")
        yield (flag, value) if equals and flag.startswith("-") else (before, word)


def _joined_checkpoints(words: list[str]) -> list[str]:
    """Make one argument of several paths after ``--ckpt_path``, such as a shell makes of a pattern."""
    joined: list[str] = []
    for word in words:
        if len(joined) > 1 and joined[-2] == "--ckpt_path" and not word.startswith("-"):
            paths = json.loads(joined[-1]) if joined[-1].startswith('["') else [joined[-1]]
            joined[-1] = json.dumps([*paths, word])
        else:
            joined.append(word)
    return joined


def _chosen_folds(folds: list[int] | int | str | None, number: int) -> list[int]:
    try:
        chosen = (
            range(number) if folds is None else folds if isinstance(folds, list) else map(int, str(folds).split(","))
        )
        listed = sorted(set(chosen))
    except ValueError:
        listed = [-1]
    if not listed or not all(0 <= fold < number for fold in listed):
        raise UserError(
            f"--folds {folds}: give numbers from 0 to {number - 1} (--data.num_folds {number}), such as 0,1"
        )
    return listed


def _doubt(checkpoint: Path) -> str:
    """Say so where a checkpoint lies in the folder of a run that has not come to its end."""
    run = checkpoint.parent.parent
    unfinished = checkpoint.parent.name == "checkpoints" and not (run / RESULT).is_file()
    return " (its fit has not come to its end)" if unfinished else ""


def _shown(path: str) -> str:
    """Name a path below the current folder relative to it."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def _hush() -> None:
    """Keep ``NOISE`` off the screen."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch"):
        logging.getLogger(name).addFilter(lambda record: not any(text in record.getMessage() for text in NOISE))
    for text in NOISE:
        warnings.filterwarnings("ignore", f".*{re.escape(text)}")
    logging.raiseExceptions = False  # a log for which the disk has no space shall not drown the error
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # Lightning's calls, not ours


def _wandb_error() -> type[Exception] | tuple[()]:
    """What W&B raises, if it has been imported: that takes seconds."""
    return getattr(sys.modules.get("wandb"), "Error", ())


def main(
    model: type[pl.LightningModule],
    data: type[pl.LightningDataModule],
    *,
    monitor: str,
    mode: Literal["min", "max"],
    recipe: dict[str, Any],
    args: ArgsType = None,
) -> None:
    """Run the command line of a task.

    Args:
        model: its LightningModule, with a class attribute ``task``.
        data: its LightningDataModule.
        monitor: metric that decides which checkpoint is the best one.
        mode: whether more or less of it is better.
        recipe: defaults of the Trainer's arguments.
        args: the arguments; those of the process if None.
    """
    _hush()
    keep_freed_memory()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # not without tidying up
    with exit_on_user_error():
        try:
            TaskCLI(
                model,
                data,
                monitor=monitor,
                mode=mode,
                save_config_callback=SaveConfig,
                save_config_kwargs={"save_to_log_dir": False},  # it does
                trainer_class=Trainer,
                parser_kwargs={"prog": f"python -m {model.task}"},  # type: ignore[attr-defined]
                recipe={"log_every_n_steps": 10, **recipe},
                seed_everything_default=0,
                auto_configure_optimizers=False,
                args=args,
            )
            if distributed.is_initialized():
                # Lightning does for NCCL alone; gloo's threads now and then end a process that has ended well.
                distributed.destroy_process_group()
        except (MisconfigurationException, ModuleNotFoundError) as error:  # or a library that an option asks for
            raise UserError(" ".join(str(error).split())) from error
        except _wandb_error() as error:
            offline = "fit with WANDB_MODE=offline and send the run later: wandb sync"
            raise UserError(f"W&B: {' '.join(str(error).split())}; {offline}") from error
        except RuntimeError as error:
            if "Found more than one stateful callback" in str(error):
                twice = str(error).split("`")[1]
                raise UserError(
                    f"{twice} stands twice among the callbacks, as where a recipe and an overlay have it: give it once"
                ) from error
            if any(text in str(error) for text in ("allocate memory", "out of memory", "size calculation overflowed")):
                raise UserError(
                    "out of memory: give a smaller --model.image_size, or smaller batches (--data.*batch*)"
                ) from error
            # Where there are none, Lightning asks for them a second time while it handles that.
            cause = error if "DataLoader worker (pid" in str(error) else error.__context__
            if cause is error or isinstance(cause, OSError):
                raise UserError(
                    f"the loader's worker processes fail ({cause}): give them more memory "
                    "or, in a container, more shared memory (/dev/shm), or do without them: --data.num_workers 0"
                ) from error
            if "Error(s) in loading state_dict" not in str(error):
                raise
            fix = "leave out the --model flags that change the network"
            raise UserError(f"the weights of --ckpt_path do not fit the network; {fix}") from error
