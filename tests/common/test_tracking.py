"""What W&B is told of a run, read back from its offline file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from common.errors import UserError
from common.tracking import wandb_key_configured
from tests.offline import configuration, logged, records

pytestmark = pytest.mark.slow


def test_julia(offline_fit: Callable[[str], Path]) -> None:
    folder = offline_fit("julia")
    (start,) = [record.run for record in records(folder) if record.HasField("run")][:1]
    assert (start.project, start.display_name, start.run_group) == ("julia", "mine", "five folds")
    assert sorted(start.tags) == ["airbench", "fold 1"]
    config = configuration(folder)
    assert config["model"]["lr"] == 0.002 and config["data"]["fold"] == 1 and config["seed_everything"] == 0
    assert config["parameters"] > 1_000_000
    assert config["dataset"].pop("cache").startswith("julia-train-16px-L-")
    assert len(config["dataset"].pop("held_out_digest")) == 16
    assert config["dataset"] == {"files": 310, "train": 248, "held_out": 62}
    assert config["commit"] is None or len(config["commit"].removesuffix("-dirty")) == 40
    metrics = {record.metric.name: record.metric for record in records(folder) if record.HasField("metric")}
    for name, best in (("val/acc", "max"), ("val/loss", "min"), ("train/images_per_s", "max")):
        assert getattr(metrics[name].summary, best) and metrics[name].step_metric == "trainer/global_step"
    names = ("confusion", "worst_classes", "worst_errors", "reliability", "answered", "errors")
    pictures = {f"pictures/{name}" for name in names}
    assert pictures | {"val/acc", "val/f1", "train/loss", "train/images_per_s", "epoch"} <= logged(folder)
    drawn = {f"{name}.png" for name in (*names, "learning_curves")}
    assert {path.name for path in (folder / "pictures").iterdir()} == drawn
    # Once, at the end, and as the file is: with the title that says which weights it shows.
    items = [item for record in records(folder) for item in record.history.item]
    shown = [item.value_json for item in items if list(item.nested_key) == ["pictures/worst_errors", "width"]]
    assert shown == [str(Image.open(folder / "pictures" / "worst_errors.png").width)]
    (artifact,) = [record.artifact for record in records(folder) if record.HasField("artifact")]
    assert (artifact.type, sorted(artifact.aliases)) == ("model", ["best", "latest"])
    kept = {path.name for path in (folder / "checkpoints").iterdir()}
    assert kept == {"best.ckpt", "last.ckpt", "epoch_000.ckpt", "epoch_001.ckpt"}


def test_growth(offline_fit: Callable[[str], Path]) -> None:
    folder = offline_fit("growth")
    (start,) = [record.run for record in records(folder) if record.HasField("run")][:1]
    assert (start.project, start.run_group, sorted(start.tags)) == ("growth", "leaf_hull", ["leaf_hull", "siamese"])
    metrics = {
        record.metric.name or record.metric.glob_name: record.metric
        for record in records(folder)
        if record.HasField("metric")
    }
    assert metrics["val/rmse"].summary.min and metrics["val/rmse_*"].summary.min and metrics["val/r2"].summary.max
    pictures = {f"pictures/{name}" for name in ("days", "errors", "worst_errors")}
    assert pictures | {"val/rmse", "val/rmse_BC", "train/pairs_per_s"} <= logged(folder)
    assert not [record for record in records(folder) if record.HasField("artifact")]  # not asked for
    drawn = {"days.png", "errors.png", "worst_errors.png", "learning_curves.png"}
    assert {path.name for path in (folder / "pictures").iterdir()} == drawn


def test_a_key_in_the_environment_or_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("NETRC", raising=False)
    assert not wandb_key_configured()
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password secret\n")
    (tmp_path / ".netrc").chmod(0o600)  # others are not read
    assert wandb_key_configured()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert not wandb_key_configured()
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert wandb_key_configured()


def test_an_address_of_a_server_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", "http://[")
    with pytest.raises(UserError, match=r"WANDB_BASE_URL http://\["):
        wandb_key_configured()
