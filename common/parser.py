"""The command-line parser: one-line errors, and help that starts with common commands."""

from __future__ import annotations

import difflib
import re
import sys
from argparse import Action, HelpFormatter, RawDescriptionHelpFormatter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from jsonargparse import DefaultHelpFormatter, Namespace, dict_to_namespace
from lightning.pytorch.cli import LightningArgumentParser

from common.config import read_config
from common.errors import UserError, did_you_mean

# Common commands and their purpose; {task} is the package.
EXAMPLES = (
    ("train", "python -m {task} fit"),
    ("resume", "python -m {task} fit --ckpt_path last --trainer.max_epochs 40"),
    ("submit", "python -m {task} predict --ckpt_path last"),
    ("own images", "python -m {task} predict --ckpt_path last --images photos/*.jpg"),
    ("evaluate", "python -m {task} validate --ckpt_path best"),
    ("all folds", "python -m {task} crossval"),
    ("in a browser", "python -m {task} app --ckpt_path last"),
    ("compare runs", "python -m common.compare runs/{task} --html runs.html"),
    ("W&B workspace", "python -m {task} dashboard"),
    ("look inside", "python -m {task} feature_maps --ckpt_path last --image photo.jpg"),
    ("ONNX", "python -m {task} export --ckpt_path last --output model.onnx"),
)

CONFIG = ("-c", "--config")

# Types of values in words.
TYPES = {
    "bool": "true|false",
    "int": "a whole number",
    "PositiveInt": "a whole number above 0",
    "NonNegativeInt": "a whole number of at least 0",
    "float": "a number",
    "PositiveFloat": "a number above 0",
    "NonNegativeFloat": "a number of at least 0",
    "OpenUnitInterval": "a number between 0 and 1",
    "ClosedUnitInterval": "a number from 0 to 1",
    "str": "text",
    "list": "a list such as [A, B]",
    "NoneType": "null",
}

# For each subcommand, whether it takes no checkpoint, may take one, needs one, or takes several.
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

# What the arguments declared by Lightning and jsonargparse do here, in a few words.
FILE = "YAML file with settings for this group only."
LIMIT = "Fraction (float) or number (int) of batches in {}, per device; all if null."
HELP = {
    "config": "YAML file with settings, such as those in configs/. May be repeated; later arguments win.",
    "print_config": "Print the resulting configuration as YAML and exit; =skip_default omits default values.",
    "model": FILE,
    "data": FILE,
    "trainer": FILE,
    "submission": FILE,
    "trainer.accelerator": "Hardware to compute on: auto, cpu, gpu, cuda, mps or tpu.",
    "trainer.strategy": "How several devices work together: auto, ddp, fsdp, deepspeed or another Lightning strategy.",
    "trainer.devices": "Number of devices, or which ones, as [0, 1]; auto or -1 uses all.",
    "trainer.num_nodes": "Number of machines to train on.",
    "trainer.precision": """Numeric precision, such as 32-true, bf16-mixed, 16-mixed or 64-true. If null:
        bf16-mixed where the hardware natively supports it (GPUs since Ampere, CPUs with AVX512-BF16 or AMX), 16-mixed
        on other GPUs, 32-true on other CPUs; but a resumed fit keeps its precision, and a network fitted with 32-true
        is used with 32-true.""",
    "trainer.logger": """Loggers besides metrics.csv: W&B if null (none with WANDB_MODE=disabled), or one or several
        others instead, such as TensorBoardLogger; with false, the fit creates no run folder.""",
    "trainer.callbacks": "Callbacks besides those of every fit; --trainer.callbacks+ adds to those of a configuration.",
    "trainer.fast_dev_run": "Try out a fit on this many batches, or on one if true, without a run folder.",
    "trainer.max_epochs": "Number of epochs; the learning-rate schedule ends with the last.",
    "trainer.min_epochs": "Number of epochs before the fit may stop early.",
    "trainer.max_steps": "Optimizer steps after which the fit ends, even before max_epochs; -1 for no limit.",
    "trainer.min_steps": "Number of optimizer steps before the fit may stop early.",
    "trainer.max_time": "Time after which the fit ends, as DD:HH:MM:SS.",
    "trainer.limit_train_batches": LIMIT.format("each training epoch"),
    "trainer.limit_val_batches": LIMIT.format("each validation"),
    "trainer.limit_test_batches": "Not used: there is no test subcommand.",
    "trainer.limit_predict_batches": "Refused by predict and crossval, which need all images.",
    "trainer.overfit_batches": "Refused: give --trainer.limit_train_batches instead.",
    "trainer.val_check_interval": """When to validate: after a fraction of an epoch (float), a number of batches (int)
        or a time (DD:HH:MM:SS); at the end of the epoch if null.""",
    "trainer.check_val_every_n_epoch": """Validate only every n-th epoch, and the last one; if null,
        val_check_interval counts batches across epochs.""",
    "trainer.num_sanity_val_steps": "Batches to validate before training, to fail early; 2 if null, all if -1.",
    "trainer.log_every_n_steps": "Optimizer steps between logged training losses.",
    "trainer.enable_checkpointing": "false keeps no checkpoints.",
    "trainer.enable_progress_bar": "false hides the bar on a terminal, and the line per epoch elsewhere.",
    "trainer.enable_model_summary": "false hides the table of the network before a fit.",
    "trainer.accumulate_grad_batches": "Batches whose gradients are accumulated for one optimizer step.",
    "trainer.gradient_clip_val": "Largest norm of all gradients, or absolute value of each one; null does not clip.",
    "trainer.gradient_clip_algorithm": "What to clip: norm or value; norm if null.",
    "trainer.deterministic": "true allows only deterministic algorithms; warn uses them where they exist.",
    "trainer.benchmark": "Whether cuDNN first tries which algorithms are fastest.",
    "trainer.inference_mode": "Validate and predict with torch.inference_mode instead of torch.no_grad.",
    "trainer.use_distributed_sampler": "Keep it false: our own samplers distribute the images over the processes.",
    "trainer.profiler": "Measure where the time goes: simple, advanced, pytorch or a Lightning class.",
    "trainer.detect_anomaly": "Find the operation whose gradient is not finite; slow.",
    "trainer.barebones": "Refused: it saves no run and no checkpoint.",
    "trainer.plugins": "Lightning plugins, such as for a cluster.",
    "trainer.sync_batchnorm": "Compute BatchNorm statistics over all devices.",
    "trainer.reload_dataloaders_every_n_epochs": "Keep it 0: each epoch draws new batches anyway.",
    "trainer.default_root_dir": "Folder that holds runs/; the current one if null.",
    "trainer.enable_autolog_hparams": "Whether Lightning also passes the arguments of model and data to the loggers.",
    "trainer.model_registry": "Name of the model in Lightning's registry.",
}


