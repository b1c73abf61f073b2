from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from common.checkpoints import Origin
from common.files import write_json
from common.held_out_tables import read_held_out
from common.ranking import FIXED, read_groups
from common.runs import describe_run
from common.split import Split
from julia.model import CharacterClassifier
from tests.common.conftest import Make, held_out


def test_the_best_comes_first_with_what_differs(make: Make, typed: Any) -> None:
    make("worse", [0.1, 0.5, 0.4], lr=0.2)
    make("better/one", [0.3, 0.9], finished=False)
    out, err = typed("runs/julia", "--csv", "runs.csv")
    table = pd.read_csv("runs.csv", keep_default_na=False)
    assert table.columns.tolist() == [*FIXED, "model.lr"]  # all others are the same
    assert table["run"].tolist() == ["better/one/version_0", "worse/version_0"]
    assert table["best"].tolist() == [0.9, 0.5] and table["last"].tolist() == [0.9, 0.4]
    assert table["epochs"].tolist() == [2, 3] and table["minutes"].tolist() == ["", "1.5"]
    assert table["state"].tolist() == ["unfinished", ""]
    assert "2 runs, best val/acc first" in out and out.index("better/one") < out.index("worse")
    assert err == ""


def test_runs_on_other_rows_are_ranked_apart(make: Make, typed: Any) -> None:
    for name, value, digest in (("easy", 0.99, "e"), ("hard_a", 0.2, "a"), ("hard_b", 0.3, "a")):
        held_out(make(name, [value], lr=value, backbone="lenet" if digest == "e" else "airbench"), 9, digest)
    out, _ = typed("runs/julia", "--csv", "runs.csv")
    table = pd.read_csv("runs.csv")
    assert table["run"].str.split("/").str[0].tolist() == ["hard_b", "hard_a", "easy"]
    assert table["held out"].tolist() == ["9 held-out rows (aaaaaaaa)"] * 2 + ["9 held-out rows (eeeeeeee)"]
    hard = out[out.index("2 runs, best val/acc first on 9 held-out rows (aaaaaaaa)") : out.index("1 run, best")]
    assert "model.lr" in hard and "backbone" not in out  # which only runs on other rows differ in


def test_runs_on_other_images_of_the_same_names_say_so(make: Make, typed: Any) -> None:
    make("one", [0.5], images="a" * 16)
    assert "images" not in typed(make("two", [0.6], images="a" * 16).parents[1])[0]
    said, _ = typed(make("three", [0.7], images="b" * 16).parents[1])
    assert "images" in said and said.index("bbbbbbbb") < said.index("aaaaaaaa") and "b" * 9 not in said


def test_runs_that_started_from_other_weights_of_one_name_are_no_two_seeds(make: Make, typed: Any) -> None:
    for seed, weights in enumerate("ab"):
        run = make(f"fit_{seed}", [0.5], pretrained="theirs/last.ckpt")
        origin: Origin = {"given": "theirs/last.ckpt", "pretrained": weights * 64, "changed": []}
        split = Split([], ["row"] * 9, ["", "0" * 16, "", "0" * 16])
        describe_run(run, CharacterClassifier, [], split, origin=origin)
    said, _ = typed(Path("runs/julia"))
    assert "aaaaaaaa" in said and "bbbbbbbb" in said and "a" * 9 not in said


def test_a_run_measured_on_some_of_the_rows_is_ranked_apart(make: Make, typed: Any) -> None:
    make("all", [0.5])
    split = Split([], ["row"] * 9, ["", "0" * 16, "", "0" * 16])
    describe_run(make("some", [0.9]), CharacterClassifier, [], split, limit=1)
    said, _ = typed(Path("runs/julia"))
    assert "some of 9 held-out rows" in said and "9 held-out rows (00000000)" in said


