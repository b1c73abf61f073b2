"""Run folders as fits leave them, made without a fit."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from common import compare
from common.arguments import machine_arguments
from common.data import ImageData
from common.files import write_json
from common.runs import describe_run
from common.split import Split
from common.task import ImageTask
from growth.data import GrowthData
from growth.model import GrowthRegressor
from julia.data import CharacterData
from julia.model import CharacterClassifier

Make = Callable[..., Path]
TASKS: dict[str, tuple[type[ImageTask[Any, Any]], type[ImageData]]] = {
    "julia": (CharacterClassifier, CharacterData),
    "growth": (GrowthRegressor, GrowthData),
}


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a run folder as ``fit`` leaves it."""

    def run(
        name: str,
        values: list[float] | None,
        finished: bool = True,
        task: str = "julia",
        images: str = "0" * 16,
        **model: object,
    ) -> Path:
        of_task, of_data = TASKS[task]
        metric = of_task.monitor
        folder = tmp_path / "runs" / task / name / "version_0"
        (folder / "wandb" / "files").mkdir(parents=True)
        (folder / "wandb" / "files" / "config.yaml").write_text("not: ours\n")
        settings = {"model": {"backbone": "resnet18", "lr": 0.1} | model, "data": {"root": "data"}, "name": name}
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))
        if values is not None:
            lines = [
                f"{epoch},{epoch * 9},{value},\n{epoch},{epoch * 9 + 8},,{1 - value}"
                for epoch, value in enumerate(values)
            ]
            (folder / "metrics.csv").write_text("\n".join([f"epoch,step,{metric},train/loss", *lines]) + "\n")
        machine = sorted(machine_arguments(of_task, of_data))
        split = Split([], ["row"] * 9, ["", "0" * 16, "", images])
        describe_run(folder, of_task, machine, split)
        if finished:
            best = (min if of_task.directions[metric] == "min" else max)(values) if values else None
            figures = {"last": values[-1] if values else None, "best": best}
            write_json(folder / "result.json", {"metric": metric, **figures, "epochs": 9, "seconds": 90.0})
        (folder.parent / "latest").symlink_to("version_0")
        return folder

    return run


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    def run(*words: object, fails: bool = False) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["compare", *map(str, words)])
        if fails:
            with pytest.raises(SystemExit) as caught:
                compare.main()
            assert caught.value.code == 2
        else:
            compare.main()
        captured = capsys.readouterr()
        return captured.out, captured.err

    return run


def held_out(folder: Path, rows: int, digest: str, **settings: Any) -> Path:
    """Let a run have held out other rows, and have other settings at the top of its configuration."""
    about = json.loads((folder / "run.json").read_text()) | {"held_out": {"rows": rows, "digest": digest * 16}}
    (folder / "run.json").write_text(json.dumps(about))
    config = yaml.safe_load((folder / "config.yaml").read_text()) | settings
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder
