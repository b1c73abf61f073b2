"""Weights that a fit starts from: files of a state dict and checkpoints of earlier fits, read as plain tensors."""

from __future__ import annotations

import hashlib
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError

import torch
from torch import Tensor

from common.arguments import Settings
from common.errors import UserError, counted, listed
from common.files import shown
from common.machine import is_first_process
from common.networks import Normalize, head_of
from common.runs import LATEST, RUNS, below_runs
from common.split import Split

if TYPE_CHECKING:
    from common.task import AnyTask

Pretrained = bool | str
State = Mapping[str, Tensor]

DAMAGED = "it is damaged or not a checkpoint; give another, such as last.ckpt of the same run"
BUILT_WITH = ("backbone", "stem", "head", "channels")  # arguments that determine which weights a backbone has


def is_checkpoint(pretrained: Pretrained) -> bool:
    """Whether ``--model.pretrained`` names a checkpoint, whose weights :func:`take_weights` loads."""
    return isinstance(pretrained, str) and pretrained.endswith(".ckpt")


def identify(pretrained: object) -> str:
    """Digest the file that ``--model.pretrained`` names, of a checkpoint the weights alone, or return the argument."""
    if not isinstance(pretrained, str) or not Path(pretrained).is_file():
        return str(pretrained)
    if not is_checkpoint(pretrained):
        with Path(pretrained).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    return digest_weights(load_checkpoint(Path(pretrained), "--model.pretrained")["state_dict"])