def test_folds_stand_under_their_cross_validation_with_its_pooled_figure(make: Make, typed: Any) -> None:
    for fold, value in enumerate((0.9, 0.1)):
        held_out(make(f"cv/fold_{fold}", [value]), 5, str(fold))
    figures = {"value": 0.5, "rows": 10, "digest": "c" * 16, "folds": 2, "seconds": 60.0}
    write_json(Path("runs/julia/cv/crossval.json"), {"metric": "val/acc"} | figures)
    held_out(make("single", [0.6]), 5, "0")
    typed("runs/julia", "--csv", "runs.csv")
    table = pd.read_csv("runs.csv", keep_default_na=False)
    assert table["run"].tolist() == ["cv", "cv/fold_0/version_0", "cv/fold_1/version_0", "single/version_0"]
    assert table["best"].tolist() == [0.5, 0.9, 0.1, 0.6] and table["state"][0] == "2 folds"
    # Of one that has not finished, or of whose folds one has been fitted again since, no figure stands for the whole.
    fitted = {"runs": ["fold_0/version_0", "fold_1/version_0"]}
    again = {"runs": ["fold_0/version_1", "fold_1/version_0"]}
    epochs = [json.loads(Path(f"runs/julia/cv/{run}/result.json").read_text())["epochs"] for run in fitted["runs"]]
    for runs, state in (
        (fitted, "2 folds"),
        (again, "unfinished"),
        (fitted | {"epochs": epochs}, "2 folds"),
        (fitted | {"epochs": [epochs[0], epochs[1] + 1]}, "unfinished"),  # the second fold has been resumed since
    ):
        write_json(Path("runs/julia/cv/crossval.json"), {"metric": "val/acc"} | figures | runs)
        typed("runs/julia", "--csv", "runs.csv")
        assert pd.read_csv("runs.csv", keep_default_na=False).set_index("run").loc["cv", "state"] == state
    # A fold that an earlier version fitted does not tell its epochs.
    result = Path("runs/julia/cv/fold_0/version_0/result.json")
    whole = json.loads(result.read_text())
    write_json(result, {name: value for name, value in whole.items() if name != "epochs"})
    older = {"metric": "val/acc"} | figures | fitted | {"epochs": [None, epochs[1]]}
    write_json(Path("runs/julia/cv/crossval.json"), older)
    typed("runs/julia", "--csv", "runs.csv")
    assert pd.read_csv("runs.csv", keep_default_na=False).set_index("run").loc["cv", "state"] == "2 folds"
    write_json(result, whole)
    # Another number of views may have been measured since, which crossval.json does not tell.
    views = {"value": 0.6, "views": 10}
    write_json(Path("runs/julia/cv/crossval_tta10.json"), {"metric": "val/acc"} | figures | views)
    typed("runs/julia", "--csv", "runs.csv")
    row = pd.read_csv("runs.csv", keep_default_na=False).set_index("run").loc["cv"]
    assert row["state"] == "2 folds, 10 views" and float(row["best"]) == 0.6
    (groups, _) = read_groups(["runs/julia/cv"])
    for views, name in ((10, "out_of_fold_tta10.csv"), (1, "out_of_fold.csv")):
        Path("runs/julia/cv", name).write_text(f"ID,Class,predicted\n1,a,{'ab'[views == 1]}\n")
    table, _ = read_held_out(groups[0].runs[0])
    assert table is not None and table["predicted"].tolist() == ["a"]  # of the views that the figure is of
    Path("runs/julia/cv/crossval_tta10.json").unlink()
    typed("runs/julia/cv", "--csv", "runs.csv")
    table = pd.read_csv("runs.csv", keep_default_na=False)
    assert table["best"].tolist() == ["", 0.9, 0.1] or table["best"].tolist() == ["", "0.9", "0.1"]
    assert table["state"][0] == "unfinished"


def test_seeds_of_one_setting_are_summed_up(make: Make, typed: Any) -> None:
    for seed, value in enumerate((0.5, 0.6, 0.7)):
        held_out(make(f"seed_{seed}", [0.9, value]), 9, "a", seed_everything=seed)
    held_out(make("other", [0.4], lr=0.5), 9, "a", seed_everything=0)
    for seed in (0, 1):  # which have learned from two second sets
        folder = held_out(make(f"extra_{seed}", [0.4], lr=0.7), 9, "a", seed_everything=seed)
        about = json.loads((folder / "run.json").read_text()) | {"extra": str(seed) * 16}
        (folder / "run.json").write_text(json.dumps(about))
    out, _ = typed("runs/julia")
    assert "extra  " in out and "11111111" in out
    assert "val/acc of the last epoch, mean ± standard deviation over 3 seeds: 0.6000 ± 0.1000" in out
    assert out.count("mean ± standard deviation") == 1