def taking(number: str) -> str:
    """Name the subcommands that take a number of checkpoints, given in the words of ``CHECKPOINTS``."""
    *names, last = (name for name, takes in CHECKPOINTS.items() if takes == number)
    return f"{', '.join(names)} and {last}"


def about_checkpoints() -> str:
    """Say what ``--ckpt_path`` takes."""
    return f"""Checkpoint to use: a path, or last or best of the newest run (with --name, of that name). fit
        resumes it; {taking("one")} take one; {taking("several")} take several: paths, or a pattern such as
        'runs/*/airbench/fold_*/latest/checkpoints/last.ckpt'; {taking("none")} take none."""


def usage(task: str, subcommand: str) -> str:
    """Return the usage lines of a subcommand."""
    known = [words.format(task=task) for _, words in EXAMPLES]
    return "\n       ".join(f"{words} [--FLAG VALUE ...]" for words in known if f" {subcommand}" in words)


def overview(task: str, about: str | None) -> str:
    """Say what a task is about, and list common commands."""
    width = max(len(name) for name, _ in EXAMPLES)
    lines = [f"  {name:{width}}  {words.format(task=task)}" for name, words in EXAMPLES]
    about = (about or "").strip().partition("\n")[0]
    return "\n".join([about, "", "Run these in the folder that holds, or will hold, data/ and runs/:", "", *lines])


def flags_like(unknown: str, flags: Iterable[str]) -> list[str]:
    """Return up to three flags that an unknown one may stand for.

    They begin with it, have its last word, as ``--model.lr`` has that of ``lr``, its initials, or a close word.
    """
    last = {flag: flag.rpartition(".")[2] for flag in flags}
    if longer := [flag for flag in last if flag.startswith(unknown)]:
        return [f"--{flag}" for flag in longer[:3]]
    word = unknown.rpartition(".")[2]
    alike = difflib.get_close_matches(word, set(last.values()), n=3)
    wanted = [word] if word in alike else [*alike, "".join(part[:1] for part in word.split("_"))]
    return [f"--{flag}" for flag, end in last.items() if end in wanted][:3]


