"""What predict says of images that training has not shown, and the submissions that it does not overwrite."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from common.checkpoints import read_checkpoint
from growth.model import GrowthRegressor
from growth.synthetic import draw as draw_growth
from tests.conftest import Run

HULL = (
    *("--model.backbone", "leaf_hull", "--model.pretrained", "false", "--model.normalize", "none"),
    *("--model.image_size", 32, "--data.plants_per_batch", 2, "--data.images_per_plant", 3),
    *("--trainer.max_epochs", 1, "--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
)


@pytest.fixture
def fitted(run: Run, growth_root: Path) -> Path:
    run("growth", "fit", *HULL, "--data.root", growth_root, "--data.species", "[BC]")
    return Path("runs/growth/leaf_hull/version_0")


@pytest.mark.slow
def test_what_is_unlike_the_training_photos_is_noted(run: Run, fitted: Path, growth_root: Path) -> None:
    shutil.copytree(growth_root, "data")
    black = sorted(Path("data/test_dataset/BC").rglob("*.png"))[0]
    Image.fromarray(np.zeros((48, 64, 3), dtype=np.uint8)).save(black)
    said = run("growth", "predict", "--ckpt_path", "last", "--data.root", "data")
    assert "submission_last_items.csv (one row a photo; ages have no zero of their own" in said
    items = pd.read_csv(fitted / "submission_last_items.csv", keep_default_na=False).set_index("photo")
    assert "darker than any training image" in items.loc[black.stem, "note"]
    lettuce = items[items["species"] == "LT"]["note"]
    assert lettuce.str.contains("species LT was not among the training images").all()
    assert not items[items["species"] == "BC"]["note"].str.contains("species").any()
    assert f"note: {len(lettuce)} of {len(items)} images: species LT" in said or "species LT was not among" in said
    assert "the weights have learned from" not in said


@pytest.mark.slow
def test_images_that_were_trained_on_are_counted(run: Run, fitted: Path, growth_root: Path) -> None:
    plants = growth_root / "train_dataset" / "BC"
    split = read_checkpoint(fitted / "checkpoints" / "last.ckpt", GrowthRegressor).split
    assert split and split.held_out  # which are not counted
    said = run("growth", "predict", "--ckpt_path", "last", "--images", plants)
    photos = len(list(plants.rglob("*.png")))
    number = f"{len(split.trained)} of {photos} images, so expect larger errors on others"
    assert f"warning: the weights have learned from {number}" in said


@pytest.mark.slow
def test_photos_in_reverse_order_are_noted(run: Run, fitted: Path, growth_root: Path) -> None:
    shutil.copytree(growth_root, "data")
    table = pd.read_csv("data/test_dataset/test_data.csv")
    said = run("growth", "predict", "--ckpt_path", "last", "--data.root", "data", "--submission.path", "right.csv")
    assert f"checkpoint: {fitted / 'checkpoints' / 'last.ckpt'}" in said
    right = pd.read_csv("right.csv")["time_delta"]
    swapped = table.rename(columns={"before_file_path": "after_file_path", "after_file_path": "before_file_path"})
    swapped[table.columns].to_csv("data/test_dataset/test_data.csv", index=False)
    run("growth", "predict", "--ckpt_path", "last", "--data.root", "data", "--submission.path", "swapped.csv")
    notes = pd.read_csv("swapped_items.csv", keep_default_na=False)["note"]
    assert (pd.read_csv("swapped.csv")["time_delta"] == 1).sum() >= (right > 1).sum() > 0
    assert notes.str.contains("days younger than").any()


@pytest.mark.slow
def test_ctrl_c_leaves_no_files_of_two_submissions(
    run: Run, fitted: Path, growth_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("growth", "predict", "--ckpt_path", "last", "--data.root", growth_root)
    run(*words)
    to_csv, written = pd.DataFrame.to_csv, []

    def interrupted(table: pd.DataFrame, **options: Any) -> str:
        if not written:
            signal.raise_signal(signal.SIGINT)
        written.append(to_csv(table, **options))
        return written[-1]

    monkeypatch.setattr(pd.DataFrame, "to_csv", interrupted)
    with pytest.raises(SystemExit) as caught:
        run(*words, "--model.min_days", 5)
    assert caught.value.code == 130
    names = ("", "_items") if len(written) == 2 else ("", "_items", "_intervals")
    assert {path.name for path in fitted.glob("submission_last*.csv")} == {
        f"submission_last{name}.csv" for name in names
    }
    assert len(written) == len(names) and pd.read_csv(fitted / "submission_last.csv")["time_delta"].min() == 5


@pytest.mark.slow
def test_a_submission_of_other_data_is_kept(run: Run, refused: Run, fitted: Path, growth_root: Path) -> None:
    run("growth", "predict", "--ckpt_path", "last")
    before = (fitted / "submission_last.csv").read_bytes()
    draw_growth(
        Path("other"), plants=2, width=72, height=48, test_plants=2, test_pairs=30, days=8, seed=5, scene="pots"
    )
    line = refused("growth", "predict", "--ckpt_path", "last", "--data.root", "other")
    assert "submission_last.csv is not a submission for these data: give another --submission.path" in line
    Path("mine_spread.csv").write_text("mine")  # which a submission beside it would have replaced
    line = refused("growth", "predict", "--ckpt_path", "last", "--submission.path", "mine.csv")
    assert "mine_spread.csv is not a submission for these data" in line
    assert Path("mine_spread.csv").read_text() == "mine"
    assert (fitted / "submission_last.csv").read_bytes() == before
    for name in ("table.csv", "table.npz"):  # a table that was not written by predict, or what lies beside one
        Path(name).write_bytes(b"mine")
        line = refused("growth", "predict", "--ckpt_path", "last", "--submission.path", "table.csv")
        assert f"{name} is not a submission for these data" in line
        assert Path(name).read_bytes() == b"mine"
        Path(name).unlink()
    shutil.copytree(growth_root, "moved")  # the same data elsewhere
    run("growth", "predict", "--ckpt_path", "last", "--data.root", "moved")
