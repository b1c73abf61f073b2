from __future__ import annotations

import gc
import json
import os
import re
import shutil
import subprocess
import sys
import time
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from common import ensemble
from common.errors import UserError
from common.out_of_fold import Estimates
from common.runs import read_run
from julia.files import CLASSES
from tests import quick
from tests.conftest import PARTS_OF_A_FIT, Run

SMALL = ("--model.backbone", "airbench", "--model.image_size", 16, "--trainer.enable_progress_bar", "false")
ONE_EPOCH = ("--trainer.max_epochs", 1, "--data.batch_size", 32, "--data.num_folds", 3)


@pytest.fixture
def crossval(run: Run, julia_root: Path, forked_children: None) -> Run:
    """Type ``python -m julia crossval``, small."""

    def type_command(*words: object, fails: bool = False) -> str:
        return run("julia", "crossval", *SMALL, *ONE_EPOCH, "--data.root", julia_root, *words, fails=fails)

    return type_command


@pytest.mark.slow
def test_crossval_predicts_each_row_once_and_goes_on_where_it_stopped(
    crossval: Run, run: Run, julia_root: Path
) -> None:
    output = crossval("--folds", "0,1")
    home = Path("runs/julia/airbench")
    assert sorted(path.name for path in home.glob("fold_*")) == ["fold_0", "fold_1"]
    assert "over 2 folds" in output
    assert (home / "out_of_fold_folds0-1.csv").is_file()
    fitted = (home / "fold_0" / "version_0" / "metrics.csv").stat().st_mtime_ns

    (home / "fold_1" / "version_0" / "checkpoints" / "last.ckpt").unlink()
    output = crossval()
    assert "fold 0: finished in runs/julia/airbench/fold_0/version_0, not fitted again" in output
    assert "fold 1: its last run did not end or has lost files, fitting it again" in output
    assert (home / "fold_0" / "version_0" / "metrics.csv").stat().st_mtime_ns == fitted
    assert not (home / "fold_0" / "version_1").exists()
    assert (home / "fold_1" / "version_1").exists()

    rows = pd.read_csv(home / "out_of_fold.csv", dtype=str, keep_default_na=False)
    labels = pd.read_csv(julia_root / "trainLabels.csv", dtype=str, keep_default_na=False)
    assert sorted(rows["ID"]) == sorted(labels["ID"])
    assert rows.set_index("ID")["Class"].to_dict() == labels.set_index("ID")["Class"].to_dict()
    accuracy = (rows["Class"] == rows["predicted"]).mean()
    assert f"over all 310 out-of-fold rows: {accuracy:.4f}" in output
    summary = pd.read_csv(home / "crossval.csv")
    assert summary["rows"].sum() == 310
    assert (summary["val/acc"] * summary["rows"]).sum() == pytest.approx(accuracy * 310)
    # What the run of a fold logged last is what its checkpoint gives for the same rows.
    for fold in range(3):
        result = json.loads((home / f"fold_{fold}" / "latest" / "result.json").read_text())
        assert result["last"] == pytest.approx(summary.loc[fold, "val/acc"], abs=0.011)
        own = pd.read_csv(home / f"fold_{fold}" / "latest" / "held_out.csv", dtype=str, keep_default_na=False)
        assert (own["Class"] == own["predicted"]).mean() == pytest.approx(result["best"])
        assert own.merge(rows, on=["ID", "Class"])["fold"].tolist() == [str(fold)] * (rows["fold"] == str(fold)).sum()

    # Others in proportion to these change no answer; those of other rows are refused.
    saved = dict(np.load(home / "out_of_fold.npz"))
    np.savez("same.npz", **{**saved, "estimates": np.float32(0.9) * saved["estimates"]})
    output = crossval("--others", "[same.npz]")
    assert f"averaged with 1 other: {accuracy:.4f}" in output
    shutil.copy("same.npz", "copy.npz")
    for twice in (f"[{home}/out_of_fold.npz]", "[same.npz,./same.npz]", "[same.npz,copy.npz]"):
        assert "it would count twice" in crossval("--others", twice, fails=True)
    error = crossval("--folds", "0,1", "--others", "[same.npz]", fails=True)
    assert "of other rows than these" in error

    # Of the same networks with other views.
    for name, factor in (("a", 0.5), ("a_tta10", 0.6)):
        np.savez(f"{name}.npz", **{**saved, "estimates": np.float32(factor) * saved["estimates"]})
    error = crossval("--others", "[a.npz,a_tta10.npz]", fails=True)
    assert "--others a_tta10.npz: of the same fits as a.npz, which would count twice; give one of the two" in error

    # The folds as an ensemble: as many members, one submission.
    folds = f"{home}/fold_*/latest/checkpoints/last.ckpt"
    shutil.copy(folds.replace("*", "1"), "copy.ckpt")
    said = run("julia", "predict", "--ckpt_path", folds, "copy.ckpt", "--submission.path", "s.csv")
    assert f"warning: --ckpt_path copy.ckpt is a copy of {folds.replace('*', '1')}, which thus counts twice" in said
    output = run("julia", "predict", "--ckpt_path", folds)
    assert output.count("member: ") == 3
    assert (home / "submission_ensemble3.csv").is_file()

    # One flag takes all, since of two only the last would count.
    last = folds.replace("*", "0")
    error = run("julia", "predict", "--ckpt_path", last, "--ckpt_path", folds, fails=True)
    assert "--ckpt_path is given twice, and only the last would count; give it once" in error

    # The newest run is one fold: which one is meant cannot be told.
    error = run("julia", "predict", "--ckpt_path", "last", fails=True)
    assert "the newest run is one fold" in error and f"'{home}/fold_*/latest/checkpoints/last.ckpt' for all" in error

    # Where the data lie is the machine's; what bears on the result is not.
    moved = Path(shutil.copytree(julia_root, "moved"))
    shutil.copytree("cache", "other")
    place = ("--data.root", moved, "--data.cache_dir", "other", "--data.eval_batch_size", 16)
    assert "fold 0: finished in runs/julia/airbench/fold_0/version_0, not fitted again" in crossval(
        *place, "--folds", "0"
    )
    output = crossval("--model.lr", "0.01", "--folds", "0")
    assert "fold 0: runs/julia/airbench/fold_0/version_0 was fitted with another model.lr, fitting it again" in output
    again = home / "fold_0" / "version_1"
    assert "lr: 0.01" in (again / "config.yaml").read_text()
    assert (home / "fold_0" / "version_0" / "metrics.csv").stat().st_mtime_ns == fitted

    config = again / "config.yaml"
    config.write_text(config.read_text()[:100] + "{")
    output = crossval("--model.lr", "0.01", "--folds", "0")
    assert f"fold 0: {config} cannot be read as YAML" in output and "fitting it again" in output
    assert (home / "fold_0" / "version_2" / "result.json").is_file()

    # Nothing makes one figure or one submission of these folds, which were fitted in two ways.
    assert output.endswith(f"next: python -m julia predict --ckpt_path {home}/fold_0/latest/checkpoints/last.ckpt\n")
    error = run("julia", "predict", "--ckpt_path", f"{home}/fold_*/latest/checkpoints/last.ckpt", fails=True)
    runs = [f"{home}/fold_0/version_{number}/checkpoints/last.ckpt" for number in (0, 2)]
    assert "is another run of this fold, which would count twice" in run(
        "julia", "predict", "--ckpt_path", *runs, fails=True
    )
    crossval("--trainer.gradient_clip_val", 1.0, "--folds", "0")
    clipped = run("julia", "predict", "--ckpt_path", f"{home}/fold_*/latest/checkpoints/last.ckpt", fails=True)
    assert "fitted with another trainer.gradient_clip_val than" in clipped
    crossval("--model.lr", "0.01", "--folds", "0")
    first, second = (f"{home}/fold_{fold}/latest/checkpoints/last.ckpt" for fold in (0, 1))
    assert f"{second}: fitted with another model.lr than {first}, in another cross-validation; give" in error


