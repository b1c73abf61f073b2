from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import growth.plots
import julia.plots
from common.plots import Gallery, learning_curves, save_png
from julia.files import CLASSES


def test_learning_curves_mark_the_best_epoch_in_its_direction() -> None:
    metrics = pd.DataFrame(
        {
            "epoch": [0, 0, 1, 1, 2, 2],
            "val/rmse": [np.nan, 3.0, np.nan, 1.0, np.nan, 2.0],
            "val/r2": [np.nan, 0.1, np.nan, 0.2, np.nan, 0.9],
            "train/loss": [5.0, np.nan, 4.0, np.nan, 3.0, np.nan],
        }
    )
    figure = learning_curves(
        metrics, {"val/rmse": "min", "val/r2": "max", "train/loss": "min", "val/mae": "min"}, {"val/rmse": "days"}
    )
    titles = {axes.get_ylabel().split("\n")[0]: axes.get_title() for axes in figure.axes}
    assert titles == {"val/rmse, days": "best 1, epoch 2", "val/r2": "best 0.9, epoch 3", "train/loss": "last 3"}
    assert {axes.get_xlabel() for axes in figure.axes} == {"epoch"}


def test_a_run_without_metrics_has_empty_curves(tmp_path: Path) -> None:
    save_png(learning_curves(pd.DataFrame({"epoch": [0]}), {"val/acc": "max"}, {}), tmp_path / "empty.png")
    assert Image.open(tmp_path / "empty.png").size[0] > 0


def test_confusion_shows_shares_of_each_row() -> None:
    counts = np.zeros((62, 62), dtype=int)
    counts[0, [0, 1]] = 3, 1
    axes = julia.plots.confusion(counts).axes[0]
    shares = np.asarray(axes.images[0].get_array()) ** 2
    assert shares[0, :3] == pytest.approx([0.75, 0.25, 0])
    assert [label.get_text() for label in axes.get_xticklabels()] == list(CLASSES)
    assert axes.get_title() == "4 held-out characters, accuracy 0.750"


def test_worst_classes_come_first_with_what_they_are_taken_for() -> None:
    counts = np.diag(np.full(62, 10))
    counts[5, [5, 7, 9]] = 2, 5, 3
    counts[6] = 0  # a class that is not held out is not among them
    axes = julia.plots.worst_classes(counts).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[-1] == CLASSES[5] and CLASSES[6] not in names  # the worst on top
    assert axes.texts[-1].get_text() == f"10 of it; taken for: {CLASSES[7]} 5, {CLASSES[9]} 3"


def test_worst_characters_are_the_surest_mistakes() -> None:
    images = np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1)
    evaluated = pd.DataFrame(
        {"row": [2, 0, 3, 1], "truth": [0, 1, 2, 3], "predicted": [5, 1, 4, 6], "probability": [0.4, 0.99, 0.8, 0.5]}
    )
    gallery = julia.plots.worst_errors(evaluated, images)
    assert [int(image.squeeze()) for image in gallery.images] == [3, 1, 2]
    assert gallery.captions[0] == f"{CLASSES[2]} → {CLASSES[4]}, 80 %"


def pairs() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "species": ["A", "A", "A", "A", "B"],
            "plant": ["A/1", "A/1", "A/1", "A/1", "B/1"],
            "before": [0, 0, 0, 1, 2],
            "after": [1, 2, 3, 2, 3],
            "days": [1.0, 2.0, 3.0, 1.0, 4.0],
            "predicted": [2.0, 7.0, 9.0, 4.0, 2.0],
        }
    )


def test_days_by_species() -> None:
    figure = growth.plots.days(pairs(), {"A": 4.21, "B": 2.0})
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["A: RMSE 4.21 days, 4 pairs", "B: RMSE 2.00 days, 1 pairs"]
    assert figure.axes[0].get_xlabel() == "elapsed, days"
    lines = growth.plots.errors(pairs()).axes[0].get_lines()[1:]  # the first is zero
    assert lines[0].get_xydata().tolist() == [[1, 2], [2, 5], [3, 6]]
    assert lines[1].get_xydata().tolist() == [[4, -2]]


def test_worst_pairs_are_of_several_plants() -> None:
    images = np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1).repeat(3, axis=3)
    gallery = growth.plots.worst_errors(pairs(), images)
    assert gallery.captions == [
        "A/1: 3 days, predicted 9.0",
        "A/1: 2 days, predicted 7.0",
        "A/1: 1 days, predicted 4.0",
        "B/1: 4 days, predicted 2.0",
    ]
    assert [image[0, [0, -1], 0].tolist() for image in gallery.images] == [[0, 3], [0, 2], [1, 2], [2, 3]]


@pytest.mark.parametrize("number", [0, 1, 24])
def test_a_gallery_of_any_number(tmp_path: Path, number: int) -> None:
    gallery = Gallery("some", [np.zeros((8, 8, 1), dtype=np.uint8)] * number, ["caption"] * number)
    save_png(gallery.figure(), tmp_path / "gallery.png")
    assert len(gallery.figure().axes) == number
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gallery.png"]
