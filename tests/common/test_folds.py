from typing import Any

import numpy as np
import pytest

from common.errors import UserError
from common.folds import grouped_folds, grouped_split, keep_fraction, stratified_split
from common.split import Listing, Split, find_contradictions


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
    few = r"--data\.val_fraction 0\.05 of 40 rows is less than one row of each of 4 classes .*; give 0\.10 to 0\.90, or"
    with pytest.raises(UserError, match=few):
        stratified_split(np.repeat(np.arange(4), 10), 0.05, seed=0)
    with pytest.raises(UserError, match=r"--data\.val_fraction 0\.2 cannot split 11 rows by class"):
        stratified_split(np.array([0] * 10 + [1]), 0.2, seed=0)


CALLED = ("plants", "species")
SHAPES = [{"BC": 9, "LT": 10}, {"KM": 7, "AT": 1}, {"A": 2}, {"A": 3, "B": 2, "C": 1, "D": 5}]


def photos(shape: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Plants with one to nine photos each, mixed: the plant and the species of each photo."""
    rng = np.random.default_rng(0)
    plants = [f"{species}/{n}" for species, count in shape.items() for n in range(count)]
    plant = rng.permutation(np.repeat(plants, rng.integers(1, 10, len(plants))))
    return plant, np.array([name.split("/")[0] for name in plant])


def plants_of(shape: dict[str, int]) -> set[str]:
    """The plants that can be held out."""
    return {f"{species}/{n}" for species, count in shape.items() for n in range(count) if count > 1}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", SHAPES)
def test_no_plant_is_on_both_sides_of_a_fold(shape: dict[str, int], seed: int) -> None:
    plant, species = photos(shape)
    for num_folds in range(2, len(plants_of(shape)) + 1):
        folds = grouped_folds(plant, species, num_folds, seed, called=CALLED)
        assert len(folds) == num_folds
        held_out = [set(plant[rows]) for rows in folds]
        assert all(held_out)
        assert sorted(name for names in held_out for name in names) == sorted(plants_of(shape))
        for rows, names in zip(folds, held_out, strict=True):
            train = np.setdiff1d(np.arange(len(plant)), rows)
            assert np.array_equal(rows, np.sort(rows))
            assert names.isdisjoint(plant[train])
            assert set(species[train]) == set(shape)
        for name, count in shape.items():
            shares = [sum(held.startswith(f"{name}/") for held in names) for names in held_out]
            assert max(shares) - min(shares) <= 1 if count > 1 else sum(shares) == 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.5, 0.99])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_plant_is_on_both_sides_of_a_split(shape: dict[str, int], fraction: float, seed: int) -> None:
    plant, species = photos(shape)
    train, val = grouped_split(plant, species, fraction, seed, called=CALLED)
    assert np.array_equal(np.sort(np.concatenate([train, val])), np.arange(len(plant)))
    assert set(plant[train]).isdisjoint(plant[val])
    for name, count in shape.items():
        held_out = len(set(plant[val][species[val] == name]))
        assert held_out == (0 if count == 1 else min(max(1, round(fraction * count)), count - 1))


def test_leave_one_plant_out() -> None:
    shape = {"KM": 7, "AT": 1}
    plant, species = photos(shape)
    folds = grouped_folds(plant, species, num_folds=7, seed=0, called=CALLED)
    assert sorted(set(plant[rows]).pop() for rows in folds) == sorted(plants_of(shape))
    assert all(len(set(plant[rows])) == 1 for rows in folds)


def test_seed_decides_the_plants_and_the_order_of_the_rows_does_not() -> None:
    plant, species = photos(SHAPES[0])
    held_out = {
        seed: [set(plant[rows]) for rows in grouped_folds(plant, species, 5, seed, called=CALLED)] for seed in (0, 1)
    }
    assert held_out[0] != held_out[1]
    assert held_out[0] == [
        set(plant[::-1][rows]) for rows in grouped_folds(plant[::-1], species[::-1], 5, 0, called=CALLED)
    ]
    val = set(plant[grouped_split(plant, species, 0.2, 0, called=CALLED)[1]])
    assert val == set(plant[grouped_split(plant, species, 0.2, 0, called=CALLED)[1]])
    assert val != set(plant[grouped_split(plant, species, 0.2, 1, called=CALLED)[1]])


@pytest.mark.parametrize("num_folds", [-1, 0, 1, 8])
def test_number_of_folds_out_of_range(num_folds: int) -> None:
    with pytest.raises(UserError, match=rf"--data\.num_folds {num_folds}: 7 plants can be held out; give 2 to 7"):
        grouped_folds(*photos({"KM": 7, "AT": 1}), num_folds, seed=0, called=CALLED)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 2.0, float("nan")])
def test_share_of_plants_out_of_range(fraction: float) -> None:
    with pytest.raises(UserError, match=r"--data\.val_fraction .* between 0 and 1"):
        grouped_split(*photos(SHAPES[0]), fraction, seed=0, called=CALLED)


def test_no_plant_can_be_held_out() -> None:
    plant, species = photos({"BC": 1, "LT": 1})
    with pytest.raises(UserError, match="no species of BC, LT has two plants"):
        grouped_folds(plant, species, 2, seed=0, called=CALLED)
    with pytest.raises(UserError, match="no species of BC, LT has two plants"):
        grouped_split(plant, species, 0.2, seed=0, called=CALLED)


SHARES = [1e-9, 0.1, 1 / 3, 0.5, 0.51, 0.9, 1]


@pytest.mark.parametrize("seed", range(3))
def test_shares_of_rows_lie_in_each_other_and_every_class_keeps_its_own(seed: int) -> None:
    labels = np.repeat(np.arange(62), np.random.default_rng(0).integers(5, 60, 62))
    train, val = stratified_split(labels, 0.2, seed)
    kept = [keep_fraction(train, labels, None, share, seed) for share in SHARES]
    for share, rows, more in zip(SHARES, kept, [*kept[1:], train], strict=True):
        assert np.array_equal(rows, np.sort(rows)) and set(rows) <= set(more) and set(rows).isdisjoint(val)
        wanted = np.maximum(1, np.rint(share * np.bincount(labels[train])))
        assert np.array_equal(np.bincount(labels[rows]), wanted)
    assert np.array_equal(kept[-1], train)
    assert np.array_equal(kept[3], keep_fraction(train, labels, None, 0.5, seed))
    assert not np.array_equal(kept[3], keep_fraction(train, labels, None, 0.5, seed + 1))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", SHAPES)
def test_shares_are_of_whole_plants_and_of_every_species(shape: dict[str, int], seed: int) -> None:
    plant, species = photos(shape)
    train, _ = grouped_split(plant, species, 0.2, seed, called=CALLED)
    whole = set(plant[train])
    kept: set[str] = set()
    for share in SHARES:
        rows = keep_fraction(train, species, plant, share, seed)
        names = set(plant[rows])
        assert np.array_equal(rows, np.flatnonzero(np.isin(plant, list(names)))) and kept <= names <= whole
        for name in shape:
            left = sum(one.startswith(f"{name}/") for one in whole)
            assert sum(one.startswith(f"{name}/") for one in names) == max(1, round(share * left))
        # Of whatever order the photos are listed in.
        backwards = len(plant) - 1 - train[::-1]
        assert names == set(plant[::-1][keep_fraction(backwards, species[::-1], plant[::-1], share, seed)])
        kept = names
    assert kept == whole


@pytest.mark.parametrize("fraction", [0, -0.5, 1.01, float("nan"), float("inf"), [0.5, 1.0], "half", None])
def test_share_to_train_on_is_one_above_0_and_at_most_1(fraction: Any) -> None:
    with pytest.raises(UserError, match=r"--data\.train_fraction .*: give a fraction above 0 and at most 1"):
        keep_fraction(np.arange(4), np.zeros(4), None, fraction, seed=0)


def test_held_out_images_that_were_learned_from_are_counted_by_content() -> None:
    split = Split(["1", "2", "3"], ["4", "5"], (), ["a", "b", "c", "d", "a"])
    copies = "1 of the 2 held-out images is also trained on under another name (5 as 1)"
    learned = "the pretrained weights have learned from 1 of the 2 held-out images"
    assert split.find_learned() == [copies]
    first = Split(["7", "8"], ["9"], (), ["d", "e", "a"])
    assert split.following(first).find_learned(first) == [copies, learned]
    # A third fit has learned from what the first one has.
    second = Split(["6"], [], (), ["f"]).following(first)
    assert split.following(second).learned == ["4"]
    with pytest.raises(UserError, match="--x: these weights have learned from 1 of the 5 images, each of which a fold"):
        split.refuse_learned("--x", second)
    Split(["1"], ["2"], (), ["g", "h"]).refuse_learned("--x", second)
    twice = Split(["1"], ["2", "3"], (), ["a", "b", "b"]).following(Split(["9"], [], (), ["b"])).find_learned()
    assert twice == ["the pretrained weights have learned from 2 of the 2 held-out images"]
    other, unlike = split._replace(contents=["a", "b", "c", "d", "e"]), Split(["4", "5"], [], (), ["x", "y"])
    assert other.following(unlike).find_learned(unlike) == []
    # Earlier versions do not tell contents, and those of smaller files are others.
    for named in (Split(["4", "1"], ["5"], ()), Split(["4", "1"], ["5"], (), ["x", "y", "z"], version="resized")):
        assert other.following(named).find_learned(named) == [f"{learned}, if equal names mean equal images"]
        assert other.following(named).learned == ["4"]
        with pytest.raises(UserError, match=r"from 2 of the 5 images \(if equal names mean equal images\), each of"):
            other.refuse_learned("--x", named)


def test_equal_names_of_other_images_were_not_learned_from() -> None:
    fitted = Split(["a", "b"], ["c"], ["1", "2", "3", "4"], ["A", "B", "C"])
    moved = Split(["a", "c"], ["b"], ["5", "6", "7", "8"], ["A", "C", "B"])
    with pytest.raises(UserError, match="1 of the 1 held-out rows was learned from"):
        moved.checked_against(fitted)
    with pytest.raises(UserError, match="the data differ") as caught:
        moved._replace(contents=["X", "Y", "Z"]).checked_against(fitted)
    assert "learned from" not in str(caught.value)


@pytest.mark.parametrize("groups", [None, ["P", "P", "P", "Q"]])
def test_copies_with_another_truth_or_of_another_group_are_counted(groups: list[str] | None) -> None:
    listing = Listing(
        [], list("1234"), np.array([5, 5, 6, 5]), np.zeros(4), None if groups is None else np.array(groups)
    )
    said = "1 pair of equal images with two true values: 1 and 3"
    if groups is not None:
        said = "2 pairs of equal images with two true values or plants: 1 and 3, 1 and 4"
    assert find_contradictions(listing, ["a", "a", "a", "a"], "plants") == said
    assert find_contradictions(listing, ["a", "a", "b", "d"], "plants") == ""
