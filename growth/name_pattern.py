"""The user's photos in one folder, whose names encode plant and day as ``--data.pattern`` says.

    BR017-{plant}-{date}_{*}_sv_{camera}

A pattern matches whole names without their suffix: ``{plant}``, ``{date}`` (including any time of day, as in
:mod:`growth.days`) or ``{day}`` (a number), ``{species}`` and ``{camera}`` if there are several, and ``{*}`` for
anything, even nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from common.errors import UserError, counted, listed
from common.image_files import ImageFile
from growth.days import fault_of_number
from growth.marks import ends_of_date
from growth.names import refuse_alike, refuse_dates_as_numbers
from growth.photos import days_in_names, refuse_uncertain
from growth.words import BACKWARDS, DAYS, HALVES, OTHER_UNITS, with_dashes

FIELDS = ("plant", "date", "day", "species", "camera", "*")
MAX_LENGTH = 255  # of a name
_NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")  # unsigned: a dash before a number is a separator
_CALLED_DAYS = re.compile(r"(?<![^\W\d_])(?:day|da[tsp]|d)[\W_]*$", re.IGNORECASE)  # before a number

Fields = tuple[tuple[str, str], ...]  # names and texts, in the order of the pattern


def read_names(root: Path, found: Mapping[str, ImageFile], pattern: str) -> pd.DataFrame:
    """Read the names of photos into a table: file, path, where, species, plant, day and camera of each.

    Args:
        root: the folder.
        found: the photos in it, by relative path.
        pattern: the pattern of their names.

    Raises:
        UserError: the pattern is invalid; a photo lies in a subfolder; a name does not match, or matches in two ways; a
            day or a date is invalid; two photos share plant, camera and moment.
    """
    tokens = parse_pattern(pattern)
    if astray := [path for path in found if "/" in path]:
        lie = counted(len(astray), "lies", "lie")
        raise UserError(
            f"--data.pattern {pattern} is for one folder of photos, but {lie} in folders of {root}: "
            f"{listed(astray)}; move each out of it, or tell days by photos.csv instead of the pattern"
        )
    split = {path: split_name(tokens, PurePosixPath(path).stem) for path in found}
    if unlike := [path for path, readings in split.items() if not readings]:
        count = "matches none" if len(unlike) == len(split) else f"does not match {len(unlike)}"
        remedy = "it stands for whole names without their suffix; move these elsewhere, or widen it, as by {*}"
        raise UserError(
            f"--data.pattern {pattern} {count} of the {len(split)} photos in {root}: {listed(unlike)}; {remedy}"
        )
    if unsure := [f"{path} ({_shown(one)} or {_shown(two)})" for path, (one, *more) in split.items() for two in more]:
        count = f"{counted(len(unsure), 'name')} in two ways"
        raise UserError(f"--data.pattern {pattern} matches {count}: {listed(unsure)}; narrow it, or write photos.csv")
    table = pd.DataFrame([dict(readings[0]) for readings in split.values()]).reindex(
        columns=[*FIELDS[:-1], "doubt"], fill_value=""
    )
    table["doubt"] = table["doubt"].fillna("")
    table["path"] = table["where"] = list(found)
    refuse_uncertain(root, table["path"], table["doubt"].tolist())
    table["file"] = table["path"].map(found.__getitem__)
    table["day"] = _days(root, table)
    refuse_alike(root, table)
    same = table[table.duplicated(["plant", "day", "camera"], keep=False)].sort_values(["plant", "day", "camera"])
    if len(same):
        remedy = "remove one of each, or say by {camera} what tells them apart"
        raise UserError(f"{root}: two photos of one plant and moment: {listed(same['path'])}; {remedy}")
    return table


def parse_pattern(pattern: str) -> list[str]:
    """Split a pattern into literal texts and fields such as ``{plant}``.

    Raises:
        UserError: a field is unknown, repeated or missing, or a brace is unmatched.
    """

    def refuse(reason: str) -> UserError:
        fields = " ".join(f"{{{name}}}" for name in FIELDS)
        return UserError(f"--data.pattern {pattern}: {reason}; such as BR017-{{plant}}-{{date}}_{{*}}, of {fields}")

    tokens = [token for token in re.split(r"(\{[^{}]*\})", unicodedata.normalize("NFC", pattern)) if token]
    names = [token[1:-1] for token in tokens if _is_field(token)]
    if len(pattern) > MAX_LENGTH:
        raise refuse(f"longer than {MAX_LENGTH} characters")
    if any(brace in token for token in tokens for brace in "{}" if not _is_field(token)):
        raise refuse("a brace without its other one")
    if unknown := [f"{{{name}}}" for name in names if name not in FIELDS]:
        raise refuse(f"no field {listed(unknown)}")
    if doubled := [f"{{{name}}}" for name in FIELDS[:-1] if names.count(name) > 1]:
        raise refuse(f"{listed(doubled)} appears twice")
    if "plant" not in names:
        raise refuse("no {plant}")
    if ("date" in names) == ("day" in names):
        raise refuse("both {date} and {day}" if "day" in names else "neither {date} nor {day}")
    if "day" in names:
        at = tokens.index("{day}")
        before, after = ("".join(part) for part in (tokens[at - 1 : at], tokens[at + 1 : at + 2]))
        unit = _unit(before, after, ("w|h|min|mo", "w|h|min|mo|left"))  # in names, left may be a side
        backwards = None if _CALLED_DAYS.search(before) else BACKWARDS.search(before) or BACKWARDS.search(after)
        if unit := unit or (backwards[0] if backwards else ""):
            raise refuse(f"numbers beside {unit} are no days, or count backwards; give photos.csv instead")
    if "/" in pattern or "\\" in pattern:
        raise refuse("it stands for names in one folder, without /")
    return tokens


def split_name(tokens: list[str], stem: str) -> list[Fields]:
    """Return the readings of a name, without ``{*}``: none if it does not match, two if more than one do.

    Every field except ``{*}`` takes at least one character.
    """

    stem = with_dashes(stem)
    literals = ["" if _is_field(token) else token for token in ("{}", *tokens, "{}")]  # one before the first

    @cache
    def rest(index: int, start: int) -> tuple[Fields, ...]:
        if index == len(tokens):
            return ((),) if start == len(stem) else ()
        token = tokens[index]
        if not _is_field(token):
            return rest(index + 1, start + len(token)) if stem.startswith(token, start) else ()
        name, readings = token[1:-1], dict[Fields, None]()
        before, after = literals[index], literals[index + 2]
        for end in _ends(name, stem, start):
            more, own = rest(index + 1, end), [(name, stem[start:end])] if name != "*" else []
            doubt = ""
            if name == "day":
                doubt = _doubt(stem, start, end, before, after)
            elif name == "date" and "{*}" in tokens[index + 1 : index + 3] and not re.search(r"[^\W\d_]", after):
                doubt = _half(stem, end)
            if doubt:
                own.append(("doubt", doubt))
            readings |= dict.fromkeys((*own, *one) for one in more)
            if len(readings) > 1:
                break
        return tuple(readings)[:2]

    return list(rest(0, 0))


def _unit(before: str, after: str, more: tuple[str, str] = ("(?!)", "(?!)")) -> str:
    """Return what, next to a number, says that it counts no days, or backwards; empty if there is nothing.

    Args:
        before, after: the texts beside the number.
        more: words that are units, too, before and after a number, as patterns.
    """
    if _CALLED_DAYS.search(before):
        return ""
    unit = re.search(rf"(?<![^\W_])(?:{OTHER_UNITS}|{more[0]})[\W_]*$", before, re.IGNORECASE)
    unit = unit or re.match(rf"[\W_]*(?:{OTHER_UNITS}|{more[1]})(?![^\W_])", after, re.IGNORECASE)
    unit = unit or re.match(r"[\W_]*(?:[주週周]|[時时]間|시간|[個个か]?月|개월|[日일][\W_]?[前전])", after)
    unit = unit or re.search(rf"(?:{BACKWARDS.pattern})[\W_]*$", before, re.IGNORECASE)
    unit = unit or re.match(rf"(?:[\W_]*{DAYS})?[\W_]*(?:{BACKWARDS.pattern})", after, re.IGNORECASE)
    return unit[0].strip(" _-") if unit else ""


def _half(stem: str, end: int) -> str:
    """Say that what follows a date, and is passed over, may be its time of day."""
    hour = r"[0-9]{1,2}\s?(?:h|uhr|[時时点點시])(?![^\W\d_])"
    half = re.match(rf"[\W_]*({HALVES.pattern}|{hour})", stem[end:], re.IGNORECASE)
    return f"{half[1]} after a date may tell the time of day" if half else ""


def _doubt(stem: str, start: int, end: int, before: str, after: str) -> str:
    """Say that a day may be negative, a fraction or no day, by what stands beside it that is no literal there."""
    if (not before or before[-1] in "-−–") and re.search("[-−–]$", stem[: start - len(before)]):
        return f"{stem[start:end]} may be a day, or a negative one"
    if after in ("", ",") and re.match(",[0-9]", stem[end:]):
        return f"{stem[start:end]} may be a day, or a part of {stem[start : end + 2]}"
    if unit := _unit(stem[:start], stem[end:]):
        return f"{stem[start:end]} may be a day, or not, since it stands beside {unit}"
    return ""


def _is_field(token: str) -> bool:
    return token.startswith("{") and token.endswith("}")


def _ends(name: str, stem: str, start: int) -> Iterable[int]:
    """Return where a field that starts at ``start`` may end."""
    if name == "date":
        return ends_of_date(stem, start)
    ends = range(start + (name != "*"), len(stem) + 1)
    return ends if name != "day" else [end for end in ends if _NUMBER.fullmatch(stem, start, end)]


def _shown(fields: Fields) -> str:
    return " ".join(f"{name}={text}" for name, text in fields)


def _days(root: Path, table: pd.DataFrame) -> np.ndarray:
    if table["date"].ne("").any():
        day, faults = days_in_names(table["plant"], table["date"], lambda _: ("", ""))
    else:
        refuse_dates_as_numbers(
            root, table["plant"], table["day"], "write them like 2024-05-31, and {date} in --data.pattern"
        )
        day = table["day"].to_numpy(np.float32)
        faults = [fault_of_number(float(text)) for text in table["day"]]
    refuse_uncertain(root, table["path"], faults)
    return day
