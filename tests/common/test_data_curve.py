"""Shares of the training data: what a fit keeps of its share, and the curve over several of them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from common import compare
from common.checkpoints import read_checkpoint
from common.crossval import Measured
from common.data_curve import tabulate
from common.plots import data_curve
from growth.model import GrowthRegressor
from tests.conftest import Run

TINY = (
    *("--model.backbone", "leaf_hull", "--model.pretrained", "false", "--model.normalize", "none"),
    *("--model.image_size", 32, "--data.plants_per_batch", 2, "--data.images_per_plant", 3),
    *("--trainer.max_epochs", 1, "--trainer.enable_progress_bar", "false", "--name", "curve"),
)
SHARE = ("--data.train_fraction", 0.5)
LAST = "latest/checkpoints/last.ckpt"


@pytest.mark.slow
def test_the_curve_over_shares_of_the_plants(
    run: Run, refused: Run, growth_root: Path, monkeypatch: pytest.MonkeyPatch, forked_children: None
) -> None:
    crossval = ("growth", "crossval", *TINY, "--data.root", growth_root, "--data.num_folds", 2)
    output = run(*crossval, "--data.train_fraction", "[1,0.5]")
    home = Path("runs/growth/curve")
    assert output.index("--data.train_fraction 0.5 (1 of 2)") < output.index("--data.train_fraction 1.0 (2 of 2)")
    assert sorted(path.name for path in home.iterdir() if path.is_dir()) == ["fold_0", "fold_1", "fraction_0.5"]

    # Of the 4 plants of a fold, and of the 2 of them, half of each species; the same plants are held out.
    splits = {}
    for folder, plants in ((home, 4), (home / "fraction_0.5", 2)):
        for fold in range(2):
            checkpoint = read_checkpoint(folder / f"fold_{fold}" / LAST, GrowthRegressor)
            splits[plants, fold] = checkpoint.data_state["split"]
            trained = {name.rsplit("/", 1)[0] for name in checkpoint.data_state["split"]["trained"]}
            assert len(trained) == plants and {name.split("/")[0] for name in trained} == {"BC", "LT"}
            assert len(checkpoint.data_state["split"]["trained"]) == 8 * plants
    for fold in range(2):
        assert splits[4, fold]["held_out"] == splits[2, fold]["held_out"]
        assert set(splits[2, fold]["trained"]) < set(splits[4, fold]["trained"])

    table = pd.read_csv(home / "data_curve.csv")
    assert table["train_fraction"].tolist() == [0.5, 1.0] and table["folds"].tolist() == [2, 2]
    assert table["trained_plants"].tolist() == [2, 4] and table["trained_images"].tolist() == [16, 32]
    for (_, line), folder in zip(table.iterrows(), (home / "fraction_0.5", home), strict=True):
        rows, each = pd.read_csv(folder / "out_of_fold.csv"), pd.read_csv(folder / "crossval.csv")["val/rmse"]
        assert line["val/rmse"] == pytest.approx(((rows["predicted"] - rows["days"]) ** 2).mean() ** 0.5, rel=1e-6)
        assert (line["mean"], line["deviation"]) == pytest.approx((each.mean(), each.std()))
    assert Image.open(home / "data_curve.png").size[0] > 100

    # A table of some folds, or of several views, is one of its own.
    whole = (home / "data_curve.csv").read_bytes()
    output = run(*crossval, "--data.train_fraction", "[1,0.5]", "--folds", "[1]")
    assert output.splitlines()[-1].endswith("curve/data_curve_folds1.csv, data_curve_folds1.png")
    assert pd.read_csv(home / "data_curve_folds1.csv")["folds"].tolist() == [1, 1]
    assert (home / "data_curve.csv").read_bytes() == whole

    # Both are of the same held-out rows, so that they are ranked beside each other.
    monkeypatch.setattr(sys, "argv", ["compare", "runs/growth", "--csv", "runs.csv"])
    compare.main()
    ranked = pd.read_csv("runs.csv").set_index("run")
    assert {"curve", "curve/fraction_0.5", "curve/fraction_0.5/fold_1/version_0"} <= set(ranked.index)
    assert len(ranked) == 6 and "held out" not in ranked.columns
    assert ranked.loc["curve", "data.train_fraction"] == 1
    assert ranked.loc["curve/fraction_0.5", "data.train_fraction"] == 0.5

    # A share belongs to the weights.
    part, whole = home / "fraction_0.5" / "fold_0" / LAST, home / "fold_0" / LAST
    for words in (("fit", "--trainer.max_epochs", 2), ("validate",), ("predict",)):
        line = refused("growth", *words, "--ckpt_path", part, "--data.train_fraction", 1)
        assert "--data.train_fraction 1.0: the checkpoint" in line and "has 0.5, which stays" in line

    # Fits of versions that knew no shares were on the whole.
    saved = torch.load(whole, weights_only=True)
    del saved["datamodule_hyper_parameters"]["train_fraction"]
    torch.save(saved, "old.ckpt")
    assert "has 1.0, which stays" in refused("growth", "validate", "--ckpt_path", "old.ckpt", *SHARE)
    assert "val/rmse" in run("growth", "validate", "--ckpt_path", "old.ckpt")
    run("growth", "predict", "--ckpt_path", "old.ckpt", "--submission.path", "old.csv")
    run("growth", "fit", "--ckpt_path", "old.ckpt", "--trainer.max_epochs", 2, "--name", "old")
    resumed = read_checkpoint(Path("runs/growth/old") / LAST, GrowthRegressor)
    assert resumed.data_state["split"] == splits[4, 0] and resumed.data["train_fraction"] == 1
    config = home / "fold_0" / "version_0" / "config.yaml"
    settings = yaml.safe_load(config.read_text())
    del settings["data"]["train_fraction"]
    config.write_text(yaml.safe_dump(settings))
    output = run(*crossval, "--data.train_fraction", "[0.5]")
    assert output.count("not fitted again") == 2 and "fraction_0.5/fold_1/version_0" in output
    assert run(*crossval).count("not fitted again") == 2


def test_a_line_of_each_share_and_a_picture_with_its_units() -> None:
    def measured(images: list[int], values: list[float], overall: float) -> Measured:
        folds = pd.DataFrame({"trained_images": images, "val/acc": values}).assign(seconds=3.5)
        return Measured(folds, overall, "")

    table = tabulate({0.25: measured([24, 25], [0.5, 0.7], 0.62), 1.0: measured([98, 98], [0.8, 0.9], 0.84)}, "val/acc")
    assert table["trained_images"].tolist() == [24.5, 98] and table["seconds"].tolist() == [7, 7]
    assert table["mean"].tolist() == pytest.approx([0.6, 0.85])
    assert table["deviation"].tolist() == pytest.approx([0.02**0.5, 0.005**0.5])
    (axes,) = data_curve(table, "val/acc", "max", "").axes
    assert axes.get_xscale() == "log" and axes.get_ylabel() == "val/acc (higher is better)"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["24.5\n(0.25)", "98\n(1)"]
    line = axes.get_lines()[0]
    assert np.asarray(line.get_xdata()).tolist() == [24.5, 98] and np.asarray(line.get_ydata()).tolist() == [0.62, 0.84]
    legend = axes.get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["all out-of-fold rows", "mean ± standard deviation over 2 folds"]

    one = tabulate({0.5: measured([9], [0.5], 0.5), 1.0: measured([18], [0.6], 0.6)}, "val/acc")
    assert one["deviation"].isna().all()
    (axes,) = data_curve(one, "val/acc", "max", "days").axes
    assert axes.get_legend() is None and axes.get_ylabel() == "val/acc, days (higher is better)"
