"""Earlier fits that label the test images, from which a new fit learns, too."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from julia.synthetic import draw
from tests import kills
from tests.common.test_extra import KILL
from tests.conftest import Run, Shared
from tests.quick import typed
from tests.test_resume import LENET, QUIET, saved, stream

TEACHER = ("julia", "fit", *LENET, *QUIET)
FIT = (*TEACHER, "--data.batch_size", 60, "--data.extra_per_batch", 24)
TEST = 31  # images


@pytest.fixture
def teachers(shared: Shared, julia_root: Path) -> str:
    """A fit of fold 0 and one of fold 1, as a pattern."""

    def fit(folder: Path) -> None:
        for fold in (0, 1):
            typed(folder, *TEACHER, "--data.root", julia_root, "--data.fold", fold, "--name", f"fold_{fold}")

    return f"{shared('teachers', fit)}/runs/julia/fold_?/latest/checkpoints/last.ckpt"


@pytest.fixture
def mine(teachers: str, tmp_path: Path) -> str:
    """A copy of them, which a test may change."""
    shutil.copytree(Path(teachers).parents[3], tmp_path / "mine", symlinks=True)
    return f"{tmp_path}/mine/fold_?/latest/checkpoints/last.ckpt"


def alter(mine: str, fold: int) -> None:
    """Change a weight of a fold's checkpoint."""
    path = mine.replace("?", str(fold))
    checkpoint = torch.load(path)
    next(iter(checkpoint["state_dict"].values()))[0] += 1
    torch.save(checkpoint, path)


def test_those_of_the_same_fold_label_the_test_images(run: Run, julia_root: Path, teachers: str) -> None:
    words = (*FIT, "--data.root", julia_root, "--data.fold", 0, "--name", "taught")
    said = run(*words, "--data.teachers", teachers, *stream("targets", "targets"))
    chosen = teachers.replace("?", "0").replace("latest", "version_0")
    assert f"teachers: {chosen}, which label 31 test images" in said

    run("julia", "predict", "--ckpt_path", chosen, "--submission.tta", 10, "--submission.path", "mine.csv")
    expected = np.load("mine.npz")["probabilities"]
    own, seen = 248, []
    for rows, targets in saved("targets").values():
        assert targets.shape == (84, 62)
        assert (targets[rows < own].max(dim=1).values == 1).all()
        labelled = rows[rows >= own] - own
        np.testing.assert_allclose(targets[rows >= own].numpy(), expected[labelled.numpy()], atol=1e-5)
        seen += labelled.tolist()
    assert {*seen} == {*range(TEST)}
    assert expected.max(axis=1).min() < 0.9  # or hard labels would pass, too


def test_they_fill_the_places_that_a_second_set_leaves(
    run: Run, julia_root: Path, teachers: str, tmp_path: Path
) -> None:
    draw(tmp_path / "extra", train=62, test=1, seed=7)
    words = (*FIT, "--data.root", julia_root, "--data.fold", 1, "--data.extra", tmp_path / "extra")
    run(*words, "--data.teachers", teachers, *stream("targets", "targets"), "--trainer.max_epochs", 3)
    for (epoch, _), (rows, targets) in saved("targets").items():
        extra, labelled = (rows >= 248) & (rows < 310), rows >= 310
        assert (extra.sum(), labelled.sum()) == ((24, 0), (12, 12), (0, 24))[epoch]
        assert (targets[extra].max(dim=1).values == 1).all()
    # A later fit from these weights knows of both sets.
    split = torch.load("runs/julia/lenet/latest/checkpoints/last.ckpt")["CharacterData"]["split"]
    assert len(split["earlier"]) == 62 and split["second"] and split["taught"]


@pytest.mark.slow
def test_a_fit_with_them_resumes_bit_for_bit_and_never_with_others(
    run: Run, refused: Run, julia_root: Path, teachers: str, mine: str
) -> None:
    words = (*FIT, "--data.root", julia_root, "--data.fold", 0, "--data.teachers", mine, "--trainer.max_epochs", 3)
    run(*words, "--name", "whole")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit):
        run(*words, "--name", "broken", "--trainer.callbacks+", KILL)
    signal.signal(signal.SIGTERM, before)
    again = ("julia", "fit", "--ckpt_path", "last", "--name", "broken", *QUIET)
    assert "data.teachers" in refused(*again, "--data.teachers", teachers)
    run(*again)
    one, other = (
        torch.load(f"runs/julia/{name}/latest/checkpoints/last.ckpt", weights_only=True) for name in ("whole", "broken")
    )
    for part in ("state_dict", "optimizer_states", "global_step"):
        assert kills.same(one[part], other[part]), part

    alter(mine, 0)
    line = refused("julia", "fit", "--ckpt_path", "last", "--name", "whole", *QUIET, "--trainer.max_epochs", 4)
    assert "was not taught by these weights of --data.teachers" in line

    # Neither validation nor prediction needs them.
    shutil.rmtree(Path(mine).parents[3])
    run("julia", "validate", "--ckpt_path", "last")
    run("julia", "predict", "--ckpt_path", "last")


@pytest.mark.slow
def test_crossval_gives_each_fold_its_own(run: Run, julia_root: Path, mine: str, forked_children: None) -> None:
    words = ("julia", "crossval", *FIT[2:], "--data.root", julia_root, "--data.teachers", mine, "--folds", "0,1")
    run(*words)
    taught = [torch.load(f"runs/julia/lenet/fold_{k}/latest/checkpoints/last.ckpt")["CharacterData"] for k in (0, 1)]
    assert taught[0]["split"]["taught"] != taught[1]["split"]["taught"]
    assert run(*words).count("not fitted again") == 2
    alter(mine, 1)
    said = run(*words)
    assert said.count("not fitted again") == 1
    assert "fold 1: the checkpoint was not taught by these weights of --data.teachers" in said


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            ("--data.fold", 2),
            "each of 2 checkpoints has learned from images that this fit does not train on; give those of the same",
        ),
        (
            ("--data.fold", 0, "--data.train_fraction", 0.5),
            "each of 2 checkpoints has learned from images that this fit does not train on; give those of the same",
        ),
        (("--data.extra_per_batch", "null"), "say how many of its images each batch gets: --data.extra_per_batch"),
        (("--data.teachers", "nowhere/*.ckpt"), "--data.teachers nowhere/*.ckpt: the pattern matches no file"),
        (("--data.teachers", "nowhere.ckpt"), "nowhere.ckpt: no such file; give another"),
        (
            ("--data.teachers", "theirs.ckpt"),
            "theirs.ckpt: a checkpoint of growth, not of julia; type",
        ),
        (("--data.teachers", "ROOT/sampleSubmission.csv"), "sampleSubmission.csv: it is damaged or not a checkpoint"),
        (("--data.teachers", "BEST"), "best.ckpt: held-out rows have chosen its epoch; give last.ckpt"),
        (("--data.variant", "resized"), "fitted on other files of the images, such as smaller ones, so nobody knows"),
    ],
)
def test_a_fit_that_none_may_teach_is_refused(
    refused: Run, julia_root: Path, teachers: str, words: tuple[object, ...], reason: str
) -> None:
    checkpoint = torch.load(teachers.replace("?", "0"))
    torch.save(checkpoint | {"task": "growth"}, "theirs.ckpt")
    best = teachers.replace("last", "best")
    given = [str(word).replace("ROOT", str(julia_root)).replace("BEST", best) for word in words]
    assert reason in refused(*FIT, "--data.root", julia_root, "--data.teachers", teachers, *given)
    assert not Path("runs").exists()
