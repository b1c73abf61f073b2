"""What surrounds a fit: its run folder, its loggers and callbacks, and its result."""

from __future__ import annotations

from pathlib import Path

import yaml
from jsonargparse import Namespace
from lightning import pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import Logger, WandbLogger

from common.arguments import RESUMED, T, as_typed
from common.callbacks import (
    BestCheckpoint,
    Finite,
    LastCheckpoint,
    LastValidation,
    LatestLink,
    TrainingMetrics,
    best_checkpoint,
)
from common.checkpoints import Checkpoint, run_of
from common.config import read_config
from common.errors import UserError
from common.files import shown, write_json, write_text
from common.held_out_tables import HELD_OUT
from common.machine import is_first_process
from common.pictures import Pictures, showing_best
from common.platforms import quoted
from common.progress import Throughput
from common.resume import Resume, WholeMetrics, continue_metrics, without_obsolete_arguments
from common.runs import RESULT, RUNS, claim, is_fold, number_of
from common.task import AnyTask
from common.tracking import Description, wandb_logger


def as_list(value: T | list[T] | None) -> list[T]:
    """Turn an argument that may be none, one or several into a list."""
    return list(value) if isinstance(value, list) else [] if value is None else [value]


class SaveConfig(SaveConfigCallback):
    """Save the resolved configuration in the run folder and, nested, to every logger except the CSV."""

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        config, run = self.config.clone(), Path(str(trainer.loggers[0].log_dir))
        if config.ckpt_path and Path(config.ckpt_path[0]).resolve().is_relative_to(run.resolve()):
            earlier = read_config(run / "config.yaml") if (run / "config.yaml").is_file() else {}
            if "pretrained" in config.model and isinstance(model := earlier.get("model"), dict):
                config.model.pretrained = model.get("pretrained", False)
            config.ckpt_path = None  # it is this run's own, and the configuration must repeat the run from the start
        text = self.parser.dump(config, skip_none=False)
        run.mkdir(parents=True, exist_ok=True)
        write_text(run / "config.yaml", text)
        # Read back from YAML, since W&B treats numbers of jsonargparse's own classes as text, which it cannot sort.
        settings = yaml.safe_load(text)
        for logger in trainer.loggers[1:]:
            logger.log_hyperparams(settings)


def fit_callbacks(settings: Namespace, task: type[AnyTask], resumed: Checkpoint | None) -> list[pl.Callback]:
    """Make the callbacks of every fit, none of which a user can leave out."""
    flags = settings.trainer
    given = [as_typed(one.as_dict()) for one in as_list(flags.callbacks)]
    averaging = " and ".join(sorted(text for text in given if "Averaging(" in text))
    kept = {name: flags[name] for name in RESUMED} | {"averaging": averaging}
    callbacks: list[pl.Callback] = [Finite(), LastValidation(), Resume(resumed, kept, settings.model.get("pretrained"))]
    if flags.logger is not False:
        callbacks += [LatestLink(), Description(), Pictures(), TrainingMetrics(), Throughput()]
    if flags.enable_checkpointing is False:
        return callbacks
    # Two callbacks, since a single one with save_last writes last.ckpt only when there is a new best.
    callbacks += [BestCheckpoint(task.monitor, task.directions[task.monitor], resumed), LastCheckpoint(resumed)]
    if (number := settings.save_every_n_epochs) is not None:
        callbacks.append(
            ModelCheckpoint(
                filename="epoch_{epoch:03d}",
                auto_insert_metric_name=False,
                every_n_epochs=number,
                save_on_train_epoch_end=True,
                save_top_k=-1,
            )
        )
    return callbacks


