"""Shared parts of the programs that draw data sets, such as their parser, whose errors are one line."""

import argparse
from pathlib import Path
from typing import NoReturn

from common.errors import UserError


class Parser(argparse.ArgumentParser):
    """A parser for DIR and whole numbers; ``--help`` shows the defaults, and errors are one line with exit code 2."""

    def __init__(self, prog: str, description: str | None, **numbers: tuple[int, str]) -> None:
        super().__init__(prog, description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        self.add_argument("directory", metavar="DIR", type=_folder, help="folder to write to, new or empty")
        for name, (default, text) in numbers.items():
            self.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, metavar="N", help=text)
        self.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all draws, a whole number from 0")

    def error(self, message: str) -> NoReturn:
        """Print ``message`` as one line on stderr and exit with code 2."""
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def _folder(word: str) -> Path:
    if not word:  # as of a variable that is not set; Path would take it for the current folder
        raise argparse.ArgumentTypeError("is empty; give a folder, or . for the current one")
    return Path(word)


def check_range(flag: str, value: int, low: int, high: int | None = None, why: str = "") -> None:
    """Raise ``UserError`` naming ``flag`` unless low <= value <= high; ``why`` explains the bound."""
    if value < low or (high is not None and value > high):
        bounds = f"{low} or more" if high is None else f"from {low} to {high}"
        raise UserError(f"{flag} {value}: give {bounds}{f', {why}' if why else ''}")
