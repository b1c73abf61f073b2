"""How sure answers are, the same at the command line, from Python, and in the ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from PIL import Image

import growth
import julia
from common.checkpoints import read_checkpoint
from common.errors import UserError
from growth.model import GrowthRegressor
from growth.page import GrowthPage
from julia.model import CharacterClassifier
from tests.conftest import PARTS_OF_A_FIT, QUIET, Run

SIZE = 24
TEMPERATURE = {"temperature": 0.3, "rows": 500.0}
WIDE = {"plants": 12.0, "base": 0.5, "slope": 0.2, "width_80": 1.5, "width_90": 2.0}


def saved(model: Any, path: Path, calibration: object) -> Path:
    """Write what a checkpoint needs, of random weights."""
    state = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams), "task": model.task}
    about = {"classes": model.classes, "epoch": 4, "precision": "32-true", "calibration": calibration}
    torch.save({**PARTS_OF_A_FIT, **state, **about}, path)
    return path


@pytest.fixture
def characters() -> Path:
    torch.manual_seed(0)
    return saved(CharacterClassifier("lenet", image_size=SIZE), Path("julia.ckpt"), {1: TEMPERATURE})


@pytest.fixture
def plants() -> Path:
    torch.manual_seed(0)
    model = GrowthRegressor("lenet", image_size=SIZE, pretrained=False)
    return saved(model, Path("growth.ckpt"), {1: WIDE})


@pytest.fixture
def images() -> list[str]:
    """Images of the networks' own size, which no resizing changes."""
    rng = np.random.default_rng(0)
    names = []
    for number in range(4):
        names.append(f"{number}.png")
        Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(names[-1])
    return names


