"""What colours tell: signs of two colours each, whose letters are all small or all capitals of the same shapes."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageDraw

import julia
from common.arguments import differing
from common.batches import ImageDataset, LabelledRows
from common.checkpoints import read_checkpoint
from common.decoding import resize
from common.predictor import Predictor
from julia.colours import DOUBT, WIDTH, ColourPrior, two_colours
from julia.data import CharacterData
from julia.files import CLASSES
from julia.model import CharacterClassifier
from tests.conftest import Run, Shared

SIGNS, EACH, TESTED = 20, 8, 2  # signs, and on each the bitmaps to learn from and to predict
ARGUMENTS = (
    *("--model.backbone", "airbench", "--model.image_size", 8, "--data.batch_size", 16, "--trainer.max_epochs", 8),
    *("--model.lr", 0.005, "--data.inversion", 0.5, "--trainer.enable_model_summary", "false"),
)


def bitmap(letter: str, paper: tuple[int, ...], ink: tuple[int, ...], at: tuple[int, int] = (0, 0)) -> Image.Image:
    """Draw a ring for any o, and a cross for any x, in either case, a few pixels from the middle."""
    image = Image.new("RGB", (24, 24), paper)
    draw = ImageDraw.Draw(image)
    left, top = at[0] + 4, at[1] + 4
    if letter.lower() == "o":
        draw.ellipse((left, top, left + 15, top + 15), outline=ink, width=4)
    else:
        draw.line((left, top, left + 15, top + 15), ink, 4)
        draw.line((left, top + 15, left + 15, top), ink, 4)
    return image


def draw_signs(root: Path) -> list[str]:
    """Draw signs whose letters are either all small or all capitals; return the truth of the test bitmaps."""
    rng = np.random.default_rng(0)
    labels, truth = [], []
    (root / "train").mkdir(parents=True)
    (root / "test").mkdir()
    for sign in range(SIGNS):
        paper, ink = (tuple(rng.integers(low, low + 120, 3).tolist()) for low in (130, 0))
        places = rng.permutation([(x, y) for x in range(-3, 4) for y in range(-3, 4)])  # no two bitmaps are equal
        for number in range(EACH + TESTED):
            letter = "xo"[number % 2]
            letter = letter if sign % 2 else letter.upper()
            part, named = ("train", labels) if number < EACH else ("test", truth)
            named.append(letter)
            bitmap(letter, paper, ink, places[number].tolist()).save(root / part / f"{len(named)}.Bmp")
    table = pd.DataFrame({"ID": range(1, len(labels) + 1), "Class": labels})
    table.to_csv(root / "trainLabels.csv", index=False)
    return truth


@pytest.fixture(scope="module")
def signs(shared: Shared) -> tuple[Path, list[str]]:
    def build(folder: Path) -> None:
        (folder / "truth.json").write_text(json.dumps(draw_signs(folder / "set")))

    folder = shared("signs", build)
    return folder / "set", json.loads((folder / "truth.json").read_text())


@pytest.fixture
def fitted(shared: Shared, signs: tuple[Path, list[str]], run: Run) -> Callable[[str], Path]:
    """Fit with the prior or without, once each, and get the folder of the run."""

    def fit(prior: str) -> Path:
        def build(folder: Path) -> None:
            settings = ("--data.root", signs[0], "--model.colour_prior", prior, "--trainer.default_root_dir", folder)
            run("julia", "fit", *ARGUMENTS, *settings, "--name", "signs")

        return shared(f"signs-{prior}", build) / "runs/julia/signs/version_0"

    return fit


def test_two_colours_are_those_of_ink_and_paper() -> None:
    red, navy, white = (200, 30, 40), (10, 20, 90), (250, 250, 245)
    images = torch.stack(
        [
            torch.from_numpy(np.array(bitmap("o", paper, ink))).permute(2, 0, 1) / 255
            for paper, ink in ((white, red), (red, white), (navy, navy))
        ]
    )
    expected = torch.tensor([[*red, *white], [*red, *white], [*navy, *navy]]) / 255
    torch.testing.assert_close(two_colours(images), expected)


def test_the_prior_follows_its_formula() -> None:
    """A bitmap of the same colours as three small letters, and far from two capitals, by hand."""
    images = np.zeros((5, 4, 4, 3), dtype=np.uint8)
    images[:3, :2], images[3:] = 255, 60
    images[3:, :2] = 120
    prior = ColourPrior()
    prior.learn(LabelledRows(images, np.arange(5), np.array([CLASSES.index(name) for name in "abcAB"])))
    logs = prior(torch.from_numpy(images[[0, 3]]).permute(0, 3, 1, 2) / 255)
    small, capital = CLASSES.index("o"), CLASSES.index("O")
    assert logs.shape == (2, 62)
    assert logs[0, small].exp().item() == pytest.approx((3 + DOUBT * 0.6) / (3 + DOUBT) / 0.6, rel=1e-4)
    assert logs[0, capital].exp().item() == pytest.approx(DOUBT / (3 + DOUBT), rel=1e-4)
    assert logs[1, capital].exp().item() == pytest.approx((2 + DOUBT * 0.4) / (2 + DOUBT) / 0.4, rel=1e-4)
    assert torch.isfinite(logs).all()  # although there is no digit
    near = images[[0]].astype(int)
    near[:, :2] -= 5
    asked = torch.from_numpy(near).permute(0, 3, 1, 2) / 255
    weight = 3 * np.exp(-3 * (5 / 255 / WIDTH) ** 2 / 2)
    assert prior(asked)[0, capital].exp().item() == pytest.approx(DOUBT / (weight + DOUBT), rel=1e-3)


def test_far_from_all_training_bitmaps_colours_tell_nothing() -> None:
    images = np.full((2, 4, 4, 3), 250, dtype=np.uint8)
    prior = ColourPrior()
    prior.learn(LabelledRows(images, np.arange(2), np.array([0, 30])))
    assert prior(torch.zeros(3, 3, 4, 4)).abs().max().item() < 1e-5
    probabilities = np.random.default_rng(0).dirichlet(np.ones(62), 3).astype(np.float32)
    rows = ImageDataset(np.zeros((3, 4, 4, 3), dtype=np.uint8))
    np.testing.assert_allclose(prior.adjust(probabilities, rows), probabilities, rtol=1e-4)


def test_a_copy_learns_with_it_and_its_state_is_restored() -> None:
    prior = ColourPrior()
    twin = copy.deepcopy(prior)
    images = np.random.default_rng(0).integers(0, 256, (7, 4, 4, 3), dtype=np.uint8)
    prior.learn(LabelledRows(images, np.arange(7), np.arange(7)))
    assert len(twin.colours) == 7
    other, state = ColourPrior(), prior.state_dict()
    other.load_state_dict(state)
    asked = torch.rand(3, 3, 4, 4)
    assert torch.equal(other(asked), prior(asked))
    shared = [one.untyped_storage().data_ptr() for one in (other.colours, other.kinds, *state.values())]
    assert len(set(shared)) == 3  # a checkpoint is mapped to memory, and its file could then not be replaced on Windows
    for damaged in (torch.zeros(9), torch.zeros(3, 8), torch.zeros(0, 9), torch.full((3, 9), torch.nan)):
        with pytest.raises(RuntimeError):
            other.load_state_dict(dict.fromkeys(state, damaged))


def test_colours_tell_the_case(fitted: Callable[[str], Path]) -> None:
    without, with_prior = (
        json.loads((fitted(given) / "result.json").read_text())["last"] for given in ("false", "true")
    )
    assert without < 0.8
    assert with_prior > 0.95
    # The network itself has learned the same.
    one, other = (
        pd.read_csv(fitted(given) / "metrics.csv")["train/loss"].dropna().to_numpy() for given in ("false", "true")
    )
    np.testing.assert_allclose(one, other, rtol=0.02)


def test_a_checkpoint_is_enough(
    run: Run, fitted: Callable[[str], Path], signs: tuple[Path, list[str]], tmp_path: Path
) -> None:
    root, truth = signs
    shutil.copytree(root / "test", tmp_path / "test")  # and nothing to learn from
    checkpoint = fitted("true") / "checkpoints/last.ckpt"
    place = ("--ckpt_path", checkpoint, "--data.root", tmp_path)
    run("julia", "predict", *place, "--submission.path", "one.csv")
    run("julia", "predict", *place, "--submission.path", "four.csv", "--submission.tta", 4)  # two of them negatives
    for name in ("one.csv", "four.csv"):
        assert np.mean(pd.read_csv(name)["Class"] == truth) > 0.95


def test_images_from_elsewhere_are_answered_without_it(
    run: Run, fitted: Callable[[str], Path], signs: tuple[Path, list[str]]
) -> None:
    """Whichever way they are given; teachers do without, too, since their pupil sees grey pixels."""
    root, truth = signs
    checkpoint = fitted("true") / "checkpoints/last.ckpt"
    bitmaps = [root / "test" / f"{number}.Bmp" for number in range(1, len(truth) + 1)]
    run("julia", "predict", "--ckpt_path", checkpoint, "--images", *bitmaps, "--output", ".")
    table = pd.read_csv("images.csv")
    assert np.mean(table["Class"] == truth) < 0.8
    guesses = julia.load(checkpoint).classify(bitmaps)
    assert [guess.probability for guess in guesses] == pytest.approx(table["probability"].tolist(), abs=1e-4)
    deployed = read_checkpoint(checkpoint, CharacterClassifier).build(CharacterClassifier).deployed().net
    pixels = np.stack([resize(Image.open(path).convert("L"), 8) for path in bitmaps]).reshape(-1, 1, 8, 8)
    with torch.no_grad():
        probabilities = deployed(torch.from_numpy(pixels)).numpy()
    assert probabilities.max(axis=1) == pytest.approx(table["probability"].to_numpy(), abs=0.05)  # bf16, another grey
    data = CharacterData(str(root), image_size=8)
    labels = Predictor(CharacterClassifier, data, checkpoint, "cpu", 1).predict_test_set()["probabilities"]
    assert np.mean([CLASSES[best] for best in labels.argmax(axis=1)] == np.array(truth)) < 0.8


def test_validation_predicts_what_the_fit_did(run: Run, fitted: Callable[[str], Path]) -> None:
    path = fitted("true")
    said = run("julia", "validate", "--ckpt_path", path / "checkpoints/last.ckpt")
    figure = json.loads((path / "result.json").read_text())["last"]
    assert f"{figure:.6f}" in said


def test_resuming_gives_the_same_fit(run: Run, fitted: Callable[[str], Path], signs: tuple[Path, list[str]]) -> None:
    settings = (*ARGUMENTS, "--data.root", signs[0], "--model.colour_prior", "true", "--trainer.max_epochs", 3)
    run("julia", "fit", *settings, "--save_every_n_epochs", 2, "--name", "whole")
    earlier = "runs/julia/whole/version_0/checkpoints/epoch_001.ckpt"
    run("julia", "fit", *settings, "--ckpt_path", earlier, "--name", "resumed")
    ends = [f"runs/julia/{name}/version_0/checkpoints/last.ckpt" for name in ("whole", "resumed")]
    one, other = (torch.load(end, weights_only=True)["state_dict"] for end in ends)
    assert "prior._extra_state" in one
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_fits_with_and_without_it_go_together(
    run: Run, fitted: Callable[[str], Path], signs: tuple[Path, list[str]]
) -> None:
    paths = {given: fitted(given) / "checkpoints/last.ckpt" for given in ("true", "false")}
    for one, other in (("true", "false"), ("false", "true")):
        both = ("--ckpt_path", paths[one], paths[other], "--data.root", signs[0], "--submission.path", f"{one}.csv")
        run("julia", "predict", *both)
        begun = ("--model.pretrained", paths[one], "--model.colour_prior", other, "--trainer.max_epochs", 1)
        said = run("julia", "fit", *ARGUMENTS, "--data.root", signs[0], *begun)
        assert "pretrained: 39 of 39 tensors" in said
    assert Path("true.csv").read_text() == Path("false.csv").read_text()


def test_settings_of_earlier_versions_are_those_without_it() -> None:
    earlier = {"model": {"backbone": "airbench"}}
    for given, expected in ((False, []), (True, ["model.colour_prior"])):
        now = {"model": {"backbone": "airbench", "colour_prior": given}}
        assert differing(earlier, now, CharacterClassifier, CharacterData) == expected


def test_a_checkpoint_without_it_stays_so(refused: Run, fitted: Callable[[str], Path]) -> None:
    path = fitted("false") / "checkpoints/last.ckpt"
    said = refused("julia", "predict", "--ckpt_path", path, "--model.colour_prior", "true")
    assert said.startswith("error: --model.colour_prior True: the checkpoint")
    saved = torch.load(path, weights_only=True)
    for part in ("hyper_parameters", "datamodule_hyper_parameters"):
        del saved[part]["colour_prior"]  # as in earlier versions
    torch.save(saved, "earlier.ckpt")
    again = refused("julia", "predict", "--ckpt_path", "earlier.ckpt", "--model.colour_prior", "true")
    assert again == said.replace(str(path), "earlier.ckpt")
