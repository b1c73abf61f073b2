"""Predict images in memory or on disk from Python, with the same numbers as ``predict --images``."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from lightning.fabric import Fabric
from lightning.fabric.utilities.exceptions import MisconfigurationException
from PIL import Image, ImageOps

from common.batches import ImageDataset
from common.calibration import average_calibrations
from common.checkpoints import find_checkpoints, precision_of, read_checkpoint
from common.data import ImageData
from common.decoding import (
    Mode,
    bytes_of,
    decode_named,
    flatten,
    lost_once_decoded,
    read_image,
    resize,
    several_pictures,
)
from common.ensemble import average_members, average_views, data_of, learned_views, on_cpu, unlike_training
from common.errors import UserError
from common.machine import default_precision
from common.runs import RUNS
from common.submission import Outputs
from common.task import AnyTask

Picture = str | os.PathLike[str] | Image.Image | np.ndarray
Checkpoints = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Model = TypeVar("Model", bound=AnyTask)

READ = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")  # PIL modes with 8 bits per channel


class Predictor(Generic[Model]):
    """Fitted networks, loaded once, that predict images.

    Args:
        task: class of the model.
        data: the data module, as it is without arguments.
        checkpoints: one, or several to average: paths, patterns, or last or best, which mean those of the newest run
            below ``runs``.
        device: such as cpu, cuda or cuda:1; the fastest one available if None.
        tta: how many views of each image to average.
        precision: one of the Trainer's; whatever suits the networks and the device if None.
        flag: how the checkpoints were given, for errors.

    Raises:
        UserError: ``checkpoints`` or ``tta`` are refused, as on the command line, or there is no such device.
    """

    def __init__(
        self,
        task: type[Model],
        data: ImageData,
        checkpoints: Checkpoints,
        device: str | None,
        tta: int,
        precision: str | None = None,
        flag: str = "--ckpt_path",
    ) -> None:
        if isinstance(tta, bool) or not isinstance(tta, int | np.integer) or tta < 1:
            raise UserError(f"tta {tta}: give the number of views, 1 or more")
        given = [checkpoints] if isinstance(checkpoints, str | os.PathLike) else checkpoints
        if not (isinstance(given, list | tuple) and all(isinstance(path, str | os.PathLike) for path in given)):
            raise UserError(f"checkpoint {checkpoints!r}: give a path, or several as a list")
        if not given:
            raise UserError("no checkpoint; give a path, or last or best")
        paths = find_checkpoints([os.fspath(path) for path in given], Path(RUNS) / task.task, None)
        self.members = [read_checkpoint(path, task, flag) for path in paths]
        try:
            place = None if device is None else torch.device(device)
            accelerator = place.type if place else "auto"
            self.fabric = Fabric(
                accelerator=accelerator,
                devices=1 if place is None or place.index is None or place.type == "cpu" else [place.index],
                precision=precision or precision_of(self.members) or default_precision(accelerator),  # type: ignore[arg-type]
            )
        except (RuntimeError, ValueError, TypeError, MisconfigurationException) as error:  # there is no such device
            reason = str(error).strip().splitlines()[0].rstrip(".")
            raise UserError(f"device {device!r}: {reason}; give 'cpu', or none for what this machine has") from None
        self.models: list[Model] = [member.build(task) for member in self.members]
        self.models[0].calibration = average_calibrations([member.calibration for member in self.members], tta)
        for model in self.models:
            self.fabric.to_device(model)
        self.data = [data_of(member, data) for member in self.members]
        self.tta = tta
        for one in self.data:
            learned_views(one, tta)
        self.lock = threading.Lock()  # the view is part of the data module's state

    def predict(self, pictures: Sequence[Picture]) -> tuple[Outputs, list[str]]:
        """Return the mean outputs of the networks, N×…, and how each image differs from the training images.

        Args:
            pictures: N images of any size: paths, PIL images, or arrays (H×W, H×W×1, H×W×3 or H×W×4, uint8).

        Raises:
            UserError: there are none, or a file or an array is not an image.
        """
        if not isinstance(pictures, list | tuple) or not pictures:  # others may have no order
            raise UserError("give images as a list, one or more")
        with self.lock:
            self._take(pictures)
            return self._average(), unlike_training(self.data[0], [], self.members[0])

    def predict_test_set(self) -> Outputs:
        """Return the mean outputs of the networks for the test images below ``--data.root``, N×….

        Raises:
            UserError: they are missing or cannot be decoded.
        """
        with self.lock:
            for data in self.data:
                data.test_set = ImageDataset(data.test_images())
            return self._average()

    def _average(self) -> Outputs:
        of_each = (
            average_views(data, self.tta, partial(self._run, model, data))
            for model, data in zip(self.models, self.data, strict=True)
        )
        return average_members(of_each, lambda outputs: np.zeros(()))[0]

    def _take(self, pictures: Sequence[Picture]) -> None:
        """Give each data module its images, decoding each picture once per mode."""
        pixels: list[list[np.ndarray]] = [[] for _ in self.data]
        modes, most = {data.mode for data in self.data}, self.data[0].max_pixels
        for number, picture in enumerate(pictures):
            decoded = {mode: as_image(picture, mode, most, f"image {number}") for mode in modes}
            for its, data in zip(pixels, self.data, strict=True):
                its.append(resize(decoded[data.mode], data.image_size))
        for its, data in zip(pixels, self.data, strict=True):
            data.test_set = ImageDataset(np.stack(its))

    @torch.inference_mode()
    def _run(self, model: Model, data: ImageData) -> Outputs:
        batches = []
        for rows in data.evaluated_rows(len(data.test_set)):
            batch = data.on_after_batch_transfer(self.fabric.to_device(data.test_set[rows]), 0)
            with self.fabric.autocast():
                found = model.predict_step(batch, 0)
            batches.append({name: on_cpu(value) for name, value in found.items() if name != "row"})
        return {name: torch.cat([batch[name] for batch in batches]).numpy() for name in batches[0]}


def as_image(picture: Picture, mode: Mode, max_pixels: int, name: str) -> Image.Image:
    """Read a picture as its file would be read; errors use ``name`` for one that is not a file.

    Raises:
        UserError: it is not an image with 8 bits per channel.
    """
    if isinstance(picture, str | os.PathLike):
        return read_image(Path(picture), mode, max_pixels)
    if isinstance(picture, np.ndarray):
        shape = "×".join(map(str, picture.shape))
        if picture.dtype != np.uint8:
            raise UserError(f"{name}: an array of {picture.dtype}; give uint8, 0 to 255")
        if picture.ndim == 3 and picture.shape[2] == 1:
            picture = picture[..., 0]
        if 0 in picture.shape or not (picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] in (3, 4))):
            raise UserError(f"{name}: an array of {shape}; give H×W, H×W×3 or H×W×4, channels last")
        picture = Image.fromarray(picture)
    if not isinstance(picture, Image.Image):
        raise UserError(f"{name}: of type {type(picture).__name__}; give a path, a PIL image or an array")
    if (data := bytes_of(picture)) is not None:
        return decode_named(data, name, mode, max_pixels)
    if lost_once_decoded(picture):
        raise UserError(f"{name}: PIL may have misread this {picture.format}; give its path")
    if picture.mode not in READ:
        raise UserError(f"{name}: a PIL image of mode {picture.mode}; give 8 bits a channel, such as RGB or L")
    if not picture.width * picture.height:
        raise UserError(f"{name}: {picture.width}×{picture.height} pixels, nothing to see")
    if picture.width * picture.height > max_pixels:
        raise UserError(f"{name}: {picture.width}×{picture.height} pixels, over the limit of {max_pixels:,}")
    try:
        if fault := several_pictures(picture):
            raise UserError(f"{name}: {fault}; give one of them as an array")
        return flatten(ImageOps.exif_transpose(picture), mode)
    except (OSError, ValueError, AssertionError) as error:  # PIL's, of a file that was closed before it was read
        reason = str(error) or "its file is closed"
        raise UserError(f"{name}: cannot be read ({reason}); give its path") from None
