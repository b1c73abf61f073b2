"""A fit that is killed, stopped or spread over processes sees and gives what an unbroken one does."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from lightning import pytorch as pl

from common.resume import WholeFiles
from tests import kills, quick
from tests.conftest import Run, Shared

LENET = ("--model.backbone", "lenet", "--model.image_size", 28, "--data.rotation", 10, "--trainer.max_epochs", 2)
QUIET = ("--trainer.enable_progress_bar", "false", "--trainer.precision", "32-true")
START = kills.start
# Less of all than where hundreds of kills are typed: 3 epochs of 7 steps, and 6 epochs.
SHORT = {
    "julia": ("--data.batch_size", 64, "--trainer.max_epochs", 3),
    "growth": ("--trainer.max_epochs", 6),
}


class Stream(pl.Callback):
    """Saves the training batches as the network sees them.

    Args:
        path: the file to save them in: (epoch, batch) → rows and images.
        part: what to save instead of the images, such as targets.
    """

    def __init__(self, path: str, part: str = "images") -> None:
        self.path, self.part, self.batches = Path(path), part, {}  # type: ignore[var-annotated]

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, index: int) -> None:
        self.batches[trainer.current_epoch, index] = batch.row.clone(), getattr(batch, self.part).clone()

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        torch.save(self.batches, self.path.with_suffix(f".{trainer.global_rank}.pt"))


def stream(path: str, part: str = "images") -> tuple[str, str]:
    one = f'{{"class_path": "tests.test_resume.Stream", "init_args": {{"path": "{path}", "part": "{part}"}}}}'
    return "--trainer.callbacks", f"[{one}]"


def saved(name: str, rank: int = 0) -> dict[tuple[int, int], tuple[torch.Tensor, torch.Tensor]]:
    batches: dict[tuple[int, int], tuple[torch.Tensor, torch.Tensor]]
    batches = torch.load(Path(name).with_suffix(f".{rank}.pt"), weights_only=True)
    return batches


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fits of ``kills`` are forked, and short."""

    def start(task: str, root: Path, home: Path, *words: object) -> quick.Forked:
        with (home / "output.txt").open("ab") as output:
            number = output.fileno()
            return quick.Forked(kills.typed(task, root, *words), home, kills.environment(), number, number)

    monkeypatch.setattr(kills, "start", start)
    monkeypatch.setattr(kills, "WORDS", {task: (*kills.WORDS[task], *SHORT[task]) for task in SHORT})
    monkeypatch.setattr(kills, "HOOKS", {hook: min(most, 10) for hook, most in kills.HOOKS.items()})
    monkeypatch.setattr(kills, "LONGEST", 5)


@pytest.fixture
def drawn(shared: Shared) -> Callable[[str], Path]:
    """The set of a task that ``kills`` draws."""
    return lambda task: shared(f"kills-{task}", lambda folder: kills.draw(task, folder))


