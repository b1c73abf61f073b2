"""Learning curves of runs as data: the metrics with their axes, and each row's curves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from common.plots import BETTER, of_metric
from common.run_tree import Node
from common.runs import About, Run

FLAT = 0.1  # fraction of an axis below which curves look flat


def describe_metrics(runs: list[Run], about: About) -> list[dict[str, object]]:
    """Describe the metrics of the runs, starting with the monitored one: title, which way is better, axis."""
    names = dict.fromkeys([about["monitor"], *about["directions"], *(name for run in runs for name in run.metrics)])
    described: list[dict[str, object]] = []
    for name in names:
        if measured := [run for run in runs if name in run.metrics]:
            # The unit of a loss depends on which loss it is, so there is none if runs differ.
            units = {of_metric(name, run.about["units"]) for run in measured if "units" in run.about}
            unit, direction = units.pop() if len(units) == 1 else None, of_metric(name, about["directions"])
            title = f"{name}, {unit}" if unit else name
            better = f" ({BETTER[direction]})" if direction else ""
            axis = axis_of([run.metrics[name].to_numpy() for run in measured])
            described.append({"name": name, "title": title, "better": better, **axis})
    return described


def axis_of(curves: Sequence[np.ndarray]) -> dict[str, object]:
    """Choose the axis for some curves, one array each: logarithmic or cut if a few would flatten the others.

    A few are at most a quarter of the curves, but at least one. The axis is logarithmic if that gives the others at
    least twice the room; if some values are not positive, it is cut to the range of the others.

    Returns:
        ``axis`` (linear or log), ``note`` (what the axis is labelled with) and, if it is cut, its ``range``.
    """
    finite = [curve[np.isfinite(curve)] for curve in curves]
    ends = np.array([(curve.min(), curve.max()) for curve in finite if len(curve)])
    linear: dict[str, object] = {"axis": "linear", "note": ""}
    few = range(1, max(1, len(ends) // 4) + 1)
    if len(ends) < 2 or (least := ends[:, 0].min()) == (most := ends[:, 1].max()):
        return linear
    if least > 0:
        ends = ends[ends[:, 1].argsort()]
        for number in few:
            low, high = ends[:-number, 0].min(), ends[:-number, 1].max()
            share = (high - low) / (most - least)
            if 0 < share < FLAT and math.log(high / low) / math.log(most / least) >= 2 * share:
                return {"axis": "log", "note": ", logarithmic axis"}
        return linear
    kept = ends
    for _ in few:  # drops the one without which the others span least
        without = [np.delete(kept, number, axis=0) for number in range(len(kept))]
        kept = min(without, key=lambda some: some[:, 1].max() - some[:, 0].min())
    low, high = kept[:, 0].min(), kept[:, 1].max()
    if not 0 < high - low < FLAT * (most - least):
        return linear
    beyond, room = int(((ends[:, 0] < low) | (ends[:, 1] > high)).sum()), 0.05 * (high - low)
    note = f", axis cut: {beyond} of {len(ends)} runs {'goes' if beyond == 1 else 'go'} beyond"
    return {"axis": "linear", "note": note, "range": [float(low - room), float(high + room)]}


def curves_of(node: Node) -> dict[str, dict[str, object]]:
    """Return the curves of a row by metric: x and y or, for several runs, their mean with its minimum and maximum."""

    def plain(values: pd.Series[float]) -> list[float | None]:
        return [value if math.isfinite(value) else None for value in values.tolist()]

    runs, curves = node.fitted(), {}
    for name in dict.fromkeys(name for run in runs for name in run.metrics):
        series = [run.metrics[name] for run in runs if name in run.metrics]
        # The last value of each epoch; for several runs, only the epochs that all of them reached.
        last = [values[~values.index.duplicated(keep="last")] for values in series]
        table = pd.concat(last, axis=1, join="inner")
        curve: dict[str, object] = {"x": table.index.tolist(), "y": plain(table.mean(axis=1, skipna=False))}
        if node.below:
            curve |= {"low": plain(table.min(axis=1)), "high": plain(table.max(axis=1))}
        curves[name] = curve
    return curves
