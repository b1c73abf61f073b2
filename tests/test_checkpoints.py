"""A checkpoint on data that have changed since, in plain Python, and of an earlier version."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageOps

from common.checkpoints import read_checkpoint
from common.ensemble import data_of
from growth.data import GrowthData
from growth.model import GrowthRegressor
from julia.data import CharacterData
from julia.model import CharacterClassifier
from julia.synthetic import draw as draw_julia
from tests import quick
from tests.conftest import PARTS_OF_A_FIT, Run, Shared

QUIET = ("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false")
MODELS: dict[str, Any] = {"julia": CharacterClassifier, "growth": GrowthRegressor}
DATA: dict[str, Any] = {"julia": CharacterData, "growth": GrowthData}
NETWORKS: dict[str, tuple[object, ...]] = {
    "julia": ("--model.backbone", "lenet", "--model.image_size", 28, "--data.batch_size", 32),
    "growth": (
        *("--model.backbone", "leaf_hull", "--model.normalize", "none", "--model.pretrained", "false"),
        *("--model.image_size", 32, "--data.plants_per_batch", 2, "--data.images_per_plant", 3),
    ),
}


def add_bitmaps(root: Path) -> None:
    """Put 62 more bitmaps into the synthetic julia set, those that a larger set goes on with."""
    draw_julia(Path("larger"), train=310 + 62, test=1, seed=0)
    for folder in ("train", "trainResized"):
        for path in Path("larger", folder).iterdir():
            if int(path.stem) > 310:
                shutil.copy(path, root / folder / f"9{path.name}")
    table = pd.read_csv("larger/trainLabels.csv", dtype=str, keep_default_na=False).iloc[310:]
    lines = [f"9{number},{name}\n" for number, name in table.itertuples(index=False)]
    with (root / "trainLabels.csv").open("a") as stream:
        stream.writelines(lines)


def add_plant(root: Path) -> None:
    """Put one more plant into the synthetic growth set."""
    plants = sorted((root / "train_dataset" / "BC").iterdir())
    shutil.copytree(plants[0], plants[0].with_name("BC_09"))


@pytest.mark.slow
@pytest.mark.parametrize(("task", "add", "new"), [("julia", add_bitmaps, 62), ("growth", add_plant, 8)])
def test_rows_that_were_added_since_are_never_scored_as_new(
    run: Run,
    refused: Run,
    julia_root: Path,
    growth_root: Path,
    forked_children: None,
    task: str,
    add: Callable[[Path], None],
    new: int,
) -> None:
    root = Path(shutil.copytree({"julia": julia_root, "growth": growth_root}[task], "set"))
    words = (*NETWORKS[task], *QUIET, "--data.root", root, "--trainer.max_epochs", 1)
    crossval = (task, "crossval", *words, "--data.num_folds", 2, "--folds", 0)
    assert "fitting it again" not in run(*crossval)
    (fold,) = Path("runs", task).glob("*/fold_0/version_0")
    last = fold / "checkpoints" / "last.ckpt"
    assert "not fitted again" in run(*crossval)
    run(task, "validate", "--ckpt_path", last, *QUIET)

    add(root)
    line = refused(task, "validate", "--ckpt_path", last, *QUIET)
    assert line.startswith("error: the data differ from those that the checkpoint was fitted on: ")
    assert f"{new} rows are new (" in line and line.endswith("give the same data")
    run(task, "predict", "--ckpt_path", last, "--submission.path", "s.csv")
    assert Path("s.csv").is_file()

    said = run(*crossval)
    assert "fold 0: the data differ from those" in said and "fitting it again" in said
    assert (fold.with_name("version_1") / "result.json").is_file()
    run(task, "validate", "--ckpt_path", fold.with_name("version_1") / "checkpoints" / "last.ckpt", *QUIET)
    assert "not fitted again" in run(*crossval)


@pytest.mark.slow
@pytest.mark.parametrize("task", MODELS)
def test_other_true_values_are_other_data(
    run: Run, refused: Run, julia_root: Path, growth_root: Path, task: str
) -> None:
    root = Path(shutil.copytree({"julia": julia_root, "growth": growth_root}[task], "set"))
    image = sorted((root / {"julia": "train", "growth": "train_dataset"}[task]).rglob("*.*"))[0]
    content = image.read_bytes().ljust(99_999, b"\0")
    image.write_bytes(content)
    run(task, "fit", *NETWORKS[task], *QUIET, "--data.root", root, "--trainer.max_epochs", 1)
    (last,) = Path("runs", task).glob("*/version_0/checkpoints/last.ckpt")
    with Image.open(image) as pixels:
        ImageOps.invert(pixels.convert("RGB")).save(image, format=pixels.format)
    image.write_bytes(image.read_bytes().ljust(99_999, b"\0"))  # of the same name and size
    line = refused(task, "validate", "--ckpt_path", last, *QUIET)
    assert "images of the same names have changed; give the same data" in line
    image.write_bytes(content)
    if task == "julia":
        table = pd.read_csv(root / "trainLabels.csv", dtype=str, keep_default_na=False)
        table.loc[[0, 1], "Class"] = table.loc[[1, 0], "Class"].to_numpy()
        assert table.loc[0, "Class"] != table.loc[1, "Class"]
        table.to_csv(root / "trainLabels.csv", index=False)
    else:
        photos = sorted((root / "train_dataset" / "BC").rglob("*.png"))
        photos[-1].rename(photos[-1].with_name(photos[-1].name[:-6] + "40.png"))
    assert "the data differ from those" in refused(task, "validate", "--ckpt_path", last, *QUIET)


def plain(task: str, root: Path, path: Path) -> Any:
    """Fit in plain Python for two steps, and write a checkpoint."""
    from lightning import pytorch as pl

    torch.manual_seed(0)
    network = {"julia": ("lenet",), "growth": ("leaf_hull",)}[task]
    settings = {"julia": {"image_size": 28}, "growth": {"image_size": 32, "normalize": "none", "pretrained": False}}
    model = MODELS[task](*network, **settings[task])
    size = settings[task]["image_size"]
    data = DATA[task](str(root), image_size=size, **({"batch_size": 32} if task == "julia" else {}))
    options: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(max_steps=2, accelerator="cpu", enable_model_summary=False, **options)
    trainer.fit(model, data)
    trainer.save_checkpoint(path)
    return model.eval()


@pytest.fixture
def fitted(shared: Shared, julia_root: Path, growth_root: Path) -> Callable[[str], Path]:
    """The run folder of a short fit."""

    def run_folder(task: str) -> Path:
        root = {"julia": julia_root, "growth": growth_root}[task]
        words = (task, "fit", *NETWORKS[task], *QUIET, "--data.root", root, "--trainer.max_epochs", 1)
        folder = shared(f"checkpoints-{task}", lambda folder: quick.typed(folder, *words)) / "runs" / task
        return folder / str(NETWORKS[task][1]) / "version_0"

    return run_folder


@pytest.mark.slow
@pytest.mark.parametrize(("task", "add", "new"), [("julia", add_bitmaps, 62), ("growth", add_plant, 8)])
def test_a_resume_on_other_data_is_refused_and_leaves_the_run_as_it_was(
    refused: Run,
    fitted: Callable[[str], Path],
    julia_root: Path,
    growth_root: Path,
    task: str,
    add: Callable[[Path], None],
    new: int,
) -> None:
    root = Path(shutil.copytree({"julia": julia_root, "growth": growth_root}[task], "set"))
    add(root)
    folder = Path("runs", task, str(NETWORKS[task][1]), "version_0")
    shutil.copytree(fitted(task), folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    words = ("--ckpt_path", folder / "checkpoints" / "last.ckpt", "--data.root", root, "--trainer.max_epochs", 2)
    line = refused(task, "fit", *words, *QUIET)
    assert "the data differ from those" in line and f"{new} rows are new (" in line
    assert [path.name for path in folder.parent.glob("version_*")] == ["version_0"]
    table = pd.read_csv(folder / "metrics.csv")
    pd.testing.assert_frame_equal(table, pd.read_csv(BytesIO(before.pop("metrics.csv")))[table.columns])
    assert {name: (folder / name).read_bytes() for name in before if (folder / name).exists()} == before


def inputs(task: str, size: int) -> tuple[torch.Tensor, ...]:
    images = torch.rand(3, 1 if task == "julia" else 3, size, size, generator=torch.Generator().manual_seed(0))
    return (images,) if task == "julia" else (images, torch.tensor([0, 1]), torch.tensor([1, 2]))


@pytest.mark.slow
@pytest.mark.parametrize("task", MODELS)
def test_load_from_checkpoint_gives_the_fitted_model_and_fetches_nothing(
    fitted: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: pytest.fail("fetches weights"))
    path = fitted(task) / "checkpoints" / "best.ckpt"
    model = MODELS[task].load_from_checkpoint(path).eval()
    wanted = read_checkpoint(path, MODELS[task]).build(MODELS[task])
    example = inputs(task, model.hparams["image_size"])
    with torch.no_grad():
        assert torch.equal(model(*example), wanted(*example))
    assert dict(model.hparams) == dict(wanted.hparams)
    assert model.hparams["backbone"] == NETWORKS[task][1]
    weights = torch.load(path, weights_only=True)["state_dict"]
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    changed = MODELS[task].load_from_checkpoint(path, lr=0.5)
    assert (changed.lr, changed.hparams["lr"]) == (0.5, 0.5)


def test_weights_that_were_pretrained_are_not_fetched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = GrowthRegressor("mobilenet_v3_small", image_size=32, pretrained=False).eval()
    state = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams), "task": "growth"}
    torch.save({**PARTS_OF_A_FIT, **state}, "x.ckpt")
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: pytest.fail("fetches weights"))
    again = GrowthRegressor.load_from_checkpoint("x.ckpt").eval()
    with torch.no_grad():
        assert torch.equal(again(*inputs("growth", 32)), model(*inputs("growth", 32)))


@pytest.mark.slow
@pytest.mark.parametrize("task", MODELS)
def test_a_fit_in_plain_python_is_a_checkpoint_like_any(
    run: Run, julia_root: Path, growth_root: Path, task: str
) -> None:
    root = {"julia": julia_root, "growth": growth_root}[task]
    model = plain(task, root, Path("x.ckpt"))
    again = MODELS[task].load_from_checkpoint("x.ckpt").eval()
    example = inputs(task, model.hparams["image_size"])
    with torch.no_grad():
        assert torch.equal(again(*example), model(*example))
    run(task, "predict", "--ckpt_path", "x.ckpt", "--submission.path", "s.csv")
    assert len(pd.read_csv("s.csv")) > 0
    assert "val/" in run(task, "validate", "--ckpt_path", "x.ckpt", *QUIET)


@pytest.mark.slow
@pytest.mark.parametrize("task", MODELS)
def test_a_checkpoint_of_an_earlier_version_predicts_and_validates_but_is_not_resumed(
    run: Run, refused: Run, fitted: Callable[[str], Path], task: str
) -> None:
    source = fitted(task) / "checkpoints" / "last.ckpt"
    saved = torch.load(source, weights_only=True)
    (name,) = (key for key, part in saved.items() if isinstance(part, dict) and "fit_seed" in part)
    assert name == DATA[task].__name__
    saved[name] = {"seed": 0}  # all that was said then
    torch.save(saved, "old.ckpt")
    del saved[name]
    torch.save(saved, "older.ckpt")
    figures = set()
    for path in (source, "older.ckpt"):
        run(task, "predict", "--ckpt_path", path, "--submission.path", f"{Path(path).stem}.csv")
        lines = run(task, "validate", "--ckpt_path", path, *QUIET).splitlines()
        figures.add(tuple(line for line in lines if "val/" in line))
    assert len(figures) == 1 and len(figures.pop()) >= 3
    run(task, "predict", "--ckpt_path", "old.ckpt")
    names = ("last.csv", "older.csv", "submission_old.csv")
    assert len({Path(name).read_bytes() for name in names}) == 1
    for path in ("old.ckpt", "older.ckpt"):
        line = refused(task, "fit", "--ckpt_path", path, "--trainer.max_epochs", 2)
        reason = "of an earlier version, whose fits cannot be resumed; predict and validate accept it"
        assert line == f"error: --ckpt_path {path}: {reason}"
    assert not Path("runs").exists()


def test_members_see_data_as_they_were_fitted_but_on_this_machine(tmp_path: Path) -> None:
    model, fitted = CharacterClassifier("lenet", image_size=28), CharacterData("theirs", shift=0.2, variant="resized")
    state = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams), "task": "julia"}
    settings = {"classes": model.classes, "datamodule_hyper_parameters": dict(fitted.hparams)}
    torch.save({**PARTS_OF_A_FIT, **state, **settings}, tmp_path / "a.ckpt")
    member = read_checkpoint(tmp_path / "a.ckpt", CharacterClassifier)
    data = data_of(member, CharacterData("ours", num_workers=3, shift=0.1))
    assert (str(data.root), data.num_workers) == ("ours", 3)
    assert (data.hparams["shift"], data.hparams["variant"]) == (0.2, "resized")


@pytest.mark.slow
def test_members_submit_by_what_was_typed(
    run: Run, refused: Run, fitted: Callable[[str], Path], growth_root: Path
) -> None:
    source = fitted("growth") / "checkpoints" / "last.ckpt"
    saved = torch.load(source, weights_only=True)
    saved["hyper_parameters"]["min_days"] = -50.0
    saved["datamodule_hyper_parameters"] |= {"root": "/absent"}
    torch.save(saved, "other.ckpt")
    words = ("growth", "predict", "--data.root", growth_root, "--submission.tta", 8)
    members = ("--ckpt_path", "other.ckpt", source, "--submission.path", "s.csv")
    line = refused(*words, *members)  # whose smallest number of days?
    assert "--model.min_days: of the checkpoints, other.ckpt has -50.0, another 1.0; give one for all" in line
    line = refused(*words[:2], *words[4:], *members, "--model.min_days", 9)  # whose test photos?
    assert line.endswith(
        f"--data.root: of the checkpoints, other.ckpt has /absent, another {growth_root}; give one for all"
    )
    run(*words, *members, "--model.min_days", 9)
    assert pd.read_csv("s.csv")["time_delta"].min() >= 9
    # The same weights twice, seen in the same eight ways.
    assert np.allclose(pd.read_csv("s_spread.csv")["spread"], 0, atol=1e-5)
    # Its training flips photos; other views, or another loss under the same name, are not asked of it.
    for flag, value, has in (("--data.flip", "false", True), ("--model.loss", "l1", "mse")):
        line = refused(*words, "--ckpt_path", source, flag, value)
        assert f"the checkpoint {source} has {has}, which stays; leave it out" in line


@pytest.mark.slow
def test_a_fit_that_diverges_ends_in_one_line_and_leaves_no_checkpoint_of_it(refused: Run, julia_root: Path) -> None:
    words = ("julia", "fit", *NETWORKS["julia"], *QUIET, "--data.root", julia_root, "--trainer.precision", "32-true")
    line = refused(*words, "--trainer.max_epochs", 3, "--model.lr", 1e20, "--model.warmup", 0)
    assert line.startswith("error: the fit has diverged: ") and line.endswith("give a smaller --model.lr")
    for path in Path("runs").rglob("*.ckpt"):
        weights = torch.load(path, weights_only=True)["state_dict"]
        assert all(value.isfinite().all() for value in weights.values()), path
    assert not list(Path("runs").rglob("result.json"))


@pytest.mark.slow
def test_outputs_that_are_not_finite_are_not_submitted(refused: Run, fitted: Callable[[str], Path]) -> None:
    saved = torch.load(fitted("julia") / "checkpoints" / "last.ckpt", weights_only=True)
    name = next(name for name in saved["state_dict"] if name.endswith("weight"))
    saved["state_dict"][name][0] = torch.nan
    torch.save(saved, "x.ckpt")
    line = refused("julia", "predict", "--ckpt_path", "x.ckpt", "--submission.path", "s.csv")
    assert "outputs are not finite" in line
    assert [path.name for path in Path().glob("s*")] == []


@pytest.mark.slow
def test_what_a_launcher_left_in_the_environment_is_ignored_where_one_device_is_asked_for(
    tmp_path: Path, julia_root: Path
) -> None:
    words = ("julia", "fit", *NETWORKS["julia"], *QUIET, "--data.root", julia_root, "--trainer.max_epochs", 1)
    left = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "SLURM_PROCID": "3", "SLURM_NTASKS": "4"}
    said = quick.typed(tmp_path, *words, "--trainer.accelerator", "cpu", **left)
    assert "next: python -m julia predict" in said
    (run,) = tmp_path.glob("runs/julia/lenet/version_*")
    assert (run / "checkpoints" / "last.ckpt").is_file()
    about = json.loads((run / "run.json").read_text())
    assert (about["task"], about["monitor"], about["held_out"]["rows"]) == ("julia", "val/acc", 62)
    assert about["directions"] == dict(CharacterClassifier.directions)
    assert {"data.root", "data.cache_dir", "data.num_workers"} <= set(about["machine"])
