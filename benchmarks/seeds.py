"""The two projects that this one grew from, as they worked: image by image with PIL, in fp32, plain torch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from common.backbones import Head
from common.image_files import ImageFile, read_bytes
from growth.model import GrowthRegressor
from julia.model import CharacterClassifier

Net = TypeVar("Net", bound=nn.Module)


def as_built(net: Net) -> Net:
    """Lay out weights as PyTorch does by default; our models have the channels last."""
    return net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload, no-any-return]


def read(path: Path, mode: str) -> Tensor:
    """Read a resized image: C×H×W, float in [0, 1]."""
    pixels = np.asarray(Image.open(path).convert(mode)).copy()
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1).float() / 255


def resize(files: Sequence[ImageFile], size: int, folder: Path) -> list[Path]:
    """Resize images with PIL, one after the other, to PNG files in a new folder."""
    folder.mkdir(parents=True)
    resized = []
    for number, file in enumerate(files):
        resized.append(folder / f"{number}.png")
        Image.open(io.BytesIO(read_bytes(file))).convert("RGB").resize((size, size)).save(resized[-1])
    return resized


class Characters:
    """One student's ResNet18: grey bitmaps of 28 px, batches of 8, Adam."""

    batch = 8

    def __init__(self, paths: Sequence[Path], labels: np.ndarray, lr: float = 1e-3) -> None:
        self.paths, self.labels = paths, torch.from_numpy(labels)
        self.net = as_built(CharacterClassifier("resnet18", normalize="none").net)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=lr)

    def logits(self, rows: Sequence[int]) -> Tensor:
        images = torch.stack([read(self.paths[row], "L") for row in rows])
        logits: Tensor = self.net(images)
        return logits

    def train(self, rows: Sequence[int]) -> None:
        self.net.train()
        loss = nn.functional.cross_entropy(self.logits(rows), self.labels[rows])
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    @torch.no_grad()
    def predict(self, rows: Sequence[int]) -> Tensor:
        """Return the class of each row, N."""
        self.net.eval()
        parts = [rows[start : start + self.batch] for start in range(0, len(rows), self.batch)]
        return torch.cat([self.logits(part).argmax(1) for part in parts])


class Pairs:
    """The team's CompareNet: twin networks, random pairs, both photos of each pair read and encoded anew, Adam."""

    batch = 64

    def __init__(self, paths: Sequence[Path], backbone: str, size: int, lr: float = 3e-5) -> None:
        self.paths = paths
        head: Head = "linear" if backbone == "lenet" else "imagenet"
        self.net = as_built(GrowthRegressor(backbone, "twin", head=head, image_size=size, pretrained=False).net)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=lr)

    def days(self, pairs: Sequence[tuple[int, int]], flips: bool = False) -> Tensor:
        """Return the days of pairs of rows, P; ``flips`` mirrors photos at random along either axis."""
        sides = []
        for side, net in ((0, self.net.before_net), (1, self.net.after_net)):
            photos = torch.stack([read(self.paths[pair[side]], "RGB") for pair in pairs])
            if flips:
                axes = torch.rand(len(photos), 2) < 0.5
                for axis in (0, 1):
                    photos[axes[:, axis]] = photos[axes[:, axis]].flip(axis + 2)
            assert net is not None
            sides.append(net(self.net.normalize(photos))[:, 0])
        return sides[1] - sides[0]

    def train(self, pairs: Sequence[tuple[int, int]], days: Tensor) -> None:
        self.net.train()
        loss = nn.functional.mse_loss(self.days(pairs, flips=True), days)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    @torch.no_grad()
    def predict(self, pairs: Sequence[tuple[int, int]]) -> Tensor:
        """Return the days of pairs of rows, P."""
        self.net.eval()
        parts = [pairs[start : start + self.batch] for start in range(0, len(pairs), self.batch)]
        return torch.cat([self.days(part) for part in parts])
