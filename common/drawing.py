"""What the programs that draw data sets share: folders written whole or not at all, and one-line errors."""

import argparse
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from common.errors import UserError


class Parser(argparse.ArgumentParser):
    """An argument parser whose `--help` shows the defaults and whose errors are one line with exit code 2."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog, description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)

    def error(self, message: str) -> NoReturn:
        """Print `message` as one line on stderr and exit with code 2."""
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def check_range(flag: str, value: int, low: int, high: int | None = None, why: str = "") -> None:
    """Raise `UserError` naming `flag` unless low <= value <= high; `why` says what the bound is for."""
    if value < low or (high is not None and value > high):
        bounds = f"{low} or more" if high is None else f"from {low} to {high}"
        raise UserError(f"{flag} {value}: give {bounds}{f', {why}' if why else ''}")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `target` when the block ends, and is removed if the block fails.

    Raises `UserError` where `target` is a file or holds anything, or where it cannot be written.
    """
    home = target.expanduser().resolve()
    part = None
    try:
        if home.is_dir() and any(home.iterdir()):
            raise UserError(f"{target}: is not empty; choose another folder")
        if home.exists() and not home.is_dir():
            raise UserError(f"{target}: is a file; choose another folder")
        # An existing empty folder is filled, not replaced: it may be a mount or the current folder.
        filled = home.is_dir()
        parent = home if filled else home.parent
        parent.mkdir(parents=True, exist_ok=True)
        work = parent / f".{home.name}.part-{os.getpid()}"
        work.mkdir()
        part = work
        yield work
        if filled:
            for child in list(work.iterdir()):
                child.rename(home / child.name)
            work.rmdir()
        else:
            work.rename(home)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{target}: cannot be written ({reason}); choose another folder or free space") from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
