"""Each overlay of configs/extra and each search space of configs/sweeps, by a run; each command of a header."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from julia.model import CharacterClassifier
from tests.conftest import Run

CONFIGS = Path(__file__).parents[1] / "configs"
EXTRA = CONFIGS / "extra"
QUICK = ("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false")
JULIA = ("julia", "fit", "--model.backbone", "airbench", "--model.image_size", 16, "--data.batch_size", 32, *QUICK)
GROWTH = (
    *("growth", "fit", "--model.backbone", "leaf_hull", "--model.pretrained", "false", "--model.image_size", 32),
    *("--model.normalize", "none"),
    *("--data.plants_per_batch", 2, "--data.images_per_plant", 3, *QUICK),
)
HEADER_COMMAND = re.compile(r"^#   python -m ((?:growth|julia) .*?)(?: +#.*)?$", re.MULTILINE)
COMMANDS = sorted({found for path in CONFIGS.rglob("*.yaml") for found in HEADER_COMMAND.findall(path.read_text())})


def callbacks(config: Path) -> list[str]:
    listed = yaml.safe_load(config.read_text())["trainer"]["callbacks"]
    return [callback["class_path"].rsplit(".", 1)[-1] for callback in listed]


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONFIGS)))
def test_a_header_names_its_own_file(path: Path) -> None:
    comments = [line for line in path.read_text().splitlines() if line.startswith("#   ")]
    assert any(str(path.relative_to(CONFIGS.parent)) in line for line in comments)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_header_command_is_accepted_as_typed(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.chdir(CONFIGS.parent)
    with pytest.raises(SystemExit) as caught:
        run(*shlex.split(command), "--print_config")
    assert caught.value.code == 0, capsys.readouterr().err


@pytest.mark.slow
def test_ema_joins_the_recipe(run: Run, growth_root: Path, refused: Run, julia_root: Path) -> None:
    words = ("--data.root", growth_root, "--config", EXTRA / "ema.yaml", "--trainer.max_epochs", 2)
    run(*GROWTH, *words)
    latest = Path("runs/growth/leaf_hull/latest")
    assert callbacks(latest / "config.yaml") == ["EMAWeightAveraging"]
    state = torch.load(latest / "checkpoints" / "last.ckpt", weights_only=True)
    kept, current = state["state_dict"], state["current_model_state"]
    assert not torch.equal(kept["net.after_net.head.weight"], current["net.after_net.head.weight"])
    error = refused(*JULIA, "--data.root", julia_root, "--config", EXTRA / "ema.yaml")
    assert "EMAWeightAveraging appears twice among the callbacks" in error
    both = ("--config", EXTRA / "swa.yaml", "--config", EXTRA / "ema.yaml")
    error = refused(*GROWTH, "--data.root", growth_root, *both)
    assert "StochasticWeightAveraging and EMAWeightAveraging would average each other: keep one" in error


@pytest.mark.slow
def test_swa_validates_and_saves_the_average_of_the_last_epochs(run: Run, julia_root: Path) -> None:
    saved = ("--config", CONFIGS / "extra" / "swa.yaml", "--data.root", julia_root)
    run(*JULIA, *saved, "--trainer.max_epochs", 4, "--trainer.callbacks.init_args.start", 0.5)
    latest = Path("runs/julia/airbench/latest")
    assert callbacks(latest / "config.yaml") == ["StochasticWeightAveraging"]
    state = torch.load(latest / "checkpoints" / "last.ckpt", weights_only=True)
    name = "net.backbone.0.weight"
    assert not torch.equal(state["state_dict"][name], state["current_model_state"][name])
    # What was validated last is what was saved.
    logged = pd.read_csv(latest / "metrics.csv")["val/loss"].dropna().iloc[-1]
    output = run("julia", "validate", "--ckpt_path", latest / "checkpoints" / "last.ckpt", *QUICK[:2])
    validated = re.search(r"val/loss\W+([\d.]+)", output)
    assert validated is not None and float(validated[1]) == pytest.approx(logged, abs=1e-4)


@pytest.mark.slow
def test_swa_is_the_mean_of_the_epochs_weights(julia_root: Path) -> None:
    from lightning.pytorch import Callback, Trainer

    from common.optim import StochasticWeightAveraging
    from julia.data import CharacterData
    from julia.model import CharacterClassifier

    ends: list[torch.Tensor] = []

    class Recorder(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
            if trainer.is_last_batch:
                ends.append(pl_module.net.backbone[0].weight.detach().clone())

    torch.manual_seed(0)
    model = CharacterClassifier("airbench", image_size=8)
    trainer = Trainer(
        max_epochs=4,
        callbacks=[Recorder(), StochasticWeightAveraging(0.5)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(model, CharacterData(str(julia_root), image_size=8, batch_size=64))
    assert len(ends) == 4
    assert torch.allclose(model.net.backbone[0].weight, (ends[2] + ends[3]) / 2, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["growth", "julia"])
def test_early_stopping_stops(run: Run, growth_root: Path, julia_root: Path, task: str) -> None:
    words = JULIA if task == "julia" else GROWTH
    root = julia_root if task == "julia" else growth_root
    config = EXTRA / f"early_stopping_{task}.yaml"
    patience = ("--trainer.callbacks.init_args.patience", 1)
    run(*words, "--data.root", root, "--config", config, *patience, "--model.lr", 1e-12, "--trainer.max_epochs", 9)
    name = "airbench" if task == "julia" else "leaf_hull"
    latest = Path(f"runs/{task}/{name}/latest")
    assert callbacks(latest / "config.yaml")[-1] == "EarlyStopping"
    assert pd.read_csv(latest / "metrics.csv")["epoch"].max() < 8


@pytest.mark.slow
@pytest.mark.parametrize("task", ["growth", "julia"])
def test_overfit_drives_the_training_loss_to_nearly_0(
    run: Run, growth_root: Path, large_julia_root: Path, task: str
) -> None:
    recipe, size, root = {"growth": ("lenet", 48, growth_root), "julia": ("airbench", 16, large_julia_root)}[task]
    overlays = ("--config", CONFIGS / f"{recipe}.yaml", "--config", EXTRA / f"overfit_{task}.yaml")
    run(task, "fit", *overlays, "--model.image_size", size, "--data.root", root, *QUICK)
    latest = Path(f"runs/{task}/{recipe}/latest")
    metrics = pd.read_csv(latest / "metrics.csv")
    losses = metrics["train/loss"].dropna()
    assert losses.tail(5).mean() < 0.02 * losses.head(5).mean()
    assert metrics["val/loss" if task == "julia" else "val/rmse"].notna().sum() == 1


@pytest.mark.slow
def test_learning_rate_finder_sets_the_rate_that_is_used(run: Run, julia_root: Path) -> None:
    words = ("--data.root", julia_root, "--config", EXTRA / "lr_finder.yaml", "--data.batch_size", 16)
    steps = ("--trainer.callbacks.init_args.num_training_steps", 30, "--trainer.max_epochs", 3)
    run(*JULIA, *words, *steps, "--model.lr", 1e-9, "--model.warmup", 0, "--model.colour_prior", "true")
    state = torch.load("runs/julia/airbench/latest/checkpoints/last.ckpt", weights_only=True)
    found = state["hyper_parameters"]["lr"]
    assert found > 1e-6
    assert state["optimizer_states"][0]["param_groups"][0]["initial_lr"] == pytest.approx(found)
    assert not list(Path().glob(".lr_find*"))


@pytest.mark.slow
@pytest.mark.parametrize("names", [("mixup",), ("cutmix",), ("mixup", "cutmix")])
def test_mixing_trains_and_is_not_validated(run: Run, julia_root: Path, names: tuple[str, ...]) -> None:
    overlays = [word for name in names for word in ("--config", EXTRA / f"{name}.yaml")]
    run(*JULIA, "--data.root", julia_root, *overlays, "--trainer.max_epochs", 1)
    latest = Path("runs/julia/airbench/latest")
    config = yaml.safe_load((latest / "config.yaml").read_text())["data"]
    assert [name for name in ("mixup", "cutmix") if config[name]] == list(names)
    metrics = pd.read_csv(latest / "metrics.csv")
    assert np.isfinite(metrics["val/acc"].dropna()).all()


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((CONFIGS / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_sweeps_draw_settings_that_fit(run: Run, growth_root: Path, julia_root: Path, path: Path) -> None:
    sweep = yaml.safe_load(path.read_text())
    task = path.stem
    assert sweep["command"][:5] == ["${env}", "python", "-m", task, "fit"]
    assert sweep["command"][-1] == "${args}"
    assert sweep["metric"] == (
        {"name": "val/acc", "goal": "maximize"} if task == "julia" else {"name": "val/rmse", "goal": "minimize"}
    )
    fixed = [str(CONFIGS.parent / word) if word.endswith(".yaml") else word for word in sweep["command"][5:-1]]
    if task == "julia":
        words = ("--data.root", julia_root, "--data.batch_size", 32)
    else:
        words = ("--data.root", growth_root, "--data.images_per_plant", 3, "--model.pretrained", "false")
    rng = np.random.default_rng(0)
    for _ in range(3):
        drawn = [word for name, space in sweep["parameters"].items() for word in (f"--{name}", draw(space, rng))]
        run(task, "fit", *fixed, *drawn, *words, "--trainer.fast_dev_run", "true", *QUICK)


def draw(space: dict[str, Any], rng: np.random.Generator) -> Any:
    """Draw from a parameter of a sweep as W&B does."""
    if "value" in space:
        return space["value"]
    if "values" in space:
        return space["values"][rng.integers(len(space["values"]))]
    low, high = space["min"], space["max"]
    assert low < high
    if space["distribution"] == "log_uniform_values":
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))
    assert space["distribution"] == "uniform"
    return float(rng.uniform(low, high))


@pytest.mark.slow
def test_tensorboard_instead_of_wandb(run: Run, julia_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setenv("WANDB_MODE", "offline")
    words = ("--data.root", julia_root, "--config", EXTRA / "tensorboard.yaml", "--trainer.max_epochs", 1)
    run(*JULIA, *words, "--trainer.log_every_n_steps", 1)
    folder = Path("runs/tensorboard/version_0")
    seen = events.EventAccumulator(str(folder)).Reload().Tags()
    assert {"val/acc", "train/loss", "train/images_per_s"} <= set(seen["scalars"])
    assert {"pictures/confusion", "pictures/worst_errors"} <= set(seen["images"])
    assert "airbench" in (folder / "hparams.yaml").read_text()
    assert not list(Path().glob("runs/julia/airbench/version_0/wandb"))
    assert (Path("runs/julia/airbench/version_0") / "metrics.csv").is_file()


@pytest.mark.slow
def test_mlflow_gets_curves_settings_and_pictures(run: Run, julia_root: Path) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    run(*JULIA, "--data.root", julia_root, "--config", EXTRA / "mlflow.yaml", "--trainer.max_epochs", 1)
    client = tracking.MlflowClient("file:runs/mlflow")
    (logged,) = client.search_runs([client.get_experiment_by_name("runs").experiment_id])
    assert logged.info.status == "FINISHED"
    assert {"val/acc", "val/loss"} <= logged.data.metrics.keys()
    assert logged.data.params["model/backbone"] == "airbench"
    pictures = {Path(file.path).name for file in client.list_artifacts(logged.info.run_id, "pictures")}
    assert pictures == {f"{name}.png" for name in CharacterClassifier.drawn}
