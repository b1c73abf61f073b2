"""A machine that lacks something: the fit runs, or one line says what is missing, and nothing half-written stays."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import runpy
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers import WandbLogger
from torch.utils.data import DataLoader

from tests.conftest import Run
from tests.quick import executable

REPOSITORY = Path(__file__).parents[1]
SMALL = ("--model.image_size", "28", "--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false")
VERSION, OVERRIDE, READ_ANY = 0x20080522, 1, 2  # of linux/capability.h


def command(*words: object, python: str = "", cores: set[int] | None = None, **variables: str) -> tuple[int, str]:
    """Run ``python -m ...``, forked if no other ``python`` is given, on some ``cores``: its exit code and stderr."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "WANDB_MODE": "disabled"}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", **variables}  # half of it would stay
    started = [python or executable(), "-m", *map(str, words)]
    bound = partial(os.sched_setaffinity, 0, cores) if cores else None
    done = subprocess.run(started, env=environment, capture_output=True, text=True, check=False, preexec_fn=bound)
    return done.returncode, done.stderr


def room(size: str) -> None:
    """No file may grow beyond ``size`` bytes: to a program, a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), int(size)))


def obedient() -> None:
    """Permissions hold for root as well."""
    libc = ctypes.CDLL(None)
    header, rights = (ctypes.c_uint32 * 2)(VERSION, 0), (ctypes.c_uint32 * 6)()
    libc.capget(header, rights)
    for held in (0, 1):  # now, and on demand
        rights[held] &= ~(1 << OVERRIDE | 1 << READ_ANY)
    assert libc.capset(header, rights) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "message"),
    [
        (10_000, "error: cannot write the image cache in cache: "),
        (400_000, "error: runs/julia/lenet/version_0/checkpoints/best.ckpt: "),
    ],
)
def test_full_disk(julia_root: Path, size: int, message: str) -> None:
    words = ("fit", *SMALL, "--model.backbone", "lenet", "--data.root", julia_root)
    code, errors = command(__name__, "room", size, "--", "julia", *words)
    assert code == 2
    (line,) = (line for line in errors.splitlines() if "error" in line.lower())
    assert line.startswith(message)
    assert "free some space" in line
    assert "Traceback" not in errors
    assert not [path for path in Path().rglob(".*") if path.name not in (".cache", ".config", ".lock")]
    assert not list(Path().glob("runs/**/*.ckpt"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="root keeps its rights elsewhere")
def test_folder_that_cannot_be_written_to(julia_root: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    words = ("fit", *SMALL, "--model.backbone", "lenet", "--data.root", julia_root)
    for place in ("--data.cache_dir", "--trainer.default_root_dir"):
        code, errors = command(__name__, "obedient", "--", "julia", *words, place, locked)
        (line,) = (line for line in errors.splitlines() if "error" in line.lower())
        assert code == 2
        assert str(locked) in line
        assert "Permission denied" in line
    assert list(locked.iterdir()) == []


@pytest.mark.slow
def test_no_home_no_language_and_one_core(julia_root: Path) -> None:
    words = (*SMALL, "--model.backbone", "lenet", "--data.root", julia_root)
    # No HOME at all, a folder for temporary files that is not there, and ASCII instead of UTF-8.
    missing = {"TMPDIR": "/nowhere", "LC_ALL": "C", "PYTHONUTF8": "0", "WANDB_MODE": "offline"}
    one: Any = {"cores": {min(os.sched_getaffinity(0))}} if hasattr(os, "sched_setaffinity") else {}
    code, errors = command("julia", "fit", *words, python=sys.executable, **one, **missing)
    assert code == 0, errors
    checkpoint = "runs/julia/lenet/latest/checkpoints/best.ckpt"
    code, errors = command("julia", "predict", "--ckpt_path", checkpoint, python=sys.executable, **one, **missing)
    assert code == 0, errors
    assert Path("runs/julia/lenet/latest/submission_best.csv").is_file()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
@pytest.mark.parametrize("task", ["julia", "growth"])
def test_no_gpu(refused: Run, julia_root: Path, growth_root: Path, task: str) -> None:
    root = julia_root if task == "julia" else growth_root
    words = ("--data.root", root, "--model.pretrained", "false")
    line = refused(task, "fit", *words, "--trainer.accelerator", "cuda", "--trainer.devices", 3)
    assert "gpu" in line.lower() or "cuda" in line.lower()
    assert not Path("runs").exists()


def test_no_shared_memory(refused: Run, julia_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(DataLoader, "_get_iterator", full)
    words = (*SMALL, "--model.backbone", "lenet", "--data.root", julia_root, "--data.num_workers", 2)
    line = refused("julia", "fit", *words)
    assert "/dev/shm" in line
    assert "--data.num_workers 0" in line


def test_no_way_to_wandb(refused: Run, julia_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wandb import Error  # here: it takes seconds

    def unreachable(_: WandbLogger) -> None:
        raise Error("Failed to get resume status:\nnetwork is unreachable")

    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr(WandbLogger, "experiment", property(unreachable))
    line = refused("julia", "fit", *SMALL, "--model.backbone", "lenet", "--data.root", julia_root)
    assert "network is unreachable" in line
    assert "WANDB_MODE=offline" in line


def main() -> None:
    """Run a command with a limit: ``python -m tests.test_machine LIMIT ARGUMENT... -- MODULE ...``."""
    split = sys.argv.index("--")
    limit, *arguments = sys.argv[1:split]
    {"room": room, "obedient": obedient}[limit](*arguments)
    sys.argv = sys.argv[split + 1 :]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()


@pytest.mark.slow
def test_a_misspelt_backend_of_matplotlib_does_not_matter(tmp_path: Path) -> None:
    code, error = command("julia", "fit", "--data.root", tmp_path / "none", MPLBACKEND="agq")
    assert code == 2 and "none: no such folder" in error and "Traceback" not in error
