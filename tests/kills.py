"""Kills fits at random moments and resumes them: the end must be that of a fit which was never killed, bit for bit.

    python -m tests.kills --kills 300 growth julia

prints a line for each chain of kills and, at the end, a table of where they struck.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning import pytorch as pl

from growth.synthetic import draw as draw_growth
from julia.synthetic import draw as draw_julia

REPOSITORY = Path(__file__).parents[1]
# Small, but with all that has a state: batch normalisation, dropout, averaged weights, a schedule, augmentation.
EMA = '{"class_path": "common.optim.EMAWeightAveraging", "init_args": {"decay": 0.9}}'
WORDS = {
    "julia": ("--data.batch_size", 32, "--data.mixup", 0.2, "--data.rotation", 10, "--trainer.max_epochs", 4),
    "growth": (
        *("--data.plants_per_batch", 1, "--data.images_per_plant", 4, "--data.plant_zoom", 0.1),
        *("--model.min_days", -99),  # or an untrained network would submit one day for all pairs, epoch after epoch
        *("--model.pretrained", "false", "--trainer.max_epochs", 10, "--trainer.callbacks", f"[{EMA}]"),
    ),
}
# In bf16, which is the default where the hardware has it, so small a network takes longer.
SMALL = ("--model.backbone", "mobilenet_v3_small", "--model.image_size", 20, "--trainer.precision", "32-true")
# A kill comes with the n-th call of a hook in the fit itself, n being this at most, at half of the n-th writing of a
# file, while the cache is built, or at some time.
HOOKS = {
    "on_train_batch_start": 30,
    "on_before_optimizer_step": 30,
    "on_validation_batch_start": 3,
    "on_train_epoch_end": 2,
    "last.ckpt": 2,
    "after last.ckpt": 2,
    "best.ckpt": 2,
}
CACHE = "the cache is built"
MOMENTS = (*HOOKS, "SIGTERM", "any")
LONGEST = 10  # seconds until a kill at some time: about as long as a fit
STOPPED = (-signal.SIGKILL, 128 + signal.SIGTERM, -signal.SIGTERM)  # the last one while Python still starts


class Kill(pl.Callback):
    """Sends a signal to its own process at the n-th call of a hook.

    Args:
        hook: name of the hook; or of a file, of which half is then written; or ``after`` a file, which is then whole.
        call: which call, from 1.
        signal: the signal.
    """

    def __init__(self, hook: str, call: int, signal: int = int(signal.SIGKILL)) -> None:
        self.left, self.signal = call, signal
        if hook.startswith("on_"):
            setattr(self, hook, self.count)
        else:
            self.interrupt(hook)

    def interrupt(self, name: str) -> None:
        """Count the writings of a file, each with half of it on the disk, or all of it."""
        replace = Path.replace

        def halved(temporary: Path, target: Path) -> Path:
            if f"after {Path(target).name}" == name:
                replace(temporary, target)
                self.count()
                return Path(target)
            if Path(target).name == name:
                content = temporary.read_bytes()
                temporary.unlink()  # or the half would be that of the file which it is another name of
                temporary.write_bytes(content[: len(content) // 2])
                self.count()
                temporary.write_bytes(content)
            return replace(temporary, target)

        setattr(Path, "replace", halved)  # noqa: B010

    def count(self, *_: Any, **__: Any) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.signal)


def draw(task: str, root: Path) -> None:
    """Draw a small set."""
    if task == "julia":
        draw_julia(root, train=620, test=31, seed=0)
    else:
        draw_growth(root, plants=4, width=64, height=48, test_plants=2, test_pairs=30, days=8, seed=0, scene="pots")


def start(task: str, root: Path, home: Path, *words: object) -> subprocess.Popen[bytes]:
    """Start a fit, in a folder of its own."""
    command = [sys.executable, "-m", *typed(task, root, *words)]
    with (home / "output.txt").open("ab") as output:
        return subprocess.Popen(command, cwd=home, env=environment(), stdout=output, stderr=output)


def typed(task: str, root: Path, *words: object) -> list[str]:
    """The arguments of ``python -m`` for a fit."""
    return [*map(str, (task, "fit", *SMALL, "--data.root", root, *WORDS[task], *words))]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(REPOSITORY), "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}


def last_of(task: str, home: Path) -> Path:
    """The newest run's last checkpoint."""
    return home / "runs" / task / "mobilenet_v3_small" / "latest" / "checkpoints" / "last.ckpt"


def resuming(task: str, home: Path) -> tuple[object, ...]:
    """What a user would type to resume: last where there is one."""
    return ("--ckpt_path", "last") if last_of(task, home).exists() else ()