@pytest.mark.slow
def test_a_crossval_that_is_ended_ends_its_fold(julia_root: Path, tmp_path: Path) -> None:
    words = [*SMALL, "--data.root", julia_root, "--trainer.max_epochs", 10_000]
    with quick.Forked(["julia", "crossval", *map(str, words)], tmp_path, dict(os.environ)) as parent:
        metrics = tmp_path / "runs" / "julia" / "airbench" / "fold_0" / "version_0" / "metrics.csv"
        while not metrics.exists():
            assert parent.poll() is None
            time.sleep(0.2)
        parent.terminate()
        assert parent.wait(timeout=quick.PATIENCE) == 143
    size = metrics.stat().st_size
    time.sleep(3)
    assert metrics.stat().st_size == size  # nobody writes any more
    assert not (metrics.parent / "result.json").exists()


@pytest.mark.slow
def test_a_fold_is_kept_only_if_it_was_fitted_so_from_its_start(
    crossval: Run, run: Run, refused: Run, julia_root: Path
) -> None:
    fold, folds = Path("runs/julia/airbench/fold_0/version_0"), ("--folds", 0)
    crossval(*folds)
    shutil.copy("runs/julia/airbench/out_of_fold_folds0.npz", "mine.npz")
    said = crossval(*folds, "--others", "[mine.npz]", fails=True)
    assert "--others mine.npz: holds these very estimates, which would count twice; leave it out" in said

    resume = ("julia", "fit", "--ckpt_path", fold / "checkpoints" / "last.ckpt", "--trainer.max_epochs", 2)
    line = refused(*resume, "--seed_everything", 5)
    assert f"--seed_everything 5: the checkpoint {resume[3]} has 0, which stays; leave it out" in line
    run(*resume, "--data.rotation", 5, "--trainer.enable_progress_bar", "false")
    about = json.loads((fold / "run.json").read_text())
    assert about["changed"] == ["data.rotation", "trainer.max_epochs"]
    assert read_run(fold)[0].arguments["resumed with another"] == "data.rotation, trainer.max_epochs"
    said = crossval(*folds, "--trainer.max_epochs", 2, "--data.rotation", 5)
    assert f"fold 0: {fold} was resumed with another data.rotation, trainer.max_epochs than it was started with" in said
    assert "not fitted again" in crossval(*folds, "--trainer.max_epochs", 2, "--data.rotation", 5)


