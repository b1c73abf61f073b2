"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from glob import escape, glob, has_magic
from pathlib import Path
from types import UnionType
from typing import Literal, NotRequired, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

from common.errors import UserError
from common.platforms import patiently

T = TypeVar("T")
OF_A_RUN = ("run.json", "result.json", "metrics.csv", "held_out.csv")  # beside its config.yaml


def expand(flag: str, word: str) -> list[Path]:
    """Turn what was typed into paths: a pattern (``*``, ``?``, ``[...]``, and ``**`` for any folders), or a name.

    What a pattern matches comes in the order of the numbers in the names, as in a folder.

    Raises:
        UserError: the pattern matches nothing, or there is no name.
    """
    if not word:
        raise UserError(f"{flag}: an empty name, as of a variable that is not set; give a file")
    if re.match(r"[A-Za-z][\w+.-]+://", word):
        raise UserError(f"{flag} {word}: URLs are not read; download the file, and give that")
    if not has_magic(word) or Path(word).exists():
        return [Path(word)]
    parts = Path(word).parts
    # A folder that is there means itself, even if its name is a pattern such as pot [1].
    there = next(number for number in range(len(parts), -1, -1) if Path(*parts[:number]).exists())
    pattern = Path(escape(str(Path(*parts[:there]))), *parts[there:])
    found = sorted(glob(f"{pattern}/" if word.endswith("/") else str(pattern), recursive=True))  # noqa: PTH207, of any root
    paths = [Path(name) for name in sorted(found, key=natural)]
    if not paths:
        raise UserError(f"{flag} {word}: the pattern matches no file")
    return paths


def other_case(folder: Path, names: Collection[str]) -> str:
    """Say which files of a folder have one of ``names`` in another case; empty if none has."""
    wanted = {name.lower(): name for name in names}
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    alike = [name for name in found if name.lower() in wanted and name not in names]
    return "".join(f" (rename {name} to {wanted[name.lower()]})" for name in alike)


def natural(name: str) -> list[str | int]:
    """Return a key that sorts ``photo 10`` after ``photo 9``."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def check_folder(path: Path, flag: str) -> None:
    """Refuse a folder that does not exist, before any work."""
    if not path.is_dir():
        raise UserError(f"{flag} {path}: no such folder; make it first")


def check_output(path: Path, flag: str, suffix: str = "") -> None:
    """Refuse a file that cannot be written, before any work.

    Raises:
        UserError: its folder does not exist or is read-only; it is something other than a file, one of a run's own, or
            of another kind than ``suffix``.
    """
    beside = path.with_name("config.yaml").is_file() and path.name in ("config.yaml", *OF_A_RUN)
    if path.exists() and (path.suffix == ".ckpt" or beside):
        raise UserError(f"{flag} {path}: belongs to a run, which would be ruined; give another name")
    if not path.parent.is_dir():
        raise UserError(f"{flag} {path}: the folder {path.parent} does not exist")
    if path.exists() and not path.is_file():
        raise UserError(f"{flag} {path}: is a folder or device; give the name of a file")
    if suffix and path.suffix != suffix:
        raise UserError(f"{flag} {path}: give the name of a {suffix} file")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"{flag} {path}: the folder {path.parent} cannot be written to; give another")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path`` to write to; it replaces ``path`` only if the block succeeds.

    Raises:
        UserError: ``path`` is something other than a file.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is a folder or device, where a file is to be written; remove it")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        patiently(lambda: temporary.replace(path))
    except OSError as error:
        if error.filename in (None, str(temporary)):  # unlike opening, writing names no file
            error.filename = str(path)  # the one the user knows
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file, whole or not at all, even if the power fails."""
    with replacing(path) as temporary, temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())  # otherwise the final name could be that of an empty file


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all; its lines end as in ``text``, such as a CSV of pandas."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it where that is impossible; neither changes when the other is replaced."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:  # another disk, or one without links
            shutil.copyfile(source, temporary)


def shown(path: Path | str) -> str:
    """Show a path, relative to the current folder if it is below it, with ``/``, which every system and shell takes."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # on another drive
        return Path(path).as_posix()
    return Path(path if relative.startswith("..") else relative).as_posix()


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``target`` when the block ends, and is removed if the block fails.

    Raises:
        UserError: ``target`` is a file, is not empty, or cannot be written.
    """
    home = target.expanduser().resolve()
    part = None
    try:
        if home.is_dir() and any(home.iterdir()):
            raise UserError(f"{target}: is not empty; choose another folder")
        if home.exists() and not home.is_dir():
            raise UserError(f"{target}: is a file; choose another folder")
        # An existing empty folder is filled, not replaced: it may be a mount or the current folder.
        filled = home.is_dir()
        parent = home if filled else home.parent
        parent.mkdir(parents=True, exist_ok=True)
        work = parent / f".{home.name}.part-{os.getpid()}"
        work.mkdir()
        part = work
        yield work
        if filled:
            for child in list(work.iterdir()):
                patiently(partial(child.rename, home / child.name))
        else:
            patiently(lambda: work.rename(home))
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{target}: cannot be written ({reason}); choose another folder or free space") from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def read_json(path: Path, wanted: type[T], notes: list[str]) -> T | None:
    """Read a JSON file of the type of a TypedDict; None if absent, or if damaged, with a note."""
    if not path.is_file():
        return None
    try:
        content: T = json.loads(path.read_text(encoding="utf-8"))
        if not _fits(content, wanted):
            raise ValueError
    except (ValueError, RecursionError):
        notes.append(f"{path} is damaged")
        return None
    return content


def _fits(value: object, hint: object) -> bool:
    """Whether a value read from JSON is of a type: a TypedDict, list, dict, Literal, union or class."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin is NotRequired:
        return _fits(value, inside[0])
    if is_typeddict(hint):
        hints = get_type_hints(hint, include_extras=True)
        return isinstance(value, dict) and all(
            _fits(value[key], kind) if key in value else get_origin(kind) is NotRequired for key, kind in hints.items()
        )
    if origin in (Union, UnionType):
        return any(_fits(value, kind) for kind in inside)
    if origin is list:
        return isinstance(value, list) and all(_fits(one, inside[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(one, inside[1]) for one in value.values())
    if origin is Literal:
        return value in inside
    kinds = (float, int) if hint is float else hint
    assert isinstance(kinds, type | tuple)
    return isinstance(value, kinds)