def open_run(
    settings: Namespace,
    task: type[AnyTask],
    root: Path,
    name: str,
    resumed: Checkpoint | None,
    given: Logger | list[Logger] | bool | None,
) -> tuple[Path | None, list[Logger]]:
    """Claim a run folder, or reuse the one of the resumed run, and make its loggers.

    Args:
        settings: the arguments of ``fit``.
        task: class of the model.
        root: the folder that holds ``runs``.
        name: name of the run.
        resumed: the checkpoint to resume from.
        given: loggers that replace W&B's; none, true, one or several.

    Returns:
        The folder, if it is new and this is the first of several processes; the loggers, CSV first.
    """
    home, first = root / RUNS / task.task, is_first_process()
    claimed: Path | None = None
    if resumed is not None and (run := continued_run(resumed.path, home, settings.name)) is not None:
        name = run.parent.relative_to(home.resolve()).as_posix()
    else:
        if settings.data.fold is None and is_fold(home / name / "version_0"):
            raise UserError(f"--name {name}: fold_N is the name of a fold; give --data.fold, or another name")
        run = claimed = claim(home / name) if first else None  # the others learn it from the first
    version = None if run is None else number_of(run)
    csv = WholeMetrics(root / RUNS, name=f"{task.task}/{name}", version=version)
    if resumed is not None and first:
        continue_metrics(csv, resumed.step)  # before the Trainer asks for the logger's writer, which deletes the file
    if given is not None and not isinstance(given, bool):
        return claimed, [csv, *map(without_obsolete_arguments, as_list(given))]
    fold = settings.data.fold
    # The arguments that most often distinguish runs.
    tags = [settings.model.get("backbone"), settings.model.get("design"), None if fold is None else f"fold {fold}"]
    board = wandb_logger(task.task, name, csv.log_dir, [tag for tag in tags if tag])
    return claimed, [csv] if board is None else [csv, without_obsolete_arguments(board)]


def continued_run(path: Path, home: Path, name: str | None) -> Path | None:
    """Return the run whose folder a fit continues in, if it resumes from where that stopped, under the same name."""
    run = run_of(path).resolve()
    ours = run.is_relative_to(home.resolve()) and number_of(run) >= 0 and path.name == "last.ckpt"
    return run if ours and (name is None or run.parent == (home / name).resolve()) else None


def finish_run(trainer: pl.Trainer, model: AnyTask, seconds: float, log_model: bool) -> None:
    """Write the result, and print where the run is and what to type next.

    Args:
        trainer: the trainer that ran the fit.
        model: the model that it has fitted.
        seconds: duration of the fit.
        log_model: whether to give W&B the best checkpoint.
    """
    best = best_checkpoint(trainer)
    score = None if best is None or best.best_model_score is None else float(best.best_model_score)
    path, run = best.best_model_path if best is not None else "", trainer.log_dir
    first = trainer.is_global_zero and run is not None
    if first and trainer.loggers and not trainer.interrupted:
        last = trainer.callback_metrics.get(model.monitor)
        figures = {"last": None if last is None else float(last), "best": score}
        times = {"epochs": trainer.current_epoch, "seconds": round(seconds, 1)}
        table, by = None, {}
        if last is not None:  # so there are evaluated rows
            with showing_best(trainer, model) as about:
                table, by = model.table_of_evaluated(), {"held_out_by": about}
        write_json(Path(str(run)) / RESULT, {"metric": model.monitor, **figures, **times, **by})
        if table is not None:
            write_text(Path(str(run)) / HELD_OUT, table.to_csv(index=False))
    boards = []
    for logger in trainer.loggers:
        logger.finalize("success")
        if isinstance(logger, WandbLogger):
            if log_model and path and first:
                name = f"{model.task}-{logger.experiment.id}"
                logger.experiment.log_model(path, name, aliases=["best"])
            boards.append(str(Path(logger.experiment.dir).parent))
            logger.experiment.finish()
    if not first:
        return
    print(f"\nrun: {run}")
    if boards and "offline-run" in boards[0]:
        print(f"W&B: wandb sync {quoted(shown(boards[0]))}")
    if score is not None:
        print(f"best {model.monitor}: {model.with_unit(model.monitor, score)}")
        if not is_fold(Path(str(run))):  # crossval says what to do with all folds
            print(f"next: python -m {model.task} predict --ckpt_path {quoted(shown(path))}")
