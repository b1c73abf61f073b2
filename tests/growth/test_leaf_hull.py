from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch

from common.batches import ImageRows
from common.errors import UserError
from growth.leaf_hull import LeafHull, judge_by_leaves, percent, warn_of_photos
from growth.leaf_hull import leaves as leaf_mask
from growth.model import GrowthRegressor
from growth.trays import Tray


def leaves(size: int, *discs: tuple[float, float, float], colour: tuple[float, float, float] = (0.2, 0.5, 0.1)) -> Any:
    """A photo with round leaves (x, y, radius, in units of half a side) on grey, 1×3×size×size."""
    axis = torch.linspace(-1, 1, size)
    photo = torch.full((3, size, size), 0.6)
    for x, y, radius in discs:
        inside = (axis - x) ** 2 + (axis[:, None] - y) ** 2 < radius**2
        photo[:, inside] = torch.tensor(colour)[:, None]
    return photo[None]


def test_leaf_hull_measures_the_hull_and_the_blue_of_leaves() -> None:
    network = LeafHull(1)
    size, blue = network.measure(leaves(160, (0.0, 0.0, 0.3)))[0].tolist()
    assert math.exp(size) == pytest.approx(math.pi * 0.3**2, rel=0.1)
    assert math.exp(blue / 4) == pytest.approx(0.11, rel=0.05)
    # Between two leaves the hull goes on; elsewhere on the photo and turned it is the same.
    two = network.measure(leaves(160, (-0.3, 0.0, 0.1), (0.3, 0.0, 0.1)))[0, 0].item()
    assert math.exp(two) == pytest.approx(math.pi * 0.1**2 + 0.6 * 0.2, rel=0.1)
    turned = network.measure(leaves(160, (0.0, -0.3, 0.1), (0.0, 0.3, 0.1)))[0, 0].item()
    assert turned == pytest.approx(two, abs=0.01)
    larger = network.measure(leaves(160, (0.0, 0.0, 0.6)))[0, 0].item()
    assert larger - size == pytest.approx(2 * math.log(2), abs=0.1)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_leaf_hull_of_a_photo_without_leaves_is_finite(value: float) -> None:
    assert LeafHull(1)(torch.full((2, 3, 40, 30), value)).isfinite().all()


def test_leaf_hull_needs_colour() -> None:
    with pytest.raises(UserError, match="needs the colours"):
        GrowthRegressor("leaf_hull", image_size=64, channels=1, normalize="none", pretrained=False)
    with pytest.raises(UserError, match="normalize none"):
        GrowthRegressor("leaf_hull", image_size=64, normalize="imagenet", pretrained=False)
    with pytest.raises(UserError, match="no pretrained weights for leaf_hull"):
        GrowthRegressor("leaf_hull", image_size=64, normalize="none", pretrained=True)
    with pytest.raises(UserError, match="did you mean leaf_hull"):
        GrowthRegressor("leaf_hul", image_size=64, normalize="none", pretrained=False)


@pytest.mark.parametrize(
    ("discs", "colour", "warned"),
    [
        ([(0.0, 0.0, 0.3)], (0.2, 0.5, 0.1), False),
        ([(-0.4, -0.4, 0.1), (0.4, -0.4, 0.1), (0.4, 0.4, 0.1)], (0.2, 0.5, 0.1), True),
        ([(0.0, 0.0, 0.3)], (0.5, 0.1, 0.2), True),
    ],
)
def test_photos_that_it_does_not_measure_are_warned_of(
    discs: list[tuple[float, float, float]],
    colour: tuple[float, float, float],
    warned: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo = (255 * leaves(96, *discs, colour=colour)).byte().permute(0, 2, 3, 1).numpy()
    warn_of_photos(LeafHull(1), ImageRows(photo.repeat(5, axis=0), np.arange(5)))
    assert ("warning: leaf_hull is for green leaves of one plant" in capsys.readouterr().err) == warned


@pytest.mark.parametrize(
    ("on_leaves", "elsewhere", "said"),
    [
        (1.0, 1.0, "the answer rests on the green leaves no more than by chance: they are"),
        (1.0, 0.0, "the answer rests on the green leaves: they are"),
        (
            4.0,
            1.0,
            "the answer rests on the green leaves more than by chance, but most of it on what surrounds them: they are",
        ),
        (-1.0, -4.0, "the answer rests on the green leaves less than by chance: they are"),
    ],
)
def test_an_attribution_gets_a_verdict(on_leaves: float, elsewhere: float, said: str) -> None:
    image = torch.full((1, 3, 40, 40), 0.5)
    image[:, :, 14:26, 14:26] = torch.tensor([0.2, 0.8, 0.2])[:, None, None]  # 9 % of the photo
    attribution = torch.full((40, 40), elsewhere)
    attribution[14:26, 14:26] = on_leaves
    share = 100 * 144 * on_leaves / (144 * on_leaves + 1456 * elsewhere)
    assert (
        judge_by_leaves(image, attribution)
        == f"{said} 9.0 % of the photo and carry {percent(share / 100)} of the weight"
    )


@pytest.mark.parametrize(
    ("side", "said"),
    [
        (0, "no green leaf was found in the photo, so nothing is said on whether the answer rests on "),
        # Of red lettuce, little more than specks.
        (3, "only 0.6 % of the photo was found to be green leaf, too little to say whether the answer rests on "),
    ],
)
def test_without_leaves_there_is_no_verdict(side: int, said: str) -> None:
    image, attribution = torch.full((1, 3, 40, 40), 0.5), torch.ones(40, 40)
    image[:, :, 20 : 20 + side, 20 : 20 + side] = torch.tensor([0.2, 0.8, 0.2])[:, None, None]
    attribution[20 : 20 + side, 20 : 20 + side] = 4
    assert judge_by_leaves(image, attribution) == said + "leaves"


def test_a_verdict_shows_the_shares_that_it_compares() -> None:
    image, attribution = torch.full((1, 3, 40, 40), 0.5), torch.ones(40, 40)
    image[:, :, 18:23, 18:23] = torch.tensor([0.2, 0.8, 0.2])[:, None, None]
    attribution[18:23, 18:23] = 0.2
    carry = "they are 1.6 % of the photo and carry 0.3 % of the weight"
    assert judge_by_leaves(image, attribution) == f"the answer rests on the green leaves less than by chance: {carry}"


def test_an_answer_that_nothing_changes_rests_on_nothing() -> None:
    image = leaves(40, (0.0, 0.0, 0.5))
    said = "covering any part of the photo leaves the answer as it is"
    assert judge_by_leaves(image, torch.zeros(40, 40)) == said


@pytest.mark.parametrize("day", range(0, 40, 6))
@pytest.mark.parametrize("species", ["BC", "LT"])
def test_no_verdict_contradicts_its_figures(species: str, day: int) -> None:
    photo = torch.from_numpy(np.array(Tray(0, species, 0, (160, 120)).photo(day)))
    image = photo.permute(2, 0, 1)[None].float() / 255
    for attribution in (leaf_mask(image)[0] + 1e-6, 1 - leaf_mask(image)[0]):
        said = judge_by_leaves(image, attribution)
        if figures := re.search(r"they are (\S+) % of the photo and carry (\S+) %", said):
            area, share = map(float, figures.groups())
            assert share > area if "less than" not in said else share < area
        else:
            assert "was found" in said
