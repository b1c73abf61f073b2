from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

import growth.plots
import julia.plots
from common.plots import Direction, Gallery, learning_curves, save_png
from julia.files import CLASSES, LOOK_ALIKES


def curves(more: dict[str, list[float]]) -> Figure:
    logged = {
        "epoch": [0, 0, 1, 1, 2, 2],
        "val/rmse": [np.nan, 3.0, np.nan, 1.0, np.nan, 2.0],
        "val/r2": [np.nan, 0.1, np.nan, 0.2, np.nan, 0.9],
        "val/loss": [np.nan, 9.0, np.nan, 1.0, np.nan, 4.0],
        "train/rmse": [np.nan, 2.5, np.nan, 1.5, np.nan, 0.5],
        "train/loss": [7.0, 5.0, 4.0, np.nan, 3.0, np.nan],
        "train/pairs_per_s": [np.nan, 100.0, np.nan, 90.0, np.nan, 80.0],
    }
    directions: dict[str, Direction] = dict.fromkeys(list(logged)[1:], "min") | {
        "val/r2": "max",
        "train/pairs_per_s": "max",
    }
    units = {"val/rmse": "days", "train/rmse": "days", "val/loss": "days²", "train/loss": "days²"}
    return learning_curves(pd.DataFrame(logged | more), "val/rmse", directions | {"val/mae": "min"}, units)


def test_learning_curves_show_training_beside_validation_and_one_best_epoch() -> None:
    figure = curves({})
    panels = {axes.get_ylabel().split("\n")[0]: axes for axes in figure.axes}
    assert list(panels) == ["rmse, days", "loss, days²", "r2"]  # what decides first; how fast it was is no quantity
    assert {axes.get_xlabel() for axes in figure.axes} == {"epoch"}
    drawn = {name: [line.get_xydata().tolist() for line in axes.get_lines()] for name, axes in panels.items()}
    assert drawn["rmse, days"][:2] == [[[1, 2.5], [2, 1.5], [3, 0.5]], [[1, 3], [2, 1], [3, 2]]]
    assert drawn["loss, days²"][:2] == [[[1, 6], [2, 4], [3, 3]], [[1, 9], [2, 1], [3, 4]]]
    # The epoch that val/rmse chooses is marked in every panel, also where another one is best.
    assert figure.get_suptitle() == "best epoch: 2, val/rmse 1.0000"
    assert [lines[-1] for lines in drawn.values()] == [[[2, 1]], [[2, 1]], [[2, 0.2]]]
    assert panels["r2"].get_title() == "best epoch 0.2, last 0.9"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["training", "validation", "best epoch"]
    assert "augmented" in figure.legends[0].get_title().get_text()
    for axes in figure.axes:
        assert {tick % 1 for tick in axes.get_xticks()} == {0} and axes.get_xlim() == (0.5, 3.5)


def test_several_validations_in_an_epoch_are_spread_over_it() -> None:
    figure = curves({"val/rmse": [4.0, 3.0, 0.5, 1.0, 2.0, 2.0]})
    assert figure.axes[0].get_lines()[1].get_xydata().tolist() == [
        [0.5, 4],
        [1, 3],
        [1.5, 0.5],
        [2, 1],
        [2.5, 2],
        [3, 2],
    ]
    assert figure.get_suptitle() == "best epoch: 2, val/rmse 0.5000"  # as best.ckpt, no mean of the epoch


def test_calibrated_figures_stand_beside_the_others() -> None:
    table = pd.DataFrame({"epoch": [0], "val/acc": [0.5], "val/nll": [2.0], "val/nll_calibrated": [1.0]})
    figure = learning_curves(table, "val/acc", {"val/nll": "min", "val/nll_calibrated": "min", "val/acc": "max"}, {})
    assert [axes.get_ylabel() for axes in figure.axes] == ["acc\n(higher is better)", "nll\n(lower is better)"]
    assert [line.get_ydata().tolist() for line in figure.axes[1].get_lines()[:2]] == [[2.0], [1.0]]


def test_a_run_without_metrics_has_empty_curves(tmp_path: Path) -> None:
    save_png(learning_curves(pd.DataFrame({"epoch": [0]}), "val/acc", {"val/acc": "max"}, {}), tmp_path / "empty.png")
    assert Image.open(tmp_path / "empty.png").size[0] > 0


def test_confusion_shows_the_classes_most_confused_and_how_many_characters_each_cell_is() -> None:
    counts = np.diag(np.full(62, 10))
    counts[0, [0, 1, 26]] = 2, 1, 4  # a: most for A, then for b
    counts[14, 40] = 5  # o for O
    axes = julia.plots.confusion(counts).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "A", "b", "o", "O"]  # look-alikes together
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "A", "b", "o", "O", "other"]
    cells = {text.get_position(): text.get_text() for text in axes.texts}  # column and row
    assert cells == {(i, i): "2" if i == 0 else "10" for i in range(5)} | {(1, 0): "4", (2, 0): "1", (4, 3): "5"}
    shares = np.asarray(axes.images[0].get_array()) ** 2
    assert shares[0] == pytest.approx([2 / 7, 4 / 7, 1 / 7, 0, 0, 0])
    assert axes.get_title() == "the 5 classes most confused, of 62: number of characters"


