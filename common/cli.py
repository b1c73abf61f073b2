"""The command line of both tasks: ``python -m <task> fit|validate|test|predict``, on LightningCLI.

Adds to Lightning's own: a folder for every run (``runs/<task>/<name>/version_N/`` and a ``latest`` link), CSV and
W&B logs, a checkpoint that is enough to validate, test or predict from, and errors of one line.
"""

from __future__ import annotations

import logging
import netrc
import os
import re
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

import torch
from jsonargparse import Namespace
from lightning import pytorch as pl
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint, ModelSummary
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from common.errors import UserError, exit_on_user_error
from common.submission import Submission, SubmissionWriter, default_path

RUNS = "runs"
# What Lightning and its libraries say at every start and no user can act on.
NOISE = (
    "Tip: For seamless",
    "Trainer already configured with model summary",
    "TPU available",
    "Loading `train_dataloader` to estimate",
    "is not supported by the model summary",
    "does not have many workers",
    "callbacks used to create the checkpoint need to be provided",
    "using the WeightAveraging callback, but loading a checkpoint outside",
    "LeafSpec",
    "`tensorboardX` has been removed",
    "exists and is not empty. Previous log files",  # of a folder that this very run has made
    "is smaller than the logging interval",
)
SHORTCUTS = ("last", "best")
DEFAULT_SUBMISSION = Submission()


class Trainer(pl.Trainer):
    """Lightning's Trainer, whose ``predict`` writes a submission instead of keeping the predictions."""

    def predict(  # type: ignore[override]
        self,
        model: pl.LightningModule | None = None,
        datamodule: pl.LightningDataModule | None = None,
        ckpt_path: str | None = None,
        submission: Submission = DEFAULT_SUBMISSION,
    ) -> None:
        """Predict the competition's test files and write the submission.

        Args:
            model: the network to predict with.
            datamodule: where the test files come from.
            ckpt_path: checkpoint of the model, or last or best of the latest run.
            submission: where the predictions go.
        """
        if submission.path is None and ckpt_path is None:
            raise UserError("--submission.path is needed where no checkpoint names the file")
        path = Path(submission.path) if submission.path else default_path(str(ckpt_path))
        writer = SubmissionWriter(path)
        self.callbacks.append(writer)  # type: ignore[attr-defined]
        super().predict(model, datamodule=datamodule, ckpt_path=ckpt_path, return_predictions=False)
        if self.is_global_zero:
            print(f"\nsubmission: {_shown(str(writer.path))}")
            print(f"beside it: {writer.raw_path.name} (raw outputs), {writer.items_path.name} (one row an image)")


class SaveConfig(SaveConfigCallback):
    """Save the resolved configuration in the run folder and, nested, to every logger but the CSV."""

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for logger in trainer.loggers[1:]:
            logger.log_hyperparams(self.config.as_dict())


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
        super().__init__(*args, **options)

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
        }

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--name", type=str | None, help="Name of the run's folder; the backbone if null.")
        parser.link_arguments("model.image_size", "data.image_size")
        parser.link_arguments("model.channels", "data.channels")
        # Callbacks among them stay arguments, which LightningCLI's own defaults would not.
        parser.set_defaults({f"trainer.{key}": value for key, value in self.recipe.items()})

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        super().parse_arguments(parser, args)
        settings, subcommand = self.settings, self.config.subcommand
        if settings.get("ckpt_path") is None:
            if subcommand != "fit":
                flag = f"python -m {self.task} {subcommand} --ckpt_path <checkpoint>"
                raise UserError(f"{subcommand} needs trained weights: {flag} (or last, or best, of the latest run)")
            return
        path = self._find_checkpoint(str(settings.ckpt_path))
        checkpoint = read_checkpoint(path, self.task)
        # The checkpoint's settings are the defaults: the held-out rows stay held out, and what is typed still wins.
        for part, saved in (("model", "hyper_parameters"), ("data", "datamodule_hyper_parameters")):
            known = set(settings[part].keys())
            defaults = {f"{part}.{k}": v for k, v in checkpoint.get(saved, {}).items() if k in known}
            self._parser(subcommand).set_defaults(defaults)
        super().parse_arguments(parser, args)
        self.settings.ckpt_path = str(path)
        self.settings.model.pretrained = False  # the checkpoint brings the weights
        self.model_settings = self.settings.model.clone()

    def _find_checkpoint(self, given: str) -> Path:
        if given not in SHORTCUTS:
            return Path(given)
        root = Path(self.settings.trainer.default_root_dir or ".") / RUNS / self.task
        name = self.settings.name or "**"
        found = sorted(root.glob(f"{name}/latest/checkpoints/{given}.ckpt"), key=lambda path: path.stat().st_mtime)
        if not found:
            raise UserError(f"--ckpt_path {given}: no {given}.ckpt below {root / name / 'latest'}; give a path")
        return found[-1].resolve()

    def before_instantiate_classes(self) -> None:
        settings = self.settings
        settings.trainer.precision = settings.trainer.precision or default_precision(settings.trainer.accelerator)
        if settings.get("ckpt_path"):
            settings.model = self.model_settings  # LightningCLI lets the checkpoint win over what is typed
        if self.subcommand != "fit" or settings.trainer.logger is False:
            self.save_config_callback = None  # there is no run folder to save it in
        if self.subcommand != "fit":
            settings.trainer.callbacks = None
            settings.trainer.logger = False
            settings.trainer.enable_checkpointing = False

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        callbacks: list[pl.Callback] = [ModelSummary(max_depth=3)]
        if self.subcommand == "fit" and not self.settings.trainer.fast_dev_run:
            if self.settings.trainer.logger is not False:
                kwargs["logger"] = self._loggers()
                callbacks.append(LatestLink())
            if self.settings.trainer.enable_checkpointing is not False:
                callbacks.append(ModelCheckpoint(filename="best", monitor=self.monitor, mode=self.mode, save_last=True))
        if self.settings.trainer.enable_progress_bar is None:
            kwargs["enable_progress_bar"] = sys.stderr.isatty()
        config = {**self._get(self.config_init, "trainer"), **kwargs}
        return self._instantiate_trainer(config, callbacks)

    def _loggers(self) -> list[Logger]:
        settings = self.settings
        name = settings.name or settings.model.backbone
        root = Path(settings.trainer.default_root_dir or ".") / RUNS
        csv = CSVLogger(root, name=f"{self.task}/{name}")
        others = self._get(self.config_init, "trainer").get("logger")
        if others not in (None, True):
            return [csv, *(others if isinstance(others, list) else [others])]
        mode = os.environ.get("WANDB_MODE") or ("online" if wandb_key_configured() else "offline")
        if mode == "disabled":
            return [csv]
        os.environ.setdefault("WANDB_SILENT", "true")
        board = WandbLogger(name=name, project=self.task, save_dir=csv.log_dir, offline=mode == "offline")
        return [csv, board]

    def after_fit(self) -> None:
        """Say where the run lies and what to type next."""
        checkpoint = self.trainer.checkpoint_callback
        run = self.trainer.log_dir
        boards = []
        for logger in self.trainer.loggers:
            logger.finalize("success")
            if isinstance(logger, WandbLogger):
                boards.append(str(Path(logger.experiment.dir).parent))
                logger.experiment.finish()
        if not self.trainer.is_global_zero or self.settings.trainer.fast_dev_run or run is None:
            return
        print(f"\nrun: {run}")
        if boards and "offline-run" in boards[0]:
            print(f"W&B: wandb sync {shlex.quote(_shown(boards[0]))}")
        best = getattr(checkpoint, "best_model_path", "")
        if best:
            score = float(checkpoint.best_model_score)  # type: ignore[union-attr]
            print(f"best {self.monitor}: {score:.4f}")
            print(f"next: python -m {self.task} predict --ckpt_path {shlex.quote(_shown(best))}")


