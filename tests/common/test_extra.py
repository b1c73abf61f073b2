"""A second training set, some images of which join each training batch."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from common.split import Split
from julia.data import CharacterData
from julia.synthetic import draw
from tests import kills
from tests.conftest import Run, Shared
from tests.test_resume import LENET, QUIET, saved, stream

FIT = ("julia", "fit", *LENET[:-1], 3, *QUIET, "--data.batch_size", 60)
KILL = '{"class_path": "tests.kills.Kill", "init_args": {"hook": "on_train_batch_start", "call": 7, "signal": 15}}'


@pytest.fixture
def extra(other_julia_root: Path) -> Path:
    """Another 310 drawn bitmaps in the layout of the first set."""
    return other_julia_root


@pytest.fixture
def others(shared: Shared) -> Path:
    """And 310 that are neither these nor those."""
    return shared("others", lambda folder: draw(folder, train=310, test=1, seed=8))


def test_each_epoch_has_fewer_of_them_and_the_last_one_none(run: Run, julia_root: Path, extra: Path) -> None:
    run(*FIT, "--data.root", julia_root, *stream("alone"))
    run(*FIT, "--data.root", julia_root, "--data.extra", extra, "--data.extra_per_batch", 24, *stream("both"))
    alone, both = saved("alone"), saved("both")
    assert both.keys() == alone.keys() == {(epoch, batch) for epoch in range(3) for batch in range(4)}
    seen = []
    for (epoch, batch), (rows, _) in both.items():
        own = rows < 248
        assert torch.equal(rows[own], alone[epoch, batch][0])
        assert len(rows[~own]) == (24, 12, 0)[epoch]
        seen += rows[~own].tolist() if epoch == 0 else []
    assert len({*seen}) == 96 and max(seen) < 248 + 310


def test_the_images_of_a_batch_have_their_own_true_values(julia_root: Path, extra: Path) -> None:
    both = CharacterData(str(julia_root), extra=str(extra), extra_per_batch=100, batch_size=60)
    second = CharacterData(str(extra), batch_size=60)
    for data in (both, second):
        data.prepare_data()
        data.setup("fit")
    listing, seen = second.read_training_set(), np.zeros(310, dtype=int)
    for batch in both.train_dataloader():
        assert len(batch.images) == len(batch.targets) == 160
        rows = batch.row[60:].numpy() - len(both.train_set)
        assert batch.targets[60:].tolist() == listing.truth[rows].tolist()
        images = both.extra_set.images[rows]
        assert torch.equal(batch.images[60:], torch.from_numpy(images).permute(0, 3, 1, 2))
        seen += np.bincount(rows, minlength=310)
    assert {*seen} == {1, 2}  # none twice before each was there once


@pytest.mark.slow
def test_a_fit_with_them_resumes_bit_for_bit_and_never_with_others(
    run: Run, refused: Run, julia_root: Path, extra: Path, others: Path, tmp_path: Path
) -> None:
    mine = shutil.copytree(extra, tmp_path / "mine")
    words = (*FIT, "--data.root", julia_root, "--data.extra", mine, "--data.extra_per_batch", 24)
    run(*words, "--name", "whole")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit):
        run(*words, "--name", "broken", "--trainer.callbacks+", KILL)
    signal.signal(signal.SIGTERM, before)
    moved = mine.rename(tmp_path / "moved")
    again = ("julia", "fit", "--ckpt_path", "last", "--name", "broken", *QUIET, "--data.extra")
    said = refused(*again, others)
    assert "the checkpoint was not fitted with these images of --data.extra; give the same data" in said
    assert "the checkpoint runs/julia/broken" in refused(*again, moved, "--data.extra_per_batch", 12)
    run(*again, moved)
    one, other = (
        torch.load(f"runs/julia/{name}/latest/checkpoints/last.ckpt", weights_only=True) for name in ("whole", "broken")
    )
    for part in ("state_dict", "optimizer_states", "global_step"):
        assert kills.same(one[part], other[part]), part

    # Neither validation nor prediction needs them.
    shutil.rmtree(moved)
    run("julia", "validate", "--ckpt_path", "last")
    run("julia", "predict", "--ckpt_path", "last")
    # A later fit from these weights knows that they have learned from them.
    weights = "runs/julia/whole/latest/checkpoints/last.ckpt"
    line = refused(
        "julia", "crossval", *LENET, "--data.root", extra, "--data.num_folds", 2, "--model.pretrained", weights
    )
    assert "these weights have learned from 310 of the 310 images" in line


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--data.extra", "DIR"), "--data.extra DIR: say how many of its images each batch gets: --data.extra_per"),
        (("--data.extra_per_batch", 8), "--data.extra_per_batch 8 needs the folder of these images: --data.extra"),
        (("--data.extra", "nowhere", "--data.extra_per_batch", 8), "--data.extra nowhere: no such folder; give one"),
        (
            ("--data.extra", "DIR/train", "--data.extra_per_batch", 8),
            "train; give a folder laid out like --data.root",
        ),
        (("--data.extra", "DIR", "--data.extra_per_batch", 311), "311: more than the 310 images of --data.extra DIR"),
        (("--data.extra", "ROOT", "--data.extra_per_batch", 8), "--data.extra ROOT: 310 of its images are also in"),
    ],
)
def test_a_second_set_that_is_incomplete_or_the_first_one_is_refused(
    refused: Run, julia_root: Path, extra: Path, words: tuple[object, ...], reason: str
) -> None:
    places = {"DIR": str(extra), "ROOT": str(julia_root)}
    given = [str(word) for word in words]
    for name, place in places.items():
        given = [word.replace(name, place) for word in given]
    line = refused(*FIT, "--data.root", julia_root, *given)
    for name, place in places.items():
        line = line.replace(place, name)
    assert reason in line
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_fold_fitted_with_other_images_is_fitted_again(
    run: Run, julia_root: Path, extra: Path, others: Path, tmp_path: Path, forked_children: None
) -> None:
    words = ("julia", "crossval", *FIT[2:], "--data.root", julia_root, "--folds", "[0]", "--data.extra_per_batch", 24)
    run(*words, "--data.extra", extra)
    moved = shutil.copytree(extra, tmp_path / "moved")
    assert "not fitted again" in run(*words, "--data.extra", moved)
    said = run(*words, "--data.extra", others)
    assert "the checkpoint was not fitted with these images of --data.extra" in said and "fitting it again" in said


def test_what_both_sets_taught_is_remembered() -> None:
    split = Split(["1"], ["2"], (), ["a", "b"], earlier=["e"])
    assert split.following(Split(["3"], [], (), ["c"], earlier=["d"])).earlier == ["c", "d", "e"]
