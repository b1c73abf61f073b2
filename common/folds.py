"""How the rows of a training set are dealt out: to train on and to hold out, in folds, in strata, by groups."""

from __future__ import annotations

import math

import numpy as np

from common.errors import UserError, counted, listed
from common.split import Indices


def split_rows(
    strata: np.ndarray,
    groups: np.ndarray | None,
    val_fraction: float,
    num_folds: int,
    fold: int | None,
    seed: int,
    called: tuple[str, str],
) -> tuple[Indices, Indices]:
    """Hold out a fraction of the rows, or one fold; return the rows to train on and those held out, each sorted.

    Args:
        strata: the stratum of each row, N; each stratum has its share of the held-out rows.
        groups: the group of each row, N, which is kept on one side; None if each row is its own group.
        val_fraction: fraction of the rows or groups to hold out if ``fold`` is None.
        num_folds: number of folds.
        fold: the fold to hold out, from 0.
        seed: the same seed gives the same split.
        called: plural names of the groups and strata.

    Raises:
        UserError: a fraction or number is out of range, or a stratum is too small.
    """
    if num_folds < 2:
        raise UserError(f"--data.num_folds {num_folds}: give 2 or more")
    if fold is None:
        if groups is None:
            return stratified_split(strata, val_fraction, seed)
        return grouped_split(groups, strata, val_fraction, seed, called)
    if groups is None:
        folds = stratified_folds(strata, num_folds, seed)
    else:
        folds = grouped_folds(groups, strata, num_folds, seed, called)
    if not 0 <= fold < len(folds):
        raise UserError(f"--data.fold {fold}: there are folds 0 to {len(folds) - 1} (--data.num_folds)")
    return np.setdiff1d(np.arange(len(strata)), folds[fold]), folds[fold]


def keep_fraction(
    train: Indices, strata: np.ndarray, groups: np.ndarray | None, fraction: object, seed: int
) -> Indices:
    """Keep a fraction of the rows to train on: whole groups if there are any, the same fraction of every stratum.

    The rows or groups of each stratum are put in random order. The first ``fraction`` · n of them, rounded, are kept,
    but at least one, so a larger fraction keeps all that a smaller one does.

    Args:
        train: the rows to train on, sorted.
        strata: the stratum of each row, N.
        groups: the group of each row, N; None if there are no groups.
        fraction: the fraction, above 0 and at most 1.
        seed: the same seed gives the same order.

    Raises:
        UserError: ``fraction`` is out of range.
    """
    share = check_train_fraction(fraction)
    units = train if groups is None else np.asarray(groups, dtype=str)[train]
    rng = np.random.default_rng([seed, 1])  # a different order from the one in which groups are held out
    kept = []
    for stratum in np.unique(strata[train]):
        order = rng.permutation(np.unique(units[strata[train] == stratum]))
        kept.append(order[: max(1, round(share * len(order)))])
    return train[np.isin(units, np.concatenate(kept))]


def check_train_fraction(given: object) -> float:
    """Return ``--data.train_fraction`` if it is a single fraction; raise a :class:`UserError` if not."""
    if not (isinstance(given, int | float) and 0 < given <= 1):
        wanted = "give a fraction above 0 and at most 1, such as 0.5; crossval takes several, as [0.5, 1]"
        raise UserError(f"--data.train_fraction {given}: {wanted}")
    return float(given)


