from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from common.optim import StochasticWeightAveraging, warmup_cosine


def test_rate_rises_then_falls_to_zero() -> None:
    rates = [warmup_cosine(step, 10, 100) for step in range(101)]
    assert rates[0] == pytest.approx(1 / 11)
    assert rates[10] == 1
    assert all(a < b for a, b in zip(rates[:10], rates[1:11], strict=True))
    assert all(a > b for a, b in zip(rates[10:100], rates[11:], strict=True))
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == 0
    assert warmup_cosine(200, 10, 100) == 0


def test_without_warmup_it_starts_at_the_top() -> None:
    assert warmup_cosine(0, 0, 100) == 1


def test_averaging_begins_anew_where_a_resumed_fit_with_more_epochs_begins_it(tmp_path: Path) -> None:
    ends: dict[int, torch.Tensor] = {}
    validated: dict[int, torch.Tensor] = {}

    class Recorder(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
            ends[trainer.current_epoch] = pl_module.layer.weight.detach().clone()

        def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
            trainer.save_checkpoint(tmp_path / f"{trainer.current_epoch}.ckpt")

        def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
            validated[trainer.current_epoch] = pl_module.layer.weight.detach().clone()

    def fit(epochs: int, start: float, resumed: Path | None = None) -> None:
        torch.manual_seed(0)
        trainer = Trainer(
            default_root_dir=tmp_path,
            max_epochs=epochs,
            limit_train_batches=2,
            limit_val_batches=1,
            num_sanity_val_steps=0,
            callbacks=[StochasticWeightAveraging(start), Recorder()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            accelerator="cpu",
        )
        trainer.fit(BoringModel(), ckpt_path=resumed, weights_only=False)

    fit(4, 0.5)
    assert torch.allclose(validated[3], (ends[2] + ends[3]) / 2)
    fit(8, 0.75, tmp_path / "3.ckpt")
    for epoch in (4, 5):
        assert torch.equal(validated[epoch], ends[epoch])
    assert torch.allclose(validated[7], (ends[6] + ends[7]) / 2)
