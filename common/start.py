"""What a command does while it imports the libraries, before any of them is there."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collecting() -> Iterator[None]:
    """Collect no garbage in the block, which imports libraries, and leave what they made out of later collections.

    They stay until the end. To look for garbage among their million objects takes an eighth of the start, and then
    half a second every few hundred steps.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
    if not gc.get_freeze_count():  # of a second command in the same process, it would keep the garbage of the first
        gc.freeze()
