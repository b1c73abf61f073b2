"""Batches of photo pairs in which each photo stands once, and how the batches of an epoch are drawn."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from common.images import Images
from growth.layouts import Photos, all_pairs

PairWithin = Literal["plant", "species"]


class PairBatch(NamedTuple):
    """U photos and P pairs that index them.

    Attributes:
        images: U×C×H×W; uint8 from the loader, float in [0, 1] on the device.
        before: index of the earlier photo of each pair, P, int64.
        after: index of the later photo of each pair, P, int64.
        days: days elapsed in each pair, P, float32.
        species: number of the species of each pair, P, int64.
        plant: number of the plant of each photo in the set, U, int64.
        row: which photo of the set each is, U, int64.
    """

    images: Tensor
    before: Tensor
    after: Tensor
    days: Tensor
    species: Tensor
    plant: Tensor
    row: Tensor


class PlantBatches:
    """Batches of several photos of each of several plants; an epoch takes every photo once.

    Args:
        plant: the plant of each photo, N.
        plants_per_batch: how many plants share a batch.
        images_per_plant: photos of a plant in a batch; one left over joins the plant's last batch.
    """

    def __init__(self, plant: np.ndarray, plants_per_batch: int, images_per_plant: int) -> None:
        self.photos = [np.flatnonzero(plant == name) for name in np.unique(plant)]
        self.plants_per_batch, self.images_per_plant = plants_per_batch, images_per_plant

    def _deals(self, photos: np.ndarray) -> int:
        return max(1, len(photos) // self.images_per_plant)

    def __len__(self) -> int:
        return -(-sum(self._deals(photos) for photos in self.photos) // self.plants_per_batch)

    def __call__(self, rng: np.random.Generator) -> list[list[int]]:
        """Draw an epoch."""
        deals = [
            deal for photos in self.photos for deal in np.array_split(rng.permutation(photos), self._deals(photos))
        ]
        order = rng.permutation(len(deals))
        starts = range(0, len(order), self.plants_per_batch)
        return [np.concatenate([deals[i] for i in order[start:][: self.plants_per_batch]]).tolist() for start in starts]


class RandomPairBatches:
    """The seed's way: each pair is two photos drawn at random, of one plant or of one species.

    Args:
        groups: what may be paired with each other, N.
        day: day of each photo, N.
        num_pairs: pairs an epoch.
        pairs_per_batch: pairs a batch.
    """

    def __init__(self, groups: np.ndarray, day: np.ndarray, num_pairs: int, pairs_per_batch: int) -> None:
        self.day = day
        self.others = {row: np.flatnonzero((groups == groups[row]) & (day != day[row])) for row in range(len(day))}
        self.rows = np.array([row for row, others in self.others.items() if len(others)])
        self.num_pairs, self.pairs_per_batch = num_pairs, pairs_per_batch

    def __len__(self) -> int:
        return self.num_pairs // self.pairs_per_batch

    def __call__(self, rng: np.random.Generator) -> list[list[tuple[int, int]]]:
        """Draw an epoch."""
        return [self._batch(rng) for _ in range(len(self))]

    def _batch(self, rng: np.random.Generator) -> list[tuple[int, int]]:
        first = rng.choice(self.rows, self.pairs_per_batch)
        second = np.array([rng.choice(self.others[row]) for row in first])
        swap = self.day[first] > self.day[second]
        before, after = np.where(swap, second, first), np.where(swap, first, second)
        return list(zip(before.tolist(), after.tolist(), strict=True))


class PairDataset(torch.utils.data.Dataset[PairBatch]):
    """Whole batches of pairs by index.

    Args:
        images: M×H×W×C, uint8.
        photos: the table of the same M photos.
        rows: the rows of both that belong to this set; samplers count within them.
        pair_within: whether pairs are made within a plant or within a species.
    """

    def __init__(self, images: Images, photos: Photos, rows: np.ndarray, pair_within: PairWithin = "plant") -> None:
        self.images, self.rows = images, rows
        self.plant, self.day = photos.plant[rows], photos.day[rows]
        self.plant_number = np.unique(self.plant, return_inverse=True)[1]
        self.groups = self.plant if pair_within == "plant" else photos.species[rows]
        self.species = np.unique(photos.species, return_inverse=True)[1][rows]

    def __getitem__(self, batch: list[int] | list[tuple[int, int]]) -> PairBatch:
        """Make a batch of photos with all their pairs, or of given pairs with their photos."""
        wanted = np.asarray(batch, dtype=np.int64)
        if wanted.ndim == 2:
            chosen, indices = np.unique(wanted, return_inverse=True)
            before, after = indices.reshape(wanted.shape).T
        else:
            chosen = wanted
            before, after = all_pairs(self.groups[chosen], self.day[chosen])
        days = self.day[chosen[after]] - self.day[chosen[before]]
        return PairBatch(
            torch.from_numpy(self.images[self.rows[chosen]]).permute(0, 3, 1, 2),
            torch.from_numpy(before.copy()),
            torch.from_numpy(after.copy()),
            torch.from_numpy(days.astype(np.float32)),
            torch.from_numpy(self.species[chosen[before]]),
            torch.from_numpy(self.plant_number[chosen]),
            torch.from_numpy(chosen),
        )