@pytest.fixture
def unbroken(shared: Shared, drawn: Callable[[str], Path], forked: None) -> Callable[[str], Path]:
    """A fit of a task that was never killed."""
    return lambda task: shared(f"unbroken-{task}", lambda folder: kills.finish(task, drawn(task), folder))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "moments"),
    [
        ("julia", ["the cache is built", "on_train_batch_start", "on_validation_batch_start", "last.ckpt", "SIGTERM"]),
        ("growth", ["on_before_optimizer_step", "on_train_epoch_end", "after last.ckpt", "any", "best.ckpt"]),
    ],
)
def test_killed_and_resumed_is_never_killed(
    tmp_path: Path,
    drawn: Callable[[str], Path],
    unbroken: Callable[[str], Path],
    task: str,
    moments: list[str],
) -> None:
    struck = kills.chain(task, drawn(task), unbroken(task), tmp_path, moments, random.Random(0), print)
    assert struck.total() >= 3
    assert len(list(tmp_path.rglob("latest"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_at_the_step_and_the_run_goes_on_in_its_folder(
    tmp_path: Path, drawn: Callable[[str], Path], unbroken: Callable[[str], Path], number: signal.Signals, code: int
) -> None:
    home, data, whole = tmp_path, drawn("julia"), unbroken("julia")
    # In the middle of an epoch: 7 steps each.
    settings = f'{{"hook": "on_train_batch_start", "call": 10, "signal": {number.value}}}'
    one = f'{{"class_path": "tests.kills.Kill", "init_args": {settings}}}'
    start = START if number == signal.SIGTERM else kills.start  # which forks
    assert start("julia", data, home, "--trainer.callbacks+", one).wait(quick.PATIENCE) == code
    last = kills.last_of("julia", home)
    assert torch.load(last, weights_only=True)["global_step"] == 10
    said = (home / "output.txt").read_text()
    path = last.resolve().relative_to(home)
    assert f"stopped by {number.name}; to resume, give the same command with --ckpt_path {path}" in said
    assert ("stopping after this step; Ctrl-C again ends at once" in said) == (number == signal.SIGINT)
    assert not list(home.rglob("result.json"))
    kills.finish("julia", data, home)
    assert kills.differences("julia", whole, home) == []
    run = path.parents[1]
    assert [folder.relative_to(home) for folder in home.rglob("version_*")] == [run]
    assert (home / run / "result.json").is_file()
    assert yaml.safe_load((home / run / "config.yaml").read_text())["ckpt_path"] is None
    tables = [pd.read_csv(folder / run / "metrics.csv") for folder in (whole, home)]
    logged, again = (table.drop(columns=table.filter(like="_per_s")) for table in tables)
    pd.testing.assert_frame_equal(again[logged.columns], logged, check_exact=True)
    rates = tables[1]["train/images_per_s"].dropna()
    assert len(rates) == 3 and (rates > 0).all()  # of each epoch, also of the one that was broken off


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
def test_a_second_ctrl_c_ends_at_once_with_what_was_saved_before(tmp_path: Path, drawn: Callable[[str], Path]) -> None:
    # The second while the first one waits for the end of the step, in the second epoch.
    callback = ("--trainer.callbacks+", "tests.test_resume.Twice")
    code = kills.start("julia", drawn("julia"), tmp_path, *callback).wait(quick.PATIENCE)
    assert code == 130, (tmp_path / "output.txt").read_text()[-2000:]
    assert "stopped by" not in (tmp_path / "output.txt").read_text()
    assert torch.load(kills.last_of("julia", tmp_path), weights_only=True)["global_step"] == 7
    assert not list(tmp_path.rglob("result.json"))


class Twice(pl.Callback):
    """Types Ctrl-C twice in the tenth step."""

    def __init__(self) -> None:
        self.steps = 0

    def on_train_batch_start(self, *_: Any) -> None:
        self.steps += 1
        if self.steps == 10:
            os.kill(os.getpid(), signal.SIGINT)

    def on_before_optimizer_step(self, *_: Any) -> None:
        if self.steps == 10:
            os.kill(os.getpid(), signal.SIGINT)


BROKEN = {
    "in a validation of several batches": ("--data.eval_batch_size", 16, "on_validation_batch_start", 7),
    "between accumulated batches": ("--trainer.accumulate_grad_batches", 4, "on_train_batch_start", 2),
    "where a validation is due": ("--trainer.val_check_interval", 2, "on_train_batch_start", 10),
    "in the last epoch": ("--data.eval_batch_size", 60, "on_train_batch_start", 17),
    # And a resume from the end of an epoch:
    "of part of the batches": ("--trainer.limit_train_batches", 5, None, None),
    "counted in steps": ("--trainer.max_steps", 20, None, None),
    "averaging its weights": ("--trainer.callbacks", f"[{kills.EMA}]", None, None),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", BROKEN)
def test_a_fit_that_is_broken_off_goes_on_as_if_it_were_not(run: Run, julia_root: Path, moment: str) -> None:
    flag, value, hook, call = BROKEN[moment]
    words = ("julia", "fit", *LENET[:-1], 3, *QUIET, "--data.root", julia_root, "--data.batch_size", 30, flag, value)
    run(*words, "--name", "whole")
    more = ("--save_every_n_epochs", 1, "--name", "broken")
    if hook is None:
        run(*words, *more)
        source = "runs/julia/broken/latest/checkpoints/epoch_000.ckpt"
    else:
        settings = f'{{"hook": "{hook}", "call": {call}, "signal": 15}}'
        one = f'{{"class_path": "tests.kills.Kill", "init_args": {settings}}}'
        before = signal.getsignal(signal.SIGTERM)
        with pytest.raises(SystemExit) as caught:
            run(*words, *more, "--trainer.callbacks+", one)
        signal.signal(signal.SIGTERM, before)
        assert caught.value.code == 143
        assert not list(Path("runs/julia/broken").rglob("result.json"))
        source = "last"
    again = words[-2:] if flag == "--trainer.callbacks" else ()
    # From where it was broken off it goes on in its folder; from an earlier point, in a new one.
    run("julia", "fit", *more[-2:], "--ckpt_path", source, *QUIET, *again)
    made = sorted(path.name for path in Path("runs/julia/broken").glob("version_*"))
    assert made == (["version_0", "version_1"] if hook is None else ["version_0"])
    assert all((path / "result.json").is_file() for path in Path("runs/julia/broken").glob("version_*"))
    one, other = (
        torch.load(f"runs/julia/{name}/latest/checkpoints/last.ckpt", weights_only=True) for name in ("whole", "broken")
    )
    for part in ("state_dict", "optimizer_states", "epoch", "global_step"):
        assert kills.same(one[part], other[part]), part
    whole, broken = (kills.curves("julia", Path(), name) for name in ("whole", "broken"))
    assert {place: whole[place] for place in broken} == broken
    assert {place for place in whole if place[1].startswith("val/")} <= broken.keys()


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
def test_sigterm_while_the_cache_is_built_leaves_nothing(tmp_path: Path, drawn: Callable[[str], Path]) -> None:
    process = kills.start("julia", drawn("julia"), tmp_path)
    while not list(tmp_path.glob("cache/.*")):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(quick.PATIENCE) == 143
    assert list(tmp_path.glob("cache/.*")) == []
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["julia", "growth"])
def test_samples_are_the_same_for_any_number_of_workers(
    run: Run, julia_root: Path, growth_root: Path, task: str
) -> None:
    data = {
        "julia": ("--data.root", julia_root, "--data.batch_size", 60),
        "growth": (*("--data.root", growth_root, "--model.pretrained", "false"), "--data.plants_per_batch", 2),
    }[task]
    for workers in (0, 1, 3):
        run(task, "fit", *LENET, *QUIET, *data, "--data.num_workers", workers, *stream(f"w{workers}"))
    first = saved("w0")
    assert len(first) == (8 if task == "julia" else 6)
    assert not torch.equal(first[0, 0][0], first[1, 0][0])  # another order each epoch
    for workers in (1, 3):
        again = saved(f"w{workers}")
        assert again.keys() == first.keys()
        for place, (rows, images) in first.items():
            assert torch.equal(again[place][0], rows)
            assert torch.equal(again[place][1], images)


@pytest.mark.slow
def test_ranks_share_the_samples_of_one_process(tmp_path: Path, julia_root: Path) -> None:
    ranks = 3
    for number in (1, ranks):
        words = ("--data.root", julia_root, "--data.batch_size", 60 // number, *stream(f"r{number}"))
        many = ("--trainer.strategy", "ddp", "--trainer.devices", number, "--trainer.accelerator", "cpu")
        quick.typed(tmp_path, "julia", "fit", *LENET, *QUIET, *words, *(many if number > 1 else ()))
    alone = saved("r1")
    shares = [saved(f"r{ranks}", rank) for rank in range(ranks)]
    # 247 bitmaps: 4 batches of 60, or 12 of 20. LeNet has no statistics of a batch: the fits are the same.
    for place, (rows, images) in alone.items():
        theirs = torch.cat([share[place][0] for share in shares])
        assert torch.equal(theirs, rows)
        # Instructions for several numbers at once round otherwise than those for one, which the end of a batch takes.
        assert torch.allclose(torch.cat([share[place][1] for share in shares]), images, atol=1e-5)
    one, other = (
        torch.cat([weights.flatten() for weights in torch.load(path, weights_only=True)["state_dict"].values()])
        for path in sorted(tmp_path.glob("runs/julia/lenet/version_*/checkpoints/last.ckpt"))
    )
    # Together: Adam makes a whole step of a gradient that is nothing but rounding. A rotation by 12 instead of 10
    # degrees makes 2e-2 of it.
    assert (one - other).norm() < 1e-3 * one.norm()


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
def test_two_fits_at_once_share_the_cache_and_no_run_folder(tmp_path: Path, drawn: Callable[[str], Path]) -> None:
    data = drawn("julia")
    fits = [kills.start("julia", data, tmp_path, "--trainer.max_epochs", 1) for _ in range(2)]
    assert [fit.wait(quick.PATIENCE) for fit in fits] == [0, 0], (tmp_path / "output.txt").read_text()
    home = tmp_path / "runs" / "julia" / "mobilenet_v3_small"
    runs = sorted(path for path in home.iterdir() if path.name != "latest")
    assert [path.name for path in runs] == ["version_0", "version_1"]
    assert all((path / "result.json").is_file() and (path / "checkpoints" / "last.ckpt").is_file() for path in runs)
    assert (home / "latest").is_dir()
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
def test_one_process_at_a_time_writes_to_a_run(tmp_path: Path, drawn: Callable[[str], Path]) -> None:
    data, last, output = drawn("julia"), kills.last_of("julia", tmp_path), tmp_path / "output.txt"
    two, again = ("--trainer.max_epochs", 2), ("--ckpt_path", last.relative_to(tmp_path))
    # The fit, and then a resumed one, are held still in the second epoch; an epoch has 7 steps.
    for call, words in ((10, two), (3, (*two, *again))):
        settings = f'{{"hook": "on_train_batch_start", "call": {call}, "signal": {signal.SIGSTOP.value}}}'
        one = f'{{"class_path": "tests.kills.Kill", "init_args": {settings}}}'
        first = kills.start("julia", data, tmp_path, *words, "--trainer.callbacks+", one)
        try:
            while Path(f"/proc/{first.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
                assert first.poll() is None, output.read_text()
                time.sleep(0.01)
            assert kills.start("julia", data, tmp_path, *two, *again).wait(quick.PATIENCE) == 2
        finally:
            first.kill()
            first.wait(quick.PATIENCE)
        refusal = "error: --ckpt_path: another fit is writing to runs/julia/mobilenet_v3_small/version_0; wait for"
        assert output.read_text().splitlines()[-1].startswith(refusal)
    assert kills.start("julia", data, tmp_path, *two, *again).wait(quick.PATIENCE) == 0
    assert (last.parents[1] / "result.json").is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
def test_two_processes_stop_at_one_step(tmp_path: Path, drawn: Callable[[str], Path]) -> None:
    many = ("--trainer.strategy", "ddp", "--trainer.devices", 2, "--trainer.accelerator", "cpu")
    process = kills.start("julia", drawn("julia"), tmp_path, *many, "--trainer.max_epochs", 500)
    last = kills.last_of("julia", tmp_path)
    while not last.exists():
        assert process.poll() is None, (tmp_path / "output.txt").read_text()
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(quick.PATIENCE) == 143
    assert "stopped by SIGTERM" in (tmp_path / "output.txt").read_text()
    assert torch.load(last, weights_only=True)["global_step"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_dies_ends_the_others(
    tmp_path: Path, drawn: Callable[[str], Path], forked_children: None, victim: int
) -> None:
    (tmp_path / "data").symlink_to(drawn("julia"))  # by which its processes are known
    one = f'{{"class_path": "tests.test_resume.Fail", "init_args": {{"rank": {victim}}}}}'
    many = ("--trainer.strategy", "ddp", "--trainer.devices", 2, "--trainer.accelerator", "cpu")
    process = kills.start("julia", tmp_path / "data", tmp_path, *many, "--trainer.callbacks+", one)
    assert process.wait(quick.PATIENCE) != 0
    said = (tmp_path / "output.txt").read_text()
    assert "this rank fails" in said, said
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False).stdout
    assert left == ""


class Fail(pl.Callback):
    """Fails in one of the processes, in the middle of the fit.

    Args:
        rank: which one.
    """

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_rank == self.rank and trainer.global_step == 5:
            raise ValueError("this rank fails")


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"
    WholeFiles().save_checkpoint({"a": 1}, path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        WholeFiles().save_checkpoint({"a": 2}, path)
    assert torch.load(path) == {"a": 1}
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.slow
def test_a_damaged_last_checkpoint_falls_back_to_the_newest_whole_one(run: Run, refused: Run, julia_root: Path) -> None:
    words = (*LENET, *QUIET, "--data.root", julia_root, "--trainer.callbacks", "null")
    run("julia", "fit", *words, "--save_every_n_epochs", 1)
    folder = Path("runs/julia/lenet/version_0/checkpoints")
    assert (folder / "epoch_001.ckpt").is_file()
    content = bytearray((folder / "last.ckpt").read_bytes())
    content[len(content) // 2] ^= 1  # in the weights, where torch would not see it
    os.utime(folder / "epoch_000.ckpt", (1, 1))
    os.utime(folder / "best.ckpt", (1, 1))
    (folder / "last.ckpt").write_bytes(content)
    said = run("julia", "fit", "--ckpt_path", "last", "--trainer.max_epochs", 3, *words[-2:])
    assert "last.ckpt is damaged; taking epoch_001.ckpt" in said
    assert "damaged" in refused("julia", "predict", "--ckpt_path", folder / "last.ckpt")
    shutil.rmtree("runs/julia/lenet/version_1")
    link = Path("runs/julia/lenet/latest")
    link.unlink()
    link.symlink_to("version_0")
    for path in folder.iterdir():
        path.write_bytes(content[:-9])
    assert "there is no other beside it" in refused("julia", "predict", "--ckpt_path", "last")


@pytest.mark.slow
def test_a_resumed_fit_keeps_settings_seed_and_the_best_epoch(run: Run, refused: Run, julia_root: Path) -> None:
    words = (*LENET[:-2], *QUIET, "--data.root", julia_root)
    ema = '[{"class_path": "common.optim.EMAWeightAveraging", "init_args": {"decay": 0.8}}]'
    # Nothing is learned: the first epoch stays the best.
    flat = ("--model.lr", 1e-12, "--seed_everything", 5, "--trainer.max_epochs", 3, "--trainer.callbacks", ema)
    run("julia", "fit", *words, *flat, "--save_every_n_epochs", 1)
    folder = Path("runs/julia/lenet/version_0/checkpoints")
    said = run("julia", "fit", "--ckpt_path", folder / "epoch_001.ckpt", *flat[-2:])
    assert f"resuming {folder / 'epoch_001.ckpt'}" in said
    config = yaml.safe_load(Path("runs/julia/lenet/version_1/config.yaml").read_text())
    assert (config["seed_everything"], config["trainer"]["max_epochs"]) == (5, 3)
    resumed = Path("runs/julia/lenet/version_1/checkpoints")
    assert torch.load(resumed / "best.ckpt", weights_only=True)["epoch"] == 0
    assert kills.same(*(torch.load(path / "last.ckpt", weights_only=True)["state_dict"] for path in (folder, resumed)))
    message = refused("julia", "fit", "--ckpt_path", folder / "epoch_001.ckpt", "--trainer.callbacks", "null")
    assert "EMAWeightAveraging" in message and "--config" in message
    # Nor with the recipe's own, which averages otherwise.
    message = refused("julia", "fit", "--ckpt_path", folder / "epoch_001.ckpt")
    assert "(decay=0.8, update_every_n_steps=5), not with EMAWeightAveraging(decay=0.9, update" in message
    assert not Path("runs/julia/lenet/version_2").exists()


@pytest.mark.slow
def test_what_a_resumed_fit_or_an_export_cannot_change_is_refused(run: Run, refused: Run, julia_root: Path) -> None:
    plain = ("--trainer.callbacks", "null")
    run("julia", "fit", *LENET[:-1], 1, *QUIET, "--data.root", julia_root, *plain)
    line = refused("julia", "fit", "--ckpt_path", "last", "--trainer.max_epochs", 3)
    assert "was fitted with no averaging, not with EMAWeightAveraging(" in line
    changes = {
        "--model.lr": 0.1,
        "--model.weight_decay": 0.9,
        "--model.backbone": "airbench",
        "--model.image_size": 32,
        "--data.batch_size": 16,
        "--data.fold": 1,
        "--trainer.max_epochs": 1,  # its end
    }
    more = {flag: ("--trainer.max_epochs", 3) for flag in changes if flag != "--trainer.max_epochs"}
    for flag, value in changes.items():
        line = refused("julia", "fit", "--ckpt_path", "last", *more.get(flag, ()), flag, value)
        assert flag in line and ("which stays" in line or flag == "--trainer.max_epochs")
    assert "a larger --trainer.max_epochs" in refused("julia", "fit", "--ckpt_path", "last")
    assert "--model.image_size 64" in refused(
        "julia", "export", "--ckpt_path", "last", "--output", "a.onnx", "--model.image_size", 64
    )
    home = Path("runs/julia/lenet")
    assert sorted(path.name for path in home.parent.rglob("version_*")) == ["version_0"]
    run("julia", "fit", *QUIET, "--ckpt_path", "last", "--trainer.max_epochs", 2, "--data.eval_batch_size", 16, *plain)
    # The run goes on in its folder, with what was typed.
    assert sorted(path.name for path in home.parent.rglob("version_*")) == ["version_0"]
    config = yaml.safe_load((home / "version_0" / "config.yaml").read_text())
    assert config["ckpt_path"] is None
    assert (config["trainer"]["max_epochs"], config["data"]["eval_batch_size"]) == (2, 16)
    result = json.loads((home / "version_0" / "result.json").read_text())
    assert result["epochs"] == 2
    assert pd.read_csv(home / "version_0" / "metrics.csv")["val/acc"].notna().sum() == 2
