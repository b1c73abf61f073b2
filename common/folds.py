"""Which rows are held out: the one place where a split is decided."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from common.errors import UserError, listed

Indices = npt.NDArray[np.int64]
Names = Sequence[str] | npt.NDArray[np.str_]


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

    _check_share(val_fraction)
    rows = np.arange(len(labels))
    try:
        train, val = train_test_split(rows, test_size=val_fraction, random_state=seed, stratify=labels)
    except ValueError as error:
        raise UserError(
            f"--data.val_fraction {val_fraction} cannot split {len(labels)} rows by class: {error}"
        ) from None
    return np.sort(train), np.sort(val)


def stratified_folds(labels: npt.NDArray[np.int64], num_folds: int, seed: int) -> list[Indices]:
    """Deal rows at random into folds, each with its share of every class.

    Args:
        labels: the class of each row, N.
        num_folds: how many folds, from 2 to the number of rows of the smallest class.
        seed: the same seed gives the same folds.

    Returns:
        Rows held out in each fold, sorted; every row is held out in exactly one.

    Raises:
        UserError: ``num_folds`` is out of range.
    """
    from sklearn.model_selection import StratifiedKFold

    most = int(np.unique(labels, return_counts=True)[1].min())
    if not 2 <= num_folds <= most:
        reason = f"the smallest class has {most} images"
        raise UserError(
            f"--data.num_folds {num_folds}: {reason}, so give 2 to {most}"
            if most > 1
            else f"--data.num_folds {num_folds}: {reason}, which no two folds can share; add images"
        )
    folds = StratifiedKFold(num_folds, shuffle=True, random_state=seed).split(np.zeros(len(labels)), labels)
    return [np.sort(held_out) for _, held_out in folds]


def fold_of(folds: list[Indices], fold: int, num_rows: int) -> tuple[Indices, Indices]:
    """Give the rows to train on and those held out in one of the folds of ``num_rows`` rows.

    Raises:
        UserError: there is no such fold.
    """
    if not 0 <= fold < len(folds):
        raise UserError(f"--data.fold {fold}: there are folds 0 to {len(folds) - 1} (--data.num_folds)")
    return np.setdiff1d(np.arange(num_rows), folds[fold]), folds[fold]


def grouped_folds(groups: Names, strata: Names, num_folds: int, seed: int) -> list[Indices]:
    """Deal whole groups (plants) into folds so that each fold gets its share of the groups of every stratum (species).

    Every group is held out in exactly one fold, except the only group of a stratum: that one stays in training. No
    fold holds out all groups of a stratum. As many folds as there are groups to hold out leave one out at a time.

    Args:
        groups: the group of each row, N.
        strata: the stratum of each row, N, the same for all rows of a group.
        num_folds: how many folds, from 2 to the number of groups that can be held out.
        seed: the same seed gives the same folds.

    Returns:
        Rows held out in each fold, sorted; all other rows are to train on.

    Raises:
        UserError: ``num_folds`` is out of range, or no stratum has two groups.
    """
    # scikit-learn's StratifiedGroupKFold balances rows, not groups: it holds out the only group of a stratum, too.
    dealt = [group for names in _shuffled(groups, strata, seed) for group in names]
    if not 2 <= num_folds <= len(dealt):
        raise UserError(f"--data.num_folds {num_folds}: {len(dealt)} plants can be held out, give 2 to {len(dealt)}")
    return [_rows_of(groups, dealt[fold::num_folds]) for fold in range(num_folds)]


def grouped_split(groups: Names, strata: Names, val_fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Hold out whole groups (plants), the same share of every stratum (species).

    Of a stratum of n groups, ``val_fraction`` · n rounded are held out, but at least one and at most n - 1; the only
    group of a stratum stays in training.

    Args:
        groups: the group of each row, N.
        strata: the stratum of each row, N, the same for all rows of a group.
        val_fraction: share of the groups to hold out, between 0 and 1.
        seed: the same seed gives the same split.

    Returns:
        Rows to train on and rows held out, each sorted.

    Raises:
        UserError: ``val_fraction`` is out of range, or no stratum has two groups.
    """
    _check_share(val_fraction)
    held_out = [
        group
        for names in _shuffled(groups, strata, seed)
        for group in names[: min(max(1, round(val_fraction * len(names))), len(names) - 1)]
    ]
    val = _rows_of(groups, held_out)
    return np.setdiff1d(np.arange(len(groups)), val), val


def _check_share(val_fraction: float) -> None:
    if not 0 < val_fraction < 1:
        raise UserError(f"--data.val_fraction {val_fraction}: give a share between 0 and 1, such as 0.2")


def _shuffled(groups: Names, strata: Names, seed: int) -> list[list[str]]:
    """List the groups of each stratum that has two or more, in random order."""
    members: dict[str, set[str]] = {}
    for group, stratum in zip(groups, strata, strict=True):
        members.setdefault(str(stratum), set()).add(str(group))
    rng = np.random.default_rng(seed)
    shuffled = [rng.permutation(sorted(members[name])).tolist() for name in sorted(members) if len(members[name]) > 1]
    if not shuffled:
        raise UserError(f"no species of {listed(sorted(members))} has two plants: none can be held out; add plants")
    return shuffled


def _rows_of(groups: Names, names: list[str]) -> Indices:
    return np.flatnonzero(np.isin(np.asarray(groups, dtype=str), names))
