"""The file of an offline W&B run, read with W&B's own messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK = 32 * 1024
HEADER = 7  # bytes, of the file and of each part of a record


def records(run: Path) -> Iterator[Any]:
    """Give the records of the run in ``run/wandb``, in order; the file is a LevelDB log of them."""
    (path,) = run.glob("wandb/offline-run-*/*.wandb")
    data, position, parts = path.read_bytes(), HEADER, b""
    while position + HEADER <= len(data):
        left = BLOCK - position % BLOCK
        if left < HEADER:
            position += left
            continue
        size, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        position += HEADER
        parts += data[position : position + size]
        position += size
        if kind in (1, 4):  # a whole record, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def configuration(run: Path) -> dict[str, Any]:
    """Give the configuration of a run, nested."""
    config: dict[str, Any] = {}
    for record in records(run):
        for update in [*record.config.update, *record.run.config.update]:
            config[update.key] = json.loads(update.value_json)
    return config


def logged(run: Path) -> set[str]:
    """Name all that is in the history of a run."""
    items = (item for record in records(run) for item in record.history.item)
    return {item.key or item.nested_key[0] for item in items}
