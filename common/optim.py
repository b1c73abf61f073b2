"""AdamW with a linear warm-up and then a cosine; callbacks that average weights and find a learning rate."""

from __future__ import annotations

import math
from functools import partial

import torch
from jsonargparse.typing import ClosedUnitInterval, PositiveInt
from lightning.pytorch import LightningModule, Trainer, callbacks
from lightning.pytorch.utilities.types import STEP_OUTPUT, OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from common.errors import UserError


def warmup_cosine(step: int, warmup_steps: int, total_steps: int, final: float = 0.0) -> float:
    """Return the learning rate's factor at a step: linearly up to 1, then down half a cosine to ``final``."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if step >= total_steps:
        return final
    share = (step - warmup_steps) / (total_steps - warmup_steps)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * share))


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Split the parameters: weight decay on matrices and kernels, none on biases and normalisation layers."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    matrices, others = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def adamw_warmup_cosine(
    module: LightningModule, lr: float, weight_decay: float, warmup: float, final_lr: float = 0.0
) -> OptimizerLRSchedulerConfig:
    """Build fused AdamW (Loshchilov & Hutter, arXiv:1711.05101), scheduled by step, for ``configure_optimizers``.

    Args:
        module: the module to train, attached to a Trainer.
        lr: peak learning rate.
        weight_decay: weight decay of matrices and kernels, as in AdamW.
        warmup: fraction of all steps over which the rate rises.
        final_lr: final rate as a fraction of ``lr``; 1 keeps it constant after the warm-up.
    """
    fused = module.trainer.gradient_clip_val is None  # Lightning does not clip what a fused optimiser unscales
    # Plain floats, since a parsed argument has jsonargparse's own class, which a checkpoint must not hold.
    optimizer = AdamW(parameter_groups(module, float(weight_decay)), lr=float(lr), fused=fused)
    total_steps = int(module.trainer.estimated_stepping_batches)
    factor = partial(warmup_cosine, warmup_steps=int(warmup * total_steps), total_steps=total_steps, final=final_lr)
    scheduler = LambdaLR(optimizer, factor)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class EMAWeightAveraging(callbacks.WeightAveraging):
    """A moving average of the weights whose decay warms up: min(decay, (1 + n) / (10 + n)) at the n-th update.

    Lightning's callback of this name has a constant decay, so the average of a short fit lags behind: after four epochs
    of a ResNet18 it reaches an accuracy of 0.69, this one 0.76 (docs/recipes.md).

    Args:
        decay: fraction of the average kept at each update, after the warm-up.
        update_every_n_steps: number of steps between updates.
    """

    def __init__(self, decay: ClosedUnitInterval = 0.999, update_every_n_steps: PositiveInt = 1) -> None:
        super().__init__(avg_fn=self._average)
        self.decay, self.update_every_n_steps = float(decay), update_every_n_steps

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        return step_idx is not None and step_idx % self.update_every_n_steps == 0

    def _average(self, averaged: Tensor, current: Tensor, number: Tensor | int) -> Tensor:
        # As a tensor, since a Python number would make a GPU wait at each weight.
        decay = torch.as_tensor((1 + number) / (10 + number)).clamp(max=self.decay)
        return averaged + (1 - decay) * (current - averaged)


class StochasticWeightAveraging(callbacks.WeightAveraging):
    """Average the weights at the end of each of the last epochs (Izmailov et al., arXiv:1803.05407).

    From then on, the average is what is validated and saved, with averaged rather than re-estimated BatchNorm
    statistics. Lightning's callback of this name copies its average into the model only after the last checkpoint.

    Args:
        start: fraction of the epochs after which averaging begins.
    """

    def __init__(self, start: ClosedUnitInterval = 0.75) -> None:
        super().__init__(avg_fn=self._average)
        self.start = start

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if (trainer.max_epochs or -1) < 1:
            raise UserError("stochastic weight averaging needs to know the end: give --trainer.max_epochs")
        self.first = int(self.start * (trainer.max_epochs or 1))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: object, batch_idx: int
    ) -> None:
        # At the epoch's last step rather than at its end, which comes only after its validation.
        self.at_end_of_epoch = trainer.is_last_batch
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        return step_idx is not None and self.at_end_of_epoch

    def _average(self, averaged: Tensor, current: Tensor, number: Tensor | int) -> Tensor:
        # One update per epoch, so their number is the epoch's; as a tensor, since a number would make a GPU wait.
        return averaged + (current - averaged) / torch.as_tensor(number - self.first + 1).clamp(min=1)


class LearningRateFinder(callbacks.LearningRateFinder):
    """Lightning's search for a learning rate (Smith, arXiv:1506.01186), whose result also reaches the schedule.

    Lightning's own callback sets the optimiser's rate, which the schedule resets at its next step. A resumed fit keeps
    the rate it has. Finding nothing raises a :class:`UserError`.
    """

    def lr_find(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.fast_dev_run or trainer.ckpt_path:  # type: ignore[attr-defined]
            return
        # On a small set, the few epochs would end before the search, and Lightning would take that for its result.
        epochs, trainer.fit_loop.max_epochs = trainer.fit_loop.max_epochs, -1
        try:
            super().lr_find(trainer, pl_module)
        finally:
            trainer.fit_loop.max_epochs = epochs
        found = self.optimal_lr.suggestion() if self.optimal_lr else None
        if found is None:
            raise UserError("no learning rate found in so few steps: give the callback more num_training_steps")
        for config in trainer.lr_scheduler_configs:
            scheduler = config.scheduler
            assert isinstance(scheduler, LambdaLR)
            scheduler.base_lrs = [found for _ in scheduler.base_lrs]
            for group, factor in zip(scheduler.optimizer.param_groups, scheduler.lr_lambdas, strict=True):
                group["initial_lr"], group["lr"] = found, found * factor(0)
