"""What ``common.resume`` touches of Lightning's inner state is there, and does what it is taken for."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from lightning import pytorch as pl
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel
from lightning.pytorch.loggers import CSVLogger, WandbLogger

from common import resume
from common.errors import UserError

STEPS = 4  # of an epoch; batches of two are accumulated, and a validation is due after each half


class Look(pl.Callback):
    """Note what Lightning's loops say of each batch, and of the epoch that has ended."""

    def __init__(self) -> None:
        self.seen: dict[str, list[Any]] = {}

    def note(self, name: str, look: Callable[[], Any]) -> None:
        try:
            value = look()
        except Exception as error:  # the test of this name shows it
            value = error
        self.seen.setdefault(name, []).append(value)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        loop = trainer.fit_loop
        self.note("_data_fetcher", lambda: loop._data_fetcher is not None)
        self.note("_should_check_val_fx", lambda: loop.epoch_loop._should_check_val_fx(loop._data_fetcher))  # type: ignore[arg-type]
        self.note("_should_accumulate", loop.epoch_loop._should_accumulate)
        self.note("_restarting", lambda: loop._restarting)
        self.note("_logger_connector", lambda: resume.log_step(trainer))
        self.note("is_last_batch", lambda: trainer.is_last_batch)
        self.note("is_between_steps", lambda: resume.is_between_steps(trainer))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loop = trainer.fit_loop
        self.note("_accelerator_connector", lambda: trainer._accelerator_connector.cluster_environment)
        self.note("early_stopping_callbacks", lambda: [one.wait_count for one in trainer.early_stopping_callbacks])  # type: ignore[union-attr]
        current: Any = loop.epoch_progress.current
        self.note("epoch_progress", lambda: (current.ready, current.started, current.processed, current.completed))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[Any]], LightningCLI]:
    """A fit of one epoch on Lightning's command line: what was seen in it."""
    look, folder = Look(), tmp_path_factory.mktemp("lightning")
    words = ["fit", "--trainer.max_epochs=1", f"--trainer.limit_train_batches={STEPS}", "--trainer.accelerator=cpu"]
    words += ["--trainer.accumulate_grad_batches=2", "--trainer.val_check_interval=2", "--trainer.logger=false"]
    words += ["--trainer.enable_checkpointing=false", "--trainer.enable_progress_bar=false"]
    words += ["--trainer.enable_model_summary=false", f"--trainer.default_root_dir={folder}"]
    stop = EarlyStopping("x", strict=False, check_on_train_epoch_end=False)
    defaults = {"callbacks": [look, stop]}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sys.argv", ["lightning"])
        cli = LightningCLI(
            BoringModel, BoringDataModule, save_config_callback=None, trainer_defaults=defaults, args=words
        )
    return look.seen, cli


SEEN = {
    "_data_fetcher": [True] * STEPS,
    "_should_check_val_fx": [False, True, False, True],
    "_should_accumulate": [True, False, True, False],
    "_restarting": [False] * STEPS,
    "_logger_connector": [None] * STEPS,
    "is_last_batch": [False, False, False, True],
    "epoch_progress": [(1, 1, 1, 0)],
    "early_stopping_callbacks": [[0]],
}


@pytest.mark.parametrize("name", SEEN)
def test_lightning_still_has(fitted: tuple[dict[str, list[Any]], LightningCLI], name: str) -> None:
    assert fitted[0][name] == SEEN[name], f"Lightning has changed {name}, which common/resume.py reads"


def test_lightning_still_has_the_cluster_environment_of_its_accelerator_connector(
    fitted: tuple[dict[str, list[Any]], LightningCLI],
) -> None:
    (environment,) = fitted[0]["_accelerator_connector"]
    assert isinstance(environment, LightningEnvironment), environment


def test_lightning_still_has_the_parsers_of_its_subcommands(
    fitted: tuple[dict[str, list[Any]], LightningCLI],
) -> None:
    cli = fitted[1]
    assert {"fit", "validate", "predict"} <= cli._subcommand_parsers.keys(), "LightningCLI._subcommand_parsers"
    resume.parser_of(cli, "validate").set_defaults({"trainer.max_epochs": 7})
    assert cli.parser.parse_args(["validate"]).validate.trainer.max_epochs == 7


def loaded(processed: int, max_steps: int = 100) -> pl.Trainer:
    """A Trainer that has loaded how far its loops had come: in the third epoch, of which the batches are taken."""
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, max_steps=max_steps)
    saved = trainer.fit_loop.state_dict()
    for part in ("current", "total"):
        saved["epoch_progress"][part] |= {"ready": 3, "started": 3, "processed": processed, "completed": 2}
    trainer.fit_loop.load_state_dict(saved)
    return trainer


def test_lightning_still_takes_an_epoch_that_has_ended_for_one_to_end_where_steps_are_counted() -> None:
    trainer = loaded(processed=3)
    loop = trainer.fit_loop
    assert loop.restarting and loop._restarting and loop.epoch_loop.restarting, "Loop.restarting, Loop._restarting"
    loop.update_restart_stage()
    assert loop.restarted_on_epoch_end, "FitLoop.restarted_on_epoch_end"
    resume.finish_epoch(trainer)
    assert not loop.restarting and not loop._restarting and not loop.epoch_loop.restarting, "Loop._restarting"
    assert not loop.restarted_on_epoch_end, "FitLoop.reset_restart_stage"
    current: Any = loop.epoch_progress.current
    total: Any = loop.epoch_progress.total
    assert (current.completed, total.completed) == (3, 3), "FitLoop.epoch_progress"
    assert not loaded(processed=3, max_steps=-1).fit_loop.restarting  # nothing to mend where epochs are


