"""Rows of a table of ratios, and repetitions in turn, so that a noisy machine disturbs both sides of a ratio alike."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch

BARE, SEED = "the bare limit", "the seed's way"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: what was measured.
        ratio: how many times as good as ``beside``; None where nothing stands beside it.
        beside: the baseline.
        ours: the figure with its unit.
        theirs: the baseline's.
    """

    what: str
    ratio: float | None
    beside: str
    ours: str
    theirs: str = ""


def show(rows: Iterable[Row]) -> None:
    """Print rows, ratios first, each as soon as it is there, as a Markdown table."""
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
        names = [line.split(":")[1].strip() for line in information.read_text().splitlines() if "model name" in line]
        name = names[0] if names else name
    if torch.cuda.is_available():
        name = f"{torch.cuda.get_device_name()}, {name}"
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, {date.today().isoformat()}"


def interleaved(sides: dict[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Call every side in turn, ``repetitions`` times over: the seconds of each call, by side."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repetitions):
        for name, call in sides.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def median_ratio(numerator: list[float], denominator: list[float]) -> float:
    """The median of the ratios of calls made one after the other."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def python(*arguments: str, folder: Path | None = None, **environment: str) -> tuple[str, float, float]:
    """Run Python in a process of its own.

    Args:
        arguments: what stands after ``python``.
        folder: the folder to run in.
        environment: variables besides those of this process.

    Returns:
        What it prints, the seconds it takes, and its peak memory, MiB.

    Raises:
        RuntimeError: it fails; with the end of what it said.
    """
    root = str(Path(__file__).parent.parent)
    variables = {**os.environ, "PYTHONPATH": root, "PYTHONWARNINGS": "ignore", **environment}
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=variables,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"python {' '.join(arguments)} failed: {said[-2000:]}")
    return said, seconds, usage.ru_maxrss / 2**10
