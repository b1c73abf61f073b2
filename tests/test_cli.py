"""The commands end to end, on synthetic data."""

from __future__ import annotations

import builtins
import csv
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from common.cli import CHECKPOINTS, TaskCLI
from julia.model import CharacterClassifier
from tests.conftest import Run, Shared

# The smallest network of torchvision's that learns: what is tested here is not the accuracy.
SMALL = ("--model.backbone", "mobilenet_v3_small", "--model.image_size", 16, "--trainer.enable_progress_bar", "false")


@pytest.fixture(scope="session")
def julia_run(julia_root: Path, shared: Shared) -> Path:
    """The run folder of a short fit, made by the command itself in a process of its own."""
    words = [*SMALL[:4], "--data.root", julia_root, "--data.batch_size", 64, "--trainer.max_epochs", 2]
    words += ["--model.lr", 1e-3, "--data.shift", 0.05]
    command = [sys.executable, "-m", "julia", "fit", *map(str, words)]

    def fit(folder: Path) -> None:
        environment = os.environ | {
            "WANDB_MODE": "offline",
            "HOME": str(folder),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        (folder / "output.txt").write_text(done.stdout + done.stderr)

    return shared("julia-run", fit) / "runs" / "julia" / "mobilenet_v3_small" / "version_0"


@pytest.fixture
def checkpoint(julia_run: Path) -> Path:
    return julia_run / "checkpoints" / "best.ckpt"


@pytest.mark.slow
def test_run_folder_and_next_command(julia_run: Path, julia_root: Path) -> None:
    names = {path.name for path in julia_run.iterdir()}
    assert {"config.yaml", "metrics.csv", "checkpoints", "confusion.csv", "wandb"} <= names
    assert {path.name for path in (julia_run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert (julia_run.parent / "latest").resolve() == julia_run.resolve()
    config = yaml.safe_load((julia_run / "config.yaml").read_text())
    assert config["data"]["root"] == str(julia_root)
    assert config["trainer"]["precision"] in ("32-true", "bf16-mixed", "16-mixed")
    assert config["trainer"]["callbacks"][0]["class_path"].endswith("EMAWeightAveraging")
    metrics = pd.read_csv(julia_run / "metrics.csv")
    assert {"val/acc", "val/f1", "val/acc_case_blind", "val/loss"} <= set(metrics.columns)
    confusion = pd.read_csv(julia_run / "confusion.csv", index_col="truth", keep_default_na=False)
    assert confusion.to_numpy().sum() == 62
    logged = next(julia_run.glob("wandb/offline-run-*/*.wandb")).read_bytes()
    assert b'"lr":0.001' in logged and b'"max_epochs":2' in logged  # numbers, not text
    output = (julia_run.parents[3] / "output.txt").read_text()
    last = [line for line in output.splitlines() if line.startswith("next: ")][-1]
    assert last.endswith(
        "python -m julia predict --ckpt_path runs/julia/mobilenet_v3_small/version_0/checkpoints/best.ckpt"
    )
    assert "Traceback" not in output


@pytest.mark.slow
def test_without_a_terminal_a_fit_prints_the_network_and_a_line_an_epoch_and_no_noise(julia_run: Path) -> None:
    lines = (julia_run.parents[3] / "output.txt").read_text().splitlines()
    epochs = [
        re.fullmatch(r"epoch (\d) of 2: train/loss [\d.]+, val/acc ([\d.]+), best .+ left", line) for line in lines
    ]
    logged = pd.read_csv(julia_run / "metrics.csv")["val/acc"].dropna()
    assert [found.groups() for found in epochs if found] == [(str(n + 1), f"{v:.4f}") for n, v in enumerate(logged)]
    table = lines.index(next(line for line in lines if line.startswith("Name ")))
    assert [line.split()[0] for line in lines[table + 1 : table + 4]] == ["net", "net.normalize", "net.backbone"]
    assert "parameters" in lines[table + 4]
    expected = r"GPU available|Name |net|\d.* parameters|epoch |run: |W&B: |best val/acc: |next: |$"
    assert [line for line in lines if not re.match(expected, line)] == []


@pytest.mark.slow
def test_checkpoint_alone_predicts_the_same_elsewhere(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    run("julia", "predict", "--ckpt_path", checkpoint, "--submission.path", "here.csv")
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.copy(checkpoint, tmp_path / "elsewhere" / "moved.ckpt")
    output = run("julia", "predict", "--ckpt_path", moved)
    written = tmp_path / "elsewhere" / "submission_moved.csv"
    assert "submission: elsewhere/submission_moved.csv" in output
    assert written.read_bytes() == Path("here.csv").read_bytes()
    assert not Path("runs").exists()  # only fit opens a run
    raw = np.load("here.npz")
    assert raw["probabilities"].shape == (31, 62)
    assert np.allclose(raw["probabilities"].sum(1), 1, atol=1e-3)
    with Path("here.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert [row["ID"] for row in table] == [str(number) for number in range(311, 342)] == list(raw["ids"])
    classes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    assert [row["Class"] for row in table] == [classes[index] for index in raw["probabilities"].argmax(1)]


@pytest.mark.slow
def test_validate_repeats_the_logged_figures_on_the_same_rows(run: Run, checkpoint: Path, julia_run: Path) -> None:
    output = run("julia", "validate", "--ckpt_path", checkpoint)
    best = pd.read_csv(julia_run / "metrics.csv")["val/acc"].max()
    assert str(best)[:6] in output
    assert not Path("runs").exists() and not list(Path().glob("*.csv"))


@pytest.mark.slow
def test_resume_goes_on_where_it_stopped(run: Run, julia_run: Path) -> None:
    last = julia_run / "checkpoints" / "last.ckpt"
    said = run("julia", "fit", "--ckpt_path", last, "--trainer.max_epochs", 3)
    before = pd.read_csv(julia_run / "metrics.csv")["val/acc"].dropna()
    (line,) = [line for line in said.splitlines() if line.startswith("epoch ")]
    assert line.startswith("epoch 3 of 3: ") and line.endswith(" 0 s left")
    now = float(re.search(r"val/acc ([\d.]+)", line)[1])  # type: ignore[index]
    best, epoch = (now, 3) if now > round(before.max(), 4) else (before.max(), int(before.argmax()) + 1)
    assert f"best {best:.4f} in epoch {epoch}, " in line
    resumed = Path("runs/julia/mobilenet_v3_small/latest")
    epochs = pd.read_csv(resumed / "metrics.csv")["epoch"].dropna().unique().tolist()
    assert epochs == [2]
    state = torch.load(resumed / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["global_step"] == 9
    assert "current_model_state" in state  # the moving average went on too


@pytest.mark.slow
def test_last_is_of_the_last_epoch_though_the_best_was_before(run: Run, julia_root: Path) -> None:
    words = (*SMALL, "--data.root", julia_root, "--trainer.max_epochs", 3, "--model.lr", 1e-12)
    run("julia", "fit", *words, "--trainer.callbacks", "null", "--trainer.check_val_every_n_epoch", 2)
    run_folder = Path("runs/julia/mobilenet_v3_small/latest")
    saved = {
        name: torch.load(run_folder / "checkpoints" / f"{name}.ckpt", weights_only=True) for name in ("best", "last")
    }
    assert (saved["best"]["epoch"], saved["last"]["epoch"]) == (1, 2)
    table = pd.read_csv(run_folder / "metrics.csv")
    metrics = table["val/acc"].dropna()
    assert table["epoch"][metrics.index].tolist() == [1, 2]  # the last one always, though it is the third
    result = json.loads((run_folder / "result.json").read_text())
    assert (result["last"], result["best"]) == pytest.approx((metrics.iloc[-1], metrics.max()))
    assert result["epochs"] == 3


@pytest.mark.slow
def test_shortcut_last_finds_the_newest_run(run: Run, julia_root: Path) -> None:
    words = (*SMALL, "--data.root", julia_root, "--trainer.max_epochs", 1)
    run("julia", "fit", *words, "--name", "first")
    run("julia", "fit", *words, "--name", "study/part/second")
    assert "runs/julia/study/part/second/version_0/submission_last.csv" in run(
        "julia", "predict", "--ckpt_path", "last"
    )
    assert "first" in run("julia", "predict", "--ckpt_path", "best", "--name", "first")


@pytest.mark.slow
def test_seeded_runs_are_equal(run: Run, julia_root: Path) -> None:
    words = (*SMALL, "--data.root", julia_root, "--trainer.max_epochs", 1, "--seed_everything", 7)
    states = []
    for name in ("one", "two"):
        run("julia", "fit", *words, "--name", name)
        path = f"runs/julia/{name}/version_0/checkpoints/last.ckpt"
        states.append(torch.load(path, weights_only=True)["state_dict"])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_only_the_parser_that_is_needed_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {}
    for words in ("fit --name x", "predict", "crossval", "--help", "fti", "", "--config fit.yaml fit"):
        monkeypatch.setattr(sys, "argv", ["julia", *words.split()])
        made[words] = set(TaskCLI.subcommands())
    assert made["fit --name x"] == {"fit"} and made["predict"] == {"predict"}
    assert made["crossval"] == {"crossval", "fit"}  # which its folds are
    assert made["--help"] == made["fti"] == made[""] == made["--config fit.yaml fit"] == set(CHECKPOINTS)


@pytest.mark.parametrize("subcommand", ["fit", "validate", "predict", "crossval", "dashboard"])
def test_help_explains_every_argument_of_model_and_data(
    run: Run, subcommand: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as caught:
        run("julia", subcommand, "--help")
    assert caught.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    own = [
        i for i, line in enumerate(lines) if line.startswith(("  --model.", "  --data.", "  --name", "  --submission."))
    ]
    assert len(own) > 25
    bare = []
    for i in own:
        text = lines[i].split("  ", 2)[-1] if "(type" in lines[i] else lines[i + 1]
        if text.strip().startswith("(type"):
            bare.append(lines[i])
    assert not bare


@pytest.mark.parametrize("task", ["growth", "julia"])
def test_help_begins_with_commands_that_are_real(
    run: Run, refused: Run, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    with pytest.raises(SystemExit):
        run(task, "--help")
    shown = capsys.readouterr().out.partition("options:")[0]
    commands = re.findall(r"^  [\w& ]+  python -m (\S.*)$", shown, re.MULTILINE)
    assert {words.split()[1] for words in commands} == {*CHECKPOINTS, f"runs/{task}"}
    for words in commands:
        if words.split()[1] in ("dashboard", f"runs/{task}"):  # they need no data
            continue
        # What is missing here is no argument. Nothing is to be downloaded.
        missing, more = (
            ("no run in", ()) if "--ckpt_path" in words else (f"data/{task}", ("--model.pretrained", "false"))
        )
        assert missing in refused(*words.split(), *more)


@pytest.mark.parametrize("subcommand", ["fit", "predict"])
def test_help_has_our_arguments_first_and_says_what_they_do_here(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], subcommand: str
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        run("growth", subcommand, "--help")
    shown = capsys.readouterr().out
    flags = re.findall(r"^  (?:-c CONFIG, )?--(\w+)", shown, re.MULTILINE)
    order = [*(["submission"] if subcommand == "predict" else []), "model", "data", "trainer"]
    assert [flag for number, flag in enumerate(flags) if flag in order and flag != flags[number - 1]] == order
    assert flags.index("ckpt_path") < flags.index("model")
    assert shown.startswith(f"usage: python -m growth {subcommand} ") and len(shown.partition("options:")[0]) < 400
    texts = dict(re.findall(r"^  --([\w.]+)[^\n]*\n {20,}(.*)$", shown, re.MULTILINE))
    assert "bf16-mixed where the hardware" in texts["trainer.precision"] and "'32-true'" not in texts["ckpt_path"]
    assert "last or best of the newest run" in texts["ckpt_path"]
    assert ":paramref:" not in shown and "``" not in shown


def test_default_recipe_is_the_shipped_configuration(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    config = Path(__file__).parents[1] / "configs" / "resnet18.yaml"
    for words in ((), ("--config", config)):
        with pytest.raises(SystemExit):
            run("julia", "fit", *words, "--print_config")
        shown.append(yaml.safe_load(capsys.readouterr().out))
    assert shown[0] == shown[1]


def test_no_data_yet(refused: Run) -> None:
    line = refused("julia", "fit")
    assert "--data.root data/julia: no such folder" in line
    assert "python -m julia.synthetic data/julia" in line
    assert not Path("runs").exists()
    assert not Path("cache").exists()


@pytest.mark.parametrize(
    ("subcommand", "words"),
    [
        ("validate", ()),
        ("predict", ()),
        ("export", ("--output", "x.onnx")),
        ("feature_maps", ("--image", "x.png")),
        ("app", ()),
    ],
)
def test_no_checkpoint_is_an_error(refused: Run, subcommand: str, words: tuple[str, ...]) -> None:
    assert f"python -m julia {subcommand} --ckpt_path" in refused("julia", subcommand, *words)


def test_mistyped_argument_and_key(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("model:\n  lrr: 0.1\n")
    message = run("julia", "fit", "--config", "mine.yaml", fails=True)
    assert "lrr" in message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--lr", "; did you mean --model.lr?"),
        ("--epochs", "; did you mean --trainer.max_epochs or --trainer.min_epochs?"),
        ("--data.roots", "; did you mean --data.root?"),
        ("--data.ro", "; did you mean --data.root or --data.rotation?"),  # not taken for either
        ("--data.batch", "; did you mean --data.batch_size?"),
        ("--model.learning_rate", "; did you mean --model.lr?"),
        ("--zzz", ""),
    ],
)
def test_a_mistyped_flag_suggests_those_like_it(refused: Run, typed: str, meant: str) -> None:
    assert (
        refused("julia", "fit", typed, 1)
        == f"error: unrecognized arguments: {typed} 1{meant} (see python -m julia fit --help)"
    )


@pytest.mark.parametrize(
    ("command", "typed", "give"),
    [
        ("fit", "--trainer.max_epochs yes", "a whole number or null"),
        ("fit", "--trainer.gradient_clip_val abc", "a whole number, a number or null"),
        ("fit", "--seed_everything 1e3", "true, false or a whole number"),
        ("fit", "--data.train_fraction [0.5", "a number or a list such as [A, B]"),
        ("fit", "--data.fold -1", "a whole number of at least 0 or null"),
        ("fit", "--data.val_fraction x", "a number"),
        ("fit", "--data.variant x", "original or resized"),
        ("fit", "--model.image_size 3.5", "a whole number above 0"),
        ("crossval", "--others out_of_fold.npz", "a list such as [A, B] or null"),
        ("predict", "--submission.min_probability 1.5", "a number from 0 to 1"),
    ],
)
def test_a_value_of_another_type_is_named_with_what_to_give(refused: Run, command: str, typed: str, give: str) -> None:
    assert (
        refused("julia", command, *typed.split())
        == f"error: {typed}: give {give} (see python -m julia {command} --help)"
    )


def test_a_configuration_after_a_checkpoint_does_not_undo_it(refused: Run) -> None:
    Path("run.yaml").write_text("ckpt_path: null\n")
    for command in ("fit", "predict"):
        line = refused("julia", command, "--ckpt_path", "last", "--config", "run.yaml")
        assert line.endswith(
            "run.yaml, given after it, sets ckpt_path, too, and would win; give it after --config run.yaml"
        )


def test_an_added_callback_is_not_undone_by_a_configuration_after_it(refused: Run) -> None:
    Path("mine.yaml").write_text("trainer:\n  callbacks: []\n")
    Path("more.yaml").write_text("trainer:\n  callbacks+:\n  - class_path: Timer\n")
    for flag, value in (("--trainer.callbacks+", "Timer"), ("--config", "more.yaml")):
        line = refused("julia", "fit", flag, value, "--config", "mine.yaml")
        why = "mine.yaml, given after it, sets trainer.callbacks, too, and would win; give it after --config mine.yaml"
        assert line == f"error: {flag} {value}: {why}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("fit --data.fold 0 --data.val_fraction 0.5", "--data.val_fraction 0.5: --data.fold 0 decides; leave it out"),
        ("crossval --data.val_fraction 0.5", "0.5: crossval holds out each of --data.num_folds; leave it out"),
        ("fit --data.num_folds 4", "4: --data.val_fraction decides unless --data.fold says which fold"),
    ],
)
def test_a_flag_of_the_split_that_has_no_effect_is_refused(refused: Run, words: str, said: str) -> None:
    assert refused("julia", *words.split()).endswith(said)


def test_a_callback_that_takes_the_worst_for_the_best_is_refused(refused: Run, julia_root: Path) -> None:
    stop = "callbacks:\n  - class_path: EarlyStopping\n    init_args:\n      monitor: val/acc\n"
    Path("stop.yaml").write_text(f"trainer:\n  {stop}")
    line = refused("julia", "fit", "--config", "stop.yaml", "--data.root", julia_root)
    assert line == "error: EarlyStopping.mode min: more of val/acc is better; give mode: max"


def test_a_flag_before_a_configuration_that_sets_it_too_is_refused(refused: Run) -> None:
    Path("mine.yaml").write_text("name: mine\nmodel:\n  lr: 0.01\n")
    for flag, value in (("--name", "other"), ("--model.lr", "0.5")):
        line = refused("julia", "fit", flag, value, "--config", "mine.yaml")
        why = f"mine.yaml, given after it, sets {flag[2:]}, too, and would win; give it after --config mine.yaml"
        assert line == f"error: {flag} {value}: {why}"
    Path("group.yaml").write_text("lr: 0.2\n")
    line = refused("julia", "fit", "--model.lr", 0.1, "--model", "group.yaml")
    assert line.startswith("error: --model.lr 0.1: group.yaml, given after it, sets model.lr, too")
    # One that it does not set is taken, and so is one after it.
    line = refused("julia", "fit", "--model.warmup", 0.5, "--config", "mine.yaml", "--model.lr", "x")
    assert line.startswith("error: --model.lr x: give a number")


def test_a_mistyped_configuration_suggests_those_like_it(refused: Run) -> None:
    Path("mine.yaml").touch()
    for flag in ("--config", "-c"):
        line = refused("julia", "fit", flag, "mien.yaml")
        assert "--config mien.yaml: no such config; did you mean mine.yaml?" in line


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("--config", "null.yaml"), "error: --model.lr null: give a number above 0 (see python -m julia"),
        (("--config", "stem.yaml"), "error: --model.stem null: give imagenet or small (see python -m julia"),
        (("--config", "word.yaml"), "error: --model.lr abc: give a number above 0"),
        (
            ("--config", "epochs.yaml", "--trainer.max_epochs", "3"),
            "error: --trainer.max_epochs abc: give a whole number or",
        ),
        (("--config", "nested.yaml"), "010 may be 8, as YAML has it"),
        (("--data", "{batch_size: 010}"), "010 may be 8, as YAML has it"),
        (("--config", "model: {lr: 0.4, lr: 0.5}"), "lr appears twice"),
        (("--trainer.max_epochs", "1:30"), "1:30: it would be read as 90; give a plain number, or two"),
        (("--trainer.val_check_interval=1:00:00:00",), "it would be read as 216000"),
        (("--config", "model: {lr: .inf}"), "--model.lr inf: give a finite number"),
    ],
)
def test_a_configuration_is_read_strictly_wherever_it_stands(refused: Run, typed: tuple[str, ...], said: str) -> None:
    more = {"word": "model:\n  lr: abc\n", "epochs": "trainer:\n  max_epochs: abc\n"}
    files = {**more, "null": "model:\n  lr: null\n", "stem": "model:\n  stem: null\n", "nested": "data: part.yaml\n"}
    for name, text in {**files, "part": "batch_size: 010\n"}.items():
        Path(f"{name}.yaml").write_text(text)
    assert said in refused("julia", "fit", *typed)


def test_batch_larger_than_the_set(refused: Run, julia_root: Path) -> None:
    line = refused("julia", "fit", *SMALL, "--data.root", julia_root, "--data.batch_size", 1000)
    assert "--data.batch_size 1000 is larger than the 248 training images" in line


def test_unknown_backbone(refused: Run) -> None:
    assert "did you mean" in refused("julia", "fit", "--model.backbone", "resnet-18")


def test_what_is_to_be_fitted_first(refused: Run, julia_root: Path) -> None:
    words = ("julia", "fit", *SMALL, "--data.root", julia_root, "--model.pretrained")
    path = "runs/julia/first/latest/checkpoints/last.ckpt"
    first = "fit that run first, by python -m julia fit --name first, with its --config, or give another"
    assert refused(*words, path) == f"error: --model.pretrained {path}: no such file; {first}"
    Path("configs").mkdir()
    Path("configs/first.yaml").touch()
    assert "first, by python -m julia fit --config configs/first.yaml, or give another" in refused(*words, path)
    Path("runs/julia/first/version_0/checkpoints").mkdir(parents=True)
    assert "no such file; give another" in refused(*words, path.replace("latest", "version_0"))


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("payload-ran"),)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("absent", "no such file; give another, such as runs/<task>/<name>/latest/checkpoints/last.ckpt"),
        ("folder", "is a folder; give a file, such as last.ckpt of a run"),
        ("empty", "it is damaged"),
        ("truncated", "it is damaged"),
        ("text", "it is damaged"),
        ("objects", "holds pickled objects"),
        ("weights", "not a checkpoint of python -m julia fit"),
        ("growth", "a checkpoint of growth, not of julia; type python -m growth"),
    ],
)
def test_checkpoints_that_are_none(refused: Run, tmp_path: Path, kind: str, message: str) -> None:
    path = tmp_path / "some.ckpt"
    content: dict[str, Any] = {"state_dict": {}, "hyper_parameters": {}, "task": "growth"}
    if kind == "objects":
        content["callbacks"] = Payload()
    if kind == "weights":
        content = {"conv1.weight": torch.zeros(3)}
    if kind == "folder":
        path.mkdir()
    elif kind != "absent":
        torch.save(content, path)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-300])
    if kind in ("text", "empty"):
        path.write_text("hello" * (kind == "text"))
    line = refused("julia", "predict", "--ckpt_path", path)
    assert str(path) in line
    assert message in line
    assert not Path("payload-ran").exists()


