from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
import wandb_workspaces.reports.v2 as reports
from wandb_workspaces.workspaces import Workspace

from common.dashboard import arguments
from julia.data import CharacterData
from julia.model import CharacterClassifier
from tests.conftest import Run
from tests.offline import configuration, logged


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "NETRC"):
        monkeypatch.delenv(name, raising=False)


def sections(path: str) -> dict[str, list[dict[str, Any]]]:
    spec = json.loads(Path(path).read_text())["spec"]
    return {part["name"]: part["panels"] for part in spec["section"]["panelBankConfig"]["sections"]}


def texts(value: object) -> Iterator[str]:
    """Give every text in a specification."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from texts(inner)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["growth", "julia"])
def test_every_panel_names_what_fit_logs(task: str, offline_fit: Callable[[str], Path], run: Run) -> None:
    folder = offline_fit(task)
    names, config = logged(folder), configuration(folder)
    run(task, "dashboard")
    found = 0
    for panels in sections(f"dashboard-{task}.json").values():
        assert panels
        for panel in panels:
            shown = {name: value for name, value in panel["config"].items() if name != "chartTitle"}
            for text in texts(shown):
                if argument := re.fullmatch(r"config:(\w+)\.value(?:\.(\w+))?", text):
                    part, name = argument.groups()
                    assert part in config and (name is None or name in config[part]), text
                elif summary := re.fullmatch(r"summary:(.+)\.(min|max)", text):
                    assert summary[1] in names, text
                elif shown.get("metricRegex") == text:
                    assert any(re.fullmatch(text, name) for name in names), text
                elif "/" in text:
                    assert text in names, text
                else:
                    assert text in ("group", "mean", "minmax"), text
                    continue
                found += 1
    assert found > 40


def test_without_a_key_it_says_what_is_missing(run: Run) -> None:
    said = run("julia", "dashboard", "--entity", "us").splitlines()
    first = next(number for number, line in enumerate(said) if line.startswith("no W&B key"))
    assert said[first].startswith("no W&B key, so nothing is published: run wandb login")
    assert said[first + 1] == "written: dashboard-julia.json"
    assert [path.name for path in Path().iterdir()] == ["dashboard-julia.json"]
    spec = json.loads(Path("dashboard-julia.json").read_text())
    assert (spec["entity"], spec["project"]) == ("us", "julia")
    curves = {panel["config"]["chartTitle"] for panel in sections("dashboard-julia.json")["learning curves"]}
    assert {"val/acc (higher is better)", "val/loss, nats (lower is better)"} <= curves


def test_with_a_key_it_is_published(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[Workspace] = []
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setattr(Workspace, "save", lambda view: saved.append(view))
    monkeypatch.setattr(Workspace, "url", "https://wandb.example.org/view")
    said = run("growth", "dashboard", "--entity", "us")
    assert [(view.entity, view.project) for view in saved] == [("us", "growth")]
    assert "published: https://wandb.example.org/view" in said.splitlines()
    assert not list(Path().iterdir())


def test_runs_are_grouped_by_the_rows_that_they_held_out(run: Run) -> None:
    run("growth", "dashboard", "--output", "x.json")
    section = json.loads(Path("x.json").read_text())["spec"]["section"]
    (runs,) = section["runSets"]
    assert runs["grouping"] == [{"section": "config", "name": "dataset.value.held_out_digest"}]
    (key,) = runs["sort"]["keys"]
    assert key == {"key": {"section": "summary", "name": "val/rmse.min"}, "ascending": True}
    curves = sections("x.json")["learning curves"]
    assert {panel["config"]["aggregate"] for panel in curves} == {False}  # or they would be means over a group


def measured(name: str, lr: float, values: list[float], digest: str = "a" * 16, **config: Any) -> SimpleNamespace:
    """Make a run as W&B's API gives it."""
    settings: dict[str, Any] = {"model": {"lr": lr}, "data": {"root": name}, "seed_everything": 0} | config
    settings["dataset"] = {"held_out": 9, "held_out_digest": digest}
    points = [{"epoch": epoch, "val/rmse": value} for epoch, value in enumerate(values)]
    state = {"state": "finished", "summary": {"_runtime": 60}, "path": ["us", "growth", name]}
    return SimpleNamespace(name=name, config=settings, history=lambda **_: points, **state)


def test_with_a_key_the_report_is_of_the_runs_of_the_project(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[Any] = []
    runs = [measured("b", 0.1, [3.0, 2.0]), measured("a", 0.2, [2.5, 1.5, 1.6]), measured("none", 0.2, [])]
    runs.append(measured("c", 0.2, [0.5], "c" * 16))
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setattr(wandb, "Api", lambda: SimpleNamespace(runs={"us/growth": runs}.get))
    monkeypatch.setattr(reports.Report, "save", lambda report: saved.append(report))
    monkeypatch.setattr(reports.Report, "url", "https://wandb.example.org/report")
    said = run("growth", "dashboard", "--entity", "us", "--report")
    assert "published: https://wandb.example.org/report" in said.splitlines()
    (report,) = saved
    assert (report.entity, report.project) == ("us", "growth")
    text, *grids = report.blocks
    assert "**Best: `a`, val/rmse 1.500.**" in text.text and "by 0.5000" in text.text
    assert "| `model.lr` | 0.2 | 0.1 | 2.000 | 0.5000 |" in text.text and "data.root" not in text.text
    assert [grid.runsets[0].filters for grid in grids] == [
        f"Config('dataset.held_out_digest') = '{digest * 16}'" for digest in "ac"
    ]
    assert not list(Path().iterdir())


def test_without_runs_there_is_nothing_to_report_on(refused: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused("growth", "dashboard", "--report").startswith("error: runs/growth: no such folder")
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setattr(wandb, "Api", lambda: SimpleNamespace(runs=lambda _: []))
    error = refused("growth", "dashboard", "--entity", "us", "--report")
    assert error == "error: no run in us/growth has been measured; see wandb sync"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--output", "no/x.json"), "error: --output no/x.json: the folder no does not exist"),
        (("--ckpt_path", "x.ckpt"), "error: --ckpt_path x.ckpt: dashboard takes none; leave it out"),
    ],
)
def test_mistakes(refused: Run, words: tuple[str, ...], message: str) -> None:
    assert refused("julia", "dashboard", *words) == message


def test_a_refusal_of_the_server_is_one_line(refused: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Workspace) -> None:
        raise wandb.errors.CommError("permission denied\n(403)")

    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setattr(Workspace, "save", refuse)
    error = refused("growth", "dashboard", "--entity", "us")
    assert error.startswith("error: W&B did not accept the workspace of growth: permission denied (403)")


def test_it_offers_what_can_be_set_and_bears_on_the_result() -> None:
    names = arguments(CharacterClassifier, CharacterData)
    assert {"model.lr", "data.batch_size", "trainer.precision", "trainer.max_epochs", "seed_everything"} <= set(names)
    # Not of the machine, and what the model hands to the data only once.
    assert not {"data.root", "data.cache_dir", "data.num_workers", "data.image_size", "model.pretrained"} & set(names)
    assert len(set(names)) == len(names)
