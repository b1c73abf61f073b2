"""Errors that a user can fix, shown as one line instead of a traceback."""

from __future__ import annotations

import difflib
import errno
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from common.platforms import Interrupted, remedy, show_any_text

# Refusals by the machine rather than the program: no space, a quota; no permission, a read-only disk, a folder that was
# removed meanwhile, a long name.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
REFUSALS = {*FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
REFUSALS |= {errno.ENAMETOOLONG, errno.ELOOP}


class UserError(Exception):
    """One line that names the file, row or flag at fault and says what to do."""

    def __str__(self) -> str:
        # File names may hold line breaks and terminal escape codes.
        return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in super().__str__())


def listed(items: Iterable[object], most: int = 10) -> str:
    """Join ``items`` with commas: the first ``most`` of them, and how many more there are."""
    texts = [text if len(text := str(item)) <= 200 else f"{text[:100]}…{text[-50:]}" for item in items]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def counted(number: int, one: str, several: str = "") -> str:
    """Say how many: ``one`` is what follows 1, and ``several`` what follows other numbers, by default with an s."""
    return f"{number} {one if number == 1 else several or f'{one}s'}"


def did_you_mean(names: Sequence[str]) -> str:
    """Suggest what a mistyped name may stand for; nothing if there are no ``names``."""
    return f"did you mean {' or '.join(names)}?" if names else ""


def no_such(flag: str, name: str, known: Iterable[str], listing: str) -> UserError:
    """Make the error for an unknown name, which suggests close ones; ``listing`` is what lists them all."""
    hint = did_you_mean(difflib.get_close_matches(name, list(known), n=3)) or f"see {listing}"
    return UserError(f"{flag} {name}: no such {flag.lstrip('-').rpartition('.')[2]}; {hint}")


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Turn a :class:`UserError`, or a refusal of the file system, into one line on stderr and exit code 2.

    Ctrl-C ends with code 130, as in a shell.
    """
    show_any_text()
    os.environ["MPLBACKEND"] = "agg"  # commands only write pictures; importing matplotlib fails if another is misspelt
    try:
        yield
    except UserError as error:
        message = str(error)
    except OSError as error:
        hint = remedy(error)
        if error.errno not in REFUSALS and not hint:
            raise
        shared = "" if error.filename else " (or, with --data.num_workers, in /dev/shm)"
        remedies = dict.fromkeys(FULL, f"free some space{shared}, or work on another disk")
        remedies[errno.ENAMETOOLONG] = "give a shorter one"
        hint = hint or remedies.get(error.errno or 0, "give a file or folder that you may use")
        message = f"{error.filename or 'cannot write'}: {error.strerror}; {hint}"
    except (KeyboardInterrupt, Interrupted):
        print("error: interrupted", file=sys.stderr)
        sys.exit(130)
    else:
        return
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