def test_less_is_better_in_growth(make: Make, typed: Any) -> None:
    make("a", [2.0, 1.0], task="growth")
    make("b", [3.0, 0.5], task="growth")
    typed("runs/growth/*", "--csv", "runs.csv")
    assert pd.read_csv("runs.csv")["best"].tolist() == [0.5, 1.0]


def test_runs_without_metrics_come_last_and_half_lines_are_left_out(make: Make, typed: Any) -> None:
    make("empty", None)
    cut = make("cut", [0.1, 0.2]) / "metrics.csv"
    cut.write_text(cut.read_text() + "2,18,0.9,")  # as many cells as a whole line
    make("whole", [0.1])
    _, err = typed("runs", "--csv", "runs.csv", "--html", "runs.html")
    assert pd.read_csv("runs.csv")["run"].tolist() == ["cut/version_0", "whole/version_0", "empty/version_0"]
    assert pd.read_csv("runs.csv")["best"].tolist()[:2] == [0.2, 0.1]
    notes = sorted(err.splitlines())
    assert notes[0].endswith("cut/version_0/metrics.csv: line 6 is cut and left out")
    assert notes[1].endswith("empty/version_0/metrics.csv: no metrics yet") and len(notes) == 2


def test_best_is_of_every_validation_and_last_may_be_no_number(make: Make, typed: Any) -> None:
    (make("a", None) / "metrics.csv").write_text("epoch,step,val/acc\r\n0,4,0.9\r\n0,9,0.5\r\n1,14,nan\r\n")
    typed("runs/julia", "--csv", "runs.csv")
    row = pd.read_csv("runs.csv").iloc[0]
    assert row["best"] == 0.9 and pd.isna(row["last"]) and row["epochs"] == 2


def test_damaged_lines_are_counted_in_one_note_and_lines_without_epoch_are_read(make: Make, typed: Any) -> None:
    lines = ["epoch,step,val/acc,gpu", "0,1,0.5,", ",1,,7", "0,x", "what", "1,2,0.7,"]
    (make("a", None) / "metrics.csv").write_text("\n".join(lines) + "\n")
    _, err = typed("runs/julia", "--csv", "runs.csv")
    assert err.endswith("a/version_0/metrics.csv: lines 4, 5 damaged and left out\n") and err.count("\n") == 1
    assert pd.read_csv("runs.csv")["last"].tolist() == [0.7]


def test_a_damaged_result_is_of_an_unfinished_run(make: Make, typed: Any) -> None:
    (make("a", [0.5]) / "result.json").write_text('{"seconds"')
    out, err = typed("runs/julia")
    assert "unfinished" in out and "result.json is damaged" in err and err.count("\n") == 1


def test_the_task_is_what_was_measured_not_a_word_in_the_name(make: Make, typed: Any) -> None:
    make("julia/a", [1.0], task="growth")
    make("b", None, task="growth", finished=False)
    typed("runs/growth", "--csv", "runs.csv")
    assert pd.read_csv("runs.csv")["run"].tolist() == ["julia/a/version_0", "b/version_0"]


def test_runs_of_two_places_keep_names_apart(make: Make, typed: Any) -> None:
    make("a", [0.5])
    shutil.copytree("runs/julia", "other/runs/julia", symlinks=True)
    shutil.copytree("runs/julia", "moved", symlinks=True)
    typed("runs/julia", "other", "moved", "--csv", "runs.csv")
    names = ["moved/a/version_0", "other/runs/julia/a/version_0", "runs/julia/a/version_0"]
    assert pd.read_csv("runs.csv")["run"].tolist() == names


