"""Small sets drawn from a seed, and a way to run a command line inside the test process."""

from __future__ import annotations

import gc

gc.disable()  # until all is imported, which it would slow down by half

import json
import os
import runpy
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock  # which torch brings
from matplotlib.figure import Figure

from common import plots
from common.checkpoints import PARTS
from growth.synthetic import draw as draw_growth
from julia.synthetic import draw as draw_julia
from tests.quick import FEW, GALLERIES, blank, executable, typed

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"

# What read_checkpoint asks of a checkpoint beside weights and arguments.
PARTS_OF_A_FIT: dict[str, Any] = {**dict.fromkeys(PARTS), "callbacks": {}, "pytorch-lightning_version": "2.6.4"}

GROWTH: dict[str, Any] = {"test_plants": 2, "test_pairs": 30, "days": 8, "seed": 0, "scene": "pots"}

torch.set_num_threads(1)  # the test workers share the cores


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in an empty folder and home, without W&B."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of processes that a test starts: as here


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow tests, so that at the end no worker waits for another one's."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """Collect garbage from now on, but never look for it among the tests and what they have imported.

    The process that only hands out tests to others never comes here, and makes little of it.
    """
    gc.freeze()
    gc.enable()


Shared = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Make a folder once for all test workers, and get it. Tests that change it work on a copy."""
    base = tmp_path_factory.getbasetemp()
    home = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    home.mkdir(exist_ok=True)

    def make(name: str, build: Callable[[Path], object]) -> Path:
        folder, made = home / name, home / f"{name}.made"
        with FileLock(home / f"{name}.lock"):
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a build that failed
                folder.mkdir()
                build(folder)
                made.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def julia_root(shared: Shared) -> Path:
    """The synthetic julia set: 310 training and 31 test bitmaps. Tests that change it work on a copy."""
    return shared("julia", lambda folder: draw_julia(folder, train=310, test=31, seed=0))


@pytest.fixture(scope="session")
def other_julia_root(shared: Shared) -> Path:
    """Another 310 training bitmaps, and one test bitmap."""
    return shared("other-julia", lambda folder: draw_julia(folder, train=310, test=1, seed=7))


@pytest.fixture(scope="session")
def large_julia_root(shared: Shared) -> Path:
    """As many bitmaps as it takes to hold out all but one of each class in twenty: 1240, and 31 test bitmaps."""
    return shared("large-julia", lambda folder: draw_julia(folder, train=1240, test=31, seed=0))


@pytest.fixture(scope="session")
def growth_root(shared: Shared) -> Path:
    """The synthetic growth set: two species of 4 plants with 8 photos of 64×48 pixels, and 30 test pairs."""
    return shared("growth", lambda folder: draw_growth(folder, plants=4, width=64, height=48, **GROWTH))


@pytest.fixture(scope="session")
def real_julia() -> Path:
    """The competition's own files, where they are at hand."""
    root = REAL_DATA / "julia"
    if not (root / "train.zip").is_file():
        pytest.skip(f"no real data in {root}")
    return root


QUIET = ("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false")
OFFLINE = {
    "julia": (
        *("--model.backbone", "airbench", "--model.image_size", 16, "--model.lr", 0.002, "--data.batch_size", 32),
        *("--data.fold", 1, "--log_model", "true", "--name", "mine", "--save_every_n_epochs", 1),
    ),
    "growth": (
        *("--model.backbone", "leaf_hull", "--model.pretrained", "false", "--model.normalize", "none"),
        *("--model.image_size", 32, "--data.plants_per_batch", 2),
    ),
}


@pytest.fixture
def offline_fit(shared: Shared, julia_root: Path, growth_root: Path) -> Callable[[str], Path]:
    """Fit a task with W&B offline, once, and get the run's folder.

    In a process of its own: W&B's service stays in the folder that it was started in.
    """

    def run_folder(task: str) -> Path:
        root = {"julia": julia_root, "growth": growth_root}[task]
        words = (*OFFLINE[task], "--data.root", root, "--trainer.max_epochs", 2, "--trainer.log_every_n_steps", 1)

        def fit(folder: Path) -> None:
            group = {"WANDB_RUN_GROUP": "five folds"} if task == "julia" else {}
            typed(folder, task, "fit", *words, *QUIET, WANDB_MODE="offline", **group)

        name = "mine" if task == "julia" else "leaf_hull"
        return shared(f"offline-{task}", fit) / "runs" / task / name / "version_0"

    return run_folder


@pytest.fixture
def forked_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork the modules that a command starts as processes, such as the fits of folds."""
    monkeypatch.setattr(sys, "executable", executable())


Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Type ``python -m <task> ...`` and get what it prints; ``fails=True`` wants exit code 2 and gets stderr.

    The figures of a fit are made, with few pictures in a gallery, but not rendered, which takes longer than a small
    fit: test_tracking renders them.
    """
    savefig = Figure.savefig

    def type_command(*words: object, fails: bool = False) -> str:
        monkeypatch.setattr(sys, "argv", [str(word) for word in words])
        fits = words[1:2] == ("fit",)
        monkeypatch.setattr(Figure, "savefig", blank if fits else savefig)
        for gallery in GALLERIES:
            monkeypatch.setattr(gallery, FEW if fits else plots.GALLERY)
        if not fails:
            runpy.run_module(str(words[0]), run_name="__main__")
            captured = capsys.readouterr()
            return captured.out + captured.err
        with pytest.raises(SystemExit) as caught:
            runpy.run_module(str(words[0]), run_name="__main__")
        assert caught.value.code == 2
        return capsys.readouterr().err

    yield type_command
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a command has changed


@pytest.fixture
def refused(run: Run) -> Run:
    """Type a command that must be refused in one line, and get that line."""

    def type_command(*words: object) -> str:
        lines = [line for line in run(*words, fails=True).splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, lines
        return lines[0]

    return type_command


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("no chromium and chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    flags = "headless no-sandbox disable-gpu no-first-run disable-background-networking disable-component-update"
    for flag in [*flags.split(), "disable-sync", "window-size=1280,900"]:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: Any) -> Any:
    """Chromium as it was started: the size of its window, nothing said or asked for."""
    chromium.set_window_size(1280, 900)
    for log in ("browser", "performance"):
        chromium.get_log(log)
    return chromium


def requested(browser: Any) -> list[str]:
    """Give the addresses that the browser has asked for since the last call."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