def _shown(path: str) -> str:
    """Name a path below the current folder relative to it."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


class LatestLink(pl.Callback):
    """Keep ``latest``, beside the run folders, pointing at the newest one."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        log_dir = trainer.log_dir  # on every rank: it is broadcast
        if trainer.is_global_zero and log_dir:
            run = Path(log_dir)
            temporary = run.parent / f".latest.{os.getpid()}"
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(run.name)
            temporary.replace(run.parent / "latest")


def default_precision(accelerator: str) -> str:
    """Choose bf16-mixed where the hardware multiplies bf16, 16-mixed on other GPUs, 32-true on other CPUs."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    if accelerator in ("auto", "cpu") and not torch.backends.mps.is_available():
        return "bf16-mixed" if cpu_multiplies_bf16() else "32-true"
    return "32-true"


def cpu_multiplies_bf16() -> bool:
    """Whether the CPU has instructions for bf16 products (AMX or AVX512-BF16); it computes them twice as fast then."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def wandb_key_configured() -> bool:
    """Whether W&B could log in: ``WANDB_API_KEY``, or what ``wandb login`` left in the netrc file."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def read_checkpoint(path: Path, task: str) -> dict[str, Any]:
    """Read a checkpoint without running anything that is pickled in it.

    Raises:
        UserError: it is absent, damaged, holds objects other than tensors and values, or is another task's.
    """
    if not path.is_file():
        raise UserError(f"--ckpt_path {path}: no such file")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except OSError:
        raise
    except Exception as error:  # torch's readers raise RuntimeError, UnpicklingError, EOFError, KeyError, ...
        if "weights_only" in str(error).lower() or "Unsupported" in str(error):
            reason = "it holds pickled objects, which could run code, and is not loaded"
        else:
            reason = "it is damaged or no checkpoint; give another, such as last.ckpt of the same run"
        raise UserError(f"--ckpt_path {path}: {reason}") from None
    if not isinstance(checkpoint, dict) or not {"state_dict", "hyper_parameters", "task"} <= checkpoint.keys():
        raise UserError(f"--ckpt_path {path}: not a checkpoint of python -m {task} fit")
    if checkpoint["task"] != task:
        raise UserError(f"--ckpt_path {path}: a checkpoint of {checkpoint['task']}, not of {task}")
    return checkpoint


def _hush() -> None:
    """Keep ``NOISE`` off the screen."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch"):
        logging.getLogger(name).addFilter(lambda record: not any(text in record.getMessage() for text in NOISE))
    for text in NOISE:
        warnings.filterwarnings("ignore", f".*{re.escape(text)}")
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # Lightning's calls, not ours


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
    with exit_on_user_error():
        try:
            TaskCLI(
                model,
                data,
                monitor=monitor,
                mode=mode,
                save_config_callback=SaveConfig,
                trainer_class=Trainer,
                parser_kwargs={"prog": f"python -m {model.task}"},  # type: ignore[attr-defined]
                recipe={"log_every_n_steps": 10, **recipe},
                seed_everything_default=0,
                auto_configure_optimizers=False,
                args=args,
            )
        except MisconfigurationException as error:
            raise UserError(" ".join(str(error).split())) from error
        except RuntimeError as error:
            if "Error(s) in loading state_dict" not in str(error):
                raise
            fix = "leave out the --model flags that change the network"
            raise UserError(f"the weights of --ckpt_path do not fit the network; {fix}") from error
