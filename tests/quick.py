"""What makes tests fast: processes that do not import torch and Lightning again, and figures that are not rendered.

Processes are forked from one that has imported everything. Otherwise they behave like a typed command: arguments,
environment, working folder, signals, exit code. Tests of how a command starts use subprocess instead.
"""

from __future__ import annotations

import atexit
import gc
import json
import multiprocessing
import os
import pkgutil
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.reduction import DupFd
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from lightning.fabric.utilities.rank_zero import _get_rank, rank_zero_only
from matplotlib.figure import Figure
from PIL import Image

REPOSITORY = Path(__file__).parents[1]
PATIENCE = 1800  # seconds before something counts as hanging, which must be many on a busy machine
TASKS = ("growth", "julia")
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    # First what puts off the collection of garbage; then what a fit imports late. That imports this file as well.
    ["tests.conftest", *(f"{task}.{part}" for task in TASKS for part in ("data", "model")), "sklearn.model_selection"]
)

GALLERIES = tuple(f"{task}.plots.GALLERY" for task in TASKS)
FEW = 2  # pictures in a gallery of a fit, since to lay out 24 takes a fifth of a small one


def blank(_: Figure, stream: Any, format: str) -> None:
    """Save a figure as one white pixel: rendering it takes longer than a small fit."""
    Image.new("L", (1, 1), 255).save(stream, format)


class Stream:
    """A stream to be passed to a new process.

    Args:
        number: its file descriptor in this process.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return Stream._received, (DupFd(self.number),)

    @staticmethod
    def _received(sent: Any) -> Stream:
        return Stream(sent.detach())


class Forked:
    """``python -m ...``, with as much of ``subprocess.Popen`` as is used here.

    Args:
        words: the module and its arguments; or ``-c``, code and its arguments.
        folder: where to run.
        environment: all of it.
        output: descriptor of its stdout.
        errors: descriptor of its stderr.
    """

    def __init__(
        self, words: list[str], folder: Path | str, environment: dict[str, str], output: int = 1, errors: int = 2
    ) -> None:
        arguments = (words, str(folder), dict(environment), Stream(output), Stream(errors), executable())
        self.process = CONTEXT.Process(target=_run, args=arguments)
        self.process.start()
        assert self.process.pid is not None
        self.pid = self.process.pid

    def poll(self) -> int | None:
        return self.process.exitcode

    returncode = property(poll)

    def wait(self, timeout: float | None = None) -> int:
        self.process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()


def _run(
    words: list[str], folder: str, environment: dict[str, str], output: Stream, errors: Stream, program: str
) -> None:
    # To look for garbage among all that has been imported takes as long as a small fit, and would copy its memory.
    gc.freeze()
    gc.enable()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = environment.get("PYTHONPATH", "").split(os.pathsep)
    for stream, number in ((output, 1), (errors, 2)):
        os.dup2(stream.number, number)
        os.close(stream.number)
    # New ones, since the parent process may have had files where this one has pipes or a terminal.
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    multiprocessing.set_start_method(None, force=True)  # the default, for the workers of loaders
    tempfile.tempdir = None  # the one in this environment
    rank_zero_only.rank = _get_rank() or 0  # Lightning reads it when imported
    sys.executable = program  # what starts folds, ranks and shells
    Figure.savefig = blank  # type: ignore[assignment, method-assign]
    for gallery in GALLERIES:
        pkgutil.resolve_name(gallery.rpartition(".")[0]).GALLERY = FEW
    sys.argv = words
    try:
        if words[0] == "-c":
            code = sys.argv.pop(1)
            exec(code, {"__name__": "__main__"})
        else:
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # which multiprocessing skips, and in which W&B writes its last lines


def typed(folder: Path, *words: object, **environment: str) -> str:
    """Run ``python -m ...`` in a folder, and return its output."""
    variables = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"} | environment
    with (folder / ".output").open("w+") as output, (folder / ".errors").open("w+") as errors:
        code = Forked([*map(str, words)], folder, variables, output.fileno(), errors.fileno()).wait(PATIENCE)
        output.seek(0), errors.seek(0)
        assert code == 0, errors.read()
        return output.read()


# Exits like the process that is forked for it, which gets its SIGINT and SIGTERM, and is killed when it is killed.
CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
words = sys.argv[1:]
if words[:1] != ["-c"]:
    try:
        words = words[words.index("-m") + 1 :]
    except ValueError:
        os.execv({python!r}, [{python!r}, *words])
ending = signal.SIGINT, signal.SIGTERM
signal.pthread_sigmask(signal.SIG_BLOCK, ending)
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({address!r})
    socket.send_fds(asked, [b"."], [1, 2])
    asked.sendall(json.dumps([words, os.getcwd(), dict(os.environ)]).encode() + b"\\n")
    answers = asked.makefile()
    process = int(answers.readline())
    for number in ending:
        signal.signal(number, lambda sent, _: os.kill(process, sent))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ending)
    code = int(answers.readline())
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@cache
def executable() -> str:
    """Make, once, a program that stands in for Python but forks ``-m`` and ``-c``, and start the process to fork."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        patch.setenv("OMP_NUM_THREADS", "1")
        forkserver.ensure_running()
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{folder}/socket")
    listener.listen()
    program = Path(folder, "python")
    program.write_text(CLIENT.format(python=sys.executable, address=f"{folder}/socket"))
    program.chmod(0o700)
    Thread(target=_listen, args=(listener,), daemon=True).start()
    return str(program)


def _listen(listener: socket.socket) -> None:
    while True:
        Thread(target=_answer, args=(listener.accept()[0],), daemon=True).start()


def _answer(asked: socket.socket) -> None:
    with asked, suppress(BrokenPipeError):
        _, (output, errors), *_ = socket.recv_fds(asked, 1, 2)
        words, folder, environment = json.loads(asked.makefile().readline())
        process = Forked(words, folder, environment, output, errors)
        os.close(output), os.close(errors)
        asked.sendall(b"%d\n" % process.pid)
        if asked in wait([asked, process.process.sentinel]):  # the program was killed
            process.kill()
        asked.sendall(b"%d\n" % process.wait())