@pytest.mark.slow
def test_faults_found_while_predicting(refused: Run, checkpoint: Path, julia_root: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(julia_root, tmp_path / "copy"))
    (root / "test" / "320.Bmp").write_bytes(b"")
    line = refused("julia", "predict", "--ckpt_path", checkpoint, "--data.root", root, "--submission.path", "s.csv")
    assert "320.Bmp (empty)" in line
    assert not Path("s.csv").exists()
    assert "does not exist" in refused("julia", "predict", "--ckpt_path", checkpoint, "--submission.path", "no/s.csv")
    assert ".csv" in refused("julia", "predict", "--ckpt_path", checkpoint, "--submission.path", "s.txt")


@pytest.mark.slow
def test_checkpoint_of_another_network(refused: Run, checkpoint: Path) -> None:
    line = refused("julia", "predict", "--ckpt_path", checkpoint, "--model.backbone", "resnet18")
    assert f"--model.backbone resnet18: the checkpoint {checkpoint} has mobilenet_v3_small, which stays" in line
    saved = torch.load(checkpoint, weights_only=True)
    saved["hyper_parameters"]["backbone"] = "resnet18"
    torch.save(saved, "other.ckpt")
    assert "do not fit the network" in refused("julia", "predict", "--ckpt_path", "other.ckpt")


