"""What a command does while it imports the libraries, before any of them is there."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collecting() -> Iterator[None]:
    """Collect no garbage in the block, which imports libraries, and leave what they made out of later collections.

    They stay until the end, and to look for garbage among their million objects takes over a quarter of the start.
    """
    first = "torch" not in sys.modules  # a second command in one process would keep the garbage of the first
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
    if first:
        gc.freeze()
