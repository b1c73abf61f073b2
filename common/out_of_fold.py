"""Out-of-fold estimates of a cross-validation, which another one may average in."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np

from common.errors import UserError


class Estimates(NamedTuple):
    """A file of out-of-fold estimates."""

    path: Path  # the file
    ids: np.ndarray  # of the rows, N
    values: np.ndarray  # the estimates, N×…
    truth: np.ndarray  # true value of each row, N

    @classmethod
    def read(cls, path: Path) -> Estimates:
        """Read a file; raise a :class:`UserError` if there is none, or if it holds something else."""
        if not path.is_file():
            raise UserError(f"--others {path}: no such file")
        try:
            with np.load(path, allow_pickle=False) as file:
                found = cls(path, file["ids"], file["estimates"], file["truth"])
        except (OSError, ValueError, KeyError, TypeError, BadZipFile, EOFError, zlib.error):
            found = None
        same_rows = found is not None and found.ids.shape == found.truth.shape == found.values.shape[:1]
        if found is None or not same_rows or found.values.dtype not in (np.float32, np.float64):
            raise UserError(f"--others {path}: not an out_of_fold.npz that crossval has written")
        if not np.isfinite(found.values).all():
            raise UserError(f"--others {path}: holds estimates that are not finite; leave it out")
        return found

    def sorted_as(self, ids: np.ndarray, truth: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return the values in the order of ``ids``.

        Raises:
            UserError: their shape, ids or true values differ from these.
        """
        order = np.argsort(self.ids)
        if self.values.shape != shape or not np.array_equal(self.ids[order], np.sort(ids)):
            raise UserError(f"--others {self.path}: of other rows than these {len(ids)}; give one of the same folds")
        order = order[np.searchsorted(self.ids[order], ids)]
        if not np.array_equal(self.truth[order], truth):
            raise UserError(f"--others {self.path}: of rows with the same names, but another truth; leave it out")
        values: np.ndarray = self.values[order]
        return values


def read_others(paths: Sequence[Path], own: Path) -> list[Estimates]:
    """Read the files to average in; ``own`` is the folder of the cross-validation itself.

    Raises:
        UserError: a file is given twice, is of this cross-validation, or holds something else.
    """
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen or path.resolve().is_relative_to(own.resolve()):
            raise UserError(f"--others {path}: it would count twice; leave it out")
        seen.add(path.resolve())
    read = [Estimates.read(path) for path in paths]
    for one, other in combinations(read, 2):
        whole, its = (path.with_name(re.sub("_tta[0-9]+", "", path.name)).resolve() for path in (one.path, other.path))
        if whole == its:
            same = f"of the same fits as {one.path.name}"
            raise UserError(f"--others {other.path}: {same}, which would count twice; give one of the two")
        if np.array_equal(one.ids, other.ids) and np.array_equal(one.values, other.values):
            raise UserError(f"--others {other.path}: a copy of {one.path}, it would count twice; leave it out")
    return read
