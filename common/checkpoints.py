"""Checkpoints: found by name or pattern, and read without running any code pickled in them."""

from __future__ import annotations

import filecmp
import io
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TypedDict, TypeVar

import torch

from common.arguments import Settings
from common.calibration import Calibration, average_calibrations
from common.errors import UserError
from common.familiar import Familiar
from common.files import expand, write_bytes
from common.pretrained import DAMAGED, is_damaged, load_checkpoint
from common.runs import LATEST, is_finished, is_fold, latest_of, newest_run
from common.split import Split
from common.task import AnyTask

SHORTCUTS = ("last", "best")
PARTS = {"epoch", "global_step", "loops", "callbacks", "optimizer_states", "lr_schedulers"}  # of all that fit writes
MISFIT = "its weights do not fit the network that it describes"

Task = TypeVar("Task", bound=AnyTask)


def find_checkpoints(given: Sequence[str], runs: Path, name: str | None) -> list[Path]:
    """Turn what was typed after ``--ckpt_path`` into files, each once, in the order given.

    Args:
        given: paths, patterns (``*``, ``?``, ``[...]``, and ``**`` for any folders), or last or best, which mean those
            of the newest run.
        runs: folder of the task's runs, where last and best are looked up.
        name: name of the runs among which last and best are looked up; all if None.

    Raises:
        UserError: a pattern matches nothing, or there is no run.
    """
    found: dict[Path, Path] = {}
    for word in given:
        for path in [_newest(word, runs, name)] if word in SHORTCUTS else expand_checkpoints("--ckpt_path", word):
            found.setdefault(path.resolve(), path)  # a run may also be found through the link latest
    paths = list(found.values())
    for one, other in combinations([path for path in paths if path.is_file()], 2):
        if filecmp.cmp(one, other, shallow=False):
            print(f"warning: --ckpt_path {other} is a copy of {one}, which thus counts twice", file=sys.stderr)
    return paths


def expand_checkpoints(flag: str, word: str) -> list[Path]:
    """Turn what was typed after a flag into paths; without symbolic links, ``latest`` in it means the newest run.

    Raises:
        UserError: it is a pattern that matches nothing.
    """
    parts = Path(word).parts
    if LATEST in parts:
        place = parts.index(LATEST)
        with suppress(UserError):  # the whole word is refused below instead
            homes = expand(flag, str(Path(*parts[:place])))
            if not any((home / LATEST).is_symlink() for home in homes):  # a copied folder stays as it was
                runs = [run.joinpath(*parts[place + 1 :]) for home in homes if (run := latest_of(home))]
                if found := [path for run in runs for path in expand(flag, str(run))]:
                    return found
    return expand(flag, word)


def _newest(word: str, runs: Path, name: str | None) -> Path:
    run = newest_run(runs, name)
    if run is None:
        raise UserError(f"--ckpt_path {word}: no run in {runs / (name or '')}; fit first, or give a path")
    if is_fold(run):
        pattern = run.parent.parent / "fold_*" / "latest" / "checkpoints" / f"{word}.ckpt"
        raise UserError(f"--ckpt_path {word}: the newest run is one fold, {run}; give its path, or '{pattern}' for all")
    path = run / "checkpoints" / f"{word}.ckpt"
    if not path.is_file():
        raise UserError(f"--ckpt_path {word}: the newest run has no {path} yet; give a path")
    if word == "last" and is_damaged(path):
        # The word typed does not name this file: it means the newest intact one.
        others = sorted(path.parent.glob("*.ckpt"), key=lambda other: other.stat().st_mtime_ns, reverse=True)
        whole = next((other for other in others if not is_damaged(other)), None)
        if whole is None:
            raise UserError(f"--ckpt_path last: {path} is damaged, and there is no other beside it; give a path")
        print(f"warning: {path} is damaged; taking {whole.name}, the newest whole one beside it", file=sys.stderr)
        return whole
    return path


def run_of(path: Path) -> Path:
    """Return the run folder that contains a checkpoint, or else its own folder."""
    return path.parent.parent if path.parent.name == "checkpoints" else path.parent


class DataState(TypedDict):
    """The position of a fit and its rows, as from ``ImageData.state_dict``."""

    fit_seed: int
    epoch: int
    batch: int
    split: Settings
    familiar: Familiar


