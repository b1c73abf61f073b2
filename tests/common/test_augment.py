from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from common.augment import Augmentation, drawn, laid_views, moved_views


def test_laid_views_are_the_eight_ways_to_lay_a_square() -> None:
    image = torch.arange(9.0).view(1, 1, 3, 3)
    laid = [view(image) for view in laid_views()]
    assert torch.equal(laid[0], image)
    assert len({tuple(view.flatten().tolist()) for view in laid}) == 8


def test_moved_views_move_by_what_is_said() -> None:
    image = torch.zeros(1, 1, 20, 20)
    image[0, 0, 8:12, 8:12] = 1
    views = moved_views(shift=0.1, zoom=0.5, negatives=True)
    assert len(views) == 30
    moved = [view(image) for view in views]
    assert torch.equal(moved[0], image)
    assert torch.equal(moved[1], 1 - image)
    right, down = moved[2], moved[6]
    assert torch.allclose(right, image.roll(2, 3), atol=1e-5)
    assert torch.allclose(down, image.roll(2, 2), atol=1e-5)
    farther, nearer = moved[10].sum(), moved[20].sum()
    assert farther < image.sum() < nearer
    assert torch.allclose(moved[11], 1 - moved[10])


def test_views_of_what_training_left_alone_are_left_out() -> None:
    assert len(moved_views(0, 0, negatives=False)) == 1
    assert len(moved_views(0.1, 0, negatives=False)) == 5
    assert len(moved_views(0, 0.1, negatives=True)) == 6


def bars(number: int, side: int = 32) -> torch.Tensor:
    """An upright bar a quarter of the side wide, N×1×side×side."""
    images = torch.zeros(number, 1, side, side)
    images[:, :, :, side // 2 - side // 8 : side // 2 + side // 8] = 1
    return images


def spread(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Area, and the middle along x and y in shares of the side, of each image of light on black."""
    area = images.sum((1, 2, 3))
    side = images.shape[3]
    place = (torch.arange(side) + 0.5) / side - 0.5
    return area, (images.sum((1, 2)) * place).sum(1) / area, (images.sum((1, 3)) * place).sum(1) / area


def changed(images: torch.Tensor, **settings: Any) -> torch.Tensor:
    """Change images at random, each by its place among them."""
    return Augmentation(**settings)(images, 0, torch.arange(len(images)))


def test_draws_are_uniform_and_of_key_and_number_alone() -> None:
    number = torch.arange(100_000)
    draws = drawn(7, number, 5)
    assert draws.shape == (5, 100_000)
    assert -1 <= draws.min() < -0.999 and 0.999 < draws.max() < 1
    assert draws.mean(1).abs().max() < 0.01
    assert (3 * draws.var(1) - 1).abs().max() < 0.01
    others = torch.cat([draws, drawn(8, number, 5), draws.roll(1, 1)])
    assert (torch.corrcoef(others) - torch.eye(15)).abs().max() < 0.02
    order = torch.randperm(100_000)
    assert torch.equal(drawn(7, order, 5), draws[:, order])


def test_an_image_changes_the_same_way_in_any_batch() -> None:
    images, number = torch.rand(6, 3, 8, 8), torch.tensor([5, 3, 9, 0, 7, 2])
    everything = Augmentation(True, 15, 0.1, 0.1, 5, 0.2, 0.1, 0.1, 0.5)
    whole = everything(images, 3, number, number % 2)
    for part in ([0, 1], [5, 2, 1], [4]):
        assert torch.allclose(everything(images[part], 3, number[part], number[part] % 2), whole[part], atol=1e-6)
    assert not torch.allclose(everything(images, 4, number, number % 2), whole, atol=0.1)


def test_augmentation_of_nothing_changes_nothing() -> None:
    images = torch.rand(3, 3, 8, 8)
    assert changed(images) is images


@pytest.mark.parametrize("resampling", [{}, {"rotation": 1e-9}])
def test_flips_are_the_eight_ways_to_lay_a_square_and_as_likely(resampling: dict[str, float]) -> None:
    image = torch.rand(1, 2, 9, 9)
    flipped = changed(image.expand(800, -1, -1, -1), flip=True, **resampling)
    counts = [int(torch.isclose(flipped, view(image), atol=1e-5).all(dim=(1, 2, 3)).sum()) for view in laid_views()]
    assert sum(counts) == 800
    assert min(counts) > 60


def test_rotation_shift_zoom_and_shear_reach_what_is_said() -> None:
    torch.manual_seed(0)
    disc = (((torch.arange(64) - 31.5) ** 2 + (torch.arange(64)[:, None] - 31.5) ** 2) < 100).float()
    discs = disc.expand(500, 1, 64, 64)
    _, x, y = spread(changed(discs, shift=0.1))
    assert 0.09 < x.max() < 0.101 and -0.101 < x.min() < -0.09
    assert 0.09 < y.max() < 0.101 and -0.101 < y.min() < -0.09
    area, x, _ = spread(changed(discs, zoom=0.2))
    scale = (area / disc.sum()).sqrt()
    assert 0.79 < scale.min() < 0.82 and 1.18 < scale.max() < 1.21
    assert x.abs().max() < 1e-3
    # A turned bar is cut by the edge rows at x = ± side / 2 · tan(angle).
    turned = changed(bars(500), rotation=10)
    first = (turned[:, 0, 0] * (torch.arange(32) - 15.5)).sum(1) / turned[:, 0, 0].sum(1) / 15.5
    assert math.tan(math.radians(9)) < first.abs().max() < math.tan(math.radians(10.5))
    sheared = changed(bars(500), shear=20)
    area, x, _ = spread(sheared)
    first = (sheared[:, 0, 0] * (torch.arange(32) - 15.5)).sum(1) / sheared[:, 0, 0].sum(1) / 15.5
    steepest = math.tan(math.radians(20))  # and what the shear along the other axis adds
    assert 0.9 * steepest < first.abs().max() < steepest / (1 - steepest**2)
    assert x.abs().max() < 0.02


def test_the_photos_of_a_group_share_a_zoom() -> None:
    torch.manual_seed(0)
    group = torch.arange(400) % 100
    images = torch.zeros(400, 1, 32, 32)
    images[:, :, 12:20, 12:20] = 1
    augmentation = Augmentation(group_zoom=0.5)
    area, _, _ = spread(augmentation(images, 0, torch.arange(400), group))
    scale = (area / 64).sqrt().view(4, 100)
    assert torch.allclose(scale, scale[:1], atol=1e-3)
    assert 0.64 < scale.min() < 0.7 and 1.43 < scale.max() < 1.53
    assert torch.equal(changed(images, group_zoom=0.5), images.clone())


def test_light_and_negatives() -> None:
    torch.manual_seed(0)
    grey = torch.full((1000, 1, 2, 2), 0.5)
    lit = changed(grey, brightness=0.2)[:, 0, 0, 0]
    assert 0.3 <= lit.min() < 0.31 and 0.69 < lit.max() <= 0.7
    lit = changed(grey, contrast=0.2)[:, 0, 0, 0]
    assert 0.4 <= lit.min() < 0.41 and 0.59 < lit.max() <= 0.6
    lit = changed(grey, brightness=1.0, contrast=1.0, inversion=0.5)
    assert lit.min() == 0 and lit.max() == 1
    image = torch.rand(1, 1, 4, 4)
    inverted = changed(image.expand(1000, -1, -1, -1), inversion=0.25)
    negative = torch.isclose(inverted, 1 - image).all(dim=(1, 2, 3))
    assert torch.isclose(inverted, image).all(dim=(1, 2, 3))[~negative].all()
    assert 200 < negative.sum() < 300
