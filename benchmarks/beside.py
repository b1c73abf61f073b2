"""A callback that alternates blocks of ``fit``'s own steps with blocks of the baselines' steps."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from lightning import pytorch as pl
from lightning.pytorch.profilers import SimpleProfiler
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from torchmetrics import MetricCollection

from benchmarks.timing import Apart
from common.callbacks import LastCheckpoint

BLOCK_SECONDS = 0.3
WARM_UP = 3


class Bare:
    """The same network, precision, optimiser and batch on one constant tensor, without Lightning."""

    def __init__(self, module: Any, batch: Any, precision: str, clip: float | None) -> None:
        self.module: Any = type(module).build(dict(module.hparams)).to(module.device).train()
        self.module.train_metrics = MetricCollection([])  # only fit keeps training metrics
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=1e-4, fused=clip is None)
        half = torch.float16 if precision == "16-mixed" else torch.bfloat16
        self.autocast = torch.autocast(module.device.type, half, enabled="mixed" in precision)
        self.batch, self.clip = batch, clip

    def loss(self) -> Tensor:
        loss: Tensor = self.module.compute_loss(self.batch)
        return loss

    def step(self) -> None:
        with self.autocast:
            loss = self.loss()
        self.optimizer.zero_grad()
        loss.backward()
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.clip)
        self.optimizer.step()

    def flops(self) -> int:
        """Count the operations of one step; a multiply-add counts as two."""
        with FlopCounterMode(display=False) as counter, self.autocast:
            self.loss().backward()
        return int(counter.get_total_flops())


class Beside(pl.Callback):
    """Measures ``fit`` beside the bare limit and, if given, the seed baseline; then stops it.

    Attributes:
        latest: the newest instance, for the code that ran the command.
        seed_step: a training step of the seed baseline, set before the command; or None.
        fit: seconds per step of ``fit`` in each block, with everything between two steps and two epochs.
        bare: seconds per step of the bare loop in the block after it.
        seed: seconds of a step of the seed baseline after that.
        items: images (julia) or pairs (growth) per step of ``fit``, on average.
        flops: operations per step.
        shares: what ``fit`` spends beyond the bare loop, as shares of its time: augmenting the batch (augment), reading
            it (read), averaging the weights (average), saving checkpoints (save), and Lightning with its logs (rest).
        busy: share of the time of ``fit`` in which a GPU computes.
    """

    latest: Beside
    seed_step: Apart | None = None

    def __init__(self, seconds: float = 20.0) -> None:
        Beside.latest = self
        self.enough = seconds
        self.fit: list[float] = []
        self.bare: list[float] = []
        self.seed: list[float] = []
        self.count = self.epochs = self.flops = 0
        self.all_items: list[int] = []
        self.started = False
        self.shares: dict[str, float] = {}
        self.busy = 0.0
        self.kernels: torch.profiler.profile | None = None

    @property
    def items(self) -> float:
        return statistics.mean(self.all_items)

    @property
    def ratio(self) -> float:
        """Seconds that the bare loop takes for the steps of one second of ``fit``."""
        return sum(self.bare) / sum(self.fit)

    def _shares(self) -> dict[str, float]:
        """Return what ``fit`` spends beyond the bare loop, as shares of its time, from Lightning's profiler."""
        sums = {name: sum(durations) for name, durations in self.profiler.recorded_durations.items()}
        whole = sum(self.fit) * self.block

        def share(text: str) -> float:
            return sum(value for name, value in sums.items() if text in name) / whole

        shares = {
            "augment": share(".on_after_batch_transfer"),
            "read": share("train_dataloader_next") + share("batch_to_device") - share(".on_after_batch_transfer"),
            "average": share("Averaging.on"),
            "save": share("Checkpoint{"),
        }
        return {**shares, "rest": 1 - self.ratio - sum(shares.values())}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epochs += 1

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, index: int) -> None:
        _synchronize()
        now = time.perf_counter()
        self.count += 1
        if self.count < WARM_UP:
            return
        if self.count == WARM_UP:
            self._begin(trainer, module, batch)
            self.mark = time.perf_counter()
        elif self.started:
            self.all_items.append(module.count_items(batch))
            self.left -= 1
            if self.left == 0:
                self._end_block(trainer, now)
                self.left, self.mark = self.block, time.perf_counter()

    def _end_block(self, trainer: pl.Trainer, now: float) -> None:
        if self.kernels is not None:
            self.kernels.stop()
            computed = sum(event.self_device_time_total for event in self.kernels.key_averages()) / 1e6
            self.busy = computed / (now - self.mark)
            trainer.should_stop, self.started = True, False
            return
        self.fit.append((now - self.mark) / self.block)
        self._baselines()
        seconds = (sum(self.fit) + sum(self.bare)) * self.block
        # Include the end of an epoch, unless epochs are so long that it is a small part.
        if seconds < self.enough or len(self.fit) < 3 or (not self.epochs and seconds < 2 * self.enough):
            return
        self.shares = self._shares()
        if torch.cuda.is_available():  # one more block, to time its kernels
            self.kernels = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])
            self.kernels.start()
        else:
            trainer.should_stop, self.started = True, False

    def _begin(self, trainer: pl.Trainer, module: Any, batch: Any) -> None:
        assert isinstance(trainer.profiler, SimpleProfiler)  # type: ignore[attr-defined]
        self.profiler = trainer.profiler  # type: ignore[attr-defined]
        self.loop = Bare(module, batch, str(trainer.precision), trainer.gradient_clip_val)  # type: ignore[arg-type]
        self.flops = self.loop.flops()
        for _ in range(WARM_UP):
            start = time.perf_counter()
            self.loop.step()
            _synchronize()
        self.block = self.left = max(1, round(BLOCK_SECONDS / (time.perf_counter() - start)))
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, LastCheckpoint):
                callback.write(trainer, module)  # as after any epoch but the first, which always writes it
        self.epochs, self.started = 0, True
        self.profiler.recorded_durations.clear()

    def _baselines(self) -> None:
        start = time.perf_counter()
        for _ in range(self.block):
            self.loop.step()
        _synchronize()
        self.bare.append((time.perf_counter() - start) / self.block)
        if Beside.seed_step is not None:
            self.seed.append(Beside.seed_step())


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
