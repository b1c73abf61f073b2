"""The packages work from an installed wheel, without the working tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Shared

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("growth", "julia", "common")

pytestmark = pytest.mark.slow


def succeeds(*words: object, folder: Path, **environment: str) -> str:
    """Type ``python ...`` in ``folder``, and get what it prints."""
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def installed(shared: Shared) -> Path:
    """The wheel, built from a copy of what it is made of, and installed, both without a network."""
    return shared("wheel", install) / "installed"


def install(folder: Path) -> None:
    source = folder / "source"
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(REPOSITORY / name, source)
    build = ("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, source)
    succeeds("-m", "pip", *build, folder=folder)
    (wheel,) = folder.glob("*.whl")
    target = folder / "installed"
    succeeds("-m", "pip", "install", "--no-deps", "--no-index", "--target", target, wheel, folder=folder)
    shutil.rmtree(source)


def test_it_holds_the_packages_whole(installed: Path) -> None:
    for package in PACKAGES:
        kept = {path.name for path in (installed / package).iterdir()} - {"__pycache__"}
        assert kept == {path.name for path in (REPOSITORY / package).iterdir()} - {"__pycache__"}
    assert not [name for name in ("tests", "benchmarks", "configs", "notebooks") if (installed / name).exists()]


def test_the_commands_are_the_installed_ones(installed: Path, tmp_path: Path) -> None:
    path = {"PYTHONPATH": str(installed)}
    files = ", ".join(f"{package}.__file__" for package in PACKAGES)
    # In one process, which loads torch once. The next test types the other commands.
    shown = f"import runpy, sys, {', '.join(PACKAGES)}; print({files}, sep='\\n'); sys.argv = ['growth', '--help']; "
    said = succeeds("-c", shown + "runpy.run_module('growth', run_name='__main__')", folder=tmp_path, **path)
    assert said.splitlines()[:3] == [str(installed / package / "__init__.py") for package in PACKAGES]
    assert "python -m growth" in said


def test_a_run_from_data_to_the_page_of_runs(installed: Path, tmp_path: Path) -> None:
    model = ("--model.backbone", "airbench", "--model.image_size", "16", "--trainer.max_epochs", "1")
    commands = [
        ["julia.synthetic", "data/julia", "--train", "310", "--test", "31"],
        ["julia", "fit", *model, "--trainer.enable_progress_bar", "false"],
        ["julia", "predict", "--ckpt_path", "last"],
        ["common.compare", "runs/julia", "--html", "runs.html"],
    ]
    code = f"import runpy, sys\nfor sys.argv in {commands}: runpy.run_module(sys.argv[0], run_name='__main__')"
    succeeds("-c", code, folder=tmp_path, PYTHONPATH=str(installed), OMP_NUM_THREADS="1")
    assert (tmp_path / "runs/julia/airbench/latest/submission_last.csv").is_file()
    assert "airbench" in (tmp_path / "runs.html").read_text()  # drawn into compare.html, which is in the wheel