@pytest.mark.slow
def test_a_fold_is_kept_only_if_it_was_fitted_from_these_weights(
    crossval: Run, run: Run, refused: Run, other_julia_root: Path
) -> None:
    run("julia", "fit", *SMALL, *ONE_EPOCH[:4], "--data.root", other_julia_root, "--name", "other")
    shutil.copy("runs/julia/other/version_0/checkpoints/last.ckpt", "weights.ckpt")
    words = ("--folds", 0, "--model.pretrained", "weights.ckpt")
    crossval(*words)
    assert "not fitted again" in crossval(*words)
    last = Path("runs/julia/airbench/fold_0/version_0/checkpoints/last.ckpt")
    saved = torch.load("weights.ckpt", weights_only=True)
    saved["state_dict"] = {name: torch.zeros_like(value) for name, value in saved["state_dict"].items()}
    torch.save(saved, "weights.ckpt")
    os.utime("weights.ckpt", (0, 0))  # as a copy that keeps its times
    resume = ("julia", "fit", "--ckpt_path", last, "--trainer.max_epochs", 2)
    shutil.copy("weights.ckpt", "zeros.ckpt")
    line = refused(*resume, "--model.pretrained", "zeros.ckpt")
    assert f"--model.pretrained zeros.ckpt: the fit of {last} started from other weights" in line
    said = crossval(*words)
    assert "was fitted from other weights than --model.pretrained weights.ckpt, fitting it again" in said
    run(*resume, "--trainer.enable_progress_bar", "false")
    config = yaml.safe_load((last.parents[1] / "config.yaml").read_text())
    assert config["model"]["pretrained"] == "weights.ckpt"  # with which the fit was started


