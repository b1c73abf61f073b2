"""The LightningDataModule of ``julia``: uint8 batches of bitmaps, made float and augmented on the device."""

from __future__ import annotations

from typing import Any, Literal

from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveInt
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import rgb_to_grayscale

from common.arguments import Machine, Resumable
from common.augment import Augmentation, View, moved_views
from common.batches import LabelledBatch
from common.image_files import ImageFile
from common.labelled import LabelledData
from common.split import Listing
from julia.files import CLASSES, COLUMNS, MAX_PIXELS, Variant, read_test_set, read_training_set


class CharacterData(LabelledData):
    """Street-view characters of Kaggle "First Steps With Julia".

    Args:
        root: folder with the competition's files, as .zip or unpacked.
        variant: original bitmaps of various sizes, or the competition's own resized ones (20×20).
        image_size: side of the square that bitmaps are resized to, in pixels; taken from the model.
        channels: 1 for grey, 3 for colour; taken from the model.
        colour_prior: decode bitmaps in colour even for a network that sees grey; taken from the model.
        batch_size: images per training batch.
        rotation: largest random rotation, degrees.
        shift: largest random shift, as a fraction of the side.
        zoom: largest random change of scale; 0.2 is 0.8× to 1.2×.
        shear: largest random shear, degrees.
        brightness: largest random change of brightness, as a fraction of white added or removed.
        contrast: largest random change of contrast; 0.2 is 0.8× to 1.2×.
        inversion: probability of turning a training image into its negative.
        mixup: blend training images in pairs, in a ratio drawn from Beta(mixup, mixup); 0 for never.
        cutmix: paste a box from another image into each, its area drawn from Beta(cutmix, cutmix); 0 for never.
    """

    max_pixels = MAX_PIXELS
    label = "julia"
    columns = COLUMNS

    def __init__(
        self,
        root: Machine[str] = "data/julia",
        variant: Variant = "original",
        image_size: PositiveInt = 28,
        channels: Literal[1, 3] = 1,
        colour_prior: bool = False,
        batch_size: PositiveInt = 128,
        rotation: Resumable[NonNegativeFloat] = 10.0,
        shift: Resumable[ClosedUnitInterval] = 0.1,
        zoom: Resumable[ClosedUnitInterval] = 0.2,
        shear: Resumable[NonNegativeFloat] = 10.0,
        brightness: Resumable[ClosedUnitInterval] = 0.2,
        contrast: Resumable[ClosedUnitInterval] = 0.2,
        inversion: Resumable[ClosedUnitInterval] = 0.5,
        mixup: Resumable[NonNegativeFloat] = 0.0,
        cutmix: Resumable[NonNegativeFloat] = 0.0,
        **shared: Any,
    ) -> None:
        super().__init__(
            batch_size, root=root, image_size=image_size, channels=3 if colour_prior else channels, **shared
        )
        self.variant: Variant = variant
        self.channels = channels
        self.shift, self.zoom, self.inversion = shift, zoom, inversion
        self.augmentation = Augmentation(
            rotation=rotation,
            shift=shift,
            zoom=zoom,
            shear=shear,
            brightness=brightness,
            contrast=contrast,
            inversion=inversion,
        )
        mixing = [v2.MixUp(alpha=float(mixup), num_classes=len(CLASSES))] if mixup else []
        mixing += [v2.CutMix(alpha=float(cutmix), num_classes=len(CLASSES))] if cutmix else []
        self.mixing = v2.RandomChoice(mixing) if mixing else None

    def read_training_set(self) -> Listing:
        return read_training_set(self.root, self.variant)

    def read_test_set(self) -> list[ImageFile]:
        self.sample, files = read_test_set(self.root, self.variant)
        return files

    def augment(self, batch: LabelledBatch, key: int) -> LabelledBatch:
        # Made grey first if the network sees grey, since one channel is augmented faster than three.
        images = batch.images if self.channels == batch.images.shape[1] else rgb_to_grayscale(batch.images)
        images, targets = self.augmentation(images, key, batch.row), batch.targets
        if self.mixing is not None:
            images, targets = self.mixing(images, targets)
        return batch._replace(images=images, targets=targets)

    def views(self) -> list[View]:
        """Return the image and, if trained on, its negative, then both with half of the largest shifts and zooms."""
        return moved_views(self.shift / 2, self.zoom / 2, negatives=self.inversion > 0)
