"""Configurations: YAML files, read as plain values."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from common.errors import UserError

MOST_VALUES = 100_000
CLASS_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def read_config(path: Path) -> dict[str, object]:
    """Read a configuration, whose keys are text.

    Raises:
        UserError: it is not YAML of plain values, a name appears twice in it, it holds more than ``MOST_VALUES``, or a
            ``class_path`` is not a name.
    """
    try:
        settings = yaml.load(path.read_text(encoding="utf-8"), Loader=_OneOfEach)
        if _number(settings, {}) > MOST_VALUES:
            raise UserError(f"{path}: over {MOST_VALUES:,} values, too many for a configuration")
        if not isinstance(settings, dict) or not _plain(settings):
            raise UserError(f"{path} is not a configuration: give names with values below them")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # Only the place and the problem of YAML's long message.
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}: {getattr(error, 'problem', '')}" if mark else f" ({type(error).__name__})"
        raise UserError(f"{path} cannot be read as YAML{where}") from None
    return settings


class _OneOfEach(yaml.SafeLoader):  # type: ignore[misc]
    """Refuses a repeated key, of which YAML's plain loader silently keeps the last, and numbers such as 010 or 1:30,
    which it reads as 8 and 90.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in lines:
                    where = f"lines {lines[key.value]} and {key.start_mark.line + 1}"
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key.value} appears twice, {where}: join them, or leave one out", key.start_mark
                    )
                lines[key.value] = key.start_mark.line + 1
        return dict(super().construct_mapping(node, deep))

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if re.match("[-+]?0[0-9_]|[^:]*:", node.value):
            problem = f"{node.value} may be {super().construct_yaml_int(node)}, as YAML has it, or what it looks like"
            remedy = "write a plain number, or text in quotes"
            raise yaml.constructor.ConstructorError(None, None, f"{problem}: {remedy}", node.start_mark)
        return int(super().construct_yaml_int(node))


_OneOfEach.add_constructor("tag:yaml.org,2002:int", _OneOfEach.construct_yaml_int)


def _number(value: object, known: dict[int, int]) -> int:
    """Count values once for each reference to them, since a few lines of references can stand for billions."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = MOST_VALUES + 1  # in case it contains itself
        inner = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_number(one, known) for one in inner)
    return known[id(value)]


def _plain(value: object) -> bool:
    """Whether keys are text, and class paths are names of classes, since nothing else may be imported."""
    if isinstance(value, list):
        return all(map(_plain, value))
    if not isinstance(value, dict):
        return True
    name = value.get("class_path", "a")
    if not (isinstance(name, str) and CLASS_PATH.fullmatch(name)):
        raise UserError(f"class_path: {name!r:.100} is not a class; give one such as common.optim.LearningRateFinder")
    return all(isinstance(key, str) and _plain(inner) for key, inner in value.items())
