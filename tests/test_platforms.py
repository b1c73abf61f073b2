"""What other systems do otherwise than Linux, forced here: no links, no fork, files that cannot be replaced while open,
other signals, encodings, paths and devices. docs/platforms.md lists it.
"""

from __future__ import annotations

import ctypes
import errno
import multiprocessing
import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from common import cache, files, machine, platforms
from common.batches import Loader
from common.callbacks import LastCheckpoint
from common.checkpoints import find_checkpoints, read_checkpoint
from common.config import read_config
from common.errors import UserError, exit_on_user_error
from common.image_files import find_images
from common.runs import claim, mark_latest
from growth.data import GrowthData
from growth.model import GrowthRegressor
from julia.data import CharacterData
from julia.model import CharacterClassifier
from tests.conftest import OFFLINE, QUIET, Run
from tests.quick import PATIENCE, REPOSITORY
from tests.test_pins import PINS, PROJECT, entries, wanted

MODELS = {"growth": GrowthRegressor, "julia": CharacterClassifier}
NETWORKS = {
    "growth": OFFLINE["growth"],
    "julia": ("--model.backbone", "airbench", "--model.image_size", 16, "--data.batch_size", 64),
}


@pytest.fixture
def root(julia_root: Path, growth_root: Path) -> Callable[[str], Path]:
    return lambda task: julia_root if task == "julia" else growth_root


def held() -> set[str]:
    """Name the files that this process has open, or maps into its memory."""
    found = set()
    for link in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):  # that of this listing
            found.add(str(link.readlink()))
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    return found | {line.split(maxsplit=5)[5] for line in maps if line.count("/")}


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files as on Windows: none that is open is replaced, renamed or removed, and there are no links.

    Gives what was refused.
    """
    refused: list[str] = []

    def careful(name: str) -> Any:
        done = getattr(os, name)

        def act(*paths: Any, **options: Any) -> Any:
            if options.get("dir_fd") is None and options.get("src_dir_fd") is None:
                real = {os.path.realpath(path) for path in paths}
                for path in held():
                    if any(path == one or path.startswith(f"{one}/") for one in real):
                        refused.append(f"{name} {path}")
                        raise PermissionError(13, "Access is denied", str(paths[0]))
            return done(*paths, **options)

        return act

    def no_link(*_: Any, **__: Any) -> None:
        raise OSError(22, "A required privilege is not held by the client")

    for name in ("replace", "rename", "unlink", "remove"):
        monkeypatch.setattr(os, name, careful(name))
    monkeypatch.setattr(os, "symlink", no_link)
    monkeypatch.setattr(Path, "symlink_to", no_link)
    return refused


def test_what_is_open_is_not_replaced(windows: list[str], tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("a", encoding="utf-8")
    with file.open(encoding="utf-8"), pytest.raises(PermissionError):
        file.unlink()
    file.unlink()
    assert len(windows) == 1


@pytest.mark.slow
@pytest.mark.parametrize("task", ["julia", "growth"])
def test_no_command_replaces_what_it_has_open_nor_needs_links(
    run: Run, windows: list[str], root: Callable[[str], Path], task: str
) -> None:
    words = (*NETWORKS[task], "--data.root", root(task), *QUIET)
    run(task, "fit", *words, "--trainer.max_epochs", 1)
    run(task, "fit", *words, "--trainer.max_epochs", 2, "--ckpt_path", "last")
    (version,) = Path("runs").glob("*/*/version_*")
    run(task, "predict", "--ckpt_path", version.parent / "latest/checkpoints/last.ckpt")
    assert (version / "submission_last.csv").is_file()
    assert not os.path.lexists(version.parent / "latest")
    checkpoint = read_checkpoint(version / "checkpoints/last.ckpt", MODELS[task])
    checkpoint.recalibrate(1, {"temperature": 0.5})  # as crossval does
    assert windows == []


def test_latest_in_a_path_is_the_newest_run_without_links(windows: list[str], tmp_path: Path) -> None:
    for fold in (0, 1):
        for _ in range(2):
            run = claim(tmp_path / f"fold_{fold}")
            (run / "checkpoints").mkdir()
            (run / "checkpoints" / "last.ckpt").touch()
            mark_latest(run)
    found = [tmp_path / f"fold_{fold}" / "version_1" / "checkpoints" / "last.ckpt" for fold in (0, 1)]
    pattern = str(tmp_path / "fold_*" / "latest" / "checkpoints" / "last.ckpt")
    assert find_checkpoints([pattern], tmp_path, None) == found
    assert find_checkpoints([str(tmp_path / "fold_1/latest/checkpoints/l*.ckpt")], tmp_path, None) == found[1:]
    for nowhere in ("fold_*/latest/checkpoints/best*.ckpt", "absent_*/latest/checkpoints/last.ckpt"):
        with pytest.raises(UserError, match="matches no file"):
            find_checkpoints([str(tmp_path / nowhere)], tmp_path, None)


def test_a_file_is_copied_where_it_cannot_be_linked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_link(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    source, target = tmp_path / "best.ckpt", tmp_path / "new" / "best.ckpt"
    source.write_bytes(b"weights")
    monkeypatch.setattr(os, "link", no_link)
    files.link_or_copy(source, target)
    source.write_bytes(b"others")
    assert target.read_bytes() == b"weights"


def test_both_ends_of_lines_are_read(julia_root: Path, growth_root: Path, tmp_path: Path) -> None:
    modules: list[Any] = []
    for name, root, module in (("julia", julia_root, CharacterData), ("growth", growth_root, GrowthData)):
        other = tmp_path / name
        shutil.copytree(root, other)
        tables = list(other.rglob("*.csv"))
        assert tables
        for table in tables:
            assert b"\r" not in table.read_bytes()
            table.write_bytes(table.read_bytes().replace(b"\n", b"\r\n"))
        modules += [(module(str(root)), module(str(other)))]
    for one, other in modules:
        assert list(one.read_training_set().ids) == list(other.read_training_set().ids)
        assert len(one.read_test_set()) == len(other.read_test_set()) > 0
        assert one.sample.ids == other.sample.ids
    (tmp_path / "a.yaml").write_bytes(b"model:\r\n  lr: 0.1\r\n")
    assert read_config(tmp_path / "a.yaml") == {"model": {"lr": 0.1}}


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let modules believe that this is another system; others, such as torch, do not notice."""

    def believe(platform: str, *modules: Any) -> None:
        for module in modules:
            names = {name: getattr(sys, name) for name in ("stdout", "stderr", "exit", "executable")}
            monkeypatch.setattr(module, "sys", SimpleNamespace(platform=platform, **names))

    return believe