class Origin(TypedDict):
    """What a fit started from."""

    given: str  # --model.pretrained, as text
    pretrained: str  # of the weights, as from identify
    changed: list[str]  # the settings that were others before it was resumed, as of model.lr


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds besides its weights."""

    path: Path  # the file
    model: Settings  # the arguments it was fitted with
    data: Settings  # likewise
    trainer: Settings  # of the Trainer's, those that a resumed fit inherits
    # What the data module restores: the position of the fit, its split, and which images are familiar.
    data_state: DataState | None  # None in checkpoints of earlier versions
    chosen: Sequence[str]  # names of the model's arguments that the fit chose from its data
    precision: str | None  # of the Trainer; None in checkpoints of earlier versions
    callbacks: frozenset[str]  # names of the callbacks whose state it holds
    epoch: int  # that it was written in, from 0
    epochs: int  # how many were fitted
    step: int  # how many optimizer steps were taken
    score: float | None  # the best value so far of the monitored metric; None if nothing was validated
    calibration: Mapping[int, Calibration]  # what was learned from held-out rows, by the number of views averaged
    origin: Origin | None  # None in checkpoints of earlier versions

    @property
    def run(self) -> Path:
        """The run folder that contains it, or else its own folder."""
        return run_of(self.path)

    @property
    def split(self) -> Split | None:
        """The rows that it was fitted with; None in checkpoints of earlier versions."""
        saved = self.data_state.get("split") if self.data_state else None
        return Split(**saved) if saved else None

    @property
    def familiar(self) -> Familiar | None:
        """What its training images look like; None in checkpoints of earlier versions."""
        return self.data_state.get("familiar") if self.data_state else None

    @property
    def unfinished(self) -> bool:
        """Whether it belongs to a run that has not finished."""
        return self.path.parent.name == "checkpoints" and not is_finished(self.run)

    def build(self, task: type[Task]) -> Task:
        """Build the fitted network, in evaluation mode.

        Raises:
            UserError: the weights do not fit the network that the checkpoint describes.
        """
        try:
            model = task.build(self.model)
        except (RuntimeError, TypeError, ValueError):
            raise UserError(f"--ckpt_path {self.path}: {MISFIT}") from None
        self.load_into(model)
        return model.eval()

    def load_into(self, model: AnyTask) -> None:
        """Load the weights into a network.

        Raises:
            UserError: they do not fit.
        """
        weights = torch.load(self.path, map_location="cpu", weights_only=True, mmap=True)["state_dict"]
        try:
            model.load_state_dict(weights)
        except (RuntimeError, TypeError, AttributeError):
            raise UserError(f"--ckpt_path {self.path}: {MISFIT}") from None
        model.calibration = average_calibrations([self.calibration], 1)

    def recalibrate(self, views: int, calibration: Calibration) -> None:
        """Store in the file a calibration of estimates averaged over views, from more held-out rows than its own."""
        if self.calibration.get(views) == dict(calibration):
            return
        saved = load_checkpoint(self.path, "--ckpt_path")
        saved["calibration"] = {**self.calibration, int(views): dict(calibration)}  # plain, or loading would refuse it
        content = io.BytesIO()
        torch.save(saved, content)
        del saved  # it maps the file, which Windows would then not let us replace
        write_bytes(self.path, content.getbuffer())


def precision_of(members: Sequence[Checkpoint]) -> str | None:
    """Return the precision if a recipe chose it, 32-true; any other was the machine's choice."""
    return "32-true" if any(member.precision == "32-true" for member in members) else None


def read_checkpoint(path: Path, task: type[AnyTask], flag: str = "--ckpt_path") -> Checkpoint:
    """Read a checkpoint of a task with the same classes; its checksums are verified here, once.

    ``flag`` is how it was given.

    Raises:
        UserError: it is absent, is damaged, holds objects other than tensors and values, or is another task's.
    """
    saved = load_checkpoint(path, flag, task.task)
    if saved["task"] != task.task:
        raise UserError(
            f"{flag} {path}: a checkpoint of {saved['task']}, not of {task.task}; type python -m {saved['task']}"
        )
    theirs = saved.get("classes", task.classes)
    if not isinstance(theirs, type(task.classes)) or theirs != task.classes:
        theirs = theirs if isinstance(theirs, str) else "none of letters"
        raise UserError(f"{flag} {path}: its classes are {theirs}, those of this task {task.classes}")
    version = saved.get("pytorch-lightning_version")
    versioned = isinstance(version, str) and re.fullmatch(r"\d+\.\d+[\w.+]*", version)
    if not versioned or not saved.keys() >= PARTS:
        raise UserError(f"{flag} {path}: parts of it are missing; give another, such as last.ckpt of the same run")
    try:
        return _described(path, saved)
    except (LookupError, TypeError, AttributeError):
        raise UserError(f"{flag} {path}: {DAMAGED}") from None


def _described(path: Path, saved: Settings) -> Checkpoint:
    model, data = (
        {name: value for name, value in saved.get(part, {}).items() if name != "_instantiator"}
        for part in ("hyper_parameters", "datamodule_hyper_parameters")
    )
    # Lightning stores the state of a data module under the name of its class.
    state = next((name for name, part in saved.items() if isinstance(part, dict) and "fit_seed" in part), "")
    callbacks: dict[str, Settings] = saved["callbacks"]
    best = [state for key, state in callbacks.items() if key.startswith("BestCheckpoint")]
    score = best[0]["best_model_score"] if best else None
    return Checkpoint(
        path,
        model,
        data,
        saved.get("trainer", {}),
        saved.get(state),
        list(saved.get("chosen", [])),
        saved.get("precision"),
        frozenset(key.split("{")[0] for key in callbacks),
        saved["epoch"] or 0,
        saved["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"] if saved["loops"] else 0,
        saved["global_step"],
        None if score is None else float(score),
        saved.get("calibration", {}),
        saved.get("origin"),
    )
