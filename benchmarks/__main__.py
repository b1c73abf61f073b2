"""The whole table: ``make bench``, or ``python -m benchmarks``; under ten minutes on two cores."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import fit, predict, preparing, start
from benchmarks.timing import Row, show


def rows(folder: Path) -> Iterator[Row]:
    yield from preparing.rows(folder / "preparing")  # first: a worker's memory includes what it inherits
    fit.draw(folder)
    yield from fit.rows(folder, seconds=12)
    yield from predict.rows(folder / "predict")
    yield from start.rows(folder)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        show(rows(Path(name)))


if __name__ == "__main__":
    main()