class Busy:
    """A rename that is refused as often as a scanner has the file open."""

    def __init__(self, times: int) -> None:
        self.times, self.calls = times, 0

    def __call__(self, *paths: object) -> None:
        self.calls += 1
        if self.calls <= self.times:
            raise PermissionError(errno.EACCES, "Access is denied", str(paths[-1]) if paths else None)


def test_a_file_that_is_open_elsewhere_is_waited_for(on: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    waits: list[float] = []
    monkeypatch.setattr(platforms.time, "sleep", waits.append)
    with pytest.raises(PermissionError):
        platforms.patiently(Busy(1))  # elsewhere it means that it is not allowed
    assert waits == []
    on("win32", platforms)
    platforms.patiently(Busy(3))
    assert waits == platforms.WAITS[:3]
    monkeypatch.setattr(Path, "replace", Busy(99))
    with pytest.raises(PermissionError), files.replacing(tmp_path / "metrics.csv") as temporary:
        temporary.touch()
    assert 45 < sum(waits[3:]) < 60
    assert list(tmp_path.iterdir()) == []


def test_what_windows_refuses_is_one_line(on: Any, capsys: pytest.CaptureFixture[str]) -> None:
    on("win32", platforms)
    deep = f"runs/{'a' * 300}/config.yaml"
    for error, line in (
        (PermissionError(errno.EACCES, "Access is denied", "metrics.csv"), "close the program that has it open"),
        (FileNotFoundError(errno.ENOENT, "No such file", deep), "more than 259 letters; give a shorter --name"),
        (
            FileNotFoundError(errno.ENOENT, "No such file", "gone/x.csv"),
            "error: gone/x.csv: No such file; give a file or",
        ),
    ):
        with pytest.raises(SystemExit) as caught, exit_on_user_error():
            raise error
        assert caught.value.code == 2
        assert line in capsys.readouterr().err
    with pytest.raises(OSError, match="Invalid"), exit_on_user_error():
        raise OSError(errno.EINVAL, "Invalid argument")


@pytest.mark.parametrize(
    ("number", "ours"), [(errno.EAGAIN, False), (errno.EACCES, False), (errno.ENOLCK, True), (errno.EOPNOTSUPP, True)]
)
def test_a_file_system_without_locks_refuses_nobody(monkeypatch: pytest.MonkeyPatch, number: int, ours: bool) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(pytest.importorskip("fcntl"), "lockf", refuse)
    assert platforms.lock(0) is ours


@pytest.fixture
def _handlers() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_handlers")
def test_ctrl_break_is_taken_as_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platforms, "ENDING", (signal.SIGTERM, signal.SIGUSR1))  # which stands in for SIGBREAK
    last = LastCheckpoint(None)
    last.listen()
    for sent, asked in ((signal.SIGUSR1, signal.SIGTERM), (signal.SIGTERM, signal.SIGTERM)):
        last.asked = 0
        signal.raise_signal(sent)
        assert last.asked == asked
    last.asked = 0
    with platforms.signals_held():
        signal.raise_signal(signal.SIGUSR1)
        assert last.asked == 0
    assert last.asked == signal.SIGTERM
    platforms.end_tidily()
    with pytest.raises(SystemExit) as caught:
        signal.raise_signal(signal.SIGUSR1)
    assert caught.value.code == 128 + signal.SIGTERM


