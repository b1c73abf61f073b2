from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from common.files import write_json
from common.ranking import read_groups
from common.report import write_report
from tests.common.conftest import Make, held_out
from tests.conftest import Run


def test_it_says_which_is_best_of_each_set_of_rows_and_why(make: Make) -> None:
    for seed, value in enumerate((0.6, 0.8)):
        held_out(make(f"good/seed{seed}", [value]), 9, "a", seed_everything=seed)
    held_out(make("slow", [0.65], lr=0.5), 9, "a", seed_everything=0)
    held_out(make("other", [0.2], lr=0.9, backbone="lenet"), 9, "a", seed_everything=0)
    held_out(make("easy", [0.99]), 5, "e")
    for name, predicted in (("good/seed1", "aabb"), ("slow", "abab")):
        rows = pd.DataFrame({"ID": range(4), "Class": [*"aabb"], "predicted": [*predicted]})
        rows.to_csv(Path("runs/julia") / name / "version_0" / "held_out.csv", index=False)
    report = write_report(*read_groups(["runs/julia"]))
    first, second = report.split("\n## ")[1:]
    assert first.startswith("9 held-out rows (aaaaaaaa): 4 runs")
    assert "**Best: `good/seed*/version_0` (2 seeds), val/acc 0.7000 (0.6000–0.8000).**" in first
    ahead = "ahead of the second, `slow/version_0`, by 0.05000, less than seeds of one setting lie apart (0.2000)"
    assert ahead in first and "the first has `model.lr` 0.1 instead of 0.5." in first
    # One argument alone tells what it is worth; of two, neither does.
    assert "| `model.lr` | 0.1 | 0.5 | 0.6500 | 0.05000 |" in first and "lenet" not in first
    assert "| Class | rows | the first: alone got right | the second: alone got right |" in first
    assert "| a | 2 | 1 | 0 |\n| b | 2 | 1 | 0 |" in first
    # These were fitted by an earlier version, which does not say which weights have predicted the rows.
    assert "where `good/seed1/version_0` is most ahead of `slow/version_0` first:" in first
    result = Path("runs/julia/slow/version_0/result.json")
    write_json(result, json.loads(result.read_text()) | {"held_out_by": "best.ckpt: epoch 7, val/acc 0.6500"})
    said = "first; the second's predictions are those of best.ckpt: epoch 7, val/acc 0.6500:"
    assert said in write_report(*read_groups(["runs/julia"]))
    assert second.startswith("5 held-out rows (eeeeeeee): 1 run\n") and "No other run" in second


def test_it_is_written_from_the_runs_at_hand(make: Make, run: Run) -> None:
    make("a", [2.0, 1.0], task="growth")
    make("b", None, task="growth", finished=False)
    said = run("growth", "dashboard", "--report").splitlines()
    assert "written: report-growth.md" in said and any(line.startswith("no W&B key") for line in said)
    assert "**Best: `a/version_0`, val/rmse 1.000.**" in Path("report-growth.md").read_text()
    assert "written: r.md" in run("growth", "dashboard", "--report", "--output", "r.md").splitlines()
    assert Path("r.md").read_text() == Path("report-growth.md").read_text()
