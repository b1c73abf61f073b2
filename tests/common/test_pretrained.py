"""A fit that begins with the weights of an earlier one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from common.errors import UserError
from growth.model import GrowthRegressor
from growth.synthetic import draw as draw_growth
from julia.model import CharacterClassifier
from tests.conftest import GROWTH, PARTS_OF_A_FIT, QUIET, Run

SMALL: dict[str, Any] = {"backbone": "mobilenet_v3_small", "image_size": 32, "pretrained": False}
OF_JULIA: dict[str, Any] = {**SMALL, "stem": "imagenet", "channels": 3, "normalize": "auto"}
PATH = "runs/x/best.ckpt"


def saved(model: Any, **more: Any) -> Any:
    """Write the checkpoint of a model, whose weights are random but not those of another."""
    Path(PATH).parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5))
    state = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams), "task": model.task}
    torch.save({**PARTS_OF_A_FIT, **state, "classes": model.classes, **more}, PATH)
    return model.eval()


def growth(**settings: Any) -> GrowthRegressor:
    return GrowthRegressor(**{**SMALL, **settings}).eval()


def julia(**settings: Any) -> CharacterClassifier:
    return CharacterClassifier(**{**OF_JULIA, **settings}).eval()


def equal(ours: nn.Module, theirs: nn.Module, but: tuple[str, ...] = ()) -> bool:
    """Whether all tensors but those of some layers are equal, and those are not."""
    pairs = zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True)
    return all((torch.equal if not name.startswith(but) else differ)(a, b) for (name, a), b in pairs)


def differ(a: Tensor, b: Tensor) -> bool:
    return not torch.equal(a, b)


def test_a_fit_of_the_same_task_begins_with_equal_predictions(capsys: pytest.CaptureFixture[str]) -> None:
    theirs = saved(growth())
    ours = growth(pretrained=PATH, lr=1e-5, loss="l1")
    photos = (torch.rand(2, 3, 32, 32), torch.tensor([0]), torch.tensor([1]))
    with torch.no_grad():
        assert torch.equal(ours(*photos), theirs(*photos))
    number = len(theirs.encoder.state_dict())
    told, warned = capsys.readouterr().err.splitlines()
    assert told == f"pretrained: {number} of {number} tensors from {PATH}"
    assert warned.startswith(f"warning: --model.pretrained {PATH}: of an earlier version, which does not tell from")
    assert "pretrained" not in ours.hparams


def test_across_tasks_the_head_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    theirs = saved(julia())
    assert equal(growth(pretrained=PATH).encoder, theirs.encoder, ("classifier.3",))
    said = capsys.readouterr().err
    assert "; not taken: classifier.3.weight, classifier.3.bias (" in said
    assert "(outputs of julia there, of growth here; 62 outputs there, 1 here)\n" in said


def test_a_head_whose_outputs_mean_something_else_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    theirs = saved(growth(days_scale=5.0))
    assert equal(growth(pretrained=PATH).encoder, theirs.encoder, ("classifier.3",))
    assert "(days_scale 5.0 there, 10.0 here)" in capsys.readouterr().err
    other = saved(julia(), classes="zyx")
    assert equal(julia(pretrained=PATH).encoder, other.encoder, ("classifier.3",))
    assert "(other classes there)" in capsys.readouterr().err


def test_encoders_of_twins() -> None:
    one = saved(growth())
    both = growth(pretrained=PATH, design="twin").net
    assert both.before_net is not None
    assert equal(both.after_net, one.encoder)
    assert equal(both.before_net, one.encoder)
    twin = saved(growth(design="twin"))
    again = growth(pretrained=PATH, design="twin")
    assert equal(again, twin)
    with pytest.raises(UserError, match=r"has 2 encoders \(net\.\w+ and net\.\w+\), this network 1"):
        growth(pretrained=PATH)


def test_networks_of_our_own_and_of_timm() -> None:
    for name in ("airbench", "timm/test_efficientnet"):
        theirs = saved(julia(backbone=name))
        assert equal(julia(backbone=name, pretrained=PATH), theirs)
    leaves = {"backbone": "leaf_hull", "normalize": "none"}
    theirs = saved(growth(**leaves))
    assert equal(growth(**leaves, pretrained=PATH), theirs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "lenet"}, "its --model.backbone is mobilenet_v3_small, that of this fit lenet"),
        ({"channels": 1}, "its --model.channels is 3, that of this fit 1; give 3"),
        ({"stem": "small"}, "its --model.stem is imagenet, that of this fit small; give imagenet"),
        ({"head": "imagenet"}, "its --model.head is linear, that of this fit imagenet; give linear"),
        ({"normalize": "image"}, "with --model.normalize auto, this fit has image; give auto"),
    ],
)
def test_weights_of_another_network_are_refused(settings: dict[str, Any], message: str) -> None:
    saved(julia())
    for model in (growth, julia):
        with pytest.raises(UserError, match=f"--model.pretrained {PATH}: .*{message}"):
            model(**settings, pretrained=PATH)


def test_auto_is_imagenet_where_its_constants_are() -> None:
    theirs = saved(growth(normalize="imagenet"))
    assert equal(growth(pretrained=PATH).encoder, theirs.encoder)
    timm = {"backbone": "timm/tf_efficientnet_lite0"}
    saved(growth(**timm, normalize="imagenet"))
    with pytest.raises(UserError, match="normalize imagenet, this fit has auto; give imagenet"):
        growth(**timm, pretrained=PATH)


def test_a_size_that_the_weights_depend_on() -> None:
    saved(growth(backbone="lenet", image_size=48))
    line = r"1 tensor differs \(net.after_net.7.weight: 120×1600 there, 120×576 here\); its --model.image_size is 48"
    with pytest.raises(UserError, match=line):
        growth(backbone="lenet", pretrained=PATH)
    theirs = saved(growth(image_size=48))
    assert equal(growth(pretrained=PATH).encoder, theirs.encoder)


@pytest.mark.parametrize("kind", ["absent", "damaged", "another's", "values", "state dict"])
def test_files_that_are_no_checkpoint_of_ours(kind: str) -> None:
    saved(growth())
    data = Path(PATH).read_bytes()
    if kind == "absent":
        Path(PATH).unlink()
    if kind == "damaged":
        Path(PATH).write_bytes(data[: len(data) // 2])
    if kind == "another's":
        torch.save({"state_dict": {}, "epoch": 3, "pytorch-lightning_version": "2.6.4"}, PATH)
    if kind == "values":
        torch.save({"state_dict": {"a": 1}, "hyper_parameters": {}, "task": "growth"}, PATH)
    if kind == "state dict":
        torch.save(growth().state_dict(), PATH)
    with pytest.raises(
        UserError, match=rf"--model.pretrained {PATH}: (no such file|it is damaged|not a checkpoint of)"
    ):
        growth(pretrained=PATH)


@pytest.mark.slow
def test_a_second_fit_goes_on_from_the_first(run: Run, growth_root: Path, tmp_path: Path) -> None:
    network = ("--model.backbone", "lenet", "--model.image_size", 32, "--data.plants_per_batch", 6)
    first = ("--data.root", growth_root, "--data.fold", 0, "--data.num_folds", 4, "--trainer.max_epochs", 20)
    run("growth", "fit", *network, "--model.pretrained", "false", *first, "--model.lr", 3e-3, *QUIET)
    checkpoint = "runs/growth/lenet/version_0/checkpoints/last.ckpt"
    draw_growth(tmp_path / "others", plants=4, width=64, height=48, **{**GROWTH, "seed": 9})
    second = (
        "--data.root",
        tmp_path / "others",
        "--data.fold",
        1,
        "--data.num_folds",
        4,
        "--trainer.max_epochs",
        1,
        "--trainer.log_every_n_steps",
        1,
    )
    losses = []
    for number, pretrained in enumerate(("false", checkpoint)):
        said = run("growth", "fit", *network, "--model.pretrained", pretrained, *second, *QUIET)
        assert ("pretrained: 12 of 12 tensors from" in said) == bool(number)
        assert "have learned from" not in said  # these plants bear the same names, but are others
        table = pd.read_csv(f"runs/growth/lenet/version_{number + 1}/metrics.csv")
        losses.append(table["train/loss"].dropna().iloc[0])
    assert losses[1] < 0.8 * losses[0]
    own = ("--data.root", growth_root, "--data.fold", 1, *second[4:])
    said = run("growth", "fit", *network, "--model.pretrained", checkpoint, *own, "--name", "own", *QUIET)
    assert "warning: the pretrained weights have learned from 16 of the 16 held-out images: what is measured on" in said
    # Nor is it forgotten later: in the run, by validate, by a third fit from the second one's weights, by crossval.
    about = json.loads(Path("runs/growth/own/version_0/run.json").read_text())
    assert about["held_out"]["rows"] == "16 (16 of them learned from before)"
    weights = "runs/growth/own/version_0/checkpoints/last.ckpt"
    assert "learned from 16 of the 16 held-out images" in run("growth", "validate", "--ckpt_path", weights)
    said = run("growth", "fit", *network, "--model.pretrained", weights, *own, "--name", "third", *QUIET)
    assert "learned from 16 of the 16 held-out images" in said
    folds = ("--data.root", growth_root, "--data.num_folds", 4, "--trainer.max_epochs", 1)
    line = run("growth", "crossval", *network, "--model.pretrained", weights, *folds, fails=True)
    assert "--model.pretrained: these weights have learned from 64 of the 64 images, each of which a fold holds" in line
    # Beside the checkpoint of the second fit, the first is not needed.
    Path(checkpoint).unlink()
    run("growth", "predict", "--ckpt_path", "last", *QUIET)