FORKED = """
import os, signal, time
from common.batches import Loader
from common.errors import exit_on_user_error
from common.platforms import end_tidily

def send():
    os.kill(os.getpid(), signal.{name})
    time.sleep(0.01)  # in which the handler runs

end_tidily()
os.register_at_fork(before=send)
with exit_on_user_error():
    iter(Loader([1], num_workers=2))
    print("lost")
"""


@pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="this system does not fork")
@pytest.mark.parametrize(("name", "code", "said"), [("SIGTERM", 143, ""), ("SIGINT", 130, "error: interrupted\n")])
def test_a_signal_is_not_lost_while_workers_start(name: str, code: int, said: str) -> None:
    command = [sys.executable, "-c", FORKED.format(name=name)]
    variables = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)


def test_signals_that_a_system_lacks_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "SIGKILL")
    monkeypatch.setattr(signal, "SIGBREAK", 21, raising=False)
    names = runpy.run_path(str(platforms.__file__))
    assert names["ENDING"] == (signal.SIGTERM, 21)
    assert names["KILL"] == signal.SIGTERM


def test_a_process_may_save_before_it_is_ended(on: Any) -> None:
    done: list[str] = []

    def wait(seconds: float) -> None:
        done.append("waited")
        raise subprocess.TimeoutExpired("fit", seconds)

    process: Any = SimpleNamespace(wait=wait, terminate=lambda: done.append("terminated"))
    platforms.end(process)
    assert done == ["terminated"]
    on("win32", platforms)
    platforms.end(process)
    assert done == ["terminated", "waited", "terminated"]


