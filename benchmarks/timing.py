"""Rows of a table of ratios, and interleaved runs, so that a noisy machine disturbs both sides of a ratio alike."""

from __future__ import annotations

import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path

import torch

BARE, SEED = "the bare limit", "the seed baseline"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: what was measured.
        ratio: how many times as good as ``beside``; None without a baseline.
        beside: the baseline.
        ours: our value, with its unit.
        theirs: the baseline's.
    """

    what: str
    ratio: float | None
    beside: str
    ours: str
    theirs: str = ""


def show(rows: Iterable[Row]) -> None:
    """Print the hardware, then rows as a Markdown table, ratios first, each as soon as it is ready."""
    print(hardware())
    header = f"| {'ratio':>7} | {'beside':24} | {'what':56} | {'here':18} | {'there':18} |"
    print(f"{header}\n| ------: | {'-' * 24} | {'-' * 56} | {'-' * 18} | {'-' * 18} |", flush=True)
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}×" if row.ratio < 10 else f"{row.ratio:.0f}×"
        print(f"| {ratio:>7} | {row.beside:24} | {row.what:56} | {row.ours:18} | {row.theirs:18} |", flush=True)


def hardware() -> str:
    """Name the processor, the threads in use, torch's version and the date."""
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        names = [
            line.split(":")[1].strip()
            for line in information.read_text(encoding="utf-8").splitlines()
            if "model name" in line
        ]
        name = names[0] if names else name
    if torch.cuda.is_available():
        name = f"{torch.cuda.get_device_name()}, {name}"
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, {date.today().isoformat()}"


def interleaved(sides: dict[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Call every side in turn, ``repetitions`` times over; return the seconds of each call, by side."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repetitions):
        for name, call in sides.items():
            start = time.perf_counter()
            took = call()
            here = time.perf_counter() - start
            seconds[name].append(took if isinstance(call, Apart) and isinstance(took, float) else here)
    return seconds


def median_ratio(numerator: list[float], denominator: list[float]) -> float:
    """Return the median of the ratios of calls made one after the other."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


class Apart:
    """Runs a function on demand in a process of its own, which none of our settings reaches.

    Args:
        make: called there once; returns the function to run on each call.
    """

    def __init__(self, make: Callable[[], Callable[[], object]]) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(make, theirs), daemon=True)
        self._process.start()
        self()  # the first call is slower

    def __call__(self) -> float:
        """Run the function, and return the seconds that it took there."""
        self._ours.send(True)
        seconds: float = self._ours.recv()
        return seconds

    def close(self) -> None:
        self._ours.send(False)
        self._process.join()


def _serve(make: Callable[[], Callable[[], object]], demands: Connection) -> None:
    do = make()
    while demands.recv():
        start = time.perf_counter()
        do()
        demands.send(time.perf_counter() - start)


def python(*arguments: str, folder: Path | None = None, **environment: str) -> tuple[str, float]:
    """Run Python in a process of its own.

    Args:
        arguments: what follows ``python``.
        folder: the folder to run in.
        environment: variables in addition to those of this process.

    Returns:
        What it printed, and the seconds it took.

    Raises:
        RuntimeError: it fails; the message has the end of its output.
    """
    root = str(Path(__file__).parent.parent)
    variables = {**os.environ, "PYTHONPATH": root, "PYTHONWARNINGS": "ignore", **environment}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=variables,
        text=True,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"python {' '.join(arguments)} failed: {done.stdout[-2000:]}")
    return done.stdout, seconds