def test_of_many_confused_classes_those_shown_sum_up_to_all_of_their_rows() -> None:
    counts = np.random.default_rng(0).integers(0, 9, (62, 62))
    axes = julia.plots.confusion(counts).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len(names) == julia.plots.CONFUSED
    for row, name in enumerate(names):
        shown = sum(int(text.get_text()) for text in axes.texts if text.get_position()[1] == row)
        assert shown == counts[CLASSES.index(name)].sum()


def test_errors_are_sorted_into_look_alikes_and_others() -> None:
    truth, predicted = ([CLASSES.index(name) for name in names] for names in ("ooO0aslI", "O0OlbSIl"))
    figure = julia.plots.errors(np.array(truth), np.array(predicted))
    axes = figure.axes[0]
    assert figure.get_suptitle() == "7 of 8 held-out characters missed:\n71 % within look-alikes, 29 % others"
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["others", "sS", "oO0", "iIl1"]  # from the bottom
    assert [bar.get_width() for bar in axes.patches] == [2, 1, 2, 2]
    assert axes.texts[2].get_text() == "2 (29 %): o → O ×1, o → 0 ×1"
    assert axes.texts[0].get_text() == "2 (29 %): 0 → l ×1, a → b ×1"


def test_no_class_is_in_two_groups_of_look_alikes() -> None:
    characters = "".join(LOOK_ALIKES)
    assert len(set(characters)) == len(characters) and set(characters) <= set(CLASSES)


def test_classes_come_by_how_many_were_missed_with_what_they_were_taken_for() -> None:
    counts = np.diag(np.full(62, 10))
    counts[5, [5, 7, 9]] = 2, 3, 5
    counts[6, [6, 0]] = 0, 1  # a smaller share of it is recognised, but one alone was missed
    axes = julia.plots.worst_classes(counts).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [CLASSES[6], CLASSES[5]]  # the worst on top, and no class of which none was missed
    assert axes.texts[-1].get_text() == f"8 of 10 → {CLASSES[9]} ×5, {CLASSES[7]} ×3"
    assert axes.texts[0].get_text() == f"1 of 1 → {CLASSES[0]} ×1"
    assert axes.get_title() == "9 of 611 characters missed, by class"


def test_that_no_class_was_missed_is_said_in_words() -> None:
    right, every = np.diag(np.full(62, 10)), np.repeat(np.arange(62), 10)
    for figure in (julia.plots.worst_classes(right), julia.plots.confusion(right), julia.plots.errors(every, every)):
        axes = figure.axes[0]
        assert [text.get_text() for text in axes.texts] == ["None of the 620 held-out characters was missed."]
        assert not axes.patches and not axes.images


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
    axes = growth.plots.days(pairs()).axes[0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["A: RMSE 4.21 days, 4 pairs", "B: RMSE 2.00 days, 1 pair"]
    assert axes.get_title() == "held-out plants, all pairs: RMSE 3.87 days, 5 pairs"
    lines = growth.plots.errors(pairs()).axes[0].get_lines()[1:]  # the first is zero
    assert lines[0].get_xydata().tolist() == [[1, 2], [2, 5], [3, 6]]
    assert lines[1].get_xydata().tolist() == [[4, -2]]


def test_both_axes_of_days_are_alike_and_no_point_hides_another() -> None:
    same = pd.concat([pairs()] * 10, ignore_index=True).assign(species=["A", "B"] * 25)
    axes = growth.plots.days(same).axes[0]
    assert axes.get_xlim() == axes.get_ylim() and axes.get_aspect() == 1
    assert axes.get_xticks().tolist() == axes.get_yticks().tolist()
    clouds = [np.asarray(line.get_xydata()) for line in axes.get_lines() if len(line.get_xydata()) == 25]
    of_a, of_b = (cloud[np.lexsort(cloud.T[::-1])] for cloud in clouds)
    assert len(np.unique(np.concatenate([of_a, of_b])[:, 0])) == 50
    both = np.concatenate([of_a, of_b])
    for x, number in ((1, 20), (2, 10), (3, 10), (4, 10)):
        assert (abs(both[:, 0] - x) < 0.4).sum() == number
    low, high = axes.get_xlim()  # no point is cut, nor is a species on one side of the true number
    assert low < both.min() - 0.01 and both.max() + 0.01 < high
    assert abs((of_a[:, 0] - of_a[:, 0].round()).mean()) < 0.15 and abs((of_b[:, 0] - of_b[:, 0].round()).mean()) < 0.15


def test_the_worst_pair_of_each_plant() -> None:
    images = np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1).repeat(3, axis=3)
    gallery = growth.plots.worst_errors(pairs(), images)
    assert gallery.captions == ["A/1\n3 days, predicted 9.0", "B/1\n4 days, predicted 2.0"]
    assert [image[0, [0, -1], 0].tolist() for image in gallery.images] == [[0, 3], [2, 3]]


@pytest.mark.parametrize("number", [0, 1, 24])
def test_a_gallery_of_any_number(tmp_path: Path, number: int) -> None:
    gallery = Gallery("some", [np.zeros((8, 8, 1), dtype=np.uint8)] * number, ["caption"] * number)
    save_png(gallery.figure(), tmp_path / "gallery.png")
    assert len(gallery.figure().axes) == number
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gallery.png"]