@pytest.mark.slow
def test_ensemble_is_the_mean_of_its_members_of_other_backbones_and_sizes(run: Run, julia_root: Path) -> None:
    paths = []
    for name, size in (("airbench", 16), ("mobilenet_v3_small", 20)):
        flags = ("--model.backbone", name, "--model.image_size", size, "--trainer.enable_progress_bar", "false")
        run("julia", "fit", *flags, "--data.root", julia_root, "--trainer.max_epochs", 1, "--data.batch_size", 32)
        paths.append(Path(f"runs/julia/{name}/version_0/checkpoints/last.ckpt"))
        run("julia", "predict", "--ckpt_path", paths[-1], "--submission.path", f"{name}.csv")
    run("julia", "predict", "--ckpt_path", *paths, "--submission.path", "both.csv")
    one, two, both = (np.load(f"{name}.npz")["probabilities"] for name in ("airbench", "mobilenet_v3_small", "both"))
    assert np.allclose(both, (one + two) / 2, atol=1e-6)
    spread = pd.read_csv("both_spread.csv", dtype={"ID": str}, keep_default_na=False)
    best = both.argmax(1)
    wanted = np.stack([one, two]).std(0, ddof=1)[np.arange(len(best)), best]
    assert np.allclose(spread["spread"], wanted, atol=1e-6)
    assert spread["Class"].tolist() == [CLASSES[index] for index in best]


@pytest.mark.slow
def test_views_are_averaged_and_those_not_learned_refused(run: Run, julia_root: Path) -> None:
    fit = ("julia", "fit", *SMALL, "--data.root", julia_root, "--trainer.max_epochs", 1, "--data.batch_size", 32)
    run(*fit, "--name", "plain", "--data.shift", 0, "--data.zoom", 0, "--data.inversion", 0)
    run(*fit, "--name", "turned", "--data.shift", 0, "--data.zoom", 0)
    plain, turned = (f"runs/julia/{name}/version_0/checkpoints/last.ckpt" for name in ("plain", "turned"))
    error = run("julia", "predict", "--ckpt_path", plain, "--submission.tta", 2, fails=True)
    assert "does not suit this model: its training left images as they are" in error
    assert not list(Path("runs/julia/plain/version_0").glob("submission*"))
    # Nor can it be told that it has learned more.
    error = run("julia", "predict", "--ckpt_path", plain, "--data.inversion", 0.5, "--submission.tta", 2, fails=True)
    assert f"--data.inversion 0.5: the checkpoint {plain} has 0.0, which stays" in error

    run("julia", "predict", "--ckpt_path", turned, "--submission.path", "one.csv")
    run("julia", "predict", "--ckpt_path", turned, "--submission.path", "two.csv", "--submission.tta", 2)
    # A member is shown no view that it has not learned, whichever comes first.
    error = run("julia", "predict", "--ckpt_path", turned, plain, "--submission.tta", 2, fails=True)
    assert "its training left images as they are" in error
    error = run("julia", "predict", "--ckpt_path", turned, "--submission.tta", 3, fails=True)
    assert "it has learned 2 views" in error
    one, two = (np.load(f"{name}.npz")["probabilities"] for name in ("one", "two"))
    assert not np.allclose(one, two)
    assert np.allclose(two.sum(1), 1, atol=1e-3)