def test_what_a_run_says_of_itself_decides(make: Make, typed: Any) -> None:
    for name, values in (("a", [2.0, 1.0]), ("b", [0.5, 3.0])):
        folder = make(name, values)
        about = json.loads((folder / "run.json").read_text())
        assert about["held_out"] == {"rows": 9, "digest": "0" * 16}
        about |= {"task": "third", "directions": {"val/acc": "min"}, "machine": ["model.lr"]}
        (folder / "run.json").write_text(json.dumps(about))
        settings = {"model": {"backbone": name, "lr": len(name + name * len(values))}, "data": {"root": name}}
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    shutil.move("runs", "elsewhere")
    out, err = typed("elsewhere", "--csv", "runs.csv")
    table = pd.read_csv("runs.csv")
    assert table["run"].tolist() == ["b/version_0", "a/version_0"] and table["best"].tolist() == [0.5, 1.0]
    assert table.columns.tolist() == [*FIXED, "model.backbone", "data.root"]  # the rate is the machine's
    assert "best val/acc first" in out and err == ""


@pytest.mark.parametrize(
    "change",
    [
        {"directions": {"val/acc": "up"}},
        {"units": None},
        {"units": ["days"]},
        {"machine": [{}]},
        {"held_out": "x"},
        {"held_out": {"rows": 1, "digest": 5}},
        {"columns": {"ids": ["ID"]}},
    ],
)
def test_a_damaged_description_is_noted(make: Make, typed: Any, change: dict[str, object]) -> None:
    for name in ("a", "b"):
        folder = make(name, [0.5, 0.6])
    about = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(about | change))
    out, err = typed("runs/julia", "--html", "runs.html")
    assert "a/version_0" in out and "b/version_0" in out and "run.json is damaged" in err
    (folder / "run.json").write_text(json.dumps(about | {"directions": {}}))
    _, err = typed("runs/julia", fails=True)
    assert err.endswith("run.json: no direction of val/acc; fix it, or leave this run out\n")


@pytest.mark.parametrize("task", ["julia", "growth"])
def test_runs_of_earlier_versions_are_told_by_their_folder_and_result(make: Make, typed: Any, task: str) -> None:
    for name, values in (("low", [0.3, 0.1]), ("high", [0.2, 0.9]), ("none", None)):
        make(name, values, finished=values is not None, task=task)
        (Path("runs") / task / name / "version_0" / "run.json").unlink()
    config = Path("runs", task, "low", "version_0", "config.yaml")
    config.write_text(config.read_text().replace("root: data", "root: elsewhere"))
    _, err = typed(f"runs/{task}", "--csv", "runs.csv")
    table = pd.read_csv("runs.csv")
    order = ["high", "low", "none"] if task == "julia" else ["low", "high", "none"]
    assert table["run"].tolist() == [f"{name}/version_0" for name in order]
    assert table["best"].tolist()[:2] == ([0.9, 0.3] if task == "julia" else [0.1, 0.2])
    assert "data.root" not in table.columns
    assert err.count("\n") == 1 and "no metrics yet" in err
    # Beside a run that says what it is, and in other places.
    make("new", [0.5], task=task)
    typed(f"runs/{task}", "--csv", "runs.csv")
    assert set(pd.read_csv("runs.csv")["run"]) == {f"{name}/version_0" for name in (*order, "new")}
    _, err = typed(f"runs/{task}/none", fails=True)
    assert "made by an earlier version and unfinished; give it beside a finished run" in err
    shutil.copytree(f"runs/{task}", "moved")
    _, err = typed("moved", fails=True)
    assert err.startswith("error: ") and "no run.json, and not below runs/<task>; leave it out" in err


def test_one_validation_does_not_tell_which_way_is_better(make: Make, typed: Any) -> None:
    for name, values in (("a", [0.5]), ("b", [0.2, 0.9])):
        (make(name, values) / "run.json").unlink()
    typed("runs/julia", "--csv", "runs.csv")
    assert pd.read_csv("runs.csv")["best"].tolist() == [0.9, 0.5]


