"""One answer from several: average outputs over views of the images and over the checkpoints of an ensemble."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

import numpy as np
import torch
from lightning import pytorch as pl
from torch import Tensor

from common.arguments import Kind, kinds_of
from common.augment import View
from common.cache import digests_of
from common.checkpoints import Checkpoint
from common.data import ImageData
from common.errors import UserError
from common.familiar import find_unfamiliar
from common.split import DIGITS
from common.submission import Outputs
from common.task import AnyTask


def on_cpu(value: Tensor) -> Tensor:
    """Move a tensor to the CPU, in a type that NumPy has, which bf16 is not."""
    return (
        value.to("cpu", torch.promote_types(value.dtype, torch.float32)) if value.is_floating_point() else value.cpu()
    )


def learned_views(data: ImageData, tta: int) -> list[View]:
    """List the first ``tta`` views that a model trained on ``data`` has learned to handle.

    Raises:
        UserError: there are fewer.
    """
    views = data.views()
    if tta > len(views):
        reason = "its training left images as they are" if len(views) == 1 else f"it has learned {len(views)} views"
        raise UserError(f"test-time augmentation by {tta} views does not suit this model: {reason}; give fewer")
    return views[:tta]


def average_views(data: ImageData, tta: int, predict: Callable[[], Outputs]) -> Outputs:
    """Return the outputs of ``predict`` for the images of ``data``, averaged over ``tta`` views of them.

    Raises:
        UserError: the model has learned fewer views, or an output is not finite.
    """
    total: Outputs = {}
    for view in learned_views(data, tta):
        data.view = view
        for name, values in predict().items():
            # A plain int, since NumPy takes jsonargparse's own integer class for int64, which gives a float64 result.
            total[name] = total.get(name, 0) + values / int(tta)
    if not all(np.isfinite(values).all() for values in total.values()):
        raise UserError(
            "the network's outputs are not finite: its fit has diverged; fit again with a smaller --model.lr"
        )
    return total


def predict_views(trainer: pl.Trainer, model: AnyTask, data: ImageData, tta: int) -> Outputs:
    """Return the outputs of all images that ``data`` predicts, from all ranks, as in :func:`average_views`."""

    def predict() -> Outputs:
        found = pl.Trainer.predict(trainer, model, datamodule=data) or []  # None on a rank without images
        steps = cast("list[dict[str, Tensor]]", found)
        batches = [{name: on_cpu(value) for name, value in step.items()} for step in steps]
        if trainer.world_size > 1:
            ranks: list[list[dict[str, Tensor]]] = [[] for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(ranks, batches)
            batches = [batch for rank in ranks for batch in rank]
        outputs = {name: torch.cat([batch[name] for batch in batches]).numpy() for name in batches[0]}
        row, wanted = outputs.pop("row"), len(data.test_set)
        order = np.argsort(row)
        if not np.array_equal(row[order], np.arange(wanted)):
            raise RuntimeError(f"{len(row)} predictions for {wanted} items, or one of them twice")
        return {name: values[order] for name, values in outputs.items()}

    outputs = average_views(data, tta, predict)
    return outputs if data.given else model.refine(outputs, data)


def predict_members(
    trainer: pl.Trainer, model: AnyTask, data: ImageData, members: Sequence[Checkpoint], tta: int
) -> Iterator[Outputs]:
    """Yield the outputs of each of several checkpoints, which may differ in backbone and image size.

    Args:
        trainer: runs the models.
        model: the network of the first member, with the arguments that were typed.
        data: the data module for it.
        members: the checkpoints, at least one.
        tta: how many views of each image to average.

    Raises:
        UserError: as in :func:`average_views`.
    """
    for member in members[1:]:  # fail early
        learned_views(data_of(member, data), tta)
    for number, member in enumerate(members, start=1):
        its_data = data if number == 1 else data_of(member, data)
        network = model if number == 1 else type(model).build(member.model)
        member.load_into(network)
        outputs = predict_views(trainer, network, its_data, tta)
        if its_data.sample.ids != data.sample.ids:
            others = (
                f"its test files, by the settings it was fitted with, have other ids than those of {members[0].path}"
            )
            raise UserError(f"--ckpt_path {member.path}: {others}; predict with each alone")
        yield outputs


def average_members(
    predicted: Iterable[Outputs], estimates: Callable[[Outputs], np.ndarray]
) -> tuple[Outputs, np.ndarray | None]:
    """Average the outputs of several checkpoints; memory does not grow with their number.

    Args:
        predicted: the outputs of each, at least one.
        estimates: turns outputs into the estimates whose deviation is measured, ids×….

    Returns:
        The mean outputs, and the standard deviation of the estimates over the members (None for one member).
    """
    mean: Outputs = {}
    centre, squares, number = np.zeros(()), np.zeros(()), 0
    for outputs in predicted:
        number += 1
        for name, values in outputs.items():
            mean[name] = mean.get(name, 0) + (values - mean.get(name, 0)) / number
        # Welford's running variance, which needs no member's estimates to be kept.
        its = estimates(outputs)
        step = its - centre
        centre = centre + step / number
        squares = squares + step * (its - centre)
    return mean, np.sqrt(squares / (number - 1)) if number > 1 else None


def notes_on(model: AnyTask, data: ImageData, outputs: Outputs, members: Sequence[Checkpoint]) -> list[str]:
    """Say how each predicted image differs from the first member's training images, and what the model notes on it.

    Prints how many differ, and how many a member has learned from.
    """
    unlike, notes = unlike_training(data, data.kinds_of_images(), members[0]), model.notes(outputs, data)
    seen: set[str] = set().union(*(split.seen for member in members if (split := member.split)))
    if number := sum(content[:DIGITS] in seen for content in digests_of(data.test_set.images)):
        what = f"{number} of {len(unlike)} images, so expect larger errors on others"
        print(f"warning: the weights have learned from {what}", file=sys.stderr)
    if members[0].familiar:
        print(f"unlike the training images: {sum(map(bool, unlike))} of {len(unlike)}", file=sys.stderr)
    return ["; ".join(filter(None, pair)) for pair in zip(unlike, notes, strict=True)]


def unlike_training(data: ImageData, kinds: Sequence[str], member: Checkpoint) -> list[str]:
    """Say how each predicted image differs from a member's training images; empty if its checkpoint does not tell."""
    rows = data.test_set
    return find_unfamiliar(rows.images, rows.rows, kinds, member.familiar) if member.familiar else [""] * len(rows)


def data_of(member: Checkpoint, data: ImageData) -> ImageData:
    """Make the data module of a member: as it was fitted, but with the arguments of ``data`` about this machine."""
    kinds = kinds_of(type(data))
    fitted = {name: value for name, value in member.data.items() if kinds.get(name) not in (None, Kind.MACHINE)}
    return data.like(**fitted | {name: value for name, value in member.model.items() if name in kinds})
