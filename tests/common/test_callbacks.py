from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning import pytorch as pl

from common import callbacks
from tests.conftest import Run


class Written(pl.Callback):
    """Remember the epochs whose checkpoints are written as last.ckpt."""

    epochs: list[int]

    def __init__(self) -> None:
        Written.epochs = []

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict) -> None:  # type: ignore[type-arg]
        Written.epochs.append(trainer.current_epoch)


@pytest.mark.parametrize(("share", "epochs"), [(1e9, [0, 1, 2, 3]), (1e-9, [0, 3])])
def test_last_checkpoint_takes_no_more_than_its_share_and_is_always_of_the_end(
    run: Run, growth_root: Path, monkeypatch: pytest.MonkeyPatch, share: float, epochs: list[int]
) -> None:
    monkeypatch.setattr(callbacks, "SAVING_SHARE", share)
    model = ("--model.backbone", "leaf_hull", "--model.pretrained", "false", "--model.normalize", "none")
    data = ("--data.root", growth_root, "--model.image_size", 32, "--data.plants_per_batch", 2)
    # Validated once, at the end: the best checkpoint is written then, too.
    epoch = ("--trainer.max_epochs", 4, "--trainer.check_val_every_n_epoch", 4)
    run("growth", "fit", *model, *data, *epoch, "--trainer.callbacks+", f"{__name__}.Written")
    assert sorted(set(Written.epochs)) == epochs
    assert len(Written.epochs) == len(epochs) + 1
    last = torch.load(Path("runs/growth/leaf_hull/latest/checkpoints/last.ckpt"), weights_only=True)
    assert last["epoch"] == 3
