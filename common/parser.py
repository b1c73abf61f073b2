"""The parser of a command line: one-line errors, and help that begins with what people type."""

from __future__ import annotations

import difflib
import re
from argparse import Action, HelpFormatter, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import NoReturn

from jsonargparse import DefaultHelpFormatter
from lightning.pytorch.cli import LightningArgumentParser

# What each command is for, and how to type it; {task} is the package.
EXAMPLES = (
    ("train", "python -m {task} fit"),
    ("resume", "python -m {task} fit --ckpt_path last --trainer.max_epochs 40"),
    ("submit", "python -m {task} predict --ckpt_path last"),
    ("own images", "python -m {task} predict --ckpt_path last --images photos/*.jpg"),
    ("measure", "python -m {task} validate --ckpt_path best"),
    ("all folds", "python -m {task} crossval"),
    ("in a browser", "python -m {task} app --ckpt_path last"),
    ("compare runs", "python -m common.compare runs/{task} --html runs.html"),
    ("W&B workspace", "python -m {task} dashboard"),
    ("look inside", "python -m {task} feature_maps --ckpt_path last --image photo.jpg"),
    ("ONNX", "python -m {task} export --ckpt_path last --output model.onnx"),
)

# Subcommands, and whether they take no checkpoint, may take one, need one, or take several.
CHECKPOINTS = {
    "fit": "may",
    "validate": "one",
    "predict": "several",
    "crossval": "none",
    "feature_maps": "several",
    "export": "one",
    "app": "several",
    "dashboard": "none",
}

# What the arguments that Lightning and jsonargparse declare do here, in a few words.
FILE = "YAML file with settings of this group alone."
LIMIT = "Share (float) or number (int) of the batches of {} on each device; all if null."
HELP = {
    "config": "YAML file with settings, such as those in configs/; what is typed after it wins. Several add up.",
    "print_config": "Print as YAML what the command would use, and exit; =skip_default leaves out what is a default.",
    "model": FILE,
    "data": FILE,
    "trainer": FILE,
    "submission": FILE,
    "trainer.accelerator": "Hardware to compute on: auto, cpu, gpu, cuda, mps or tpu.",
    "trainer.strategy": "How several devices work together: auto, ddp, fsdp, deepspeed or another of Lightning's.",
    "trainer.devices": "Number of devices, or which ones, as [0, 1]; auto or -1 for all.",
    "trainer.num_nodes": "Number of machines that work together.",
    "trainer.precision": """Numbers to compute with, such as 32-true, bf16-mixed, 16-mixed or 64-true. If null:
        bf16-mixed where the hardware multiplies bf16 (GPUs since Ampere, CPUs with AVX512-BF16 or AMX), 16-mixed on
        other GPUs, 32-true on other CPUs; but a resumed fit keeps its own, and what was fitted with 32-true is used
        with it.""",
    "trainer.logger": """Loggers beside metrics.csv: W&B if null (none with WANDB_MODE=disabled), or in its place one or
        several, such as TensorBoardLogger; with false, the fit leaves no run folder.""",
    "trainer.callbacks": "Callbacks beside those of every fit; --trainer.callbacks+ adds to those of a configuration.",
    "trainer.fast_dev_run": "Try a fit on so many batches, or on one if true, without a run folder.",
    "trainer.max_epochs": "Epochs to fit; the schedule of the learning rate ends with them.",
    "trainer.min_epochs": "Epochs before which the fit does not stop early.",
    "trainer.max_steps": "Steps of the optimizer after which the fit ends even before max_epochs; -1 for no limit.",
    "trainer.min_steps": "Steps of the optimizer before which the fit does not stop early.",
    "trainer.max_time": "Time after which the fit ends, as DD:HH:MM:SS.",
    "trainer.limit_train_batches": LIMIT.format("each training epoch"),
    "trainer.limit_val_batches": LIMIT.format("each validation"),
    "trainer.limit_test_batches": "Not used: there is no such subcommand.",
    "trainer.limit_predict_batches": "Refused by predict and crossval, which need all images.",
    "trainer.overfit_batches": "Refused: give --trainer.limit_train_batches instead.",
    "trainer.val_check_interval": """When to validate: after a share of an epoch (float), so many batches (int) or a
        time (DD:HH:MM:SS); at its end if null.""",
    "trainer.check_val_every_n_epoch": """Validate in every n-th epoch alone; if null, val_check_interval counts batches
        across epochs.""",
    "trainer.num_sanity_val_steps": "Batches to validate before training, to fail early; 2 if null, all if -1.",
    "trainer.log_every_n_steps": "Steps of the optimizer from one logged training loss to the next.",
    "trainer.enable_checkpointing": "false keeps no checkpoints.",
    "trainer.enable_progress_bar": "false prints neither a bar on a terminal nor a line an epoch elsewhere.",
    "trainer.enable_model_summary": "false prints no table of the network before a fit.",
    "trainer.accumulate_grad_batches": "Batches whose gradients are summed for one step of the optimizer.",
    "trainer.gradient_clip_val": "Largest norm of all gradients, or size of each one; null does not clip them.",
    "trainer.gradient_clip_algorithm": "norm or value: which of them is clipped; norm if null.",
    "trainer.deterministic": "true uses deterministic algorithms alone; warn, wherever there is one.",
    "trainer.benchmark": "Whether cuDNN first tries out which algorithms are fastest.",
    "trainer.inference_mode": "torch.inference_mode, rather than torch.no_grad, for validating and predicting.",
    "trainer.use_distributed_sampler": "Keep it false: samplers of our own deal the images to the processes.",
    "trainer.profiler": "Measure where the time goes: simple, advanced, pytorch or a class of Lightning's.",
    "trainer.detect_anomaly": "Find the operation whose gradient is not finite; slow.",
    "trainer.barebones": "Refused: it leaves no run and no checkpoint.",
    "trainer.plugins": "Plugins of Lightning's, such as for a cluster.",
    "trainer.sync_batchnorm": "Compute the statistics of BatchNorm over all devices.",
    "trainer.reload_dataloaders_every_n_epochs": "Keep it 0: each epoch draws its batches anew without it.",
    "trainer.default_root_dir": "Folder in which runs/ lies; the current one if null.",
    "trainer.enable_autolog_hparams": "Whether Lightning gives the loggers the arguments of model and data, too.",
    "trainer.model_registry": "Name of the model in Lightning's registry.",
}