@pytest.mark.slow
def test_growth_folds_are_by_plant_and_turned_photos_average(
    run: Run, refused: Run, growth_root: Path, monkeypatch: pytest.MonkeyPatch, forked_children: None
) -> None:
    flags = ("--model.backbone", "leaf_hull", "--model.pretrained", "false", "--model.normalize", "none")
    data = ("--data.root", growth_root, "--data.plants_per_batch", 2, "--data.images_per_plant", 3)
    words = (
        "growth",
        "crossval",
        *flags,
        *data,
        "--data.num_folds",
        2,
        "--trainer.max_epochs",
        1,
        "--tta",
        8,
        "--model.image_size",
        48,
    )
    monkeypatch.setenv("WANDB_MODE", "offline")
    run(*words, "--name", "both")
    for fold in range(2):
        board = next(Path(f"runs/growth/both/fold_{fold}/version_0/wandb").glob("offline-run-*/*.wandb")).read_bytes()
        assert re.search(rb"both[^/]", board)  # the group; the run's own name goes on with the fold
    monkeypatch.setenv("WANDB_MODE", "disabled")
    rows = pd.read_csv("runs/growth/both/out_of_fold_tta8.csv")
    assert (rows.groupby("plant")["fold"].nunique() == 1).all()
    assert set(rows["fold"]) == {0, 1}
    assert (rows["days"] > 0).all() and (rows["predicted"] >= 1).all()
    rmse = ((rows["predicted"] - rows["days"]) ** 2).mean() ** 0.5
    summary = pd.read_csv("runs/growth/both/crossval_tta8.csv")
    pooled = ((summary["val/rmse"] ** 2 * summary["rows"]).sum() / summary["rows"].sum()) ** 0.5
    assert rmse == pytest.approx(pooled, rel=1e-6)
    own = pd.concat([pd.read_csv(f"runs/growth/both/fold_{fold}/latest/held_out.csv") for fold in range(2)])
    assert len(own) == len(rows) and (own["predicted"] >= 1).all()
    assert len(own.merge(rows, on=["plant", "before", "after", "days"])) == len(rows)

    pattern = "runs/growth/both/fold_*/latest/checkpoints/last.ckpt"
    members = sorted(Path().glob(pattern))
    for number, path in enumerate(members):
        run("growth", "predict", "--ckpt_path", path, "--submission.path", f"{number}.csv", "--model.min_days", -99)
    run("growth", "predict", "--ckpt_path", pattern, "--submission.path", "all.csv", "--model.min_days", -99)
    days = np.stack([pd.read_csv(f"{number}.csv")["time_delta"] for number in range(2)])
    assert np.allclose(pd.read_csv("all.csv")["time_delta"], days.mean(0), atol=1e-4)
    assert np.allclose(pd.read_csv("all_spread.csv")["spread"], days.std(0, ddof=1), atol=1e-4)
    # Two other members below the same folder would give their submission the same name.
    for _ in range(2):
        run("growth", "predict", "--ckpt_path", pattern)
    line = refused("growth", "predict", "--ckpt_path", members[0], members[1].with_name("best.ckpt"))
    first = "fold_0/latest/checkpoints/last.ckpt: give another --submission.path"
    assert f"runs/growth/both/submission_ensemble2.csv is of other checkpoints, such as {first}" in line


