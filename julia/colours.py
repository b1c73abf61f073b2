"""What the colours of a bitmap tell about its character: those of one sign share them, and often their case, too.

The bitmaps were cut from photos of signs, several from each, and dealt at random into the training set and the test
set. So a bitmap's nearest neighbours in colour are often from the same sign, and tell what its shape cannot: whether an
``o`` is a small letter, a capital or a zero.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from common.batches import ImageRows, LabelledRows
from common.familiar import CHUNK
from julia.files import CLASSES

# 0 for a small letter, 1 for a capital, 2 for a digit.
KINDS = torch.tensor([0 if name.islower() else 1 if name.isupper() else 2 for name in CLASSES])
LUMA = torch.tensor([0.299, 0.587, 0.114])  # of ITU-R BT.601, as in Pillow's conversion to grey
WIDTH = 0.02  # of the kernel, where each channel is 0 to 1: five of 256 steps
DOUBT = 0.2  # weight of the shares among all bitmaps beside those among the neighbours, in bitmaps
STEPS = 10  # after which hardly a threshold still moves


def two_colours(images: Tensor) -> Tensor:
    """Measure the mean colours of the darker and of the lighter pixels of each image: N×3×H×W, in [0, 1] → N×6.

    The threshold lies midway between the mean lightness of both. Source: Ridler and Calvard, "Picture thresholding
    using an iterative selection method", 1978.
    """
    pixels = images.float().flatten(2)
    light = (pixels * LUMA.to(images.device)[:, None]).sum(dim=1)
    threshold = light.mean(dim=1, keepdim=True)
    for _ in range(STEPS):
        dark, bright = (_mean(light[:, None], mask) for mask in (light <= threshold, light > threshold))
        threshold = (dark + bright) / 2
    return torch.cat([_mean(pixels, light <= threshold), _mean(pixels, light > threshold)], dim=1)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average N×C×P over the pixels of a mask, N×P, or over all pixels where the mask is empty: N×C."""
    weights = mask.to(values.dtype)
    weights = torch.where(weights.sum(dim=1, keepdim=True) > 0, weights, torch.ones_like(weights))
    return (values * weights[:, None]).sum(dim=2) / weights.sum(dim=1, keepdim=True)


class ColourPrior(nn.Module):
    """How much likelier the colours of a bitmap make each class, from the training bitmaps of nearly the same colours.

    Only small letters, capitals and digits are told apart: the shares of the three among the neighbours, weighted by a
    Gaussian kernel, are divided by those among all training bitmaps. Far from every training bitmap in colour, each
    class is as likely as without it.

    Shape: N×3×H×W, in [0, 1] → N×62, to be added to logits.
    """

    def __init__(self) -> None:
        super().__init__()
        # Not buffers, since load_state_dict refuses those of another shape.
        self.colours, self.kinds = torch.empty(0, 6), torch.empty(0, 3)

    def get_extra_state(self) -> Tensor:
        """Return what it has learned, for the state dict: N×9."""
        return torch.cat([self.colours, self.kinds], dim=1)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore it; as :meth:`load_state_dict` does, raise a RuntimeError if it does not fit."""
        if state.ndim != 2 or state.shape[1] != 9 or not len(state) or not state.isfinite().all():
            raise RuntimeError("not the colours and kinds of bitmaps")
        self.colours, self.kinds = state[:, :6].clone(), state[:, 6:].clone()  # not parts of a file mapped to memory

    def __deepcopy__(self, memo: object) -> ColourPrior:
        """Return itself: weight averaging copies the model before the fit, and what is learned then is for both."""
        return self

    def learn(self, bitmaps: LabelledRows) -> None:
        """Store the colours of the training bitmaps, and which of them are small letters, capitals and digits."""
        images = (bitmaps.pixels(rows) for rows in _chunks(len(bitmaps)))
        self.colours = torch.cat([two_colours(part / 255) for part in images])
        self.kinds = nn.functional.one_hot(KINDS[bitmaps.targets], 3).float()

    def forward(self, images: Tensor) -> Tensor:
        colours, kinds = self.colours.to(images.device), self.kinds.to(images.device)
        # No matrix products, which mixed precision would round.
        apart = torch.cdist(two_colours(images), colours, compute_mode="donot_use_mm_for_euclid_dist")
        weights = torch.exp(-((apart / WIDTH) ** 2) / 2)[:, :, None]
        usual = kinds.mean(dim=0) + 1e-6  # a kind that the training set lacks would have no ratio
        found = ((weights * kinds).sum(dim=1) + DOUBT * usual) / (weights.sum(dim=1) + DOUBT)
        return (found / usual).log()[:, KINDS.to(images.device)]

    def adjust(self, probabilities: np.ndarray, bitmaps: ImageRows[object]) -> np.ndarray:
        """Return the probabilities of bitmaps, N×62, in the light of their colours."""
        parts = [self(bitmaps.pixels(rows) / 255) for rows in _chunks(len(bitmaps))]
        raised = probabilities * torch.cat(parts).exp().numpy()
        adjusted: np.ndarray = raised / raised.sum(axis=1, keepdims=True)
        return adjusted


def _chunks(number: int) -> list[range]:
    return [range(start, min(start + CHUNK, number)) for start in range(0, number, CHUNK)]
