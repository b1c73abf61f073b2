"""A third task is one package and no change elsewhere: it goes through every subcommand."""

from __future__ import annotations

import json
import os
import re
import runpy
import sys
from pathlib import Path

import onnxruntime
import pandas as pd
import pytest

from common.page import Page
from common.predictor import Predictor
from tests.conftest import Run

TESTS = Path(__file__).parent
QUIET = ("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false")


@pytest.fixture
def squares(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, forked_children: None) -> Path:
    """The drawn set, with the package on the path of this process and of those that it starts."""
    monkeypatch.syspath_prepend(str(TESTS))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))
    runpy.run_module("third_task.data")["draw"](tmp_path / "squares")
    return tmp_path / "squares"


def test_it_is_a_whole_task_in_150_lines_that_nothing_else_names() -> None:
    lines = sum(len(path.read_text().splitlines()) for path in (TESTS / "third_task").glob("*.py"))
    assert lines <= 150
    for package in ("common", "growth", "julia"):
        for path in (TESTS.parent / package).glob("*.py"):
            assert "third_task" not in path.read_text() and "quares(" not in path.read_text()


@pytest.mark.slow
def test_every_subcommand_takes_it(run: Run, refused: Run, squares: Path) -> None:
    said = run("third_task", "fit", *QUIET)
    assert "runs/third_task/third_task/version_0" in said
    home = Path("runs/third_task/third_task/version_0")
    about = json.loads((home / "run.json").read_text())
    assert (about["task"], about["monitor"], about["held_out"]["rows"]) == ("third_task", "val/acc", 6)
    assert (home / "pictures" / "squares.png").is_file()

    assert "resuming" in run("third_task", "fit", "--ckpt_path", "last", "--trainer.max_epochs", 12, *QUIET)
    metrics = pd.read_csv(home / "metrics.csv")["val/acc"].dropna()
    assert (len(metrics), metrics.iloc[-1]) == (12, 1.0)
    rows = pd.read_csv(home / "held_out.csv")  # as run.json says
    assert about["columns"] == {"ids": ["id"], "group": "colour", "truth": "colour", "classes": True}
    assert rows["colour"].tolist() == rows["predicted"].tolist() == rows["id"].str[-1].tolist() and len(rows) == 6

    run("third_task", "predict", "--ckpt_path", "last")
    submission = pd.read_csv(home / "submission_last.csv")
    assert submission["colour"].tolist() == [("r", "g", "b")[number % 3] for number in range(30, 40)]

    assert "val/acc over all 30 out-of-fold rows" in run("third_task", "crossval", "--data.num_folds", 2, *QUIET)
    run("third_task", "export", "--ckpt_path", home / "checkpoints" / "last.ckpt", "--output", "squares.onnx")
    assert onnxruntime.InferenceSession("squares.onnx").get_modelmeta().custom_metadata_map["task"] == "third_task"
    said = run(
        *("third_task", "feature_maps", "--ckpt_path", home / "checkpoints" / "last.ckpt"),
        *("--image", squares / "test" / "30.png", "--output", "."),
    )
    assert "feature maps: 30_features.png" in said
    data, model = sys.modules["third_task.data"].SquareData, sys.modules["third_task.model"].SquareClassifier
    checkpoint, square = home / "checkpoints" / "last.ckpt", squares / "test" / "30.png"
    page = Page(Predictor(model, data(image_size=8, channels=3), checkpoint, "cpu", 1))
    assert re.search("<td>30.png</td>\\s*<td>r</td>", page.answer([str(square)]).shown)
    run("third_task", "dashboard", "--output", "dashboard.json")
    assert "model.lr" in Path("dashboard.json").read_text()
    assert "best val/acc first" in run("common.compare", "runs/third_task", "--csv", "runs.csv")


@pytest.mark.slow
def test_a_new_argument_is_shown_guarded_and_a_reason_to_fit_anew_with_no_further_word(
    run: Run, refused: Run, squares: Path
) -> None:
    words = ("--trainer.max_epochs", 1, *QUIET)
    run("third_task", "crossval", "--data.num_folds", 2, *words)
    assert "not fitted again" in run("third_task", "crossval", "--data.num_folds", 2, *words)
    # Guarded by default; resumable where it is declared so; of the machine: nothing is fitted for it.
    squares.rename("moved")
    moved = ("--data.root", "moved")
    assert "fold_0/version_0, not fitted again" in run("third_task", "crossval", "--data.num_folds", 2, *words, *moved)
    said = run("third_task", "crossval", "--data.num_folds", 2, *words, *moved, "--data.batch_size", 5, "--folds", 0)
    assert "fitted with another data.batch_size, fitting it again" in said
    run("common.compare", "runs/third_task", "--csv", "runs.csv")
    columns = pd.read_csv("runs.csv").columns
    assert "data.batch_size" in columns and "data.root" not in columns
    last = "runs/third_task/third_task/fold_1/version_0/checkpoints/last.ckpt"
    more = ("fit", "--ckpt_path", last, "--trainer.max_epochs", 2, *QUIET, *moved)
    line = refused("third_task", *more, "--data.batch_size", 5)
    assert "--data.batch_size 5: the checkpoint" in line and "has 6, which stays" in line
    run("third_task", *more, "--data.flip", "false")
