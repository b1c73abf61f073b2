"""What a fit shows as it goes; lines of whole fits are in tests/test_cli.py, those of ranks in test_processes.py."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelSummary, TQDMProgressBar

from common.callbacks import BestCheckpoint
from common.progress import Bar, Lines, NetworkSummary, Progress, Reached, displays, shown_time

MODULE: Any = SimpleNamespace(
    monitor="val/rmse", directions={"val/rmse": "min"}, with_unit=lambda _, value: f"{value:.4f} days", device="cpu"
)


@pytest.fixture(autouse=True)
def _any_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.progress.ImageTask", SimpleNamespace)


def trainer_at(epoch: int, *callbacks: BestCheckpoint, **attributes: Any) -> Any:
    """A Trainer at the end of an epoch, from 0, of five with four batches each, two to a step."""
    known = {"num_training_batches": 4, "accumulate_grad_batches": 2, "estimated_stepping_batches": 10}
    known |= {"current_epoch": epoch, "global_step": 2 * (epoch + 1), "should_stop": False, "sanity_checking": False}
    known |= {"checkpoint_callbacks": list(callbacks), "state": SimpleNamespace(fn="fit")}
    return SimpleNamespace(**known | attributes)


def train(shown: Progress, epoch: int, losses: list[float], first_step: int = 0) -> None:
    shown.began, shown.first_step = time.monotonic() - 60, first_step
    for index, loss in enumerate(losses):  # as Lightning gives it
        shown.on_train_batch_end(trainer_at(epoch), MODULE, {"loss": torch.tensor(loss) / 2}, None, index)


def validate(shown: Progress, epoch: int, value: float) -> None:
    shown.on_validation_end(trainer_at(epoch, callback_metrics={"val/rmse": torch.tensor(value)}), MODULE)


def test_a_line_has_the_mean_loss_the_metric_with_its_unit_the_best_epoch_and_the_time_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = Lines()
    for epoch, value in enumerate((3.5, 2.25, 2.5)):
        train(lines, epoch, [1.0, 2.0, 3.0, 6.0])
        validate(lines, epoch, value)
        lines.on_train_epoch_end(trainer_at(epoch), MODULE)
        lines.loss, lines.batches = torch.zeros(()), 0
    lines.on_train_epoch_end(trainer_at(3), MODULE)  # not validated
    first, second, third, fourth = capsys.readouterr().out.splitlines()
    best = "best 3.5000 days in epoch 1"
    assert first == f"epoch 1 of 5: train/loss 3.0000, val/rmse 3.5000 days, {best}, 4 min 00 s left"
    assert second.endswith("val/rmse 2.2500 days, best 2.2500 days in epoch 2, 1 min 30 s left")
    assert third.endswith("val/rmse 2.5000 days, best 2.2500 days in epoch 2, 40 s left")
    assert fourth == "epoch 4 of 5: train/loss 0.0000, best 2.2500 days in epoch 2, 15 s left"


def test_a_resumed_fit_knows_the_best_epoch_of_before_and_its_own_speed(capsys: pytest.CaptureFixture[str]) -> None:
    best, lines = BestCheckpoint("val/rmse", "min", None), Lines()
    best.taken_over = (1.5, 1)
    train(lines, 3, [1.0] * 4, first_step=6)
    validate(lines, 3, 2.0)
    lines.on_train_epoch_end(trainer_at(3, best), MODULE)
    said = capsys.readouterr().out
    assert said.startswith("epoch 4 of 5: ") and "best 1.5000 days in epoch 2, 1 min 00 s left" in said


def test_what_is_validated_before_training_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    sanity = trainer_at(0, sanity_checking=True, callback_metrics={"val/rmse": torch.tensor(9.0)})
    lines.on_validation_end(sanity, MODULE)
    train(lines, 0, [1.0] * 4)
    lines.on_train_epoch_end(trainer_at(0, should_stop=True), MODULE)
    lines.disable()  # as on the other ranks
    lines.on_train_epoch_end(trainer_at(1), MODULE)
    assert capsys.readouterr().out == "epoch 1 of 5: train/loss 1.0000, stopping early\n"


def test_the_bar_begins_with_the_metric_that_decides_and_counts_epochs_from_one() -> None:
    bar = Bar()
    assert bar.get_metrics(trainer_at(0), MODULE) == {}
    bar.latest, bar.seen, bar.shown_loss = Reached(2.5, 2), Reached(2.25, 1), 0.5
    shown = bar.get_metrics(trainer_at(2), MODULE)
    assert list(shown.items()) == [("val/rmse", "2.5000 days"), ("best", "2.2500 (epoch 2)"), ("train/loss", 0.5)]
    bar.setup(trainer_at(0, is_global_zero=True), MODULE, "fit")
    assert bar._get_train_description(0).strip() == "Epoch 1/5"


@pytest.mark.parametrize(("terminal", "kind"), [(True, Bar), (False, Lines)])
def test_a_bar_on_a_terminal_and_lines_elsewhere(monkeypatch: pytest.MonkeyPatch, terminal: bool, kind: type) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr("common.progress.get_console", lambda: SimpleNamespace(is_interactive=True))
    flags: Any = SimpleNamespace(enable_progress_bar=None, enable_model_summary=None)
    assert [type(one) for one in displays(flags, [])] == [kind, NetworkSummary]
    assert displays(flags, [TQDMProgressBar(), ModelSummary()]) == []
    off: Any = SimpleNamespace(enable_progress_bar=False, enable_model_summary=False)
    assert displays(off, []) == []


def test_a_time_has_two_units_at_most() -> None:
    times = {0.4: "0 s", 59.4: "59 s", 59.6: "1 min 00 s", 250: "4 min 10 s", 3600: "1 h 00 min", 90061: "25 h 01 min"}
    assert {seconds: shown_time(seconds) for seconds in times} == times