def taking(number: str) -> str:
    """Name the subcommands that take a number of checkpoints, given in the words of ``CHECKPOINTS``."""
    return " and ".join(name for name, takes in CHECKPOINTS.items() if takes == number)


def about_checkpoints() -> str:
    """Say what ``--ckpt_path`` takes."""
    return f"""Checkpoint to start from: a path, or last or best, of the newest run or of the newest one called --name.
        fit resumes it; {taking("one")} take one; {taking("several")} take several: paths, or a pattern such as
        'runs/*/airbench/fold_*/latest/checkpoints/last.ckpt'; {taking("none")} take none."""


def usage(task: str, subcommand: str) -> str:
    """Return the usage lines of a subcommand."""
    known = [words.format(task=task) for _, words in EXAMPLES]
    return "\n       ".join(f"{words} [--FLAG VALUE ...]" for words in known if f" {subcommand}" in words)


def overview(task: str, about: str | None) -> str:
    """Say what a task is about, and what people type."""
    width = max(len(name) for name, _ in EXAMPLES)
    lines = [f"  {name:{width}}  {words.format(task=task)}" for name, words in EXAMPLES]
    about = (about or "").strip().partition("\n")[0]
    return "\n".join([about, "", "What to type in the folder that holds, or will hold, data/ and runs/:", "", *lines])


def suggestion(unknown: str, flags: Sequence[str]) -> str:
    """Suggest the flags whose last word is that of an unknown one, such as ``model.lr`` for ``lr``, or else like it."""
    word, last = unknown.rpartition(".")[2], {flag: flag.rpartition(".")[2] for flag in flags}
    alike = difflib.get_close_matches(word, set(last.values()), n=3)
    meant = [flag for flag in flags if last[flag] in ([word] if word in alike else alike)]
    return f"; did you mean {' or '.join(f'--{flag}' for flag in meant[:3])}?" if meant else ""


class Help(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Explains what Lightning's arguments do here."""

    def _get_help_string(self, action: Action) -> str:
        if action.help:
            action.help = HELP.get(action.dest, action.help)
        return super()._get_help_string(action)


class OneLineParser(LightningArgumentParser):
    """Lightning's parser, but with one-line errors, which do not list all arguments."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if not self.exit_on_error:
            super().error(message, ex)
        parser = getattr(ex, "subcommand_parser", self)
        prog = re.sub(r" (COMMAND )?\[[^]]*\]", "", parser.prog)  # argparse inserts the usage of all
        if unknown := re.search(r"unrecognized arguments: --([\w.]+)", message):
            flags = list(parser.get_defaults(skip_validation=True).keys())
            message += suggestion(unknown[1], flags)
        self.exit(2, f"error: {' '.join(message.split())} (see {prog} --help)\n")

    def format_help(self, *args: HelpFormatter | None, **kwargs: HelpFormatter | None) -> str:
        """Put the arguments of the subcommand first, then those of the task, then Lightning's many."""
        order, groups = {"model": 1, "data": 1, "trainer": 2}, self.groups or {}
        places = {f"{groups[name].title}:": place for name, place in order.items() if name in groups}
        places["Linked arguments:"] = 1
        sections = super().format_help(*args, **kwargs).rstrip("\n").split("\n\n")
        return "\n\n".join(sorted(sections, key=lambda section: places.get(section.partition("\n")[0], 0))) + "\n"