def stratified_split(labels: np.ndarray, val_fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Split rows at random so that every class keeps its share on both sides; see :func:`split_rows`."""
    from sklearn.model_selection import train_test_split

    _check_fraction(val_fraction)
    rows = np.arange(len(labels))
    try:
        train, val = train_test_split(rows, test_size=val_fraction, random_state=seed, stratify=labels)
    except ValueError as error:
        classes, counts = np.unique(labels, return_counts=True)
        least = math.ceil(100 * len(classes) / len(labels)) / 100
        if counts.min() > 1 and least <= 0.5 and not least <= val_fraction <= 1 - least:
            reason = f"of {len(labels)} rows is less than one row of each of {len(classes)} classes on one side"
            between = f"give {least:.2f} to {1 - least:.2f}, or add rows"
            raise UserError(f"--data.val_fraction {val_fraction} {reason}; {between}") from None
        reason = f"cannot split {len(labels)} rows by class: {error}"
        raise UserError(f"--data.val_fraction {val_fraction} {reason}") from None
    return np.sort(train), np.sort(val)


def stratified_folds(labels: np.ndarray, num_folds: int, seed: int) -> list[Indices]:
    """Deal rows at random into folds, each with its share of every class, and return each fold's rows, sorted."""
    from sklearn.model_selection import StratifiedKFold

    most = int(np.unique(labels, return_counts=True)[1].min())
    if not 2 <= num_folds <= most:
        remedy = f"so give 2 to {most}" if most > 1 else "which no two folds can share; add images"
        raise UserError(f"--data.num_folds {num_folds}: the smallest class has {counted(most, 'image')}, {remedy}")
    folds = StratifiedKFold(num_folds, shuffle=True, random_state=seed).split(np.zeros(len(labels)), labels)
    return [np.sort(held_out) for _, held_out in folds]


def grouped_folds(
    groups: np.ndarray, strata: np.ndarray, num_folds: int, seed: int, called: tuple[str, str]
) -> list[Indices]:
    """Deal whole groups into folds so that each fold gets its share of the groups of every stratum.

    Every group is held out in exactly one fold, except the only group of a stratum: that one stays in training. No
    fold holds out all groups of a stratum. With as many folds as groups to hold out, each fold leaves one out.
    Returns the rows held out in each fold, sorted.

    Raises:
        UserError: ``num_folds`` is out of range, or no stratum has two groups.
    """
    # scikit-learn's StratifiedGroupKFold balances rows, not groups, and also holds out the only group of a stratum.
    dealt = [group for names in _shuffled(groups, strata, seed, called) for group in names]
    most = len(dealt)
    if not 2 <= num_folds <= most:
        raise UserError(f"--data.num_folds {num_folds}: {most} {called[0]} can be held out; give 2 to {most}")
    return [_rows_of(groups, dealt[fold::num_folds]) for fold in range(num_folds)]


def grouped_split(
    groups: np.ndarray, strata: np.ndarray, val_fraction: float, seed: int, called: tuple[str, str]
) -> tuple[Indices, Indices]:
    """Hold out whole groups, the same fraction of every stratum; see :func:`split_rows`.

    In a stratum of n groups, ``val_fraction`` · n, rounded, are held out, but at least one and at most n - 1; the only
    group of a stratum stays in training.
    """
    _check_fraction(val_fraction)
    held_out = []
    for names in _shuffled(groups, strata, seed, called):
        held_out += names[: min(max(1, round(val_fraction * len(names))), len(names) - 1)]
    val = _rows_of(groups, held_out)
    return np.setdiff1d(np.arange(len(groups)), val), val


def _check_fraction(val_fraction: float) -> None:
    if not 0 < val_fraction < 1:
        raise UserError(f"--data.val_fraction {val_fraction}: give a fraction between 0 and 1, such as 0.2")


def _shuffled(groups: np.ndarray, strata: np.ndarray, seed: int, called: tuple[str, str]) -> list[list[str]]:
    """List the groups of each stratum with two or more, in random order."""
    members: dict[str, set[str]] = {}
    for group, stratum in zip(groups, strata, strict=True):
        members.setdefault(str(stratum), set()).add(str(group))
    rng = np.random.default_rng(seed)
    shuffled = [rng.permutation(sorted(members[name])).tolist() for name in sorted(members) if len(members[name]) > 1]
    if not shuffled:
        none = f"no {called[1]} of {listed(sorted(members))} has two {called[0]}"
        raise UserError(f"{none}: none can be held out; add {called[0]}")
    return shuffled


def _rows_of(groups: np.ndarray, names: list[str]) -> Indices:
    return np.flatnonzero(np.isin(np.asarray(groups, dtype=str), names))
