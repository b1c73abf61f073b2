"""The commands of growth end to end, on synthetic plants."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from growth.pair_network import PairNet
from growth.synthetic import draw, pairs, plan_of
from tests.conftest import REAL_DATA, Run, Shared
from tests.quick import typed

SMALL = (
    *("--model.backbone", "lenet", "--model.pretrained", "false"),
    *("--model.image_size", 24, "--trainer.enable_progress_bar", "false"),
)
CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def fitted(shared: Shared, growth_root: Path) -> Path:
    """The run folder of a short fit, with fold 2 of 4 held out."""
    folds = ("--data.num_folds", 4, "--data.fold", 2)
    words = ("growth", "fit", *SMALL, "--data.root", growth_root, "--trainer.max_epochs", 1, *folds)
    return shared("growth-fit", lambda folder: typed(folder, *words)) / "runs" / "growth" / "lenet" / "version_0"


@pytest.fixture
def checkpoint(fitted: Path) -> Path:
    return fitted / "checkpoints" / "last.ckpt"


@pytest.mark.slow
@pytest.mark.parametrize("design", ["siamese", "twin"])
def test_fit_and_predict(run: Run, growth_root: Path, design: str) -> None:
    run("growth", "fit", *SMALL, "--data.root", growth_root, "--model.design", design, "--trainer.max_epochs", 2)
    metrics = pd.read_csv("runs/growth/lenet/latest/metrics.csv")
    assert {"val/rmse", "val/mae", "val/r2", "val/rmse_BC", "val/rmse_LT"} <= set(metrics.columns)
    output = run("growth", "predict", "--ckpt_path", "last")
    assert "submission: runs/growth/lenet/version_0/submission_last.csv" in output
    table = pd.read_csv("runs/growth/lenet/latest/submission_last.csv")
    assert table.columns.tolist() == ["idx", "time_delta"]
    assert table["idx"].tolist() == list(range(30))
    items = pd.read_csv("runs/growth/lenet/latest/submission_last_items.csv").set_index("photo")
    assert set(items["species"]) == {"BC", "LT"}
    rows = pd.read_csv(growth_root / "test_dataset" / "test_data.csv")
    assert len(items) == len(set(rows["before_file_path"]) | set(rows["after_file_path"]))
    before, after = ("age", "age") if design == "siamese" else ("before_code", "after_code")
    days = items.loc[rows["after_file_path"], after].to_numpy() - items.loc[rows["before_file_path"], before].to_numpy()
    assert np.allclose(table["time_delta"], np.maximum(days, 1), atol=1e-3)


@pytest.mark.slow
def test_predict_encodes_each_photo_once(
    run: Run, growth_root: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    encode = PairNet.encode
    monkeypatch.setattr(PairNet, "encode", lambda net, images: encoded.append(len(images)) or encode(net, images))
    run("growth", "predict", "--ckpt_path", checkpoint, "--submission.path", "s.csv")
    rows = pd.read_csv(growth_root / "test_dataset" / "test_data.csv")
    assert sum(encoded) == len(set(rows["before_file_path"]) | set(rows["after_file_path"])) < 60


@pytest.mark.slow
def test_fitted_model_beats_the_mean_by_far(run: Run, tmp_path: Path) -> None:
    root = tmp_path / "drawn"
    draw(root, plants=5, days=16, test_plants=2, test_pairs=60, width=96, height=72, seed=3, scene="pots")
    network = ("--model.backbone", "timm/test_resnet", "--model.image_size", 48, "--model.lr", 2e-3)
    epochs = ("--trainer.max_epochs", 60, "--trainer.check_val_every_n_epoch", 60)  # and no more checkpoints
    run("growth", "fit", *SMALL, *network, "--data.root", root, *epochs)
    run("growth", "predict", "--ckpt_path", "last", "--submission.path", "s.csv")
    predicted = pd.read_csv("s.csv")["time_delta"].to_numpy()
    days = np.array(
        [elapsed for _, _, elapsed in pairs(plan_of(plants=5, test_plants=2, test_pairs=60, days=16, seed=3), 3)]
    )
    assert np.sqrt(np.mean((predicted - days) ** 2)) < 0.5 * days.std()  # 0.23 to 0.37 with other seeds and epochs


@pytest.mark.slow
def test_an_epoch_of_few_steps_has_a_training_loss(fitted: Path) -> None:
    assert len(pd.read_csv(fitted / "metrics.csv")["train/loss"].dropna()) == 1


@pytest.mark.slow
def test_validate_measures_the_fold_that_was_held_out(run: Run, fitted: Path, checkpoint: Path) -> None:
    logged = pd.read_csv(fitted / "metrics.csv")["val/rmse"].dropna().iloc[-1]
    said = run("growth", "validate", "--ckpt_path", checkpoint)
    assert str(logged)[:6] in said
    assert re.search(r"val/loss +[0-9.]+ days²\n", said)  # a unit that depends on the fit's arguments


@pytest.mark.slow
def test_min_days_and_rounding_change_predictions_only(run: Run, refused: Run, checkpoint: Path) -> None:
    words = ("--model.min_days", 2, "--model.round_days", "true")
    run("growth", "predict", "--ckpt_path", checkpoint, "--submission.path", "s.csv", *words)
    days = pd.read_csv("s.csv")["time_delta"]
    assert days.min() >= 2
    assert (days == days.round()).all()
    line = refused("growth", "predict", "--ckpt_path", checkpoint, "--model.min_days", "null")
    assert f"--model.min_days null: the checkpoint {checkpoint} has 1.0; leave it out" in line


@pytest.mark.slow
@pytest.mark.parametrize(
    "network", [(), ("--model.backbone", "mobilenet_v2"), ("--model.backbone", "lenet", "--model.head", "linear")]
)
def test_seed_configuration_trains(run: Run, growth_root: Path, network: tuple[str, ...]) -> None:
    words = (*network, "--model.pretrained", "false", "--model.image_size", 64, "--data.pairs_per_batch", 4)
    config = CONFIGS / "seed" / "seed.yaml"
    run("growth", "fit", "--config", config, "--data.root", growth_root, *words, "--trainer.fast_dev_run", 1)


@pytest.mark.slow
@pytest.mark.parametrize("config", ["lenet", "mobilenet", "resnext", "small", "demo"])
def test_configurations_train(run: Run, growth_root: Path, config: str) -> None:
    words = ("--model.pretrained", "false", "--model.image_size", 64, "--data.images_per_plant", 4)
    run(
        "growth",
        "fit",
        "--config",
        CONFIGS / f"{config}.yaml",
        "--data.root",
        growth_root,
        *words,
        "--trainer.fast_dev_run",
        1,
    )


def test_seed_configuration_is_the_seed_design() -> None:
    config = yaml.safe_load((CONFIGS / "seed" / "seed.yaml").read_text())
    assert config["model"]["design"] == "twin"
    assert config["model"]["image_size"] == 224
    assert config["data"]["pairs"] == "random"
    assert (config["data"]["pair_within"], config["data"]["num_pairs"]) == ("species", 5000)
    assert config["data"]["pairs_per_batch"] == 64


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--data.fold", 5), "--data.fold 5: there are folds 0 to 4"),
        (("--data.fold", 0, "--data.num_folds", 99), "--data.num_folds 99: 8 plants can be held out; give 2 to 8"),
        (("--data.val_fraction", 1.5), "--data.val_fraction 1.5: give a fraction between 0 and 1"),
        (("--data.train_fraction", 0), "--data.train_fraction 0.0: give a fraction above 0 and at most 1"),
        (("--data.train_fraction", "[0.5,1]"), "--data.train_fraction [0.5, 1.0]: give a fraction above 0"),
        (("--data.images_per_plant", 1), "a pair takes two photos"),
        (("--data.pairs", "random", "--data.num_pairs", 3), "--data.pairs_per_batch 64 is larger than"),
    ],
)
def test_settings_that_do_not_fit_the_data(
    refused: Run, growth_root: Path, words: tuple[object, ...], message: str
) -> None:
    assert message in refused("growth", "fit", *SMALL, "--data.root", growth_root, *words)
    assert not Path("runs").exists()


def test_no_data_yet(refused: Run) -> None:
    line = refused("growth", "fit", *SMALL)
    assert "python -m growth.synthetic data/growth" in line


def test_checkpoint_of_the_other_task(refused: Run, tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "hyper_parameters": {}, "task": "julia"}, tmp_path / "j.ckpt")
    assert "a checkpoint of julia, not of growth" in refused("growth", "predict", "--ckpt_path", "j.ckpt")


@pytest.mark.slow
def test_photo_that_cannot_be_decoded(refused: Run, growth_root: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(growth_root, tmp_path / "copy"))
    photo = next(copy.glob("train_dataset/BC/*/*.png"))
    photo.write_bytes(photo.read_bytes()[:200])
    assert photo.name in refused("growth", "fit", *SMALL, "--data.root", copy)


@pytest.mark.slow
def test_real_photos_make_a_submission(run: Run) -> None:
    root = REAL_DATA / "growth"
    if not root.is_dir():
        pytest.skip(f"no real data in {root}")
    run("growth", "fit", *SMALL, "--data.root", root, "--trainer.max_epochs", 1)
    run("growth", "predict", "--ckpt_path", "last", "--submission.path", "s.csv")
    sample = pd.read_csv(root / "sample_submission.csv")
    table = pd.read_csv("s.csv")
    assert table["idx"].tolist() == sample["idx"].tolist()
    assert len(table) == 366
    assert table["time_delta"].between(1, 60).all()