@pytest.mark.slow
def test_what_belongs_to_the_weights_is_refused_beside_a_checkpoint_in_every_subcommand(
    refused: Run, checkpoint: Path, tmp_path: Path
) -> None:
    words: dict[str, tuple[object, ...]] = {
        "fit": ("--trainer.max_epochs", 5),
        "validate": (),
        "predict": (),
        "export": ("--output", "x.onnx"),
        "feature_maps": ("--image", "x.png"),
        "app": (),
    }
    for subcommand, more in words.items():
        for flag, value, has in (("--data.seed", 1, 0), ("--model.lr", 0.5, 0.001), ("--data.fold", 2, None)):
            line = refused("julia", subcommand, "--ckpt_path", checkpoint, *more, flag, value)
            assert line == f"error: {flag} {value}: the checkpoint {checkpoint} has {has}, which stays; leave it out"
    for flag, value in (("--trainer.limit_val_batches", 1), ("--trainer.fast_dev_run", "true")):  # on all held-out rows
        line = refused("julia", "validate", "--ckpt_path", checkpoint, flag, value)
        assert line.endswith(": validate needs all images; leave it out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_configurations_of_julia_train(run: Run, julia_root: Path) -> None:
    configs = Path(__file__).parents[1] / "configs"
    for name in ("resnet18", "efficientnet_b0"):
        words = ("--config", configs / f"{name}.yaml", "--data.root", julia_root, "--trainer.fast_dev_run", 1)
        run("julia", "fit", *words)


@pytest.mark.slow
def test_real_files_make_a_submission(run: Run, real_julia: Path) -> None:
    words = (*SMALL, "--data.root", real_julia, "--trainer.max_epochs", 1, "--trainer.limit_train_batches", 2)
    run("julia", "fit", *words)
    run("julia", "predict", "--ckpt_path", "last", "--submission.path", "s.csv")
    table = pd.read_csv("s.csv", dtype=str, keep_default_na=False)
    sample = pd.read_csv(real_julia / "sampleSubmission.csv", dtype=str, keep_default_na=False)
    assert table["ID"].tolist() == sample["ID"].tolist()
    assert len(table) == 6220


def test_an_unknown_setting_is_refused_with_its_configuration(refused: Run, julia_root: Path) -> None:
    Path("ours.yaml").write_text("model:\n  lr: 0.1\n")
    Path("mine.yaml").write_text("model:\n  learning_rate: 0.1\n")
    words = ("--config", "ours.yaml", "--config", "mine.yaml", "--data.root", julia_root)
    line = refused("julia", "fit", *words)
    assert "error: mine.yaml: model.learning_rate: no such setting; did you mean --model.lr? (see" in line


def test_what_is_required_is_named_as_it_is_typed(refused: Run) -> None:
    line = refused("julia", "export", "--ckpt_path", "x.ckpt")
    assert line == "error: give --output (see python -m julia export --help)"


def test_settings_too_long_for_a_name_are_no_file(refused: Run) -> None:
    model = "{backbone: lenet, " + " " * 300 + "lr: 0}"
    assert " 0: give a number above 0" in refused("julia", "fit", "--model", model)


def test_addresses_are_not_read(refused: Run) -> None:
    line = refused("julia", "predict", "--ckpt_path", "https://example.org/x.ckpt")
    assert "--ckpt_path https://example.org/x.ckpt: URLs are not read; download the file" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--name", "x/fold_0"), "--name x/fold_0: fold_N is the name of a fold; give --data.fold, or another name"),
        (("--trainer.max_epochs", -1), "--trainer.max_epochs -1: the learning rate's schedule must know the end"),
        (("--trainer.barebones", "true"), "--trainer.barebones True: it leaves no run"),
        (("--trainer.accumulate_grad_batches", "0"), "--trainer.accumulate_grad_batches 0: give more than 0"),
        (("--trainer.check_val_every_n_epoch", "0"), "--trainer.check_val_every_n_epoch 0: give more than 0"),
        (("--trainer.val_check_interval", "0"), "--trainer.val_check_interval 0: give more than 0"),
        (("--trainer.max_epochs", "0"), "--trainer.max_epochs 0: nothing would be trained"),
        (("--trainer.devices", "abc"), "--trainer.*: `devices` selected with `CPUAccelerator` should be"),
        (("--data.seed", str(2**32)), f"--data.seed {2**32}: give a number from 0"),
        (
            ("--trainer.callbacks", "{class_path: EarlyStopping, init_args: {monitor: val/accc}}"),
            "did you mean val/acc",
        ),
        (("--trainer.callbacks", "BackboneFinetuning"), "BackboneFinetuning does not suit these networks"),
        (("--trainer.strategy", "ddp_spawn"), "--trainer.strategy ddp_spawn: give ddp"),
        (("--trainer.callbacks+", "BatchSizeFinder"), "BatchSizeFinder changes batches"),
    ],
)
def test_arguments_of_the_trainer_that_do_not_suit(
    refused: Run, julia_root: Path, words: tuple[object, ...], said: str
) -> None:
    assert said in refused("julia", "fit", *SMALL[:4], "--data.root", julia_root, *words)
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_progress_bar_of_a_configuration_needs_no_terminal(run: Run, julia_root: Path) -> None:
    bar = ("--trainer.callbacks+", "TQDMProgressBar", "--trainer.fast_dev_run", "true")
    run("julia", "fit", *SMALL[:4], "--data.root", julia_root, *bar)


