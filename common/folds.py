"""Which rows are held out: the one place where a split is decided."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from common.errors import UserError

Indices = npt.NDArray[np.int64]


def stratified_split(labels: npt.NDArray[np.int64], val_fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Split rows at random so that every class keeps its share on both sides.

    Args:
        labels: the class of each row, N.
        val_fraction: share of the rows to hold out, between 0 and 1.
        seed: the same seed gives the same split.

    Returns:
        Rows to train on and rows held out, each sorted.

    Raises:
        UserError: ``val_fraction`` is out of range, or leaves no row of a class for one side.
    """
    from sklearn.model_selection import train_test_split

    if not 0 < val_fraction < 1:
        raise UserError(f"--data.val_fraction {val_fraction}: give a share between 0 and 1, such as 0.2")
    rows = np.arange(len(labels))
    try:
        train, val = train_test_split(rows, test_size=val_fraction, random_state=seed, stratify=labels)
    except ValueError as error:
        raise UserError(
            f"--data.val_fraction {val_fraction} cannot split {len(labels)} rows by class: {error}"
        ) from None
    return np.sort(train), np.sort(val)
