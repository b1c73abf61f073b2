"""The LightningDataModule of ``growth``: uint8 batches of photo pairs, made float and augmented on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveInt
from torch.utils.data import DataLoader

from common.arguments import Machine, Resumable
from common.augment import Augmentation, View, laid_views
from common.batches import EpochSampler, as_is
from common.data import ImageData
from common.decoding import Images
from common.errors import UserError, listed
from common.image_files import ImageFile
from common.split import Listing
from growth.layouts import read_given, read_test_set, read_training_set
from growth.pairs import PairBatch, PairDataset, PairWithin, PlantBatches, RandomPairBatches
from growth.photos import MAX_PIXELS, PhotoPairs, Photos, pairs_of


class GrowthData(ImageData):
    """Plant photos of DACON 235851, or your own.

    Args:
        root: folder with the competition's files, unpacked or as open.zip, or with your own photos, described by
            photos.csv, by one folder per plant, or by pattern (docs/photos.md).
        pattern: how the names of your own photos, all in one folder, encode plant and day, such as
            'BR017-{plant}-{date}_{*}_sv_{camera}'; {day} and {species} work, too.
        species: species to train and validate on; null for all.
        image_size: side of the square that photos are resized to, in pixels; taken from the model.
        channels: 3 for colour, 1 for grey; taken from the model.
        pairs: all pairs of the photos in a batch, or random pairs as in the seed design.
        plants_per_batch: plants per training batch (with pairs all), or all plants if there are fewer.
        images_per_plant: photos per plant in a training batch (with pairs all), or all of a plant that has fewer.
        num_pairs: pairs per epoch (with pairs random).
        pairs_per_batch: pairs per training batch (with pairs random).
        pair_within: train on pairs within a plant, or within a species, which is valid only if days count from sowing.
        eval_batch_size: photos per batch when predicting.
        flip: randomly mirror training photos and rotate them by quarter turns.
        rotation: largest random rotation, degrees.
        shift: largest random shift, as a fraction of the side.
        zoom: largest random change of scale; keep it small, since size reveals the age.
        plant_zoom: largest random change of scale shared by all photos of a plant, as if the camera were closer.
        brightness: largest random change of brightness, as a fraction of white added or removed.
        contrast: largest random change of contrast; 0.2 is 0.8× to 1.2×.
    """

    max_pixels = MAX_PIXELS
    label = "growth"
    group, stratum = "plants", "species"
    train_set: PairDataset
    val_set: PairDataset
    photos: Photos
    test_pairs: PhotoPairs
    species: list[str]

    def __init__(
        self,
        root: Machine[str] = "data/growth",
        pattern: Machine[str | None] = None,
        species: list[str] | None = None,
        image_size: PositiveInt = 224,
        channels: Literal[1, 3] = 3,
        pairs: Literal["all", "random"] = "all",
        plants_per_batch: PositiveInt = 4,
        images_per_plant: PositiveInt = 8,
        num_pairs: PositiveInt = 5000,
        pairs_per_batch: PositiveInt = 64,
        pair_within: PairWithin = "plant",
        eval_batch_size: Machine[PositiveInt] = 64,
        flip: Resumable[bool] = True,
        rotation: Resumable[NonNegativeFloat] = 15.0,
        shift: Resumable[ClosedUnitInterval] = 0.05,
        zoom: Resumable[ClosedUnitInterval] = 0.03,
        plant_zoom: Resumable[ClosedUnitInterval] = 0.0,
        brightness: Resumable[ClosedUnitInterval] = 0.1,
        contrast: Resumable[ClosedUnitInterval] = 0.1,
        **shared: Any,
    ) -> None:
        super().__init__(root, image_size, channels, eval_batch_size=eval_batch_size, **shared)
        self.pattern, self.only_species = pattern, species
        self.pairs = pairs
        self.plants_per_batch, self.images_per_plant = plants_per_batch, images_per_plant
        self.num_pairs, self.pairs_per_batch = num_pairs, pairs_per_batch
        self.pair_within: PairWithin = pair_within
        # By default, nothing here changes the size of a plant by more than a day or so of growth.
        self.flip = flip
        self.augmentation = Augmentation(
            flip=flip,
            rotation=rotation,
            shift=shift,
            zoom=zoom,
            group_zoom=plant_zoom,
            brightness=brightness,
            contrast=contrast,
        )

    def read_training_set(self) -> Listing:
        photos = read_training_set(self.root, self.pattern)
        if self.only_species is not None:
            if not self.only_species:
                raise UserError("--data.species []: give one species or more, or leave it out")
            found = sorted(set(photos.species.tolist()))
            if absent := [name for name in self.only_species if name not in found]:
                told = listed(filter(None, found)) or "none"
                raise UserError(f"--data.species {listed(absent)}: {self.root} has {told}")
            photos = photos.take(np.flatnonzero(np.isin(photos.species, self.only_species)))
        self.photos = photos
        self.species = sorted(set(photos.species.tolist()))
        ids = [f"{plant}/{name}" for plant, name in zip(photos.plant, photos.name, strict=True)]
        strata = np.where(photos.species == "", str(self.root), photos.species)  # as messages name them
        return Listing(photos.files, ids, photos.day, strata, photos.plant)

    def read_test_set(self) -> list[ImageFile]:
        self.test_pairs = read_test_set(self.root, self.pattern)
        self.sample = self.test_pairs.sample
        return self.test_pairs.files

    def read_images(self, given: Sequence[str]) -> list[ImageFile]:
        self.test_pairs = read_given(given, self.pattern)
        self.sample = self.test_pairs.sample
        return self.test_pairs.files

    def kinds_of_images(self) -> list[str]:
        photos = self.test_pairs if self.predicting else self.photos
        kinds = [f"species {name}" if name else "" for name in photos.species]
        return kinds if any(kinds) else []

    def make_sets(self, images: Images, train: np.ndarray, val: np.ndarray) -> None:
        self.train_set = PairDataset(images, self.photos, train, self.pair_within)
        self.val_set = PairDataset(images, self.photos, val)
        if len(val) < 3:
            plant = self.val_set.plant[0]
            raise UserError(f"the one held-out plant, {plant}, has one pair: hold out more with --data.val_fraction")

    def hold_out(self, val: np.ndarray) -> None:
        self.test_pairs, self.truth = pairs_of(self.photos.take(val))
        self.sample = self.test_pairs.sample
        self.truth_groups = self.test_pairs.plant[self.test_pairs.before]

    def check_batches(self, train: np.ndarray) -> None:
        if self.images_per_plant < 2:
            raise UserError("a pair takes two photos: give --data.images_per_plant 2 or more")
        if self.pairs == "random" and self.num_pairs < self.pairs_per_batch:
            raise UserError(f"--data.pairs_per_batch {self.pairs_per_batch} is larger than --data.num_pairs")

    def train_dataloader(self) -> DataLoader[PairBatch]:
        photos = self.train_set
        deal: PlantBatches | RandomPairBatches
        if self.pairs == "all":
            deal = PlantBatches(photos.plant, photos.day, self.plants_per_batch, self.images_per_plant)
        else:
            deal = RandomPairBatches(photos.groups, photos.day, self.num_pairs, self.pairs_per_batch)
        return self.loader(photos, EpochSampler(deal, len(deal), self))

    def val_dataloader(self) -> DataLoader[PairBatch]:
        """Serve one held-out plant per batch, with all its pairs."""
        plant = self.val_set.plant
        batches = [np.flatnonzero(plant == name).tolist() for name in np.unique(plant)]
        batches += [[0]] * (self.world_size - len(batches))  # every rank needs a batch; a single photo has no pairs
        return self.loader(self.val_set, batches[self.rank :: self.world_size])

    def augment(self, batch: PairBatch, key: int) -> PairBatch:
        if self.pairs == "random":  # a photo occurs several times per epoch: vary it by the step
            key = torch.initial_seed()
        return batch._replace(images=self.augmentation(batch.images, key, batch.row, batch.plant))

    def views(self) -> list[View]:
        """Return the eight orientations of a square photo, or the photo alone if training never flipped it."""
        return laid_views() if self.flip else [as_is]
