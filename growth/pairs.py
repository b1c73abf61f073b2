"""Batches of photo pairs that hold each photo once, and how the batches of an epoch are drawn."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from common.batches import ImageRows
from common.decoding import Images
from growth.photos import Photos, all_pairs

PairWithin = Literal["plant", "species"]


class PairBatch(NamedTuple):
    """U photos and P pairs that index them."""

    images: Tensor  # U×C×H×W; uint8 from the loader, float in [0, 1] on the device
    before: Tensor  # index of the earlier photo of each pair, P, int64
    after: Tensor  # index of the later photo of each pair, P, int64
    days: Tensor  # days elapsed in each pair, P, float32
    species: Tensor  # number of the species of each pair, P, int64
    plant: Tensor  # number of the plant of each photo in the set, U, int64
    row: Tensor  # index of each photo in the set, U, int64


class PlantBatches:
    """Batches of several photos from each of several plants; an epoch uses every photo once.

    Leftover photos join another group of ``images_per_plant`` of their plant. Photos of one moment, which make no pair,
    are spread over batches; each batch has at least two moments of a plant.

    Args:
        plant: plant of each photo, N; each has photos of at least two moments.
        day: day of each photo, N.
        plants_per_batch: plants per batch.
        images_per_plant: photos per plant.
    """

    def __init__(self, plant: np.ndarray, day: np.ndarray, plants_per_batch: int, images_per_plant: int) -> None:
        self.photos = [np.flatnonzero(plant == name) for name in np.unique(plant)]
        self.day, self.plants_per_batch, self.images_per_plant = day, plants_per_batch, images_per_plant

    def _deals(self, photos: np.ndarray) -> int:
        elsewhen = len(photos) - np.unique(self.day[photos], return_counts=True)[1].max()
        return int(max(1, min(len(photos) // self.images_per_plant, elsewhen)))

    def __len__(self) -> int:
        return -(-sum(self._deals(photos) for photos in self.photos) // self.plants_per_batch)

    def __call__(self, rng: np.random.Generator) -> list[list[int]]:
        """Draw an epoch."""
        deals: list[np.ndarray] = []
        for photos in self.photos:
            number, photos = self._deals(photos), rng.permutation(photos)
            _, first, moment, count = np.unique(self.day[photos], True, True, True)
            if count.max() == 1:
                deals += np.array_split(photos, number)
            else:
                # Deal them like cards, moment by moment, starting with the moment that has the most photos.
                photos = photos[np.lexsort((first[moment], moment != count.argmax()))]
                deals += [photos[deal::number] for deal in range(number)]
        order = rng.permutation(len(deals))
        starts = range(0, len(order), self.plants_per_batch)
        return [np.concatenate([deals[i] for i in order[start:][: self.plants_per_batch]]).tolist() for start in starts]


class RandomPairBatches:
    """The baseline's batches: random pairs of photos that share a group (N) and differ in day (N)."""

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
        rows = rng.choice(self.rows, self.pairs_per_batch).tolist()
        pairs = [(row, int(rng.choice(self.others[row]))) for row in rows]
        return [(one, other) if self.day[one] < self.day[other] else (other, one) for one, other in pairs]


class PairDataset(ImageRows[PairBatch]):
    """Returns whole batches of pairs by index.

    ``rows`` selects this set from M photos (images M×H×W×C, uint8, and their table); samplers index into ``rows``.
    """

    def __init__(self, images: Images, photos: Photos, rows: np.ndarray, pair_within: PairWithin = "plant") -> None:
        super().__init__(images, rows)
        self.plant, self.day = photos.plant[rows], photos.day[rows]
        self.plant_number = np.unique(self.plant, return_inverse=True)[1]
        self.groups = self.plant if pair_within == "plant" else photos.species[rows]
        self.species = np.unique(photos.species, return_inverse=True)[1][rows]

    def __getitem__(self, batch: list[int] | list[tuple[int, int]]) -> PairBatch:
        """Make a batch from photos with all their pairs, or from given pairs with their photos."""
        wanted = np.asarray(batch, dtype=np.int64)
        if wanted.ndim == 2:
            chosen, indices = np.unique(wanted, return_inverse=True)
            before, after = indices.reshape(wanted.shape).T
        else:
            chosen = wanted
            before, after = all_pairs(self.groups[chosen], self.day[chosen])
        days = self.day[chosen[after]] - self.day[chosen[before]]
        species, plant = self.species[chosen[before]], self.plant_number[chosen]
        arrays = (before.copy(), after.copy(), days.astype(np.float32), species, plant, chosen)
        return PairBatch(self.pixels(chosen), *map(torch.from_numpy, arrays))