class Help(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Explains what Lightning's arguments do here."""

    def _get_help_string(self, action: Action) -> str:
        if action.help:
            action.help = HELP.get(action.dest, action.help)
        return super()._get_help_string(action)


def given_words(words: list[str]) -> list[tuple[str, str]]:
    """Pair the flags on a command line with their values, written as ``--flag value`` or ``--flag=value``."""
    pairs = []
    for before, word in pairwise(["", *words]):
        flag, equals, value = word.partition("=")
        pairs.append((flag, value) if equals and flag.startswith("-") else (before, word))
    return pairs


def parse(parser: LightningArgumentParser, words: list[str]) -> Namespace:
    """Parse, and refuse a null in a configuration where there must be a value."""
    settings: Namespace = parser.parse_args(words)
    try:
        parser.validate(settings, skip_unset=False)
    except (TypeError, ValueError) as error:
        parser.error(str(error), error)
    return settings


def expected(types: str) -> list[str]:
    """Say in words what values have one of some types, as jsonargparse prints these; nothing if one is unknown."""
    said: list[str] = []
    for kind in re.findall(r"<class '[^']+'>|[\w.]+\[[^]]*\]|\w+", types):
        name = kind.removeprefix("<class '").removesuffix("'>").rpartition(".")[2]
        if choices := re.fullmatch(r"typing\.Literal\[(.*)\]", kind):
            said += [choice.strip(" '") for choice in choices[1].split(",")]
        elif words := TYPES.get(kind.partition("[")[0] if "[" in kind else name):
            said += words.split("|")
        else:
            return []
    return list(dict.fromkeys(said))


def explain_type_error(message: str) -> str:
    """Name the flag and the kind of value that it takes, where jsonargparse lists Python's types."""
    fault = re.fullmatch(r'Parser key "([\w.]+)":\s+(.*)', message, re.DOTALL)
    if fault is None:
        return message
    flag, reason = fault.groups()
    forms = (r"Subtypes: \[(.*)\]\s+Errors:", r"Expected an? (\S.*?\S)\.? Got value", r"Not of type (\w+)")
    types = next((found[1] for form in forms if (found := re.search(form, reason, re.DOTALL))), "")
    if not (kinds := expected(types)):
        return message
    values = (r"(?:Given|Got) value: (.*)\Z", r": '([^']*)'\Z", r"Not of type \w+: (\S+) (?:does |is )?not ")
    value = next((found[1] for form in values if (found := re.search(form, reason))), "")
    typed = dict(given_words(sys.argv[1:]))
    if not value and not {*CONFIG} & typed.keys():  # or a value in a configuration may be meant
        value = typed.get(f"--{flag}", "")
    if value == "None" or (not value and "'NoneType'" in reason and "Subtypes" not in reason):
        value = "null"
    *others, last = kinds
    return f"--{' '.join([flag, *value.split()])}: give {' or '.join(filter(None, [', '.join(others), last]))}"


def _file_with(key: str) -> str:
    """Name the configuration that was typed and has a setting; empty if there is none."""
    given = [value for flag, value in given_words(sys.argv[1:]) if flag in CONFIG and Path(value).is_file()]
    return next((f"{file}: " for file in given if key in dict_to_namespace(read_config(Path(file)))), "")


def refuse_undone(typed: list[tuple[str, str]], file: str, settings: dict[str, object]) -> None:
    """Refuse a flag before a configuration that also sets it, since the later one would win.

    A configuration may be followed by another that sets the same, but not if it adds to a list (``callbacks+``).

    Args:
        typed: the flags that were typed before the configuration, with their values.
        file: the configuration.
        settings: what it sets.

    Raises:
        UserError: there is one; the error names both.
    """
    later = dict_to_namespace(settings)
    for flag, value in typed:
        names = [flag[2:].removesuffix("+")] if flag.startswith("--") and flag not in CONFIG else []
        if flag in CONFIG and Path(value).is_file():
            earlier = dict_to_namespace(read_config(Path(value))).keys()
            names = [name.removesuffix("+") for name in earlier if name.endswith("+")]
        for name in names:
            if name in later:
                said = f"{file}, given after it, sets {name}, too, and would win"
                raise UserError(f"{flag} {value}: {said}; give it after --config {file}")


class OneLineParser(LightningArgumentParser):
    """Lightning's parser, but with one-line errors, which do not list all arguments."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if not self.exit_on_error:
            super().error(message, ex)
        parser = getattr(ex, "subcommand_parser", self)
        prog = re.sub(r" (COMMAND )?\[[^]]*\]", "", parser.prog)  # argparse inserts the usage of all
        if unknown := re.search(r"unrecognized arguments: --([\w.]+)", message):
            hint = did_you_mean(flags_like(unknown[1], parser.get_defaults(skip_validation=True).keys()))
            message = "; ".join(filter(None, [message, hint]))
        if missing := re.search(rf"arguments are required: (?:({'|'.join(CHECKPOINTS)})\.)?([\w.]+)", message):
            prog, message = " ".join(filter(None, [prog, missing[1]])), f"give --{missing[2]}"
        if option := re.search(r"(?:Group '([\w.]+)'|Subcommand '\w+') does not accept option '([\w.]+)'", message):
            key = ".".join(filter(None, option.groups()))
            hint = did_you_mean(flags_like(key, parser.get_defaults(skip_validation=True).keys()))
            message = "; ".join(filter(None, [f"{_file_with(key)}{key}: no such setting", hint]))
        self.exit(2, f"error: {' '.join(explain_type_error(message).split())} (see {prog} --help)\n")

    def format_help(self, *args: HelpFormatter | None, **kwargs: HelpFormatter | None) -> str:
        """Put the arguments of the subcommand first, then those of the task, then Lightning's many."""
        order, groups = {"model": 1, "data": 1, "trainer": 2}, self.groups or {}
        places = {f"{groups[name].title}:": place for name, place in order.items() if name in groups}
        places["Linked arguments:"] = 1
        sections = super().format_help(*args, **kwargs).rstrip("\n").split("\n\n")
        return "\n\n".join(sorted(sections, key=lambda section: places.get(section.partition("\n")[0], 0))) + "\n"
