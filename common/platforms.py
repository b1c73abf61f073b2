"""How other systems differ from Linux: signals, processes, open files, names, command lines, terminals."""

from __future__ import annotations

import io
import multiprocessing
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# What asks a process to end: a cluster's SIGTERM; on Windows also Ctrl-Break, and closing the console.
ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGBREAK") if hasattr(signal, name))
KILL: int = getattr(signal, "SIGKILL", signal.SIGTERM)  # on Windows, SIGTERM kills as well
WAITS = [0.1 * 2**number for number in range(9)]  # seconds, 51 in all
# Names that Windows does not keep as they are: those of devices, and those that end in a dot.
UNUSABLE = re.compile(r"(^|/)((con|prn|aux|nul|com\d|lpt\d)(\.[^/]*)?|[^/]*\.)(/|$)", re.IGNORECASE)
LONGEST = 259  # letters of a path on Windows, unless long paths are turned on


class Interrupted(SystemExit):
    """The user typed Ctrl-C. Lightning would turn a KeyboardInterrupt into exit code 1 and a message of its own."""


def end_tidily() -> None:
    """Raise SystemExit on any signal that asks this process to end, so that it cleans up."""

    def stop(number: int) -> None:
        raise Interrupted(130) if number == signal.SIGINT else SystemExit(128 + number)

    listen(stop)


def listen(ask: Callable[[int], None]) -> None:
    """Call ``ask`` with SIGINT on Ctrl-C, and with SIGTERM on whatever else asks this process to end."""
    for number in (*ENDING, signal.SIGINT):
        signal.signal(number, lambda sent, _: ask(signal.SIGINT if sent == signal.SIGINT else signal.SIGTERM))


@contextmanager
def signals_held() -> Iterator[None]:
    """Defer SIGTERM and Ctrl-C until the end of the block, which starts processes, or writes several files.

    Processes that are forked in it ignore both: a terminal sends Ctrl-C to all of them, and this one ends the others.
    A signal mask would not do: it covers one thread, and the system delivers the signal to another, such as tqdm's.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main one runs handlers
        yield
        return
    came: list[int] = []
    handlers = {number: signal.signal(number, lambda sent, _: came.append(sent)) for number in (*ENDING, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for sent in came:
            signal.raise_signal(sent)


def count_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread_out(work: Callable[[Item], Result], items: Iterable[Item], many: bool) -> Iterator[Result]:
    """Yield the results of ``work`` in the order of ``items``; if there are ``many``, all cores share the work."""
    pool = None
    if many and (cores := count_cores()) > 1:  # for few items, starting processes would take longer than the work
        # Forked where possible, like torch's loader workers, so that they need not import anything again.
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        die = (signal.SIGTERM, signal.SIG_DFL)  # instead of the handler that a forked process inherits
        with suppress(OSError):  # a machine without semaphores does the work in one process
            pool = ProcessPoolExecutor(cores, context, signal.signal, die)
    if pool is None:
        yield from map(work, items)
        return
    try:
        # Python loses an exception that a handler raises while a process is being forked, and then waits forever at
        # exit for a half-started pool.
        with signals_held():
            results = pool.map(work, items)
        yield from results
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a child process, now that this process has been asked to end.

    On Windows, the console that both share has asked the child, too, which could save nothing once it is terminated.
    """
    if sys.platform == "win32":
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
    process.terminate()


def lock(descriptor: int) -> bool:
    """Lock an open file for as long as this process lives; return False if another process has locked it.

    A file system without locks counts as nobody having locked it.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock's, no forked worker keeps it
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass
    return True


def patiently(move: Callable[[], object]) -> None:
    """Rename or remove a file, retrying on Windows, which refuses while any program, such as a scanner, has it open.

    Raises:
        OSError: it cannot be done, on Windows for most of a minute.
    """
    for wait in WAITS if sys.platform == "win32" else []:
        try:
            move()
        except PermissionError:
            time.sleep(wait)
        else:
            return
    move()


def remedy(error: OSError) -> str:
    """Say what to do about an error that means something else on Windows; empty elsewhere."""
    if sys.platform != "win32":
        return ""
    if isinstance(error, FileNotFoundError) and len(str(Path(str(error.filename)).absolute())) > LONGEST:
        return f"its path has more than {LONGEST} letters; give a shorter --name, or turn on Windows' long paths"
    if isinstance(error, PermissionError):
        return "close the program that has it open, or give a file or folder that you may use"
    return ""


def quoted(word: str) -> str:
    """Quote a path for the shell of this system; cmd.exe does not know single quotes."""
    word = f"./{word}" if word.startswith("-") else word  # or it would be taken for a flag
    return subprocess.list2cmdline([word]) if sys.platform == "win32" else shlex.quote(word)


def show_any_text() -> None:
    """Escape letters that the encoding of the output lacks, as Python does on stderr, instead of failing.

    If the output goes to a file or another program, Windows gives it a code page of 256 letters.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