def test_commands_are_quoted_for_the_shell(on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert platforms.quoted("my runs/fold_*/last.ckpt") == "'my runs/fold_*/last.ckpt'"
    on("win32", platforms)
    assert platforms.quoted("my runs/fold_*/last.ckpt") == '"my runs/fold_*/last.ckpt"'

    def on_another_drive(path: object) -> str:
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr(os.path, "relpath", on_another_drive)
    assert files.shown("/d/last.ckpt") == "/d/last.ckpt"


@pytest.mark.parametrize("name", ["con", "a/NUL.1", "a.", "a./b"])
def test_names_that_windows_does_not_keep_are_refused(refused: Run, name: str) -> None:
    assert f"--name {name}: give letters" in refused("julia", "fit", "--name", name)
    assert not platforms.UNUSABLE.search("contour/com10/a.b")


def test_what_a_terminal_cannot_show_is_escaped() -> None:
    # 가 is in no code page of the West.
    words = [sys.executable, "-m", "julia.synthetic", "가", "--train", "62", "--test", "1"]
    variables = os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(words, env=variables, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert rb"\uac00" in done.stdout


@pytest.mark.slow
def test_images_are_decoded_without_fork(on: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(501):
        Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    found = find_images(tmp_path)
    methods: list[str] = []
    context = multiprocessing.get_context

    def get_context(method: str) -> Any:
        methods.append(method)
        return context(method)

    monkeypatch.setattr(multiprocessing, "get_context", get_context)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    on("darwin", platforms)
    decoded = np.concatenate([chunk.pixels for chunk in cache._decoded(found, 4, "RGB", 100)])
    assert methods == ["spawn"]
    assert np.array_equal(decoded, cache._decode_chunk(found, 4, "RGB", 100).pixels)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["julia", "growth"])
def test_workers_are_started_without_fork(
    run: Run, root: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    first: list[Any] = []  # what each worker does first
    start = Loader.__iter__
    monkeypatch.setattr(Loader, "__iter__", lambda loader: first.append(loader.worker_init_fn) or start(loader))
    words = ("fit", *NETWORKS[task], "--data.root", root(task), *QUIET, "--trainer.max_epochs", 1)
    words += ("--trainer.num_sanity_val_steps", 0)  # which start workers of their own
    run(task, *words, "--name", "here")
    method = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    try:
        run(task, *words, "--name", "spawned", "--data.num_workers", 1)
    finally:
        multiprocessing.set_start_method(method, force=True)
    tables = [pd.read_csv(f"runs/{task}/{name}/version_0/metrics.csv") for name in ("here", "spawned")]
    timed = [name for name in tables[0] if name.endswith("_per_s")]
    pd.testing.assert_frame_equal(*(table.drop(columns=timed) for table in tables), rtol=1e-6)
    assert {done.__module__ for done in first} == {"common.batches"}  # nothing of Lightning, which takes seconds


def test_memory_is_left_alone_where_there_is_no_glibc(on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: asked.append(name) or SimpleNamespace())
    for system in ("win32", "darwin"):
        on(system, machine)
        machine.keep_freed_memory()
    assert asked == []
    on("linux", machine)
    machine.keep_freed_memory()  # musl has no mallopt
    assert asked == [None]


def test_apple_silicon_computes_in_32_bits(
    root: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert [machine.default_precision(name) for name in ("auto", "mps", "gpu", "cpu")] == ["32-true"] * 4
    # It has no float64: no batch may hold any.
    shared: dict[str, Any] = {"cache_dir": str(tmp_path / "cache")}
    modules = (
        GrowthData(str(root("growth")), image_size=32, plants_per_batch=2, **shared),
        CharacterData(str(root("julia")), image_size=16, **shared),
    )
    for data in modules:
        data.prepare_data()
        data.setup("fit")
        for batch in (next(iter(loader)) for loader in (data.train_dataloader(), data.val_dataloader())):
            tensors = [value for value in batch if isinstance(value, torch.Tensor)]
            assert tensors
            assert torch.float64 not in {tensor.dtype for tensor in tensors}


@pytest.mark.parametrize(
    ("sys_platform", "platform_system", "os_name", "platform_machine"),
    [
        ("win32", "Windows", "nt", "AMD64"),
        ("darwin", "Darwin", "posix", "arm64"),
        ("linux", "Linux", "posix", "aarch64"),
    ],
)
def test_every_dependency_has_one_pin_for_each_system(
    sys_platform: str, platform_system: str, os_name: str, platform_machine: str
) -> None:
    there = {"sys_platform": sys_platform, "platform_system": platform_system, "os_name": os_name}
    environment: Any = default_environment() | there | {"platform_machine": platform_machine}
    pinned = [Requirement(entry.split(" --hash")[0].rstrip(" \\")) for entry in entries(PINS)]
    applying = [canonicalize_name(pin.name) for pin in pinned if not pin.marker or pin.marker.evaluate(environment)]
    assert len(applying) == len(set(applying))
    assert {canonicalize_name(requirement.name) for requirement in wanted(PROJECT)} <= set(applying)
    assert any(name.startswith("nvidia-") for name in applying) == (sys_platform == "linux")
