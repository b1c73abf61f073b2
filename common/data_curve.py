"""What more training data would bring: cross-validations on growing fractions of it, as a table and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from common.crossval import Measured
from common.files import write_text
from common.plots import data_curve, save_png
from common.task import AnyTask


def tabulate(measured: Mapping[float, Measured], metric: str) -> pd.DataFrame:
    """Make one line per fraction: what a fold was trained on, on average; the metric over all out-of-fold rows; its
    mean and deviation over the folds (none for one fold); how many folds there are, and how long their fits took.
    """
    lines = []
    for share, of_share in measured.items():
        each = of_share.folds[metric]
        trained = of_share.folds.filter(like="trained_").mean()
        spread = {metric: of_share.overall, "mean": each.mean(), "deviation": each.std()}
        cost = {"folds": len(each), "seconds": of_share.folds["seconds"].sum()}
        lines.append({"train_fraction": share, **trained, **spread, **cost})
    return pd.DataFrame(lines)


def write_data_curve(task: type[AnyTask], measured: Mapping[float, Measured], folder: Path) -> None:
    """Write ``data_curve.csv`` and ``data_curve.png`` into the folder of the cross-validations, and print the table."""
    metric = task.monitor
    table = tabulate(measured, metric)
    suffix = next(iter(measured.values())).suffix
    path = folder / f"data_curve{suffix}.csv"
    write_text(path, table.to_csv(index=False))
    picture = path.with_suffix(".png")
    save_png(data_curve(table, metric, task.directions[metric], task.units.get(metric, "")), picture)
    shown = table.round({metric: 4, "mean": 4, "deviation": 4, "seconds": 0})
    print(f"\n{shown.to_string(index=False)}")
    print(f"learning curve over the fraction of the training data: {path}, {picture.name}", flush=True)
