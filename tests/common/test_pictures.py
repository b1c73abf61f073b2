"""Which weights the pictures of a run show, and what its training batches are said to be like."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from common.callbacks import BestCheckpoint
from common.pictures import entitled, showing_best
from common.plots import Gallery, new_figure
from julia.model import CharacterClassifier


def stopped(best: BestCheckpoint | None) -> Any:
    """A Trainer as it is after five epochs, the last one worse than the best."""
    callbacks = [] if best is None else [best]
    return SimpleNamespace(
        checkpoint_callbacks=callbacks, current_epoch=5, callback_metrics={"val/acc": torch.tensor(0.5)}
    )


def test_what_is_shown_is_of_best_ckpt_and_says_so(tmp_path: Path) -> None:
    model = CharacterClassifier("lenet", image_size=16)
    latest = model.evaluated = np.full((3, 65), 5, dtype=np.float32)  # of the last epoch
    model.calibration = {"temperature": 3.0}
    best, said = BestCheckpoint("val/acc", "max", None), "the latest validation, not best.ckpt: epoch 5, val/acc 0.5000"
    for without in (None, best):  # a fit without checkpoints, and one that has written none
        with showing_best(stopped(without), model) as about:
            assert about == said and model.evaluated is latest
    best.best_model_path, best.best_model_score = str(tmp_path / "best.ckpt"), torch.tensor(0.75)
    saved = {"epoch": 1, "evaluated": torch.full((4, 65), 2.0), "calibration": {1: {"temperature": 0.5}}}
    torch.save(saved, tmp_path / "best.ckpt")
    with pytest.raises(ZeroDivisionError), showing_best(stopped(best), model) as about:
        assert about == "best.ckpt: epoch 2, val/acc 0.7500"
        assert model.evaluated.shape == (4, 65) and (model.evaluated == 2).all()
        assert model.calibration == {"temperature": 0.5}
        raise ZeroDivisionError
    assert model.evaluated is latest and model.calibration == {"temperature": 3.0}
    torch.save({"epoch": 1}, tmp_path / "best.ckpt")  # of an earlier version
    with showing_best(stopped(best), model) as about:
        assert about == said


def test_the_title_of_every_picture_says_what_it_shows() -> None:
    gallery = Gallery("worst", [np.zeros((8, 8, 1), np.uint8)], ["one"])
    assert entitled(new_figure(4, 3), "best.ckpt: epoch 2").get_suptitle() == "best.ckpt: epoch 2"
    assert entitled(gallery, "best.ckpt: epoch 2").get_suptitle() == "best.ckpt: epoch 2\nworst"


@pytest.mark.slow
def test_what_is_drawn_of_julia_is_that_of_the_result(offline_fit: Callable[[str], Path]) -> None:
    run = offline_fit("julia")
    result = json.loads((run / "result.json").read_text())
    best = result["best"]
    assert result["held_out_by"].startswith("best.ckpt: epoch ")
    counts = pd.read_csv(run / "confusion.csv", index_col="truth", keep_default_na=False).to_numpy()
    assert np.trace(counts) / counts.sum() == pytest.approx(best)
    evaluated = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["evaluated"]
    assert float((evaluated[:, 3:].argmax(dim=1) == evaluated[:, 1]).float().mean()) == pytest.approx(best)
    rows = pd.read_csv(run / "held_out.csv", dtype=str, keep_default_na=False)
    assert (rows["Class"] == rows["predicted"]).mean() == pytest.approx(best)
    trained = pd.read_csv(run / "metrics.csv")["train/acc"].dropna()
    right = trained * (248 // 32 * 32)  # of whole batches
    assert len(trained) == 2 and (abs(right - right.round()) < 1e-3).all() and right.max() > 0


@pytest.mark.slow
def test_what_is_drawn_of_growth_is_that_of_the_result(offline_fit: Callable[[str], Path]) -> None:
    run = offline_fit("growth")
    best = json.loads((run / "result.json").read_text())["best"]
    evaluated = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["evaluated"]
    days, predicted = evaluated[:, 3], evaluated[:, 4]
    submitted = predicted.clamp(min=1)
    assert float((submitted - days).square().mean().sqrt()) == pytest.approx(best, rel=1e-5)
    assert pd.read_csv(run / "held_out.csv")["predicted"].to_numpy() == pytest.approx(submitted.numpy())
    table = pd.read_csv(run / "metrics.csv")
    losses = table["val/loss"].dropna().tolist()
    assert float((predicted - days).square().mean()) in [pytest.approx(loss, rel=1e-5) for loss in losses]
    # The loss is the mean squared error, logged at every step, of as many pairs each, but not as submitted.
    loss = table.groupby("epoch")["train/loss"].mean()
    rmse = table.groupby("epoch")["train/rmse"].max().to_numpy()
    assert rmse**2 == pytest.approx(loss.to_numpy(), rel=0.02)
    units = json.loads((run / "run.json").read_text())["units"]
    assert units["train/loss"] == units["val/loss"] == "days²" and units["train/rmse"] == "days"
