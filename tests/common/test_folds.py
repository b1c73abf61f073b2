import numpy as np
import pytest

from common.errors import UserError
from common.folds import stratified_split


def test_split_keeps_each_class_its_share_and_every_row_one_side() -> None:
    labels = np.repeat(np.arange(62), np.random.default_rng(0).integers(10, 60, 62))
    train, val = stratified_split(labels, 0.2, seed=0)
    assert np.array_equal(np.sort(np.concatenate([train, val])), np.arange(len(labels)))
    share = np.bincount(labels[val]) / np.bincount(labels)
    assert abs(share - 0.2).max() < 0.1


def test_seed_decides() -> None:
    labels = np.arange(100) % 5
    first = stratified_split(labels, 0.2, seed=0)[1]
    assert np.array_equal(first, stratified_split(labels, 0.2, seed=0)[1])
    assert not np.array_equal(first, stratified_split(labels, 0.2, seed=1)[1])


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 2.0])
def test_share_out_of_range(fraction: float) -> None:
    with pytest.raises(UserError, match=r"--data\.val_fraction .* between 0 and 1"):
        stratified_split(np.zeros(10, dtype=np.int64), fraction, seed=0)


def test_class_of_one_row() -> None:
    with pytest.raises(UserError, match=r"--data\.val_fraction 0\.2 cannot split 11 rows by class"):
        stratified_split(np.array([0] * 10 + [1]), 0.2, seed=0)
