"""The notebooks run, and are committed with small outputs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.quick import PATIENCE, executable

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
# In place of what a reader waits half a minute for.
SHORTER = {
    r"--trainer\.max_epochs \d+": "--trainer.max_epochs 2",
    r"--save_every_n_epochs \d+": "--save_every_n_epochs 1",
    r"(--train |\btrain=)\d+": r"\g<1>310",
    r"--plants \d+": "--plants 4",
}
NAMES = ["00_colab", "01_growth_data", "02_julia_data", "03_compare_runs", "04_feature_maps", "05_errors"]


def test_they_are_known() -> None:
    assert [path.stem for path in NOTEBOOKS] == NAMES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_committed_and_small(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output["output_type"] == "error" for output in outputs)
    assert path.stat().st_size < 600_000
    assert str(Path.home()) + "/" not in path.read_text() and "/tmp/" not in path.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_run(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for long, short in SHORTER.items():
            cell.source = re.sub(long, short, cell.source)
    kernel = tmp_path / "kernels" / "forked" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    words = [executable(), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.write_text(json.dumps({"argv": words, "display_name": "forked", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where they write
    NotebookClient(notebook, timeout=PATIENCE, kernel_name="forked").execute()
    shown = [name for cell in notebook.cells for o in cell.get("outputs", []) for name in o.get("data", {})]
    committed = nbformat.read(path, as_version=4)
    assert shown.count("image/png") == sum(
        "image/png" in o.get("data", {}) for cell in committed.cells for o in cell.get("outputs", [])
    )