def test_the_best_is_of_the_metric_that_decides_whatever_else_is_kept() -> None:
    from types import SimpleNamespace

    from lightning.pytorch.callbacks import ModelCheckpoint

    from common.callbacks import BestCheckpoint
    from common.fitting import finish_run

    other, ours = ModelCheckpoint(monitor="val/loss"), BestCheckpoint("val/acc", "max", None)
    other.best_model_score, other.best_model_path = torch.tensor(4.1), "other.ckpt"
    ours.best_model_score, ours.best_model_path = torch.tensor(0.5), "best.ckpt"
    trainer = SimpleNamespace(
        checkpoint_callbacks=[other, ours],
        log_dir=".",
        is_global_zero=True,
        loggers=[SimpleNamespace(finalize=lambda _: None)],
        interrupted=False,
        callback_metrics={},
        current_epoch=3,
    )
    finish_run(trainer, CharacterClassifier("lenet", image_size=12), 1.0, False)  # type: ignore[arg-type]
    assert json.loads(Path("result.json").read_text())["best"] == 0.5


@pytest.mark.slow
@pytest.mark.parametrize("command", ["predict", "validate"])
def test_ctrl_c_is_one_line(
    run: Run, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setattr(CharacterClassifier, "forward", lambda *_: signal.raise_signal(signal.SIGINT))
    words = ("--submission.path", "s.csv") if command == "predict" else ()
    with pytest.raises(SystemExit) as caught:
        run("julia", command, "--ckpt_path", checkpoint, "--trainer.enable_progress_bar", "false", *words)
    assert caught.value.code == 130
    said = capsys.readouterr()
    assert [line for line in (said.out + said.err).splitlines() if "available" not in line] == ["error: interrupted"]
    assert list(Path().glob("*s.csv*")) == []


@pytest.mark.parametrize("task", ["growth", "julia"])
def test_ctrl_c_while_the_libraries_are_imported_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    load = builtins.__import__

    def interrupted(name: str, *more: Any, **named: Any) -> Any:
        if name == f"{task}.model":
            raise KeyboardInterrupt
        return load(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", interrupted)
    with pytest.raises(SystemExit) as caught:
        runpy.run_module(task, run_name="__main__")
    assert caught.value.code == 130
    assert capsys.readouterr().err == "error: interrupted\n"
