"""One answer from several: outputs averaged over views of the images and over the checkpoints of an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import pytorch as pl
from torch import Tensor

from common.augment import View
from common.checkpoints import read_checkpoint
from common.data import ImageData
from common.errors import UserError
from common.submission import Outputs

# Settings of the data that are where it lies and what reads it, not what a member has learned from.
OF_THE_MACHINE = ("root", "cache_dir", "num_workers", "eval_batch_size")


class OutputCollector(pl.Callback):
    """Collect what ``predict_step`` gives, from all ranks, as ``outputs`` in the order of the rows; on rank 0."""

    outputs: Outputs

    def __init__(self) -> None:
        self.batches: list[dict[str, Tensor]] = []

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.batches.append({name: value.detach().cpu() for name, value in outputs.items()})

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        batches = self.batches
        if trainer.world_size > 1:
            ranks: list[list[dict[str, Tensor]]] = [[] for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(ranks, batches)
            batches = [batch for rank in ranks for batch in rank]
        outputs = {name: torch.cat([batch[name] for batch in batches]).numpy() for name in batches[0]}
        row, wanted = outputs.pop("row"), len(trainer.datamodule.test_set)  # type: ignore[attr-defined]
        order = np.argsort(row)
        if not np.array_equal(row[order], np.arange(wanted)):
            raise RuntimeError(f"{len(row)} predictions for {wanted} items, or one of them twice")
        self.outputs = {name: values[order] for name, values in outputs.items()}


def learned_views(data: ImageData, tta: int) -> list[View]:
    """List the first ``tta`` views that a model trained on ``data`` has learned to take.

    Raises:
        UserError: there are fewer.
    """
    views = data.views()
    if tta > len(views):
        reason = "its training left images as they are" if len(views) == 1 else f"it has learned {len(views)} views"
        raise UserError(f"test-time augmentation by {tta} views does not suit this model: {reason}; give fewer")
    return views[:tta]


def predicted(
    trainer: pl.Trainer, model: pl.LightningModule, data: ImageData, checkpoint: Path | None, tta: int
) -> Outputs:
    """Give the outputs of all images that ``data`` predicts, averaged over views of them.

    Args:
        trainer: runs the model.
        model: the model.
        data: the data module.
        checkpoint: where the model's weights come from; None leaves them as they are.
        tta: how many of the data module's views are averaged.

    Raises:
        UserError: the data module has fewer views.
    """
    total: Outputs = {}
    for number, view in enumerate(learned_views(data, tta)):
        data.view = view
        collector = OutputCollector()
        trainer.callbacks.append(collector)  # type: ignore[attr-defined]
        path = str(checkpoint) if checkpoint is not None and number == 0 else None
        pl.Trainer.predict(trainer, model, datamodule=data, ckpt_path=path, return_predictions=False)
        trainer.callbacks.remove(collector)  # type: ignore[attr-defined]
        for name, values in collector.outputs.items():
            total[name] = total.get(name, 0) + values / tta
    return total


def averaged(
    trainer: pl.Trainer, model: pl.LightningModule, data: ImageData, checkpoints: Sequence[Path], tta: int
) -> tuple[Outputs, np.ndarray | None]:
    """Average the outputs of several checkpoints, which may differ in backbone and image size.

    Memory does not grow with the number of checkpoints.

    Args:
        trainer: runs the models.
        model: the network of the first checkpoint.
        data: the data module for it.
        checkpoints: the members, of the task of ``model``; of none, ``model`` as it is.
        tta: how many views of each image are averaged.

    Returns:
        The mean outputs, and the standard deviation over the members of ``model.estimates`` (None of one member).

    Raises:
        UserError: as :func:`predicted`.
    """
    mean: Outputs = {}
    centre, squares = np.zeros(()), np.zeros(())
    for other in checkpoints[1:]:  # said before the long part
        learned_views(_data_of(data, read_checkpoint(other, type(model))), tta)
    for number, path in enumerate(checkpoints or [None], start=1):
        member, its_data = (model, data) if number == 1 or path is None else member_of(model, data, path)
        outputs = predicted(trainer, member, its_data, path, tta)
        for name, values in outputs.items():
            mean[name] = mean.get(name, 0) + (values - mean.get(name, 0)) / number
        # Welford's running variance: no member's estimates are kept.
        estimates: np.ndarray = model.estimates(outputs, its_data)  # type: ignore[operator]
        step = estimates - centre
        centre = centre + step / number
        squares = squares + step * (estimates - centre)
    return mean, np.sqrt(squares / (len(checkpoints) - 1)) if len(checkpoints) > 1 else None


def member_of(model: pl.LightningModule, data: ImageData, checkpoint: Path) -> tuple[pl.LightningModule, ImageData]:
    """Build the network of a checkpoint, without its weights, and the data as it was trained on them."""
    saved = read_checkpoint(checkpoint, type(model))
    settings = {**saved["hyper_parameters"], "pretrained": False}
    settings.pop("_instantiator", None)
    return type(model)(**settings), _data_of(data, saved)


def _data_of(data: ImageData, saved: dict[str, Any]) -> ImageData:
    kept = saved.get("datamodule_hyper_parameters", {})
    needs = {name: value for name, value in kept.items() if name in data.hparams and name not in OF_THE_MACHINE}
    needs |= {name: saved["hyper_parameters"][name] for name in ("image_size", "channels")}
    return data.like({name: value for name, value in needs.items() if name != "_instantiator"})
