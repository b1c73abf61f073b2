from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.curves import axis_of
from common.files import write_json
from common.held_out_tables import compare_rows
from common.ranking import read_groups, table_of
from common.run_tree import order_columns, tree_of
from tests.common.conftest import Make, held_out
from tests.conftest import requested
from tests.quick import PATIENCE

PHONE = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": False}


def data_of(page: str) -> dict[str, Any]:
    """Read what a page tells its script."""
    found = re.search(r'type="application/json">(.*?)</script>', Path(page).read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def cells_of(page: str) -> list[list[str]]:
    """Read the cells of each row of a page's table."""
    body = re.search(r"<table id=.runs.>.*?</table>", Path(page).read_text(encoding="utf-8"), re.DOTALL)
    assert body is not None
    rows = re.findall(r"<tr data-run=.*?</tr>", body[0], re.DOTALL)
    return [[re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<td.*?</td>", row, re.DOTALL)] for row in rows]


def cross_validation(make: Make, name: str, values: list[float]) -> None:
    for fold, value in enumerate(values):
        held_out(make(f"{name}/fold_{fold}", [0.1, value]), 5, str(fold))
    figures = {"value": 0.5, "rows": 10, "digest": "c" * 16, "folds": len(values), "seconds": 60.0}
    write_json(Path("runs/julia") / name / "crossval.json", {"metric": "val/acc"} | figures)


def test_folds_and_seeds_are_one_row_and_one_band_each(make: Make, typed: Any) -> None:
    cross_validation(make, "cv", [0.9, 0.2])
    pd.DataFrame({"fold": [0, 1], "val/acc": [0.7, 0.3]}).to_csv("runs/julia/cv/crossval.csv", index=False)
    for seed, value in enumerate((0.5, 0.6, 0.7)):
        held_out(make(f"a/seed{seed}", [0.1 * seed, value]), 9, "a", seed_everything=seed)
    held_out(make("b", [0.65], lr=0.5), 9, "a", seed_everything=0)
    typed("runs/julia", "--html", "runs.html")
    rows = cells_of("runs.html")
    names = ["b/version_0", "a/seed*/version_0", *(f"a/seed{seed}/version_0" for seed in (2, 1, 0))]
    assert [row[0] for row in rows] == [*names, "cv", "cv/fold_0/version_0", "cv/fold_1/version_0"]
    assert rows[1][1] == rows[1][3] == "0.6000 (0.5000–0.7000)" and rows[1][6] == "3 seeds"
    assert rows[1][-2] == "0, 1, 2"  # the seeds
    # The figure over all out-of-fold rows, and the range of those of the folds, as crossval measured them.
    assert rows[5][1] == "0.5000" and rows[5][3] == "0.5000 (0.3000–0.7000)" and rows[5][6] == "2 folds"
    runs = data_of("runs.html")["runs"]
    assert [run["parent"] for run in runs] == [None, None, 1, 1, 1, None, 5, 5]
    band = runs[1]["curves"]["val/acc"]
    assert band["x"] == [1, 2] and band["y"] == pytest.approx([0.1, 0.6])
    assert band["low"] == pytest.approx([0, 0.5]) and band["high"] == pytest.approx([0.2, 0.7])
    assert "low" not in runs[0]["curves"]["val/acc"]
    Path("runs/julia/cv/crossval.csv").unlink()  # without it, of their last epochs
    typed("runs/julia", "--html", "runs.html")
    assert cells_of("runs.html")[5][3] == "0.5000 (0.2000–0.9000)"


def test_the_range_of_folds_belongs_to_the_figure_beside_it(make: Make, typed: Any) -> None:
    cross_validation(make, "cv", [0.9, 0.2])
    home = Path("runs/julia/cv")
    figures = json.loads((home / "crossval.json").read_text()) | {"views": 10, "runs": ["fold_0/version_0"]}
    (home / "crossval.json").unlink()
    write_json(home / "crossval_tta10.json", figures)

    def last() -> str:
        typed("runs/julia", "--html", "runs.html")
        return next(row[2] for row in cells_of("runs.html") if row[0] == "cv")

    assert last() == "0.5000"  # nothing tells what ten views of a fold reach
    pd.DataFrame({"fold": [0, 1], "val/acc": [0.6, 0.4]}).to_csv(home / "crossval_tta10.csv", index=False)
    assert last() == "0.5000 (0.4000–0.6000)"
    shutil.copytree(home / "fold_0/version_0", home / "fold_0/version_10")
    (home / "fold_0/latest").unlink()
    (home / "fold_0/latest").symlink_to("version_10")
    assert last() == "–"  # a fold has been fitted again since


def test_only_the_newest_run_of_a_fold_counts(make: Make) -> None:
    cross_validation(make, "cv", [0.9, 0.2])
    fold = Path("runs/julia/cv/fold_0")
    for number in (9, 10):
        shutil.copytree(fold / "version_0", fold / f"version_{number}")
    groups, _ = read_groups(["runs/julia"])
    cells = table_of(groups).to_dict("records")
    (root,) = tree_of(groups[0], cells, order_columns(table_of(groups)), lowest_first=False)
    assert [run.path.name for run in root.fitted()] == ["version_10", "version_0"]


def test_the_argument_that_differs_most_stands_beside_the_metric(make: Make, typed: Any) -> None:
    for number in range(4):
        held_out(make(f"r{number}", [0.5], lr=number, backbone="ab"[number % 2]), 9, "a", seed_everything=number)
    typed("runs/julia", "--html", "runs.html")
    headings = re.findall(r"<th scope=.col.><button type=.button.>(.*?)</button>", Path("runs.html").read_text())
    fixed = ["run", "best", "model.lr", "last", "epochs", "minutes", "state"]
    assert headings == [*fixed, "model.backbone", "seed_everything"]


def test_callbacks_are_named_in_a_word_and_differ_in_what_they_were_given(make: Make, typed: Any) -> None:
    def average(decay: float) -> dict[str, object]:
        return {"class_path": "common.optim.EMAWeightAveraging", "init_args": {"decay": decay}}

    stop = {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": {"monitor": "val/acc"}}
    for name, callbacks in (("a", None), ("b", [average(0.9)]), ("c", [average(0.99), stop])):
        held_out(make(name, [0.5]), 9, "a", trainer={"callbacks": callbacks})
    typed("runs/julia", "--csv", "runs.csv")
    table = pd.read_csv("runs.csv", keep_default_na=False)
    assert table["trainer.callbacks"].tolist() == ["null", "EMA", "EMA, EarlyStopping"]
    assert table["trainer.callbacks.EMA.decay"].tolist() == ["–", "0.9", "0.99"]
    assert "trainer.callbacks.EarlyStopping.monitor" not in table  # of the one that stops early
    typed("runs/julia/a", "runs/julia/b", "--csv", "runs.csv")
    assert "trainer.callbacks.EMA.decay" not in pd.read_csv("runs.csv")


def test_an_axis_shows_those_that_one_run_would_flatten() -> None:
    usual = [np.array([3.0, 2.0 - number / 10]) for number in range(8)]
    assert axis_of(usual) == {"axis": "linear", "note": ""}
    assert axis_of([*usual, np.array([900.0, 800.0])])["note"] == ", logarithmic axis"
    assert axis_of([np.array([1.0]), np.array([2.0]), np.array([4000.0])])["axis"] == "log"
    assert axis_of([np.array([2.0, 1.0]), np.array([np.inf, np.nan, 4000.0])])["axis"] == "log"
    # All begin far up: no single run does.
    assert axis_of([np.array([900.0, number]) for number in (1.0, 2.0, 3.0)])["axis"] == "linear"
    # Shares near 1 take no more room on a logarithmic axis.
    assert axis_of([np.array([0.80, 0.82]), np.array([0.05, 0.8])])["axis"] == "linear"
    # Of values that are not positive the axis is cut.
    cut = axis_of([np.array([-0.5, 0.9]), np.array([-0.4, 0.8]), np.array([-900.0, 0.5])])
    assert cut["axis"] == "linear" and cut["note"] == ", axis cut: 1 of 3 runs goes beyond"
    assert cut["range"] == pytest.approx([-0.57, 0.97])
    assert axis_of([np.array([np.nan]), np.array([1.0]), np.array([1.0])])["axis"] == "linear"


@pytest.mark.parametrize(("losses", "title"), [(["mse", "mse"], "train/loss, days²"), (["mse", "l1"], "train/loss")])
def test_the_page_gives_a_unit_in_which_all_runs_agree(make: Make, typed: Any, losses: list[str], title: str) -> None:
    for name, loss in zip("ab", losses, strict=True):
        folder = make(name, [2.0, 1.0], task="growth", loss=loss)
        about = json.loads((folder / "run.json").read_text())
        about["units"] = {**about["units"], "train/loss": {"mse": "days²", "l1": "days"}[loss]}
        (folder / "run.json").write_text(json.dumps(about))
    typed("runs/growth", "--html", "runs.html")
    titles = {metric["name"]: metric["title"] for metric in data_of("runs.html")["metrics"]}
    assert titles["train/loss"] == title and titles["val/rmse"] == "val/rmse, days"


def test_two_runs_are_compared_on_the_rows_that_both_held_out() -> None:
    one = pd.DataFrame({"id": [*"abcd"], "group": [*"xxyy"], "truth": [*"xxyy"], "predicted": [*"xxyx"]})
    other = pd.DataFrame({"id": [*"dcba"], "group": [*"yyzx"], "truth": [*"yyzx"], "predicted": [*"yyzy"]})
    summed = compare_rows(one, other, classes=True)  # b is another class to the other run
    assert summed.reset_index().to_numpy().tolist() == [["x", 1, 1, 0], ["y", 2, 0, 1]]
    one, other = (
        pd.DataFrame({"id": [*"abc"], "group": [*"xxy"], "truth": [1.0, 2.0, 3.0], "predicted": predicted})
        for predicted in ([1.0, 3.0, 3.0], [3.0, 2.0, 2.0])
    )
    summed = compare_rows(one, other, classes=False)
    assert summed.reset_index().to_numpy().tolist() == [["y", 1, 0.0, 1.0], ["x", 2, 0.5, 1.0]]


def test_pictures_are_linked_where_they_are(make: Make, typed: Any) -> None:
    folder = make("a #1", [0.5]) / "pictures"
    folder.mkdir()
    for name in ("days", "errors"):
        (folder / f"{name}.png").touch()
    make("b", [0.4])
    Path("pages").mkdir()
    typed("runs/julia", "--html", "pages/runs.html")
    links = re.findall(r'<a href="([^"]*png)">(.*?)</a>', Path("pages/runs.html").read_text())
    at = "../runs/julia/a%20%231/version_0/pictures/"
    assert links == [(f"{at}days.png", "days"), (f"{at}errors.png", "errors")]


@pytest.mark.parametrize("content", ["", "ID,Class\n1,a\n", "ID,Class,predicted\n1,a,b\n1,a,a\n"])
def test_a_damaged_table_of_held_out_rows_is_named(make: Make, typed: Any, content: str) -> None:
    (make("a", [0.5]) / "held_out.csv").write_text(content)
    _, err = typed("runs/julia", "--html", "runs.html")
    assert err.startswith("note: ") and "a/version_0/held_out.csv" in err and err.count("\n") == 1
    assert data_of("runs.html")["rows"]["ids"] == []


@pytest.mark.slow
def test_the_page_in_a_browser(make: Make, typed: Any, browser: Any, tmp_path: Path) -> None:
    support = pytest.importorskip("selenium.webdriver.support.ui")
    for number, best in enumerate([0.2, 0.9, 0.1]):
        make(f"run{number}", [0.05, best], lr=[10, 9, 0.001][number])
    make("evil", None, backbone="<script>document.title = 'broken'</script>")
    tag = "<img src=x onerror=alert(1)>%{y}"
    make(tag, [0.05, 0.06])
    typed("runs/julia", "--html", "runs.html")
    requested(browser)
    browser.get((tmp_path / "runs.html").as_uri())
    assert browser.title == "5 runs of julia, best val/acc first"
    assert {url.split(":")[0] for url in requested(browser)} <= {"file", "data", "blob"}
    assert browser.find_elements("css selector", "img") == []
    legend = [text.text for text in browser.find_elements("css selector", ".legendtext")]
    cut = "<img src=x onerro…(1)>%{y}/version_0"
    assert legend == ["run1/version_0", "run0/version_0", "run2/version_0", cut]
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0

    def column(number: int) -> list[str]:
        cells = browser.find_elements("css selector", f"#runs tbody td:nth-child({number})")
        return [cell.text for cell in cells]

    runs = ["run1/version_0", "run0/version_0", "run2/version_0", f"{tag}/version_0", "evil/version_0"]
    assert column(1) == runs
    headers = browser.find_elements("css selector", "th button")
    rates = [header.text.split()[0] for header in headers].index("model.lr")
    for expected, order in (
        (["0.001", "0.1", "0.1", "9", "10"], "ascending"),
        (["10", "9", "0.1", "0.1", "0.001"], "descending"),
    ):
        headers[rates].click()
        assert column(rates + 1) == expected  # as numbers, not as text
        assert headers[rates].find_element("xpath", "..").get_attribute("aria-sort") == order
    headers[1].click()
    assert column(2) == ["0.06000", "0.1000", "0.2000", "0.9000", "–"]
    sorted_by = browser.find_elements("css selector", "th[aria-sort]")
    assert [th.text.split()[0] for th in sorted_by] == ["best"]
    traces = "return document.getElementById('curves').data.map(trace => [trace.name, trace.y])"
    assert browser.execute_script(traces)[:3] == [
        ["run1/version_0", [0.05, 0.9]],
        ["run0/version_0", [0.05, 0.2]],
        ["run2/version_0", [0.05, 0.1]],
    ]
    browser.find_element("css selector", "#metric option:nth-child(2)").click()
    assert browser.execute_script(traces)[0] == ["run1/version_0", [0.95, pytest.approx(0.1)]]
    browser.execute_script("Plotly.Fx.hover('curves', [{curveNumber: 3, pointNumber: 1}])")
    lines = [line.text for line in browser.find_elements("css selector", ".hoverlayer .nums tspan.line")]
    assert lines[0] == f"{tag}/version_0" and "model.lr: 0.1" in lines and lines[-1] == "epoch 2: 0.9400"
    # However often it is drawn anew, the plot fits the window and stays as high as it was.
    fits = """const plot = curves.querySelector('.main-svg').getBoundingClientRect();
        return [document.documentElement.scrollWidth <= innerWidth, plot.width <= curves.clientWidth, plot.height]"""
    for width, height in ((1100, 450), (700, 416), (1000, 450)):
        browser.set_window_size(width, 900)

        def redrawn(_: Any, height: int = height) -> bool:
            return bool(browser.execute_script(fits) == [True, True, height])

        support.WebDriverWait(browser, 10).until(redrawn)
    assert browser.execute_script("return curves.layout.xaxis.dtick") == 1  # no half epochs


@pytest.mark.slow
def test_the_page_of_runs_without_metrics(make: Make, typed: Any, browser: Any, tmp_path: Path) -> None:
    make("a", None)
    typed("runs/julia", "--html", "runs.html")
    browser.get((tmp_path / "runs.html").as_uri())
    assert browser.get_log("browser") == []
    assert browser.find_element("css selector", ".ytitle").text == "no metrics"
    assert [cell.text for cell in browser.find_elements("css selector", "td")][:3] == ["a/version_0", "–", "–"]


@pytest.mark.slow
def test_rows_and_curves_are_tied_to_each_other_in_a_browser(
    make: Make, typed: Any, browser: Any, tmp_path: Path
) -> None:
    support = pytest.importorskip("selenium.webdriver.support.ui")
    expected = pytest.importorskip("selenium.webdriver.support.expected_conditions")
    cross_validation(make, "cv", [0.8, 0.2])
    said = {"good": ["a", "b", "c"], "bad": ["a", "c", "b"]}
    for name, predicted in said.items():
        rows = pd.DataFrame({"ID": [1, 2, 3], "Class": [*"abc"], "predicted": predicted})
        folder = held_out(make(f"plain/{name}", [0.3, 0.6 if name == "good" else 0.5], lr=name), 9, "a")
        rows.to_csv(folder / "held_out.csv", index=False)
        (folder / "pictures").mkdir()
        (folder / "pictures" / "errors.png").touch()
    result = Path("runs/julia/plain/good/version_0/result.json")
    write_json(result, json.loads(result.read_text()) | {"held_out_by": "best.ckpt: epoch 2, val/acc 0.6000"})
    held_out(make("wild", [0.4, 4000.0]), 9, "a")
    typed("runs/julia", "--html", "runs.html")
    browser.get((tmp_path / "runs.html").as_uri())

    def shown() -> list[str]:
        return [row.text for row in browser.find_elements("css selector", "#runs .pick") if row.is_displayed()]

    def drawn() -> list[list[Any]]:
        script = (
            "return curves.data.map(trace => [runs[trace.legendgroup].name, trace.fill ?? 'line', trace.opacity ?? 1])"
        )
        traces: list[list[Any]] = browser.execute_script(script)
        return traces

    plain = [f"{name}/version_0" for name in ("wild", "plain/good", "plain/bad")]
    titles = [row.text for row in browser.find_elements("css selector", "tr.rows") if row.is_displayed()]
    assert titles == ["9 held-out rows (aaaaaaaa)", "10 held-out rows (cccccccc)"]
    assert shown() == [*plain, "cv"]
    assert [trace[:2] for trace in drawn()] == [*([name, "line"] for name in plain), ["cv", "toself"], ["cv", "line"]]
    assert browser.find_element("css selector", ".ytitle").text.endswith("(higher is better), logarithmic axis")
    assert browser.execute_script("return curves.layout.yaxis.type") == "log"
    # The swatch is as the curve.
    swatch = browser.find_element("css selector", "tr[data-run='1'] .swatch line")
    line = browser.execute_script("return curves.data.find(trace => trace.legendgroup == 1).line")
    assert swatch.get_attribute("stroke") == line["color"] and bool(swatch.get_attribute("stroke-dasharray"))

    # A click unfolds the folds, of which each has a row and a curve.
    browser.find_element("css selector", "[aria-label='show the 2 folds of cv']").click()
    folds = [f"cv/fold_{fold}/version_0" for fold in range(2)]
    assert shown() == [*plain, "cv", *folds]
    assert [trace[:2] for trace in drawn()] == [[name, "line"] for name in (*plain, *folds)]

    # Hovering: from row to curve, and back.
    chains = pytest.importorskip("selenium.webdriver").ActionChains
    chains(browser).move_to_element(browser.find_element("css selector", "tr[data-run='1'] .pick")).perform()
    assert [name for name, _, strength in drawn() if strength == 1] == ["plain/good/version_0"]
    # With the mouse: plotly says nothing of what a script hovers over.
    point = browser.find_elements("css selector", ".scatterlayer .trace")[2].find_element("css selector", ".point")
    chains(browser).move_to_element(point).perform()
    lit = expected.presence_of_element_located(("css selector", "tr.lit"))
    assert "plain/bad" in support.WebDriverWait(browser, 10).until(lit).text

    # Finding: by name, by argument; what is inside a row unfolds it.
    find = browser.find_element("id", "find")
    for words, found in (("plain GOOD", plain[1:2]), ("lr=bad", plain[2:]), ("fold_1", ["cv", folds[1]]), ("zz", [])):
        find.clear()
        find.send_keys(words)
        assert shown() == found
        assert [name for name, _, _ in drawn()] == [name for name in found if name != "cv"]
        assert browser.execute_script("return curves.layout.yaxis.type") == "linear"  # without the wild one
    assert browser.find_element("id", "count").text == "0 of 4 rows"
    find.clear()
    find.send_keys(" ")

    # Two rows that are clicked: what one got wrong that the other got right.
    assert browser.find_element("id", "hint").is_displayed()
    for name in ("good", "bad"):
        browser.find_element("xpath", f"//tr[.//button[text()='plain/{name}/version_0']]/td[2]").click()
    errors = browser.find_element("id", "errors").text
    assert "A: plain/good/version_0 · B: plain/bad/version_0" in errors
    # The other fit, of an earlier version, does not say.
    assert "A's predictions are those of best.ckpt: epoch 2, val/acc 0.6000.\n" in errors and "B's" not in errors
    assert "Of 3 predictions for rows that both held out, A alone got 2 right, B alone 0; 1 both, 0 neither." in errors
    lines = [row.text for row in browser.find_elements("css selector", "#errors > div tbody tr")]
    assert lines == ["b 1 1 0 1", "c 1 1 0 1"]
    browser.find_element("css selector", "#errors summary").click()
    assert "2 b b c" in browser.find_element("css selector", "#errors details").text
    browser.find_element("xpath", "//button[text()='cv']").click()  # the second of the last two that were clicked
    assert "cv has no table of its held-out rows" in browser.find_element("id", "errors").text

    # On a telephone the legend lies below the plot, and the names stay while the table scrolls.
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    try:
        places = """const box = selector => document.querySelector(selector).getBoundingClientRect();
            document.querySelector('.scroll').scrollLeft = 1000;
            const left = box('#runs td').left, width = document.body.scrollWidth;
            return box('.legend').top > box('.xy').bottom && 0 <= left && left < 20 && width <= 400"""
        # plotly draws anew some time after the window has changed, and the table does so before it
        support.WebDriverWait(browser, PATIENCE).until(lambda _: browser.execute_script(places))
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert browser.get_log("browser") == []