def test_an_epoch_that_was_broken_off_stays_so() -> None:
    trainer = loaded(processed=2)
    resume.finish_epoch(trainer)
    current: Any = trainer.fit_loop.epoch_progress.current
    assert trainer.fit_loop.restarting and current.completed == 2


def test_a_fit_stops_neither_between_accumulated_batches_nor_where_a_validation_is_due(
    fitted: tuple[dict[str, list[Any]], LightningCLI],
) -> None:
    assert fitted[0]["is_between_steps"] == [False] * STEPS


def test_lightning_saves_nothing_under_slurm() -> None:
    environment = SLURMEnvironment.__new__(SLURMEnvironment)
    environment.auto_requeue = True
    connector = SimpleNamespace(cluster_environment=environment)
    resume.disable_requeue(SimpleNamespace(_accelerator_connector=connector))  # type: ignore[arg-type]
    assert environment.auto_requeue is False


def test_metrics_go_on_from_a_step_under_all_their_names(tmp_path: Path) -> None:
    def log(logger: CSVLogger, step: int, **metrics: float) -> None:
        logger.log_metrics(metrics, step)
        logger.save()

    first = CSVLogger(tmp_path, name="", version=0)
    for step in (9, 19, 29):
        log(first, step, loss=step / 10, acc=0.1)
    path = Path(first.log_dir) / "metrics.csv"
    with path.open("a") as stream:
        stream.write("0.5,3")  # a line that a kill has cut
    again = CSVLogger(tmp_path, name="", version=0)
    resume.continue_metrics(again, 20)
    assert set(again.experiment.metrics_keys) == {"loss", "acc", "step"}, "ExperimentWriter.metrics_keys"
    assert pd.read_csv(path)["step"].tolist() == [9, 19]
    log(again, 25, loss=2.5, rate=7.0)
    table = pd.read_csv(path)
    assert table["step"].tolist() == [9, 19, 25]
    assert table["loss"].tolist() == [0.9, 1.9, 2.5] and table["rate"].tolist()[2] == 7
    assert table["acc"].tolist()[:2] == [0.1, 0.1]
    assert [file.name for file in path.parent.iterdir()] == ["metrics.csv"]


def test_metrics_that_wait_beside_their_place_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = CSVLogger(tmp_path, name="", version=0)
    first.log_metrics({"loss": 1.0}, 9)
    first.save()
    path = Path(first.log_dir) / "metrics.csv"

    def killed(_: CSVLogger) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CSVLogger, "experiment", property(killed))
        with pytest.raises(KeyboardInterrupt):
            resume.continue_metrics(CSVLogger(tmp_path, name="", version=0), 20)
    assert not path.exists()
    resume.continue_metrics(CSVLogger(tmp_path, name="", version=0), 20)
    assert pd.read_csv(path)["loss"].tolist() == [1.0]


def test_metrics_so_far_stay_where_a_new_column_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = resume.WholeMetrics(tmp_path, name="", version=0)
    logger.log_metrics({"loss": 1.0}, 9)
    logger.save()
    path = Path(logger.log_dir) / "metrics.csv"
    before = path.read_text()
    logger.log_metrics({"loss": 2.0, "acc": 0.5}, 19)

    def killed(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(csv.DictWriter, "writeheader", killed)  # by now Lightning has emptied the file
        with pytest.raises(KeyboardInterrupt):
            logger.save()
    assert path.read_text() == before
    assert [file.name for file in path.parent.iterdir()] == ["metrics.csv"]


@pytest.mark.parametrize("line", ["", "0,x,1.0\n", "0,,1.0\n", "0,9\n", "0,9,1.0,2.0\n"])
def test_damaged_metrics_are_refused_and_stay(tmp_path: Path, line: str) -> None:
    path = tmp_path / "version_0" / "metrics.csv"
    path.parent.mkdir()
    path.write_text(f"epoch,step,loss\n0,4,2.0\n{line}" if line else "")
    with pytest.raises(UserError, match=r"metrics\.csv is damaged; give --name"):
        resume.continue_metrics(CSVLogger(tmp_path, name="", version=0), 20)
    assert path.read_text().endswith(line)


def test_lightning_still_gives_wandb_what_is_taken_out(tmp_path: Path) -> None:
    logger = WandbLogger(save_dir=tmp_path, offline=True)
    assert "anonymous" in logger._wandb_init, "Lightning has changed _wandb_init, which common/resume.py changes"
    assert "anonymous" not in resume.without_obsolete_arguments(logger)._wandb_init  # type: ignore[attr-defined]


def test_every_private_name_is_looked_at_here() -> None:
    used = set(re.findall(r"\.(_[a-z]\w+)", Path(resume.__file__).read_text()))
    looked_at = {*SEEN, "_accelerator_connector", "_subcommand_parsers", "_wandb_init"}
    assert used <= looked_at
