"""Each benchmark runs and prints what its table promises, on sets that take seconds; no figure is asserted."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import accuracy, beside, fit, predict, preparing, scale, start, timing
from benchmarks.timing import BARE, SEED, Row, median_ratio, show
from growth.synthetic import draw as draw_growth
from tests.quick import CONTEXT

pytestmark = pytest.mark.slow


@pytest.fixture
def sets(tmp_path: Path, julia_root: Path) -> Path:
    """A folder with a set of each task, of growth as many photos as a batch takes."""
    (tmp_path / "julia").symlink_to(julia_root)
    draw_growth(
        tmp_path / "growth", plants=9, days=10, test_plants=1, test_pairs=4, width=32, height=32, seed=0, scene="pots"
    )
    return tmp_path


@pytest.fixture
def forked(forked_children: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork the modules that benchmarks start, and what they do in a process of its own."""
    monkeypatch.setattr(timing, "multiprocessing", SimpleNamespace(get_context=lambda _: CONTEXT))


def test_preparing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def smaller(folder: Path, **sizes: Any) -> None:
        assert (sizes["width"], sizes["height"]) == (3280, 2464)
        draw_growth(folder, **{**sizes, "width": 328, "height": 246})

    monkeypatch.setattr(preparing, "draw_growth", smaller)
    rows = list(preparing.rows(tmp_path, photos=4, repetitions=1, bitmaps=124))
    assert [row.what for row in rows] == [
        "preparing 4 photos of 3280×2464 at 224 px",
        "preparing 124 bitmaps of julia at 28 px",
    ]
    assert all(row.ratio and row.theirs.endswith("images/s") for row in rows)


@pytest.mark.parametrize(("name", "baselines"), [("resnet18", [BARE, "", SEED]), ("small", [BARE, ""])])
def test_fit(sets: Path, forked: None, monkeypatch: pytest.MonkeyPatch, name: str, baselines: list[str]) -> None:
    monkeypatch.setattr(beside, "BLOCK_SECONDS", 0.05)
    smaller = {"resnet18": ("--data.batch_size", "16"), "small": ("--model.image_size", "32")}[name]
    rows = list(fit.fit(fit.CONFIGS / f"{name}.yaml", sets, 0.1, smaller))
    assert [row.beside for row in rows] == baselines
    assert all(row.ratio for row in rows if row.beside)
    shares = re.findall(r"(\w+) (-?[\d.]+)", rows[1].what)
    assert [part for part, _ in shares] == ["augment", "read", "average", "save", "rest"]
    lost = sum(float(share) for _, share in shares)
    assert rows[0].ratio == pytest.approx(1 - lost / 100, abs=0.01)  # they are all of the difference


def test_every_recipe_is_measured() -> None:
    assert {f"{name}.yaml" for name in (*fit.JULIA, *fit.GROWTH)} == {path.name for path in fit.CONFIGS.glob("*.yaml")}


def test_predict(tmp_path: Path, forked: None) -> None:
    draw_growth(
        tmp_path / "growth", plants=6, days=8, test_plants=2, test_pairs=30, width=32, height=32, seed=0, scene="pots"
    )
    (speed,) = predict.growth(tmp_path, "lenet", 1, pairs=30)
    assert speed.beside == SEED and speed.ratio and speed.ours.endswith("pairs/s")
    few, many = predict.memory(tmp_path, "lenet", (30, 60))
    assert few.ratio is None and many.beside == "30 pairs" and many.ratio


def test_start(sets: Path, forked: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(start.FITS, "julia")
    rows = list(start.rows(sets, repetitions=1))
    assert [row.what.split()[0] for row in rows] == ["growth", "second"]
    assert all(row.ratio for row in rows)


def test_scale(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], forked: None) -> None:
    monkeypatch.setattr(sys, "argv", ["scale", "--numbers", "310", "620"])
    scale.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[-2:]] == ["310", "620"]
    assert {line.count("|") for line in lines[1:]} == {lines[1].count("|")}


def test_accuracy(sets: Path, monkeypatch: pytest.MonkeyPatch, forked: None) -> None:
    monkeypatch.setattr(accuracy, "ACCURACY", 0.0)
    monkeypatch.setattr(accuracy, "DAYS", 1000.0)
    julia, growth = accuracy.rows({"julia": sets / "julia", "growth": sets / "growth"}, species="BC", patience=100)
    assert julia.what.startswith("julia, airbench, to 0.0 accuracy") and julia.ratio
    assert growth.what.startswith("growth, small.yaml, to 1000.0 days") and growth.ratio


def test_a_table_shows_ratios_first(capsys: pytest.CaptureFixture[str]) -> None:
    show([Row("fit", 12.34, SEED, "1 s", "12 s"), Row("memory", None, "", "3 MiB")])
    lines = [[cell.strip() for cell in line.strip("| ").split("|")] for line in capsys.readouterr().out.splitlines()]
    assert "torch" in lines[0][0] and lines[1][0] == "ratio"  # the hardware first
    assert lines[3] == ["12×", SEED, "fit", "1 s", "12 s"]
    assert median_ratio([2.0, 9.0, 4.0], [1.0, 1.0, 2.0]) == 2.0
