"""Read the day of each photo of a plant from its name: a number, or a date counted from the first photo."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from growth.marks import MAX_DAY, Mark, find_marks, may_be_months_and_days
from growth.words import HALVES, with_dashes

MINUTES_OF_A_DAY = 24 * 60


def read_days(species: str, plant: str, stems: Sequence[str]) -> tuple[list[float], list[str]]:
    """Read the days of one plant's photos.

    A name that starts with the names of its folders is read after them: ``BC_03/BC_03_07.png`` is day 7. Other numbers
    may accompany a date if they are the same in all names.

    Args:
        species: the folder of the species.
        plant: the folder of the plant.
        stems: the photos' names without suffix, N.

    Returns:
        Days, N, as numbered in the names or, for dates, since the first photo, but none if any day is uncertain; and
        what makes each day uncertain, N, an empty string if nothing does.
    """
    stems = [with_dashes(stem) for stem in stems]
    marks = [find_marks(species, plant, stem) for stem in stems]
    # A date that all names have before a later one is that of sowing, say, and not the day.
    dates = [[mark for mark in found if mark.dated] for found in marks]
    firsts = {found[0].text for found in dates if len(found) == 2 and _is_earlier(*found)}
    if len(marks) > 1 and len(firsts) == 1 and all(len(found) == 2 and found[0].text in firsts for found in dates):
        marks = [[mark for mark in found if mark.text not in firsts] for found in marks]
    faults = [_fault(found) for found in marks]
    chosen = {row: max(marks[row], key=lambda mark: mark.dated) for row in range(len(stems)) if not faults[row]}
    forms = {mark.dated for mark in chosen.values()}
    times = {mark.time for mark in chosen.values() if mark.dated}
    clocks = {mark.clock for mark in chosen.values() if mark.dated}
    since = {mark.since for mark in chosen.values()} - {""}
    halves = {tuple(HALVES.findall(stems[row].lower().replace(mark.text.lower(), ""))) for row, mark in chosen.items()}
    beside = {tuple(mark.text for mark in marks[row] if mark is not chosen[row]) for row in chosen}
    constant = set.intersection(*({mark.text for mark in found} for found in marks)) if marks else set()
    # Dashes before all numbers of a plant are separators if some have leading zeros; otherwise they may be minus signs.
    divides = all(mark.dash for mark in chosen.values()) and any(
        mark.text.startswith("0") and len(mark.text) > 1 for mark in chosen.values()
    )
    bare = [mark.text for mark in chosen.values() if not (mark.dated or mark.named)]
    months = may_be_months_and_days(bare)
    for row, mark in chosen.items():
        if len(forms) > 1:
            faults[row] = f"{mark.text} is a {'date' if mark.dated else 'number'}, unlike others of the plant"
        elif len(since) > 1:
            faults[row] = f"{' and '.join(sorted(since))} count days from different events; write them alike"
        elif len(beside) > 1:
            faults[row] = _either([one for one in marks[row] if one is mark or one.text not in constant])
        elif mark.doubt and len(times) > 1:  # what all share does not change the days between them
            faults[row] = mark.doubt
        elif len(clocks) > 1:
            faults[row] = f"{mark.clock}, unlike others of the plant"
        elif len(halves) > 1:  # such as 2024-05-31 PM, or DAT07 evening
            faults[row] = f"AM or PM, but not after the time of {mark.text}, such as 2024-05-31 01.15 PM"
        elif months and mark.text in bare:
            faults[row] = f"{mark.text} may be day {mark.text} or the date {mark.text[:-2]}-{mark.text[-2:]}"
        elif mark.dash and not divides:
            faults[row] = f"-{mark.text} may be day {int(mark.text)} or day -{int(mark.text)}"
    if any(faults):
        return [], faults
    days = [next(iter(mark.readings.values())) for mark in chosen.values()]
    first = min((day for day in days if isinstance(day, datetime)), default=datetime.min)
    return [(day - first) / timedelta(days=1) if isinstance(day, datetime) else day for day in days], faults


def _is_earlier(one: Mark, other: Mark) -> bool:
    days = [*one.readings.values(), *other.readings.values()]
    return len(days) == 2 and isinstance(days[0], datetime) and isinstance(days[1], datetime) and days[0] < days[1]


def any_day_marked(plant: str, stems: Sequence[str]) -> bool:
    """Return whether any of a plant's names has a date, or a number marked as a day, such as DAT07."""
    return any(mark.dated or mark.named for stem in stems for mark in find_marks("", plant, stem))


def fault_of_number(day: float) -> str:
    """Say why a number of days cannot be one, or would lose its minutes in 32 bits; empty if it can."""
    if abs(day) > MAX_DAY:
        return f"not a day up to {MAX_DAY:,}"
    lost = abs(float(np.float32(day)) - day) * MINUTES_OF_A_DAY
    return "too large to keep its minutes: count days from the first photo" if lost > 1 else ""


def _fault(found: list[Mark]) -> str:
    """Say what makes the day of a name uncertain; empty if nothing does."""
    dates = [mark for mark in found if mark.dated]
    if not found:
        return "no number"
    if len(dates or found) > 1:
        return _either(found)
    mark = (dates or found)[0]
    if not mark.readings:
        return f"{mark.text} is neither a date nor a day up to {MAX_DAY:,}"
    return "" if len(mark.readings) == 1 else f"{mark.text} may be {' or '.join(mark.readings)}"


def _either(found: list[Mark]) -> str:
    if len(found) == 1:
        return f"{found[0].text} alone, unlike others of the plant"
    return f"{' or '.join(mark.text for mark in found)} may be the day"
