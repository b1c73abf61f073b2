"""The LightningDataModule of ``growth``: photos as uint8 batches of pairs, made float and augmented on the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch.utils.data import DataLoader

from common.augment import Augmentation, View, laid_views
from common.cache import cached_images
from common.data import EvaluationSampler, ImageData, ImageDataset, as_is
from common.errors import UserError, listed
from common.folds import fold_of, grouped_folds, grouped_split
from common.images import ImageFile, Images
from growth.layouts import MAX_PIXELS, PhotoPairs, Photos, pairs_of, read_test_set, read_training_set
from growth.pairs import PairBatch, PairDataset, PairWithin, PlantBatches, RandomPairBatches


class GrowthData(ImageData):
    """Plant photos of DACON 235851.

    Args:
        root: folder with the competition's files, unpacked or as open.zip.
        species: species to train and validate on; all that are found where none is given.
        image_size: pixels a side that photos are resized to; taken from the model.
        channels: 3 for colour, 1 for grey; taken from the model.
        pairs: all pairs of the photos in a batch, or random ones as the seed design drew them.
        plants_per_batch: plants a training batch (with pairs all).
        images_per_plant: photos of each plant in a training batch (with pairs all).
        num_pairs: pairs an epoch (with pairs random).
        pairs_per_batch: pairs a training batch (with pairs random).
        pair_within: train on pairs within a plant, or within a species: right only where days are counted from sowing.
        val_fraction: share of each species' plants held out for validation, where no fold is given.
        num_folds: number of folds that the plants are dealt into.
        fold: which fold to hold out, from 0; none to hold out val_fraction instead.
        seed: seed of the split into training and validation.
        eval_batch_size: photos encoded at once when predicting.
        flip: mirror and turn training photos by quarters at random.
        rotation: largest random rotation, degrees.
        shift: largest random shift, share of the side.
        zoom: largest random change of scale; keep it small, since size is what tells the age.
        plant_zoom: largest random change of scale shared by all photos of a plant, as of a nearer camera.
        brightness: largest random change of brightness, share of white added or taken away.
        contrast: largest random change of contrast; 0.2 is 0.8× to 1.2×.
        cache_dir: folder that keeps the decoded photos between starts.
        num_workers: loader processes; 0 is fastest unless the cache is larger than memory.
    """

    max_pixels = MAX_PIXELS
    test_pairs: PhotoPairs
    species: list[str]

    def __init__(
        self,
        root: str = "data/growth",
        species: list[str] | None = None,
        image_size: PositiveInt = 224,
        channels: Literal[1, 3] = 3,
        pairs: Literal["all", "random"] = "all",
        plants_per_batch: PositiveInt = 4,
        images_per_plant: PositiveInt = 8,
        num_pairs: PositiveInt = 5000,
        pairs_per_batch: PositiveInt = 64,
        pair_within: PairWithin = "plant",
        val_fraction: float = 0.2,
        num_folds: int = 5,
        fold: NonNegativeInt | None = None,
        seed: NonNegativeInt = 0,
        eval_batch_size: PositiveInt = 64,
        flip: bool = True,
        rotation: NonNegativeFloat = 15.0,
        shift: ClosedUnitInterval = 0.05,
        zoom: ClosedUnitInterval = 0.03,
        plant_zoom: ClosedUnitInterval = 0.0,
        brightness: ClosedUnitInterval = 0.1,
        contrast: ClosedUnitInterval = 0.1,
        cache_dir: str = "cache",
        num_workers: NonNegativeInt = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.root = Path(root)
        self.only_species = species
        self.image_size = image_size
        self.mode = "L" if channels == 1 else "RGB"
        self.pairs = pairs
        self.plants_per_batch, self.images_per_plant = plants_per_batch, images_per_plant
        self.num_pairs, self.pairs_per_batch = num_pairs, pairs_per_batch
        self.pair_within: PairWithin = pair_within
        self.val_fraction, self.num_folds, self.fold, self.seed = val_fraction, num_folds, fold, seed
        self.eval_batch_size = eval_batch_size
        # Nothing here changes the size of a plant by more than a day or so of growth.
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
        self.cache_dir = Path(cache_dir)
        self.num_workers = num_workers

    def prepare_data(self) -> None:
        """Decode what the stage needs, once a machine.

        Raises:
            UserError: as ``growth.layouts``, ``common.folds`` and ``common.cache``, or a batch is too large or small.
        """
        if self.predicting:
            self._cached("test", read_test_set(self.root).files)
        else:
            photos = self._read()
            train, _ = self._split(photos.plant, photos.species)
            self._check_batch(photos.plant[train])
            self._cached("train", photos.files)

    def setup(self, stage: str) -> None:
        """Open the cache and split the training set by plant.

        Raises:
            UserError: as :meth:`prepare_data`.
        """
        super().setup(stage)
        if self.predicting:
            self.test_pairs = read_test_set(self.root)
            self.sample = self.test_pairs.sample
            images = self._cached("test", self.test_pairs.files)
            self.test_set = ImageDataset(images, np.arange(len(images)))
            return
        photos = self._read()
        images = self._cached("train", photos.files)
        train, val = self._split(photos.plant, photos.species)
        self.species = sorted(set(photos.species.tolist()))
        self.train_set = PairDataset(images, photos, train, self.pair_within)
        self.val_set = PairDataset(images, photos, val)
        if len(val) < 3:
            plant = self.val_set.plant[0]
            raise UserError(f"the one held-out plant, {plant}, has one pair: hold out more with --data.val_fraction")
        if self.held_out:
            self.test_pairs, self.truth = pairs_of(photos.take(val))
            self.sample = self.test_pairs.sample
            self.test_set = ImageDataset(images, val)

    def _read(self) -> Photos:
        photos = read_training_set(self.root)
        if self.only_species is None:
            return photos
        found = sorted(set(photos.species.tolist()))
        if absent := [name for name in self.only_species if name not in found]:
            raise UserError(f"--data.species {listed(absent)}: {self.root} has {listed(found)}")
        return photos.take(np.flatnonzero(np.isin(photos.species, self.only_species)))

    def _split(self, plant: np.ndarray, species: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.fold is None:
            return grouped_split(plant, species, self.val_fraction, self.seed)
        return fold_of(grouped_folds(plant, species, self.num_folds, self.seed), self.fold, len(plant))

    def _check_batch(self, plant: np.ndarray) -> None:
        if self.images_per_plant < 2 or self.plants_per_batch < 1:
            raise UserError(
                "a pair takes two photos: give --data.images_per_plant 2 or more, --data.plants_per_batch 1"
            )
        if self.pairs == "all" and self.plants_per_batch * self.images_per_plant > len(plant):
            size = f"{self.plants_per_batch} plants × {self.images_per_plant} images"
            raise UserError(
                f"a batch of {size} is larger than the {len(plant)} training photos; "
                "give smaller --data.plants_per_batch or --data.images_per_plant"
            )
        if self.pairs == "random" and self.num_pairs < self.pairs_per_batch:
            raise UserError(f"--data.pairs_per_batch {self.pairs_per_batch} is larger than --data.num_pairs")

    def _cached(self, part: str, files: list[ImageFile]) -> Images:
        return cached_images(files, self.image_size, self.mode, self.cache_dir, MAX_PIXELS, f"growth-{part}")

    def train_dataloader(self) -> DataLoader[PairBatch]:
        photos = self.train_set
        if self.pairs == "all":
            deal: Any = PlantBatches(photos.plant, self.plants_per_batch, self.images_per_plant)
        else:
            deal = RandomPairBatches(photos.groups, photos.day, self.num_pairs, self.pairs_per_batch)
        return self.loader(photos, self.training_batches(deal, len(deal)))

    def val_dataloader(self) -> DataLoader[PairBatch]:
        """One held-out plant a batch, all its pairs."""
        plant = self.val_set.plant
        batches = [np.flatnonzero(plant == name).tolist() for name in np.unique(plant)]
        batches += [[0]] * (self.world_size - len(batches))  # each rank must have one; one photo has no pair
        return self.loader(self.val_set, EvaluationSampler(batches[self.rank :: self.world_size]))

    def test_dataloader(self) -> DataLoader[PairBatch]:
        """The held-out plants: the competition's own test days are not public."""
        return self.val_dataloader()

    def augment(self, batch: PairBatch, key: int) -> PairBatch:
        if self.pairs == "random":  # a photo comes several times an epoch, each time another way: by the step
            key = torch.initial_seed()
        return batch._replace(images=self.augmentation(batch.images, key, batch.row, batch.plant))

    def views(self) -> list[View]:
        """The eight ways to lay a square photo, or the photo alone where training never turned it."""
        return laid_views() if self.flip else [as_is]