def deployed(path: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def test_probabilities(run: Run, characters: Path, images: list[str]) -> None:
    said = run("julia", "predict", "--ckpt_path", characters, "--images", *images)
    assert "by temperature 0.30, fitted on 500 held-out bitmaps" in said
    table = pd.read_csv("images/images.csv", dtype={"Class": str}, keep_default_na=False)
    guesses = julia.load(characters).classify(images)
    assert np.array_equal(np.float32([guess.probability for guess in guesses]), table["probability"].to_numpy("f4"))
    run("julia", "export", "--ckpt_path", characters, "--output", "x.onnx")
    grey = np.stack([np.asarray(Image.open(name).convert("L"))[None] for name in images])
    probabilities = deployed("x.onnx", images=grey)["probabilities"]
    assert np.abs(probabilities.max(axis=1) - table["probability"]).max() < 1e-4
    # As fitted, the same answers are less sure.
    saved(read_checkpoint(characters, CharacterClassifier).build(CharacterClassifier), Path("plain.ckpt"), {})
    plain = julia.load("plain.ckpt").classify(images)
    assert [guess.character for guess in plain] == table["Class"].tolist()
    assert all(one.probability < two.probability for one, two in zip(plain, guesses, strict=True))


def test_intervals(run: Run, plants: Path, images: list[str]) -> None:
    said = run("growth", "predict", "--ckpt_path", plants, "--images", *images)
    assert "intervals: of 80 %, of 90 %; learned from 12 held-out plants" in said
    days = pd.read_csv("images/days.csv").set_index(["before", "after"])
    model = growth.load(plants)
    run("growth", "export", "--ckpt_path", plants, "--output", "x.onnx")
    pixels = np.stack([np.asarray(Image.open(name)).transpose(2, 0, 1) for name in images])
    pairs = {"before": np.array([0, 2]), "after": np.array([1, 3])}
    exported = deployed("x.onnx", images=pixels, **pairs)
    for number, (one, other) in enumerate(((images[0], images[1]), (images[2], images[3]))):
        row = days.loc[(one, other)]
        for level in (80, 90):
            low, high = model.interval(one, other, level)
            half = WIDE[f"width_{level}"] * (0.5 + 0.2 * abs(row["days"]))
            assert (low, high) == pytest.approx((row["days"] - half, row["days"] + half), abs=1e-4)
            # Batches of four and of two photos differ in the last digit on some processors.
            assert [low, high] == pytest.approx(row[[f"low_{level}", f"high_{level}"]].tolist(), abs=1e-5)
            assert exported[f"low_{level}"][number] == pytest.approx(low, abs=1e-4)
            assert exported[f"high_{level}"][number] == pytest.approx(high, abs=1e-4)


def test_the_page_says_how_sure_it_is(plants: Path, images: list[str]) -> None:
    model = growth.load(plants)
    page = GrowthPage(model)
    (low, high), (least, most) = (model.interval(images[0], images[1], level) for level in (80, 90))
    shown = page.answer(images[:2]).shown
    assert f"80 % sure: {low:.1f} to {high:.1f} days; 90 % sure: {least:.1f} to {most:.1f} days" in shown
    model.models[0].calibration = {name: value for name, value in WIDE.items() if name != "width_90"}
    assert f"80 % sure: {low:.1f} to {high:.1f} days; 90 % takes 9 held-out plants" in page.answer(images[:2]).shown
    model.models[0].calibration = {"plants": 2.0}
    assert "intervals: none of 80 %, which takes 4" in page.answer(images[:2]).shown


def test_too_few_plants_are_said(run: Run, plants: Path, images: list[str]) -> None:
    model = read_checkpoint(plants, GrowthRegressor).build(GrowthRegressor)
    saved(model, Path("few.ckpt"), {1: {name: value for name, value in WIDE.items() if name != "width_90"}})
    assert "none of 90 %, which takes 9" in run("growth", "predict", "--ckpt_path", "few.ckpt", "--images", *images)
    assert list(pd.read_csv("images/days.csv")) == ["before", "after", "days", "low_80", "high_80"]
    with pytest.raises(UserError, match="no interval of 90 %: it takes 9 held-out plants, and 12 were held out"):
        growth.load("few.ckpt").interval(images[0], images[1])
    for level in (95, "80", 0.8, None, True):
        with pytest.raises(UserError, match=f"level {level}: give one of 80, 90"):
            growth.load("few.ckpt").interval(images[0], images[1], level)  # type: ignore[arg-type]


def test_answers_that_are_not_sure_enough_are_left_out(
    run: Run, refused: Run, characters: Path, plants: Path, images: list[str], julia_root: Path
) -> None:
    sure = [guess.probability for guess in julia.load(characters).classify(images)]
    least = float(np.mean(sorted(sure)[1:3]))
    words = ("julia", "predict", "--ckpt_path", characters, "--submission.min_probability", least)
    run(*words, "--images", *images)
    table = pd.read_csv("images/images.csv", dtype=str, keep_default_na=False)
    assert [bool(name) for name in table["Class"]] == [one >= least for one in sure]
    said = run(*words, "--data.root", julia_root)
    path = Path(f"submission_julia_min{least:g}.csv")
    given = pd.read_csv(path, dtype=str, keep_default_na=False)["Class"]
    items = pd.read_csv(path.with_name(f"{path.stem}_items.csv"), dtype={"Class": str}, keep_default_na=False)
    assert [bool(name) for name in given] == (items["probability"] >= least).tolist()
    assert f"answered: {sum(map(bool, given))} of 31; not a valid submission" in said
    message = "--submission.min_probability 0.5: growth gives no probabilities; leave it out"
    words = ("growth", "predict", "--ckpt_path", plants, "--submission.min_probability", 0.5)
    assert message in refused(*words, "--images", *images)


@pytest.mark.slow
def test_a_cross_validation_calibrates_all_its_checkpoints(run: Run, growth_root: Path, forked_children: None) -> None:
    words = ("--model.backbone", "leaf_hull", "--model.pretrained", "false", "--model.normalize", "none")
    words += ("--model.image_size", "32", "--data.plants_per_batch", "2", "--data.num_folds", "4")
    said = run("growth", "crossval", *words, "--data.root", growth_root, "--trainer.max_epochs", 2, *QUIET)
    assert "intervals: of 80 %, none of 90 %, which takes 9; learned from 8 held-out plants" in said
    home = Path("runs/growth/leaf_hull")
    held_out = pd.read_csv(home / "out_of_fold.csv")
    covered = held_out["days"].between(held_out["low_80"], held_out["high_80"]).mean()
    assert f"coverage_80, each fold by the others: {covered:.4f}" in said
    assert (home / "intervals.png").is_file()
    # Of one fold alone there are no others to learn from, and none of its own rows is used.
    run("growth", "crossval", *words, "--data.root", growth_root, "--trainer.max_epochs", 2, *QUIET, "--folds", 0)
    assert "low_80" not in pd.read_csv(home / "out_of_fold_folds0.csv")
    # Nor do two folds undo what all of them have taught.
    run("growth", "crossval", *words, "--data.root", growth_root, "--trainer.max_epochs", 2, *QUIET, "--folds", "0,1")
    paths = sorted(home.glob("fold_*/latest/checkpoints/last.ckpt"))
    pooled = [read_checkpoint(path, GrowthRegressor).calibration[1] for path in paths]
    assert len(pooled) == 4 and pooled[0]["plants"] == 8 and all(one == pooled[0] for one in pooled)
    # The best checkpoint of a fold knows its own two plants alone.
    best = read_checkpoint(paths[0].with_name("best.ckpt"), GrowthRegressor)
    assert best.calibration[1]["plants"] == 2 and "width_80" not in best.calibration[1]
    said = run("growth", "predict", "--ckpt_path", *paths, "--data.root", growth_root)
    intervals = pd.read_csv(home / "submission_ensemble4_intervals.csv")
    assert list(intervals) == ["idx", "time_delta", "low_80", "high_80"]
    assert intervals["time_delta"].between(intervals["low_80"], intervals["high_80"]).all()
    # One that knows none leaves none behind.
    words = ("--submission.path", home / "submission_ensemble4.csv", "--data.root", growth_root)
    run("growth", "predict", "--ckpt_path", paths[0].with_name("best.ckpt"), *words)
    assert not (home / "submission_ensemble4_intervals.csv").exists()
    assert not (home / "submission_ensemble4_spread.csv").exists()


@pytest.mark.slow
def test_a_fit_learns_a_temperature_and_keeps_it(run: Run, julia_root: Path) -> None:
    words = ("--model.backbone", "lenet", "--model.image_size", 20, "--data.batch_size", 60, "--data.root", julia_root)
    run("julia", "fit", *words, "--trainer.max_epochs", 2, *QUIET)
    home = Path("runs/julia/lenet/version_0")
    logged = pd.read_csv(home / "metrics.csv")
    assert {"val/ece", "val/ece_calibrated", "val/nll", "val/nll_calibrated"} <= set(logged)
    assert logged["val/nll_calibrated"].dropna().iloc[-1] <= logged["val/nll"].dropna().iloc[-1] + 0.05
    for name in ("reliability", "answered"):
        assert (home / "pictures" / f"{name}.png").is_file()
    last = read_checkpoint(home / "checkpoints" / "last.ckpt", CharacterClassifier)
    assert last.calibration[1]["rows"] == 62 and last.calibration[1]["temperature"] > 0