def kill(task: str, root: Path, home: Path, moment: str, rng: random.Random) -> bool:
    """Start or resume the fit and kill it: whether that was before its end."""
    words = resuming(task, home)
    if moment in HOOKS:
        settings = {"hook": moment, "call": rng.randint(1, HOOKS[moment])}
        one = json.dumps({"class_path": "tests.kills.Kill", "init_args": settings})
        process = start(task, root, home, *words, "--trainer.callbacks+", one)
        return stopped(task, home, process)
    process = start(task, root, home, *words)
    until = time.monotonic() + rng.uniform(0, LONGEST)
    while process.poll() is None:
        if any(home.glob("cache/.*")) if moment == CACHE else time.monotonic() > until:
            process.send_signal(signal.SIGTERM if moment == "SIGTERM" else signal.SIGKILL)
            process.wait()
        elif moment != CACHE:
            time.sleep(0.01)
    return stopped(task, home, process)


def stopped(task: str, home: Path, process: subprocess.Popen[bytes]) -> bool:
    """Whether the fit was ended before its end, and not as if it had come to it."""
    code = process.wait()
    finished = (last_of(task, home).parents[1] / "result.json").is_file()
    assert code in STOPPED or (code == 0 and finished), (home / "output.txt").read_text()[-3000:]
    return not finished  # killed while the process ends, the fit has finished


def finish(task: str, root: Path, home: Path) -> None:
    """Start or resume the fit and let it finish, unless it has."""
    if (last_of(task, home).parents[1] / "result.json").is_file():
        return
    code = start(task, root, home, *resuming(task, home)).wait()
    assert code == 0, (home / "output.txt").read_text()[-3000:]


def differences(task: str, one: Path, other: Path) -> list[str]:
    """Name what is not the same, bit for bit, of two fits."""
    first, second = (torch.load(last_of(task, home), weights_only=True) for home in (one, other))
    parts = ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers")
    parts += ("epoch", "global_step", "trainer", "origin", "hyper_parameters")
    found = [part for part in parts if not same(first[part], second[part])]
    best = [torch.load(last_of(task, home).with_name("best.ckpt"), weights_only=True) for home in (one, other)]
    found += ["best.ckpt"] if not same(best[0]["state_dict"], best[1]["state_dict"]) else []
    logged, again = (curves(task, home) for home in (one, other))
    found += [f"{name} at step {step} is missing" for step, name in sorted(logged.keys() - again.keys())]
    return found + [f"{name} at step {step}" for step, name in again if logged.get((step, name)) != again[step, name]]


def same(one: Any, other: Any) -> bool:
    """Whether nested values are equal, tensors bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def curves(task: str, home: Path, name: str = "mobilenet_v3_small") -> dict[tuple[int, str], set[str]]:
    """Read all that the runs of a name have logged: (step, metric) → the values, which should be one."""
    values: dict[tuple[int, str], set[str]] = {}
    for path in (home / "runs" / task / name).glob("version_*/metrics.csv"):
        table = pd.read_csv(path, dtype=str).drop(columns="epoch")
        for metric in table.columns.drop("step"):
            if not metric.endswith("_per_s"):
                for step, value in table[["step", metric]].dropna().itertuples(index=False):
                    values.setdefault((int(step), metric), set()).add(value)
    return values


def chain(
    task: str, root: Path, unbroken: Path, home: Path, moments: list[str], rng: random.Random, say: Callable[[str], Any]
) -> Counter[str]:
    """Kill a fit at each of some moments, let it finish, and compare it: how often each moment struck."""
    # A fit that comes to its end cannot be killed again.
    struck = Counter(takewhile(lambda moment: kill(task, root, home, moment, rng), moments))
    finish(task, root, home)
    found = differences(task, unbroken, home)
    runs = sorted(path.name for path in (home / "runs" / task / "mobilenet_v3_small").glob("version_*"))
    say(f"{task}: {struck.total()} kills, {len(runs)} runs, {'the same' if not found else ', '.join(found)}")
    assert not found, found
    return struck


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.kills", description=__doc__.split("\n")[0])
    parser.add_argument("tasks", nargs="+", choices=sorted(WORDS))
    parser.add_argument("--kills", type=int, default=100, help="kills of each task")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    for task in arguments.tasks:
        struck: Counter[str] = Counter()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            draw(task, folder / "data")
            (folder / "unbroken").mkdir()
            finish(task, folder / "data", folder / "unbroken")
            chains = 0
            while struck.total() < arguments.kills:
                home = folder / f"chain_{chains}"
                home.mkdir()
                moments = [
                    *([CACHE] if rng.random() < 0.5 else []),
                    *rng.choices(MOMENTS, k=5),
                ]
                struck += chain(
                    task, folder / "data", folder / "unbroken", home, moments, rng, lambda x: print(x, flush=True)
                )
                chains += 1
        print(f"\n{task}: {struck.total()} kills in {chains} fits, all the same in the end")
        for moment, times in struck.most_common():
            print(f"  {times:4} {moment}")


if __name__ == "__main__":
    main()
