"""Run folders, ``runs/<task>/<name>/version_N/``: claimed, marked and described by a fit, found and read by others."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict, final

import numpy as np
import pandas as pd

from common.arguments import experiment, in_words
from common.config import read_config
from common.errors import UserError
from common.files import read_json, write_json
from common.held_out_tables import Columns
from common.plots import Direction
from common.split import Split, digest_of
from common.tables import read_metrics

if TYPE_CHECKING:
    from common.checkpoints import Origin
    from common.task import AnyTask

RUNS = "runs"
LATEST = "latest"
RESULT = "result.json"  # written when the fit has finished


class HeldOut(TypedDict):
    """The held-out rows: how many there are, and their digest, as from :func:`common.split.digest_of`."""

    rows: int | str
    digest: str


class About(TypedDict):
    """The contents of ``run.json``; ``monitor`` is empty if a run of an earlier version does not reveal it."""

    task: str
    monitor: str
    directions: dict[str, Direction]
    machine: list[str]
    units: NotRequired[dict[str, str]]
    held_out: NotRequired[HeldOut]
    images: NotRequired[str]  # digest of all training images
    extra: NotRequired[str]  # of a second training set; empty if there is none
    teachers: NotRequired[str]  # of the weights of teachers, and of the images they label; likewise
    pretrained: NotRequired[str]  # of the weights that the fit started from; likewise
    columns: NotRequired[Columns]
    changed: NotRequired[list[str]]  # settings that were others before the fit was resumed


@final
class Result(TypedDict):
    """The contents of ``result.json``."""

    seconds: float
    epochs: NotRequired[int]
    metric: NotRequired[str]
    last: NotRequired[float | None]
    best: NotRequired[float | None]
    held_out_by: NotRequired[str]  # of which weights held_out.csv is; not stated by earlier versions


@final
class CrossValidated(TypedDict):
    """The contents of ``crossval.json``."""

    value: float
    rows: int
    digest: str
    folds: int
    seconds: float
    views: NotRequired[int]  # of each image, averaged; 1 if not stated
    runs: NotRequired[list[str]]  # of each fold, as fold_<k>/version_N; not stated by earlier versions
    epochs: NotRequired[list[int | None]]  # of each fold; None of runs of earlier versions


def number_of(run: Path) -> int:
    """Return the N of a run folder ``version_N``, or -1 for any other."""
    number = re.fullmatch(r"version_([0-9]+)", run.name)
    return int(number[1]) if number else -1


def is_fold(run: Path) -> bool:
    """Whether a run is one fold of a cross-validation: ``<name>/fold_<k>/version_N``."""
    return re.fullmatch(r"fold_[0-9]+", run.parent.name) is not None


def claim(home: Path) -> Path:
    """Create the folder of a new run, ``home/version_N``, which no other fit can then take."""
    version = max((number_of(path) for path in home.glob("version_*")), default=-1)
    while True:
        version += 1
        with suppress(FileExistsError):
            run = home / f"version_{version}"
            run.mkdir(parents=True)
            return run


def give_up(run: Path, root: Path) -> None:
    """Remove a claimed folder, and parents below ``root`` that are then empty, unless something was written to it."""
    with suppress(OSError):
        for folder in [run, *run.parents[: len(run.relative_to(root).parts) - 1]]:
            folder.rmdir()


def mark_latest(run: Path) -> None:
    """Point ``latest``, beside the run folders, to a run; without symbolic links, the highest number is the newest."""
    temporary = run.parent / f".{LATEST}.{os.getpid()}"
    with suppress(OSError):
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(run.name)
        temporary.replace(run.parent / LATEST)
    temporary.unlink(missing_ok=True)


def latest_of(home: Path) -> Path | None:
    """Find the newest run that has begun to train, in the folder of all runs of one name."""
    link = home / LATEST
    if link.is_symlink() and (run := home / link.readlink()).is_dir():
        return run
    numbered = [path for path in home.glob("version_*") if number_of(path) >= 0]
    begun = [path for path in numbered if (path / "metrics.csv").is_file() or (path / "checkpoints").is_dir()]
    return max(begun, key=number_of, default=None)


def newest_run(runs: Path, name: str | None) -> Path | None:
    """Find the newest run below ``runs``, of one name or of all."""
    homes = [runs / name] if name else []
    for folder, below, _ in os.walk(runs) if not name else ():
        homes.append(Path(folder))
        below[:] = [one for one in below if number_of(Path(one)) < 0]  # runs are not nested
    found = [run for home in homes if (run := latest_of(home)) is not None]
    return max(found, key=_begun, default=None)


def _begun(run: Path) -> int:
    link = run.parent / LATEST
    marked = link.is_symlink() and link.readlink() == Path(run.name)
    return (link.lstat() if marked else run.stat()).st_mtime_ns


def is_finished(run: Path) -> bool:
    """Whether the fit of a run has finished."""
    return (run / RESULT).is_file()


def read_result(run: Path) -> Result:
    """Read the result of a finished fit; raise a :class:`UserError` if it is damaged or missing."""
    notes: list[str] = []
    result = read_json(run / RESULT, Result, notes)
    if result is None:
        raise UserError(next(iter(notes), f"{run} has no {RESULT}"))
    return result


def describe_run(
    run: Path,
    task: AnyTask | type[AnyTask],
    machine: Iterable[str],
    split: Split,
    limit: float | None = None,
    origin: Origin | None = None,
) -> None:
    """Write ``run.json``, which allows the run to be read without knowing its task.

    Args:
        run: the folder.
        task: the model, or its class.
        machine: arguments that concern the machine, such as ``data.root``.
        split: which rows are held out.
        limit: the Trainer's limit of their batches; such a run is ranked apart.
        origin: what the fit started from, and which settings were others before it was resumed.
    """
    before, digest = len(split.learned), split.digests[1]
    rows = f"{len(split.held_out)} ({before} of them learned from before)" if before else len(split.held_out)
    if limit:
        rows, digest = f"some of {rows}", digest_of([digest], np.array([limit]))
    about = {"task": task.task, "monitor": task.monitor, "directions": task.directions, "units": dict(task.units)}
    columns = task.held_out_columns._asdict() | {"classes": task.classes is not None}
    about |= {"machine": sorted(machine), "held_out": HeldOut(rows=rows, digest=digest), "columns": columns}
    about |= {"images": split.digests[3], "extra": split.second, "teachers": split.taught}
    if origin is not None:  # a file has a digest, true or false is what was given
        start = origin["pretrained"] if origin["pretrained"] != origin["given"] else ""
        about |= {"pretrained": start, "changed": origin["changed"]}
    write_json(run / "run.json", about)


@dataclass
class Run:
    """One run folder."""

    path: Path  # the folder
    about: About  # contents of run.json; for runs of earlier versions, what folder and result reveal
    arguments: dict[str, str]  # those that affect the result, keyed by path
    metrics: dict[str, pd.Series[float]]  # values by epoch, from 1; several per epoch if logged more often
    result: Result | CrossValidated | None  # of a finished fit or cross-validation; None for others
    name: str  # its path below runs/<task>, or its last two folders if it lies elsewhere
    best: float = math.nan
    last: float = math.nan

    @property
    def state(self) -> str:
        """Whether it is unfinished, or how many folds and views it has, in words; empty otherwise."""
        if self.result is None or "folds" not in self.result:
            return "" if self.result else "unfinished"
        views = f", {self.result['views']} views" if self.result.get("views", 1) > 1 else ""
        return f"{self.result['folds']} folds{views}"

    @property
    def seed(self) -> str:
        return self.arguments.get("seed_everything", "")

    @property
    def row(self) -> dict[str, object]:
        epochs = max((int(curve.index.max()) for curve in self.metrics.values()), default=0)
        minutes = round(self.result["seconds"] / 60, 1) if self.result else math.nan
        return {"best": self.best, "last": self.last, "epochs": epochs, "minutes": minutes}


def find_runs(words: Sequence[str]) -> list[Path]:
    """Find run folders (``version_N`` with a ``config.yaml``), each once: a link such as ``latest`` is not a run.

    Raises:
        UserError: a folder does not exist, or none contains a run.
    """
    found: dict[Path, None] = {}
    for word in words:
        pattern = has_magic(word) and not Path(word).exists()
        folders = filter(os.path.isdir, sorted(glob(word, recursive=True))) if pattern else [word]  # noqa: PTH207
        for folder in map(Path, folders):
            if not folder.is_dir():
                raise UserError(f"{folder}: no such folder; give one of runs, such as {RUNS}/<task>")
            inside = [folder] if (folder / "config.yaml").is_file() else []
            inside += [path.parent for path in sorted(folder.rglob("version_*/config.yaml"))]
            found.update(dict.fromkeys(path.resolve() for path in inside))
    if not found:
        raise UserError(f"{' '.join(words)}: no run there (a folder version_N with config.yaml)")
    return list(found)


def read_run(path: Path) -> tuple[Run, list[str]]:
    """Read a run folder; also return what is wrong with it, one line for each fault.

    Raises:
        UserError: its task cannot be determined, or its ``config.yaml`` cannot be read.
    """
    try:
        settings = read_config(path / "config.yaml")
    except UserError as error:
        raise UserError(f"{error}; fix it, or leave this run out") from None
    metrics, notes = read_metrics(path / "metrics.csv")
    about = read_json(path / "run.json", About, notes)
    if about is not None and about["monitor"] not in ("", *about["directions"]):
        raise UserError(f"{path / 'run.json'}: no direction of {about['monitor']}; fix it, or leave this run out")
    if (result := read_json(path / RESULT, Result, notes)) is None and is_finished(path):
        notes[-1] += ": the run counts as unfinished"
    if (below := below_runs(path)) is None and about is None:
        raise UserError(f"{path}: no run.json, and not below {RUNS}/<task>; leave it out")
    about = about or _earlier(below[0] if below else "", result, metrics)
    name = below[1] if below else "/".join(path.parts[-2:])
    arguments = in_words(experiment(settings, about["machine"]))
    digests = ("images", "extra", "teachers", "pretrained")
    arguments |= {name: str(digest)[:8] for name in digests if (digest := about.get(name))}
    if changed := about.get("changed"):
        arguments["resumed with another"] = ", ".join(changed)
    return Run(path, about, arguments, metrics, result, name), notes


def _earlier(task: str, result: Result | None, metrics: dict[str, pd.Series[float]]) -> About:
    """Describe a run of an earlier version, which has no ``run.json``, from its folder and its result."""
    from common.arguments import machine_arguments  # only this rare branch needs these imports
    from common.data import ImageData

    machine = sorted(machine_arguments(object, ImageData))
    about: About = {"task": task, "monitor": "", "directions": {}, "machine": machine}
    metric, best = (str(result.get("metric")), result.get("best")) if result else ("", None)  # none if it saved none
    curve = metrics.get(metric)  # a constant one does not reveal whether higher or lower is better
    if isinstance(best, int | float) and curve is not None and curve.min() < curve.max():
        direction: Direction = "min" if math.isclose(best, curve.min(), rel_tol=1e-5) else "max"
        about |= {"monitor": metric, "directions": {metric: direction}}
    return about


def below_runs(path: Path) -> tuple[str, str] | None:
    """Split ``.../runs/<task>/<name>/version_N`` into the task and what follows; None for any other path."""
    for end in range(len(path.parts) - 1, 1, -1):
        if path.parts[end - 2] == RUNS:
            return path.parts[end - 1], "/".join(path.parts[end:])
    return None
