"""Pairs a second of ``growth`` beside the seed's way: ``python -m benchmarks.growth``.

The seed's way: two networks, random pairs, both photos of each pair read from its resized PNG with PIL and encoded
anew, fp32, batches of 64 pairs. Ours: the same backbone through ``fit`` and ``predict`` as the command line sets them
up. Synthetic photos; MobileNetV2 at 224 px unless told otherwise.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import pytorch as pl
from PIL import Image
from torch import Tensor, nn

from benchmarks.timing import interleaved, median_ratio
from common.cli import Trainer, default_precision
from common.images import cached_images, find_images
from common.submission import Submission
from growth.data import GrowthData
from growth.files import MAX_PIXELS, read_test_set, read_training_set
from growth.model import GrowthRegressor, PairNet
from growth.synthetic import draw


class SeedsWay:
    """Twin networks on pairs whose photos are read one by one."""

    def __init__(self, backbone: str, size: int, resized: Path, pairs: list[tuple[Path, Path]]) -> None:
        self.net = PairNet(backbone, "twin", head="imagenet", image_size=size)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-5)
        self.resized, self.pairs = resized, pairs

    def read(self, path: Path) -> Tensor:
        pixels = np.asarray(Image.open(self.resized / path.name).convert("RGB"))
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255

    def codes(self, pairs: list[tuple[Path, Path]]) -> Tensor:
        before = torch.stack([self.read(before) for before, _ in pairs])
        after = torch.stack([self.read(after) for _, after in pairs])
        assert self.net.before_net is not None
        return (self.net.after_net(self.net.normalize(after)) - self.net.before_net(self.net.normalize(before)))[:, 0]

    def train(self, batch: int) -> None:
        self.net.train()
        loss = nn.functional.mse_loss(self.codes(self.pairs[:batch]), torch.ones(batch))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    @torch.no_grad()
    def predict(self, batch: int) -> None:
        self.net.eval()
        self.codes(self.pairs[:batch])


class Counter(pl.Callback):
    """Time and pairs of the training batches after the first."""

    def __init__(self) -> None:
        self.pairs, self.start, self.end = 0, 0.0, 0.0

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.end = time.perf_counter()
        if not self.start:
            self.start = self.end
        else:
            self.pairs += len(batch.days)


def trainer(**options: Any) -> Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    return Trainer(precision=default_precision("auto"), enable_progress_bar=False, **quiet, **options)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.growth", description="Pairs/s of growth beside the seed's.")
    parser.add_argument("--backbone", default="mobilenet_v2", help="any backbone")
    parser.add_argument("--size", type=int, default=224, help="pixels a side")
    parser.add_argument("--repetitions", type=int, default=3, help="repetitions of each side, interleaved")
    arguments = parser.parse_args()
    backbone, size = arguments.backbone, arguments.size
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = folder / "data"
        # The competition has 3,960 test pairs over 307 photos of some 8 plants: 12.9 pairs a photo.
        draw(root, plants=4, days=20, test_plants=1, test_pairs=516, width=320, height=240, seed=0)
        photos, test = read_training_set(root), read_test_set(root)
        (folder / "resized").mkdir()
        for file in [*photos.files, *test.files]:
            Image.open(file.path).resize((size, size)).save(folder / "resized" / file.path.name)
        test_paths = [file.path for file in test.files]
        pairs = [(test_paths[a], test_paths[b]) for a, b in zip(test.before, test.after, strict=True)]
        seeds = SeedsWay(backbone, size, folder / "resized", pairs)
        model = GrowthRegressor(backbone=backbone, image_size=size, pretrained=False)
        rates: dict[str, list[float]] = {"fit": [], "predict": []}

        def fit() -> None:
            counter = Counter()
            data = GrowthData(root=str(root), image_size=size, cache_dir=str(folder / "cache"))
            trainer(max_steps=4, callbacks=[counter], limit_val_batches=0).fit(model, datamodule=data)
            rates["fit"].append((counter.end - counter.start) / counter.pairs)

        def predict() -> None:
            data = GrowthData(root=str(root), image_size=size, cache_dir=str(folder / "cache"))
            start = time.perf_counter()
            trainer().predict(model, datamodule=data, submission=Submission(str(folder / "s.csv")))
            rates["predict"].append((time.perf_counter() - start) / len(pairs))

        predict()  # the cache is made once
        rates["predict"].clear()
        batch = 16  # of the seed's 64: the time a pair is the same, and a repetition takes seconds
        sides = {
            "fit": fit,
            "seed fit": lambda: seeds.train(batch),
            "predict": predict,
            "seed predict": lambda: seeds.predict(batch),
        }
        seconds = interleaved(sides, arguments.repetitions)
        print(f"\n{backbone} at {size} px, {default_precision('auto')}, {torch.get_num_threads()} threads")
        for verb in ("fit", "predict"):
            theirs = [call / batch for call in seconds[f"seed {verb}"]]
            print(f"  {verb:10}{1 / statistics.median(rates[verb]):10.1f} pairs/s", end="")
            print(
                f"   seed's way {1 / statistics.median(theirs):8.1f}   ratio {median_ratio(theirs, rates[verb]):6.1f}×"
            )


def preparing(width: int = 3280, height: int = 2464, photos: int = 24) -> None:
    """Decode full-size photos: time beside one process of PIL, and the memory of the largest worker."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "data"
        draw(root, plants=1, days=photos // 2, test_plants=1, test_pairs=1, width=width, height=height, seed=0)
        files = find_images(root / "train_dataset")

        def one() -> None:
            for file in files:
                Image.open(file.path).convert("RGB").resize((224, 224), Image.Resampling.BOX)

        def cache() -> None:
            with tempfile.TemporaryDirectory() as folder:
                cached_images(files, 224, "RGB", Path(folder), MAX_PIXELS)

        seconds = interleaved({"cache": cache, "pil": one}, 3)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
        print(f"\npreparing {len(files)} photos of {width}×{height}")
        print(f"  cache {len(files) / statistics.median(seconds['cache']):6.1f} photos/s", end="")
        print(f"   one process of PIL {len(files) / statistics.median(seconds['pil']):6.1f}", end="")
        print(f"   ratio {median_ratio(seconds['pil'], seconds['cache']):5.2f}×   largest worker {peak:.0f} MiB")


if __name__ == "__main__":
    preparing()  # first: a worker's memory counts what it has inherited
    main()