@pytest.mark.parametrize("result", [{}, {"metric": "val/acc"}, {"metric": "val/acc", "best": None, "last": 0.2}])
def test_a_result_that_says_less_is_no_reason_to_fail(make: Make, typed: Any, result: dict[str, object]) -> None:
    make("new", [0.5])
    folder = make("old", [0.1, 0.2])  # as of an earlier version, fitted without checkpoints
    (folder / "run.json").unlink()
    (folder / "result.json").write_text(json.dumps(result | {"seconds": 9.0}))
    typed("runs/julia", "--csv", "runs.csv")
    assert pd.read_csv("runs.csv")["best"].tolist() == [0.5, 0.2]


@pytest.mark.parametrize(
    "content", [b"", b"\0\0", b"epoch,step\n", b"a,b\n1\n", b"\xff\xfe", b'"' + b"x" * 200_000 + b"\n"]
)
def test_a_damaged_csv_is_a_run_without_metrics(make: Make, typed: Any, content: bytes) -> None:
    (make("a", None) / "metrics.csv").write_bytes(content)
    out, err = typed("runs/julia", "--html", "a.html")
    assert "a/version_0" in out and "no metrics yet" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["data"], "data: no run there"),
        (["runs"], "runs of two tasks, such as /"),
        (["runs/growth", "runs/julia/j"], "runs of two tasks, such as /"),
        (["runs/julia", "--csv", "no/runs.csv"], "--csv no/runs.csv: the folder no does not exist"),
        (["runs/julia", "--html", "runs.csv"], "--html runs.csv: give the name of a .html file"),
        (["runs/julia", "--csv", "runs.html"], "--csv runs.html: give the name of a .csv file"),
        (["runs/julia", "--html", "data"], "--html data: is a folder"),
        (["runs/julia", "--csv", "pipe"], "--csv pipe: is a folder or device"),
    ],
)
def test_mistakes(make: Make, typed: Any, words: list[str], message: str) -> None:
    Path("data").mkdir()
    os.mkfifo("pipe")  # is never to be replaced by a file
    make("g", [1.0], task="growth")
    make("j", [1.0])
    _, err = typed(*words, fails=True)
    assert err.startswith(f"error: {message}") and err.count("\n") == 1
    assert Path("pipe").is_fifo() and sorted(map(str, Path().iterdir())) == ["data", "pipe", "runs"]


def test_two_tasks_are_named(make: Make, typed: Any) -> None:
    growth, julia = make("g", [1.0], task="growth"), make("j", [1.0])
    _, err = typed("runs", fails=True)
    assert f"such as {growth} and {julia}: give" in err


def test_what_cannot_be_written_is_named_and_leaves_nothing(
    make: Make, typed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("j", [1.0])
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    _, err = typed("runs/julia", "--csv", "runs.csv", fails=True)
    assert err == "error: --csv runs.csv: the folder . cannot be written to; give another\n"
    monkeypatch.undo()

    def full(self: Path, text: str, **options: str) -> None:
        self.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.chdir(make("k", [1.0]).parents[3])
    monkeypatch.setattr(Path, "write_text", full)
    _, err = typed("runs/julia", "--html", "runs.html", fails=True)
    assert err == "error: runs.html: No space left on device; free some space, or work on another disk\n"
    assert [path.name for path in Path().iterdir()] == ["runs"]


@pytest.mark.parametrize("content", ["a: [", "- a list", "\x00"])
def test_a_damaged_configuration_is_named(make: Make, typed: Any, content: str) -> None:
    (make("j", [1.0]) / "config.yaml").write_text(content)
    _, err = typed("runs/julia", fails=True)
    assert err.startswith("error: ") and "j/version_0/config.yaml" in err and err.count("\n") == 1


def test_many_arguments_share_a_column(make: Make, typed: Any) -> None:
    for number in range(2):
        make(f"r{number}", [0.5], **{f"argument_{i}": number for i in range(20)})
    out, _ = typed("runs/julia")
    assert "arguments" in out and "argument_19 1" in " ".join(out.replace("│", " ").split())
    assert max(map(len, out.splitlines())) <= 160
