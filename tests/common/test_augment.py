from __future__ import annotations

import torch

from common.augment import laid_views, moved_views


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
