from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from wandb_workspaces.workspaces import Workspace

from common import dashboard
from tests.offline import configuration, logged


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "NETRC"):
        monkeypatch.delenv(name, raising=False)


def typed(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["dashboard", *map(str, words)])
    dashboard.main()


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
def test_every_panel_names_what_fit_logs(
    task: str, offline_fit: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = offline_fit(task)
    names, config = logged(folder), configuration(folder)
    typed(monkeypatch, "--project", task)
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


def test_without_a_key_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, "--project", "julia", "--entity", "us")
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("no W&B key, so nothing is published: type wandb login")
    assert said[1] == "written: dashboard-julia.json"
    spec = json.loads(Path("dashboard-julia.json").read_text())
    assert (spec["entity"], spec["project"]) == ("us", "julia")
    curves = {panel["config"]["chartTitle"] for panel in sections("dashboard-julia.json")["learning curves"]}
    assert {"val/acc (higher is better)", "val/loss (lower is better)"} <= curves


def test_with_a_key_it_is_published(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    saved: list[Workspace] = []
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setattr(Workspace, "save", lambda view: saved.append(view))
    monkeypatch.setattr(Workspace, "url", "https://wandb.example.org/view")
    typed(monkeypatch, "--project", "growth", "--entity", "us")
    assert [(view.entity, view.project) for view in saved] == [("us", "growth")]
    assert capsys.readouterr().out == "published: https://wandb.example.org/view\n"
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--project", "cats"), "error: --project cats: give growth or julia\n"),
        (("--project", "julia", "--output", "no/x.json"), "error: --output no/x.json: the folder no does not exist\n"),
    ],
)
def test_mistakes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        typed(monkeypatch, *words)
    assert caught.value.code == 2 and capsys.readouterr().err == message


def test_a_refusal_of_the_server_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: Workspace) -> None:
        raise wandb.errors.CommError("permission denied\n(403)")

    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setattr(Workspace, "save", refuse)
    with pytest.raises(SystemExit) as caught:
        typed(monkeypatch, "--project", "growth", "--entity", "us")
    error = capsys.readouterr().err
    assert caught.value.code == 2 and error.count("\n") == 1
    assert error.startswith("error: W&B has not taken the workspace of growth: permission denied (403)")