def test_checkpoints_that_cannot_be_averaged(refused: Run, julia_root: Path, tmp_path: Path) -> None:
    assert "the pattern matches no file" in refused("julia", "predict", "--ckpt_path", "[]")
    Path("none.yaml").write_text("ckpt_path: []\n")
    assert "predict needs trained weights" in refused("julia", "predict", "--config", "none.yaml")
    assert "the pattern matches no file" in refused("julia", "predict", "--ckpt_path", "runs/*/x.ckpt")
    known = {**PARTS_OF_A_FIT, "state_dict": {}, "hyper_parameters": {}}
    torch.save({**known, "task": "julia", "classes": CLASSES}, "one.ckpt")
    torch.save({**known, "task": "growth"}, "other.ckpt")
    torch.save({**known, "task": "julia", "classes": "abc"}, "few.ckpt")
    assert "a checkpoint of growth, not of julia" in refused(
        "julia", "predict", "--ckpt_path", "one.ckpt", "other.ckpt"
    )
    assert "its classes are abc" in refused("julia", "predict", "--ckpt_path", "one.ckpt", "few.ckpt")
    Path("two.yaml").write_text("ckpt_path: [one.ckpt, few.ckpt]\n")
    assert "its classes are abc" in refused("julia", "predict", "--config", "two.yaml")
    assert "validate takes one" in refused("julia", "validate", "--ckpt_path", "*.ckpt")
    assert "validate takes one" in refused("julia", "validate", "--ckpt_path", "one.ckpt", "few.ckpt")
    shutil.copy("few.ckpt", "[few].ckpt")  # a file, though it looks like a pattern
    assert "its classes are abc" in refused("julia", "predict", "--ckpt_path", "./[few].ckpt")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--folds", "0,7"), "--folds 0,7: give numbers from 0 to 4"),
        (("--folds", "first"), "--folds first: give numbers from 0 to 4"),
        (("--tta", "31"), "it has learned 30 views"),
        (("--others", "[absent.npz]"), "--others absent.npz: no such file"),
        (("--data.fold", "0"), "crossval goes over the folds; choose some with --folds"),
        (("--trainer.fast_dev_run", "true"), "--trainer.fast_dev_run True: crossval needs all images"),
        (("--trainer.limit_predict_batches", "0.5"), "--trainer.limit_predict_batches 0.5: crossval needs all images"),
        (("--trainer.logger", "false"), "--trainer.logger False: it leaves no run"),
        (("--trainer.enable_checkpointing", "false"), "--trainer.enable_checkpointing False: it leaves no run"),
        (("--data.train_fraction", "[]"), "--data.train_fraction []: give one fraction or several"),
        (("--data.train_fraction", "[0.5,2]"), "--data.train_fraction 2.0: give a fraction above 0 and at most 1"),
        (("--data.train_fraction", "[0.5,-1]"), "--data.train_fraction -1.0: give a fraction above 0 and at most 1"),
        (("--data.train_fraction", ".nan"), "--data.train_fraction nan: give a finite number"),
        (
            ("--data.train_fraction", "[1,0.01]"),
            "--data.batch_size 128 is larger than the 62 training images (--data.train_fraction 0.01)",
        ),
        (("--data.num_folds", "1"), "--data.num_folds 1: give 2 or more"),
        (("--data.num_folds", "9"), "--data.num_folds 9: the smallest class has 5 images, so give 2 to 5"),
        (("--folds", "0_1"), "--folds 0_1: it would be read as 1; give a plain number"),
        (("--name", "/tmp/x"), "--name /tmp/x: give letters"),
        (("--name", "a/../b"), "--name a/../b: give letters"),
        (("--name", "fold*"), "--name fold*: give letters"),
    ],
)
def test_crossval_refuses_before_any_fit(refused: Run, julia_root: Path, words: tuple[str, ...], reason: str) -> None:
    assert reason in refused("julia", "crossval", "--data.root", julia_root, *words)
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_fold_that_fails_says_so_once_and_leaves_no_table(crossval: Run) -> None:
    diverges = ("--model.lr", 1e20, "--model.warmup", 0, "--trainer.precision", "32-true")
    assert "error: " not in crossval(*diverges, fails=True)  # the fold's own process has said it
    assert not list(Path().glob("runs/julia/airbench/*.csv"))


