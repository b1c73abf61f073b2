"""Configurations: YAML files, read as plain values."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import yaml
from jsonargparse import get_loader, set_loader

from common.arguments import as_typed
from common.errors import UserError

MOST_VALUES = 100_000
CLASS_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def read_config(path: Path, groups: Iterable[str] = ()) -> dict[str, object]:
    """Read a configuration, whose keys are text, and those of ``groups`` have settings or a file of them below.

    Raises:
        UserError: it is not YAML of plain values, a name appears twice in it, it holds more than ``MOST_VALUES``, a
            ``class_path`` is not a name, or a group is a single value.
    """
    try:
        settings = yaml.load(path.read_text(encoding="utf-8"), Loader=_OneOfEach)
        if _number(settings, {}) > MOST_VALUES:
            raise UserError(f"{path}: over {MOST_VALUES:,} values, too many for a configuration")
        plain = _plain(settings, path)
        if not (isinstance(settings, dict) and all(isinstance(key, str) for key in settings) and plain):
            raise UserError(f"{path} is not a configuration: give names with values below them")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # Only the place and the problem of YAML's long message.
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}: {getattr(error, 'problem', '')}" if mark else f" ({type(error).__name__})"
        raise UserError(f"{path} cannot be read as YAML{where}") from None
    if groups and "config" in settings:
        raise UserError(f"{path}: config: a configuration names no other; give both after --config")
    for name in groups:
        if not isinstance(value := settings.get(name, {}), dict | str):
            raise UserError(f"{path}: {name}: {as_typed(value)}: give names with values below {name}, or leave it out")
    return settings


class _OneOfEach(yaml.SafeLoader):  # type: ignore[misc]
    """Refuses a repeated key, of which YAML's plain loader silently keeps the last, and numbers such as 010 or 1:30,
    which it reads as 8 and 90.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                # model.lr and model: {lr} are one setting, too.
                same = [name for name in lines if key.value == name or f"{key.value}.".startswith(f"{name}.")]
                same += [name for name in lines if name.startswith(f"{key.value}.")]
                if same:
                    where = f"lines {lines[same[0]]} and {key.start_mark.line + 1}"
                    problem = f"{key.value} appears twice, {where}: join them, or leave one out"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                lines[key.value] = key.start_mark.line + 1
        return dict(super().construct_mapping(node, deep))

    def construct_number(self, node: yaml.ScalarNode) -> float:
        read = super().construct_yaml_int if node.tag.endswith("int") else super().construct_yaml_float
        if re.match("[-+]?0[0-9_]+$|[^:]*:", node.value):
            problem = f"{node.value} may be {read(node)}, as YAML has it, or what it looks like"
            remedy = "write a plain number, or text in quotes"
            raise yaml.constructor.ConstructorError(None, None, f"{problem}: {remedy}", node.start_mark)
        number: float = read(node)
        return number


for _kind in ("int", "float"):
    _OneOfEach.add_constructor(f"tag:yaml.org,2002:{_kind}", _OneOfEach.construct_number)


def load_strictly(text: str) -> object:
    """Read a value as jsonargparse does, from the command line or from a file that another names.

    Raises:
        yaml.YAMLError: it is refused as in :func:`read_config`.
    """
    yaml.load(text, Loader=_OneOfEach)
    return _load(text)


_load = get_loader("yaml")
set_loader("yaml", load_strictly, (yaml.YAMLError,))


def _number(value: object, known: dict[int, int]) -> int:
    """Count values once for each reference to them, since a few lines of references can stand for billions."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = MOST_VALUES + 1  # in case it contains itself
        inner = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_number(one, known) for one in inner)
    return known[id(value)]


def _plain(value: object, path: Path) -> bool:
    """Whether keys are text or whole numbers; refuse class paths that are not names of classes: they are imported."""
    if isinstance(value, list):
        return all(_plain(inner, path) for inner in value)
    if not isinstance(value, dict):
        return True
    name = value.get("class_path", "a")
    if not (isinstance(name, str) and CLASS_PATH.fullmatch(name)):
        wanted = "give one such as common.optim.LearningRateFinder"
        raise UserError(f"{path}: class_path: {name!r:.100} is not a class; {wanted}")
    return all(isinstance(key, str | int) and _plain(inner, path) for key, inner in value.items())
