"""Tables of bitmaps: what is predicted for each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from julia.files import CLASSES


def tabulate_bitmaps(ids: Sequence[str], probabilities: np.ndarray) -> pd.DataFrame:
    """Tabulate the bitmaps (N) with their three most probable classes, from probabilities N×62."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :3]
    table = pd.DataFrame({"ID": ids})
    for rank, suffix in enumerate(("", "_2", "_3")):
        table[f"Class{suffix}"] = np.array(list(CLASSES))[order[:, rank]]
        table[f"probability{suffix}"] = np.take_along_axis(probabilities, order[:, rank, None], axis=1)[:, 0]
    return table


def tabulate_held_out(bitmaps: pd.DataFrame, truth: np.ndarray) -> pd.DataFrame:
    """Tabulate held-out bitmaps, as in :func:`tabulate_bitmaps`, with their class (N, index) and the predicted one."""
    table = bitmaps[["ID", "Class", "probability"]].rename(columns={"Class": "predicted"})
    table.insert(1, "Class", [CLASSES[index] for index in truth])
    return table