@pytest.mark.skipif(sys.platform == "win32", reason="locked by fcntl")
def test_a_fold_that_another_process_is_fitting_is_left_to_it(refused: Run, julia_root: Path) -> None:
    run = Path("runs/julia/busy/fold_0/version_0")
    run.mkdir(parents=True)
    (run / "metrics.csv").touch()
    code = "import fcntl, sys; file = open(sys.argv[1], 'ab'); fcntl.lockf(file, fcntl.LOCK_EX); print(); input()"
    words = [sys.executable, "-c", code, str(run / ".lock")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline()
        error = refused("julia", "crossval", "--data.root", julia_root, "--name", "busy")
        other.kill()
    assert f"fold 0: another process is fitting it in {run}; wait for its end" in error


def test_members_of_an_ensemble_leave_memory_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Member]] = []

    class Member:
        @classmethod
        def build(cls, arguments: dict[str, int]) -> Member:
            gc.collect()
            assert sum(member() is not None for member in made) <= 1  # the one that has just been asked
            member = cls()
            made.append(weakref.ref(member))
            return member

    data: Any = SimpleNamespace(sample=SimpleNamespace(ids=["1", "2"]))
    for name in ("data_of", "learned_views"):
        monkeypatch.setattr(ensemble, name, lambda *_: data)
    monkeypatch.setattr(ensemble, "predict_views", lambda *_: {"days": np.array([float(len(made)), 7.0])})
    loaded: list[object] = []
    members = [SimpleNamespace(model={}, load_into=lambda network: loaded.append(id(network))) for _ in range(5)]
    predicted = ensemble.predict_members(None, Member(), data, members, 1)  # type: ignore[arg-type]
    outputs, deviation = ensemble.average_members(predicted, lambda outputs: outputs["days"])
    assert (len(made), len(loaded)) == (4, 5)
    assert outputs["days"].tolist() == [2.0, 7.0]
    assert deviation is not None and deviation == pytest.approx([np.std(range(5), ddof=1), 0.0])
    other: Any = SimpleNamespace(sample=SimpleNamespace(ids=["1", "3"]))
    named: Any = [SimpleNamespace(path=f"{n}.ckpt", **vars(member)) for n, member in enumerate(members)]
    monkeypatch.setattr(ensemble, "data_of", lambda *_: other)
    with pytest.raises(UserError, match="1.ckpt: its test files, .* have other ids than those of 0.ckpt"):
        list(ensemble.predict_members(None, Member(), data, named, 1))  # type: ignore[arg-type]


def test_estimates_of_another_truth_are_not_averaged_in() -> None:
    ids, truth, estimates = np.array(["1", "2"]), np.array([5, 6]), np.eye(2)
    np.savez("own.npz", ids=ids[::-1], estimates=estimates[::-1], truth=truth[::-1])
    read = Estimates.read(Path("own.npz"))
    assert read.sorted_as(ids, truth, (2, 2)).tolist() == estimates.tolist()
    with pytest.raises(UserError, match="of rows with the same names, but another truth"):
        read.sorted_as(ids, truth[::-1], (2, 2))
    np.savez("diverged.npz", ids=ids, estimates=estimates * np.nan, truth=truth)
    with pytest.raises(UserError, match="not finite"):
        Estimates.read(Path("diverged.npz"))


def test_files_that_are_no_estimates(refused: Run, julia_root: Path) -> None:
    np.save("array.npy", np.zeros(3))
    np.savez("short.npz", ids=np.array(["1", "2"]), estimates=np.zeros((1, 62)))
    Path("damaged.npz").write_bytes(Path("short.npz").read_bytes()[:200])
    np.savez("text.npz", ids=np.array(["1"]), estimates=np.array([["a"]]), truth=np.array([0]))
    for name in ("array.npy", "short.npz", "damaged.npz", "text.npz"):
        error = refused("julia", "crossval", "--data.root", julia_root, "--others", f"[{name}]")
        assert f"--others {name}: not an out_of_fold.npz" in error
    np.savez("other.npz", ids=np.array(["1"]), estimates=np.zeros((1, 62)), truth=np.array([0]))
    error = refused("julia", "crossval", "--data.root", julia_root, "--data.num_folds", 2, "--others", "[other.npz]")
    assert "--others other.npz: of other rows than these 310" in error
    assert not Path("runs").exists()  # refused before the folds are fitted
