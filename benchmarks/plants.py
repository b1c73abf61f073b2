"""Leave one plant out: ``python -m benchmarks.plants DIR [--pattern P]`` scores two simple predictors, by plant.

The mean predictor gives every pair the mean days of the training pairs. The linear fit assumes that a plant's green
area grows by a fraction of itself each day: days = slope · (log area of the later photo - log area of the earlier one),
with the slope from the other plants' pairs. RMSE in days, over all pairs of the left-out plant, as in `crossval`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch

from common.cache import cached_images
from common.errors import exit_on_user_error
from growth.layouts import read_training_set
from growth.leaf_hull import leaves
from growth.photos import MAX_PIXELS, Photos, pairs_of

SIDE = 96  # pixels


def log_area(photos: Photos) -> np.ndarray:
    """Measure the green area of each photo, as the logarithm of the number of green pixels, N."""
    with TemporaryDirectory() as folder:
        images = np.array(cached_images(photos.files, SIDE, "RGB", Path(folder), MAX_PIXELS, "photos"))
    parts = torch.from_numpy(images).permute(0, 3, 1, 2).split(64)
    return np.concatenate([torch.log(leaves(part.float() / 255).sum((1, 2)) + 1).numpy() for part in parts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--pattern", help="as --data.pattern")
    given = parser.parse_args()
    with exit_on_user_error():
        photos = read_training_set(given.root, given.pattern)
        pairs, days = pairs_of(photos)
        grown = np.diff(log_area(photos)[np.stack([pairs.before, pairs.after])], axis=0)[0]
        plant, lines, squares = pairs.plant[pairs.before], [], {"mean predictor": [], "log green area": []}
        for name in np.unique(plant):
            own = plant == name
            slope = (grown[~own] @ days[~own]) / (grown[~own] @ grown[~own])
            errors = {"mean predictor": days[~own].mean() - days[own], "log green area": slope * grown[own] - days[own]}
            line = {"plant": name, "photos": int((photos.plant == name).sum()), "pairs": int(own.sum())}
            for predictor, error in errors.items():
                squares[predictor].append(error**2)
                line[predictor] = np.sqrt((error**2).mean())
            lines.append(line)
    print(pd.DataFrame(lines).to_string(index=False, float_format="{:.2f}".format))
    pooled = {predictor: np.sqrt(np.concatenate(all_squares).mean()) for predictor, all_squares in squares.items()}
    print("all pairs: " + ", ".join(f"{predictor} {rmse:.2f}" for predictor, rmse in pooled.items()))


if __name__ == "__main__":
    main()