def digest_weights(state: State) -> str:
    """Digest the tensors of a state dict and their names."""
    digest = hashlib.sha256()
    for name, weights in sorted(state.items()):
        digest.update(name.encode() + weights.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def is_damaged(path: Path) -> bool:
    """Whether a file is not what torch.save wrote; torch itself does not verify the checksums in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            # Compressed members are refused, so that no small file becomes a large one in memory.
            stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
            fits = sum(member.file_size for member in members) <= path.stat().st_size
            return not (stored and fits) or archive.testzip() is not None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, LookupError):
        return True


def load_checkpoint(path: Path, flag: str, task: str = "<task>") -> Settings:
    """Load what a fit of any task has saved; its checksums are verified here, once.

    Raises:
        UserError: the file is missing, damaged, not a checkpoint, or holds objects other than tensors and values; the
            error names the flag.
    """
    if not path.is_file():
        raise UserError(f"{flag} {path}: {_why_absent(path)}")
    if is_damaged(path):
        raise UserError(f"{flag} {path}: {DAMAGED}")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except OSError:
        raise
    except Exception as error:  # torch's readers raise RuntimeError, UnpicklingError, EOFError, KeyError, ...
        if "weights_only" in str(error).lower() or "Unsupported" in str(error):
            reason = "it holds pickled objects, which could run code, and is not loaded"
        else:
            reason = DAMAGED
        raise UserError(f"{flag} {path}: {reason}") from None
    parts = ["state_dict", "hyper_parameters", "datamodule_hyper_parameters", "trainer", "callbacks"]
    whole = isinstance(saved, dict) and {"state_dict", "hyper_parameters", "task"} <= saved.keys()
    if not whole or not all(_named(saved.get(part, {})) for part in parts):
        raise UserError(f"{flag} {path}: not a checkpoint of python -m {task} fit; give one")
    return dict(saved)


def _why_absent(path: Path) -> str:
    """Say what to do about a checkpoint that is not a file: fit the run it would belong to, if its path names one."""
    if path.is_dir():
        inside = next((str(found) for found in sorted(path.rglob("*.ckpt"))), "last.ckpt of a run")
        return f"is a folder; give a file, such as {inside}"
    task, below = below_runs(path) or ("", "")
    name = re.match(rf"(.+)/(?:{LATEST}|version_[0-9]+)/checkpoints/", below)
    if name is None or path.parents[1].exists():
        return f"no such file; give another, such as {RUNS}/<task>/<name>/{LATEST}/checkpoints/last.ckpt"
    config = Path("configs", f"{name[1]}.yaml")
    how = f"--config {config}" if config.is_file() else f"--name {name[1]}, with its --config"
    return f"no such file; fit that run first, by python -m {task} fit {how}, or give another"


def _named(part: object) -> bool:
    return isinstance(part, dict) and all(isinstance(name, str) for name in part)


def not_downloaded(name: str, url: str, reason: object) -> UserError:
    """Make the error for published weights that cannot be downloaded, which says what to do."""
    return UserError(
        f"cannot download the pretrained weights of {name} ({reason}); fetch {url} elsewhere and give "
        f"--model.pretrained {url.rpartition('/')[2]}, or train from random weights with --model.pretrained false"
    )


def read_state(path: str, expected: str, download: Callable[[], object] | None = None) -> dict[str, Tensor]:
    """Read a file of weights, in ``.safetensors`` or torch.save's format, or the result of ``download``.

    Raises:
        UserError: it is missing or not a state dict; the error says what was ``expected``.
        URLError: it cannot be downloaded.
    """
    where = f"--model.pretrained {path}"
    state: object
    try:
        if download is not None:
            state = download()
        elif path.endswith(".safetensors"):
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except URLError:
        raise
    except OSError as error:
        raise UserError(f"{where}: {error.strerror or error}; expected {expected}") from None
    except Exception as error:  # readers raise RuntimeError, UnpicklingError, EOFError, SafetensorError, ...
        reason = str(error).split(".")[0].split("\n")[0] or type(error).__name__
        raise UserError(f"{where}: not a file of weights ({reason}); expected {expected}") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        hint = " (of a fit's checkpoint, give the .ckpt)" if isinstance(state, dict) and "state_dict" in state else ""
        raise UserError(f"{where}: not a state dict of tensors{hint}; expected {expected}")
    return state


def take_weights(model: AnyTask, path: str) -> Split | None:
    """Start from the encoders of an earlier fit, of this task or another, and say on stderr what was loaded.

    The output layer (the head) is loaded if its outputs mean the same: those of the same task, with as many classes in
    the same order, and with equal ``model.output_arguments``.

    Returns:
        The rows that the earlier fit was trained on, if it was of this task and says so.

    Raises:
        UserError: the file is not a checkpoint, or its encoder was built or its images were normalised differently.
    """
    saved = load_checkpoint(Path(path), "--model.pretrained")
    state, theirs = saved["state_dict"], saved["hyper_parameters"]
    if not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"--model.pretrained {path}: {DAMAGED}")
    _check_arguments(path, model, theirs, state)
    own, names = model.state_dict(), list(model.encoder.state_dict())
    head = [name for name in names if name.rpartition(".")[0] in head_of(model.encoder)]
    body = [name for name in names if name not in head] or head
    encoders, sources = _encoders(own, body), _encoders(state, body)
    if not sources:
        raise UserError(f"--model.pretrained {path}: it has no such encoder (no {body[0]})")
    if len(sources) > 1 and set(encoders) != set(sources):
        several = " and ".join(source.rstrip(".") for source in sources)
        line = f"it has {len(sources)} encoders ({several}), this network {len(encoders)}"
        raise UserError(f"--model.pretrained {path}: {line}")
    begins = [(encoder, encoder if encoder in sources else sources[0]) for encoder in encoders]
    heads = [(own[to + name], state.get(at + name)) for to, at in begins for name in head]
    reasons = _other_outputs(saved, model, heads)
    taken = [name for name in names if not (reasons and name in head)]
    moved = {to + name: state[at + name] for to, at in begins for name in taken}
    if other := [name for name in moved if moved[name].shape != own[name].shape]:
        shapes = " there, ".join("×".join(map(str, tensors[other[0]].shape)) for tensors in (moved, own))
        size = f"; its --model.image_size is {theirs['image_size']}" if "image_size" in theirs else ""
        differ = counted(len(other), "tensor differs", "tensors differ")
        raise UserError(f"--model.pretrained {path}: {differ} ({other[0]}: {shapes} here){size}")
    model.load_state_dict(moved, strict=False)
    if is_first_process():
        left = f"; not taken: {listed(head)} ({'; '.join(reasons)})" if reasons else ""
        print(
            f"pretrained: {len(moved)} of {len(names) * len(encoders)} tensors from {shown(path)}{left}",
            file=sys.stderr,
        )
    split = split_of(saved, f"--model.pretrained {path}") if saved["task"] == model.task else None
    if split is None and saved["task"] == model.task and is_first_process():
        what = "of an earlier version, which does not tell from which images it has learned"
        print(f"warning: --model.pretrained {path}: {what}: figures may be too optimistic", file=sys.stderr)
    return split


def split_of(saved: Settings, given: str) -> Split | None:
    """Return the split of the fit that saved a checkpoint, from :func:`load_checkpoint`; None in earlier versions'.

    Raises:
        UserError: it is damaged; the error names what was ``given``.
    """
    parts = [part for part in saved.values() if isinstance(part, dict) and isinstance(part.get("split"), dict)]
    try:
        return Split(**parts[0]["split"]) if parts else None
    except TypeError:
        raise UserError(f"{given}: {DAMAGED}") from None


def _check_arguments(path: str, model: AnyTask, theirs: Settings, state: State) -> None:
    """Refuse weights of another network, or weights learned with another normalisation."""
    ours = model.hparams
    for name in BUILT_WITH:
        if name in theirs and name in ours and theirs[name] != ours[name]:
            line = f"its --model.{name} is {theirs[name]}, that of this fit {ours[name]}; give {theirs[name]}"
            raise UserError(f"--model.pretrained {path}: {line}")
    if isinstance(model.normalize, Normalize) and "normalize" in theirs:
        learned = Normalize(theirs["normalize"], theirs.get("channels", 3))
        if not learned.is_like(model.normalize, state):
            line = f"its weights were learned with --model.normalize {learned.mode}, this fit has"
            raise UserError(f"--model.pretrained {path}: {line} {model.normalize.mode}; give {learned.mode}")


def _encoders(state: State, names: Iterable[str]) -> list[str]:
    """Find the prefixes in a state dict under which there are tensors of all these names."""
    first, *others = names
    starts = [key.removesuffix(first) for key in state if key.endswith(f".{first}")]
    return [start for start in starts if all(start + name in state for name in others)]


def _other_outputs(saved: Settings, model: AnyTask, heads: Iterable[tuple[Tensor, Tensor | None]]) -> list[str]:
    """Say how the outputs of a checkpoint's network differ in meaning from the model's.

    ``heads`` holds the tensors of this network's last layers, each with its counterpart in the checkpoint.
    """
    reasons = []
    if saved["task"] != model.task:
        reasons.append(f"outputs of {saved['task']} there, of {model.task} here")
    elif saved.get("classes", model.classes) != model.classes:
        reasons.append("other classes there")
    for name in model.output_arguments if saved["task"] == model.task else ():
        theirs = saved["hyper_parameters"].get(name)
        if theirs != model.hparams[name]:
            reasons.append(f"{name} {theirs} there, {model.hparams[name]} here")
    for ours, other in heads:
        if other is None or ours.shape != other.shape:
            there = "no outputs" if other is None or other.ndim == 0 else counted(len(other), "output")
            reasons.append(f"{there} there, {len(ours)} here")
    return list(dict.fromkeys(reasons))
