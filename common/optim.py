"""AdamW and the learning rate of both tasks: linear warm-up, then a cosine."""

from __future__ import annotations

import math
from functools import partial

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


def warmup_cosine(step: int, warmup_steps: int, total_steps: int, final: float = 0.0) -> float:
    """The factor on the learning rate at a step.

    1. during warm-up: rises in equal steps to 1;
    2. after it: falls along half a cosine;
    3. at and beyond ``total_steps``: ``final``.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if step >= total_steps:
        return final
    share = (step - warmup_steps) / (total_steps - warmup_steps)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * share))


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Split the parameters: weight decay on matrices and kernels, none on biases and normalisation layers."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def adamw_warmup_cosine(
    module: LightningModule, lr: float, weight_decay: float, warmup: float, final_lr: float = 0.0
) -> OptimizerLRSchedulerConfig:
    """What ``configure_optimizers`` returns: fused AdamW (Loshchilov & Hutter, arXiv:1711.05101), scheduled by step.

    Args:
        module: the module to train, attached to a Trainer.
        lr: highest learning rate.
        weight_decay: decay of matrices and kernels, as in AdamW.
        warmup: share of all steps that the rate rises for.
        final_lr: share of ``lr`` that is left at the end; 1 keeps it constant after the warm-up.
    """
    fused = module.trainer.gradient_clip_val is None  # Lightning does not clip what a fused optimiser unscales
    # Plain numbers: a parsed argument is of a class of its own, which a checkpoint must not hold.
    optimizer = AdamW(parameter_groups(module, float(weight_decay)), lr=float(lr), fused=fused)
    total_steps = int(module.trainer.estimated_stepping_batches)
    factor = partial(warmup_cosine, warmup_steps=int(warmup * total_steps), total_steps=total_steps, final=final_lr)
    scheduler = LambdaLR(optimizer, factor)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
