"""Two and three processes on one machine (gloo) do what one does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import Shared
from tests.quick import typed

REPOSITORY = Path(__file__).parents[1]
DDP = (
    "--config",
    REPOSITORY / "configs" / "extra" / "ddp.yaml",
    "--trainer.devices",
    2,
    "--trainer.accelerator",
    "cpu",
)
THREE = (*DDP[:3], 3, *DDP[4:])
QUIET = ("--trainer.enable_progress_bar", "false", "--trainer.precision", "32-true")


TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc_per_node", 2, "-m")


def figures(folder: Path, task: str, checkpoint: Path, *flags: object) -> dict[str, float]:
    """Type ``validate``, and read the figures from the table that it prints."""
    said = typed(folder, task, "validate", "--ckpt_path", checkpoint, *QUIET, *flags)
    return {name: float(value) for name, value in re.findall(r"(val/\w+)\W+([-\d.e]+)", said)}


@pytest.mark.slow
def test_julia_in_three_processes(tmp_path: Path, julia_root: Path) -> None:
    model = ("--model.backbone", "airbench", "--model.image_size", 16, "--data.batch_size", 16)
    words = ("--data.root", julia_root, *QUIET, "--trainer.max_epochs", 2)
    typed(tmp_path, "julia", "fit", *model, *words, *THREE)
    run = tmp_path / "runs" / "julia" / "airbench"
    assert sorted(path.name for path in run.iterdir()) == ["latest", "version_0"]
    assert json.loads((run / "version_0" / "result.json").read_text())["epochs"] == 2
    checkpoint = run / "version_0" / "checkpoints" / "last.ckpt"
    for number, flags in (("one", ()), ("three", THREE)):
        # 31 test bitmaps do not divide by three.
        typed(
            tmp_path,
            "julia",
            "predict",
            "--ckpt_path",
            checkpoint,
            "--submission.path",
            f"{number}.csv",
            *QUIET,
            *flags,
        )
    # 63 held-out bitmaps, which one process validates at once, three in shares.
    one, three = (figures(tmp_path, "julia", checkpoint, *flags) for flags in ((), THREE))
    assert one.keys() == three.keys() >= {"val/acc", "val/f1", "val/acc_case_blind", "val/loss"}
    assert one == pytest.approx(three, abs=1.1e-6)  # they are rounded
    # Fewer images than processes.
    picture = next((julia_root / "test").iterdir())
    typed(tmp_path, "julia", "predict", "--ckpt_path", checkpoint, "--images", picture, *QUIET, *THREE)
    one, three = (np.load(tmp_path / f"{number}.npz") for number in ("one", "three"))
    assert one["ids"].tolist() == three["ids"].tolist()
    assert np.allclose(one["probabilities"], three["probabilities"], atol=1e-5)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "three.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "flags"), [((), THREE), (TORCHRUN, DDP)])
def test_a_cross_validation_in_many_processes(
    tmp_path: Path, julia_root: Path, shared: Shared, launcher: tuple[object, ...], flags: tuple[object, ...]
) -> None:
    # LeNet has no statistics of a batch: of 60 bitmaps, in three or two shares or in one, it learns the same.
    # Two steps an epoch: of 155 bitmaps, shares make more batches than that, of which the rest would differ.
    model = ("--model.backbone", "lenet", "--model.image_size", 28, "--trainer.max_epochs", 2)
    words = (*model, "--data.root", julia_root, "--data.num_folds", 2, "--trainer.limit_train_batches", 2, *QUIET)

    def alone(folder: Path) -> None:
        typed(folder, "julia", "crossval", *words, "--data.batch_size", 60, "--name", "one")

    one = shared("crossval-one", alone) / "runs" / "julia" / "one"
    share = 30 if launcher else 20
    shown = ("--data.batch_size", share, "--name", "many", "--trainer.enable_progress_bar", "null")
    said = typed(tmp_path, *launcher, "julia", "crossval", *words, *shown, *flags)
    lines = re.findall(r"^(fold \d|epoch \d of \d)", said, re.MULTILINE)
    assert lines == ["fold 0", "epoch 1 of 2", "epoch 2 of 2", "fold 1", "epoch 1 of 2", "epoch 2 of 2"]
    assert said.count("over 2 folds") == 1  # one process speaks
    many = tmp_path / "runs" / "julia" / "many"
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in many.iterdir())
    assert [path.name for path in (many / "fold_1").glob("version_*")] == ["version_0"]
    whole, parts = (np.load(folder / "out_of_fold.npz") for folder in (one, many))
    assert whole["ids"].tolist() == parts["ids"].tolist()
    assert np.allclose(whole["estimates"], parts["estimates"], atol=1e-3)
    assert not np.allclose(whole["estimates"], 1 / 62, atol=1e-3)


@pytest.mark.slow
def test_growth_in_two_processes(tmp_path: Path, growth_root: Path) -> None:
    model = ("--model.backbone", "leaf_hull", "--model.pretrained", "false", "--model.normalize", "none")
    data = ("--model.image_size", 32, "--data.plants_per_batch", 1, "--data.images_per_plant", 3)
    typed(tmp_path, "growth", "fit", *model, *data, "--data.root", growth_root, *QUIET, "--trainer.max_epochs", 2, *DDP)
    run = tmp_path / "runs" / "growth" / "leaf_hull" / "version_0"
    checkpoint = run / "checkpoints" / "last.ckpt"
    for number, flags in (("one", ()), ("two", DDP)):
        typed(
            tmp_path,
            "growth",
            "predict",
            "--ckpt_path",
            checkpoint,
            "--submission.path",
            f"{number}.csv",
            *QUIET,
            *flags,
        )
    # Two held-out plants, of one species each; then one, which leaves a process without any.
    words = (*model, *data, "--data.root", growth_root, *QUIET, "--trainer.max_epochs", 1, "--name", "only")
    typed(tmp_path, "growth", "fit", *words, "--data.species", "[BC]", *DDP)
    for path in (checkpoint, tmp_path / "runs" / "growth" / "only" / "version_0" / "checkpoints" / "last.ckpt"):
        one, two = (figures(tmp_path, "growth", path, *flags) for flags in ((), DDP))
        assert one.keys() == two.keys() >= {"val/rmse", "val/mae", "val/r2", "val/rmse_BC"}
        assert one == pytest.approx(two, abs=1e-4)
    one, two = (pd.read_csv(tmp_path / f"{number}.csv") for number in ("one", "two"))
    assert one["idx"].tolist() == two["idx"].tolist()
    assert np.allclose(one["time_delta"], two["time_delta"], atol=1e-4)
