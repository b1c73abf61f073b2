from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from common import export
from common.checkpoints import read_checkpoint
from common.errors import UserError
from growth.model import GrowthRegressor
from julia.files import CLASSES
from julia.model import CharacterClassifier
from tests.conftest import PARTS_OF_A_FIT, Run

pytestmark = pytest.mark.slow

JULIA = ("resnet18", "airbench", "lenet", "efficientnet_b0")
GROWTH = ("lenet", "mobilenet_v2", "resnext50_32x4d", "leaf_hull")


def saved(model: Any, path: Path) -> Path:
    """Write what a checkpoint needs, of random weights."""
    torch.manual_seed(0)
    state = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams), "task": model.task}
    torch.save({**PARTS_OF_A_FIT, **state, "classes": model.classes, "epoch": 4}, path)
    return path


def session(path: str) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("backbone", JULIA)
def test_julia(run: Run, backbone: str) -> None:
    model = CharacterClassifier(backbone, image_size=32).eval()
    saved(model, Path("x.ckpt"))
    run("julia", "export", "--ckpt_path", "x.ckpt", "--output", "x.onnx")
    exported = session("x.onnx")
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 32, 32), dtype=np.uint8)
    (probabilities,) = exported.run(["probabilities"], {"images": images})
    with torch.no_grad():
        ours = model(torch.from_numpy(images).float() / 255).softmax(dim=1).numpy()
    assert np.abs(probabilities - ours).max() < 1e-4
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-4)
    about = exported.get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == list(CLASSES)
    assert (about["task"], about["image_size"], about["channels"], about["checkpoint"]) == (
        "julia",
        "32",
        "1",
        "x.ckpt",
    )
    assert sorted(path.name for path in Path().iterdir()) == ["x.ckpt", "x.onnx"]
    assert str(Path(export.__file__).parent).encode() not in Path("x.onnx").read_bytes()  # no path of this machine


@pytest.mark.parametrize(("backbone", "design"), [*((name, "siamese") for name in GROWTH), ("lenet", "twin")])
def test_growth(run: Run, backbone: str, design: Any) -> None:
    model = GrowthRegressor(backbone, design, image_size=48, normalize="none", pretrained=False).eval()
    saved(model, Path("x.ckpt"))
    run("growth", "export", "--ckpt_path", "x.ckpt", "--output", "x.onnx")
    exported = session("x.onnx")
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 48, 48), dtype=np.uint8)
    pairs = {"before": np.array([0, 1, 2, 3, 0]), "after": np.array([1, 2, 3, 0, 0])}
    (days,) = exported.run(["days"], {"images": images, **pairs})
    with torch.no_grad():
        ours = model(torch.from_numpy(images).float() / 255, *map(torch.from_numpy, pairs.values())).numpy()
    assert days.shape == (5,) and np.abs(days - ours).max() < 1e-4
    if design == "siamese":
        assert days[:4].sum() == pytest.approx(0, abs=1e-4) and days[4] == 0
    about = exported.get_modelmeta().custom_metadata_map
    assert (about["task"], about["unit"], about["classes"]) == ("growth", "days", "")


def test_what_differs_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    saved(CharacterClassifier("lenet"), Path("x.ckpt"))
    model = read_checkpoint(Path("x.ckpt"), CharacterClassifier).build(CharacterClassifier)
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(UserError, match=r"x\.onnx: onnxruntime differs from PyTorch by .*: not written"):
        export.export(model, "x.ckpt", Path("x.onnx"))
    assert sorted(path.name for path in Path().iterdir()) == ["x.ckpt"]


def test_answers_that_are_no_numbers_are_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    class Session:
        def run(self, outputs: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [np.full((len(inputs["images"]), 62), np.nan, dtype=np.float32)]

    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: Session())
    model = CharacterClassifier("lenet", image_size=28).eval()
    assert np.isnan(export._difference(model.deployed(), Path("x.onnx")))


@pytest.mark.parametrize(
    ("output", "message"),
    [("x.pt", "--output x.pt: give the name of a .onnx file"), ("no/x.onnx", "the folder no does not exist")],
)
def test_where_it_cannot_be_written(refused: Run, output: str, message: str) -> None:
    saved(CharacterClassifier("lenet"), Path("x.ckpt"))
    assert message in refused("julia", "export", "--ckpt_path", "x.ckpt", "--output", output)


def test_the_exporter_is_not_loaded_before_it_is_needed(run: Run) -> None:
    for name in [name for name in sys.modules if name.startswith("onnxruntime")]:
        del sys.modules[name]
    with pytest.raises(SystemExit):
        run("julia", "export", "--help")
    assert not any(name.startswith("onnxruntime") for name in sys.modules)
