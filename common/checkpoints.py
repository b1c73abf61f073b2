"""Checkpoints: found by name or pattern, and read without running anything that is pickled in them."""

from __future__ import annotations

import re
import sys
import zipfile
import zlib
from glob import glob, has_magic
from pathlib import Path
from typing import Any

import torch
from lightning import pytorch as pl

from common.errors import UserError

SHORTCUTS = ("last", "best")
PARTS = {"epoch", "global_step", "loops", "callbacks", "optimizer_states", "lr_schedulers"}  # of all that fit writes
DAMAGED = "it is damaged or no checkpoint; give another, such as last.ckpt of the same run"


def find_checkpoints(given: str | list[str], runs: Path, name: str | None) -> list[Path]:
    """Turn what was typed after ``--ckpt_path`` into files, each once, in the order given.

    Args:
        given: paths, patterns (``*``, ``?``, ``[...]``, and ``**`` for any folders), or last or best: of the newest
            run.
        runs: folder of the task's runs, where last and best are looked for.
        name: of the runs that last and best may be of; of any if None.

    Raises:
        UserError: a pattern matches nothing, or there is no run.
    """
    found: dict[Path, Path] = {}
    for word in [given] if isinstance(given, str) else given:
        if word in SHORTCUTS:
            paths = [_newest(word, runs, name)]
        elif has_magic(word) and not Path(word).exists():
            paths = sorted(Path(path) for path in glob(word, recursive=True))  # noqa: PTH207, of any root
            if not paths:
                raise UserError(f"--ckpt_path {word}: the pattern matches no file")
        else:
            paths = [Path(word)]
        for path in paths:
            found.setdefault(path.resolve(), path)  # a run is also found through its link, latest
    if not found:
        raise UserError("--ckpt_path names no file; give a checkpoint")
    return list(found.values())


def _newest(word: str, runs: Path, name: str | None) -> Path:
    home = name or "*"
    links = sorted(runs.glob(f"{home}/latest"), key=lambda link: link.lstat().st_mtime_ns)
    if not links:
        folds = sorted(runs.glob(f"{home}/*/latest/checkpoints/{word}.ckpt"))
        hint = f"'{runs / home}/*/latest/checkpoints/{word}.ckpt'" if folds else "a path"
        raise UserError(f"--ckpt_path {word}: no {word}.ckpt below {runs / home / 'latest'}; give {hint}")
    folder = links[-1].resolve() / "checkpoints"
    path = folder / f"{word}.ckpt"
    if not path.is_file():
        raise UserError(
            f"--ckpt_path {word}: the newest run has no {path} yet; give a path, or fit without --ckpt_path"
        )
    if word == "last" and _damaged(path):
        # Nothing that was typed names this file: the newest whole one is what was meant.
        others = sorted(folder.glob("*.ckpt"), key=lambda other: other.stat().st_mtime_ns, reverse=True)
        whole = next((other for other in others if not _damaged(other)), None)
        if whole is None:
            raise UserError(f"--ckpt_path last: {path} is damaged, and there is no other beside it; give a path")
        print(f"warning: {path} is damaged; taking {whole.name}, the newest whole one beside it", file=sys.stderr)
        return whole
    return path


def _damaged(path: Path) -> bool:
    """Whether a file is not what torch.save has written: torch does not compare the checksums in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            # Never packed, so that no small file becomes a large one in memory.
            stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
            fits = sum(member.file_size for member in members) <= path.stat().st_size
            return not (stored and fits) or archive.testzip() is not None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, LookupError):
        return True


def load_model(path: Path, model: type[pl.LightningModule]) -> tuple[pl.LightningModule, dict[str, Any]]:
    """Build the network of a checkpoint with its weights, to look at it; and give the checkpoint.

    Raises:
        UserError: as :func:`read_checkpoint`, or the weights do not fit.
    """
    checkpoint = read_checkpoint(path, model)
    settings = {**checkpoint["hyper_parameters"], "pretrained": False}
    settings.pop("_instantiator", None)
    try:
        loaded = model(**settings)
        loaded.load_state_dict(checkpoint["state_dict"])
    except (RuntimeError, TypeError, ValueError):
        raise UserError(f"--ckpt_path {path}: its weights do not fit the network that it describes") from None
    return loaded.eval().float(), checkpoint


def read_checkpoint(path: Path, model: type[pl.LightningModule]) -> dict[str, Any]:
    """Read a checkpoint of ``model``'s task and classes.

    Raises:
        UserError: it is absent, damaged, holds objects other than tensors and values, or is another task's.
    """
    task: str = model.task  # type: ignore[attr-defined]
    if not path.is_file():
        raise UserError(f"--ckpt_path {path}: no such file")
    if _damaged(path):
        raise UserError(f"--ckpt_path {path}: {DAMAGED}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except OSError:
        raise
    except Exception as error:  # torch's readers raise RuntimeError, UnpicklingError, EOFError, KeyError, ...
        if "weights_only" in str(error).lower() or "Unsupported" in str(error):
            reason = "it holds pickled objects, which could run code, and is not loaded"
        else:
            reason = DAMAGED
        raise UserError(f"--ckpt_path {path}: {reason}") from None
    if not isinstance(checkpoint, dict) or not {"state_dict", "hyper_parameters", "task"} <= checkpoint.keys():
        raise UserError(f"--ckpt_path {path}: not a checkpoint of python -m {task} fit")
    parts = ["state_dict", "hyper_parameters", "datamodule_hyper_parameters", "trainer", "callbacks"]
    if not all(_named(checkpoint.get(part, {})) for part in parts):
        raise UserError(f"--ckpt_path {path}: not a checkpoint of python -m {task} fit")
    if checkpoint["task"] != task:
        raise UserError(f"--ckpt_path {path}: a checkpoint of {checkpoint['task']}, not of {task}")
    ours = getattr(model, "classes", None)
    if not isinstance(theirs := checkpoint.get("classes", ours), type(ours)) or theirs != ours:
        theirs = theirs if isinstance(theirs, str) else "none of letters"
        raise UserError(f"--ckpt_path {path}: its classes are {theirs}, those of this task {ours}")
    if not _versioned(checkpoint.get("pytorch-lightning_version")) or not checkpoint.keys() >= PARTS:
        raise UserError(f"--ckpt_path {path}: parts of it are missing; give another, such as last.ckpt of the same run")
    return checkpoint


def _versioned(version: object) -> bool:
    return isinstance(version, str) and re.fullmatch(r"\d+\.\d+[\w.+]*", version) is not None


def _named(part: object) -> bool:
    return isinstance(part, dict) and all(isinstance(name, str) for name in part)
