"""Kinds of arguments, each declared along with its argument.

    root: Machine[str]                   about the machine: where data lie, where to cache, how many workers
    contrast: Resumable[float]           may change when a fit is resumed
    round_days: Answering[bool]          turns outputs into answers; may change when predicting, too
    backbone: str                        neither: it belongs to the weights, and stays as the checkpoint has it

The kinds determine what a resumed fit, a checkpoint, an ensemble, a cross-validation and a comparison keep, refuse or
leave out. All of them guard an argument that has no kind.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping, MutableMapping
from enum import Enum
from functools import cache
from typing import Annotated, Any, TypeVar, get_type_hints


class Kind(Enum):
    """What an argument concerns."""

    MACHINE = "machine"
    RESUMABLE = "resumable"
    ANSWERING = "answering"
    GUARDED = "guarded"


Settings = dict[str, Any]  # arguments by name, nested, as plain values
T = TypeVar("T")
Machine = Annotated[T, Kind.MACHINE]
Resumable = Annotated[T, Kind.RESUMABLE]
Answering = Annotated[T, Kind.ANSWERING]

# The Trainer's arguments, which Lightning declares. A resumed fit inherits the resumable ones from its checkpoint.
RESUMED = (
    *("accumulate_grad_batches", "check_val_every_n_epoch", "gradient_clip_algorithm", "gradient_clip_val"),
    *("limit_train_batches", "limit_val_batches", "max_epochs", "max_steps", "min_epochs", "min_steps"),
    "val_check_interval",
)
MACHINE_OF_TRAINER = (
    *("default_root_dir", "logger", "log_every_n_steps", "profiler", "enable_checkpointing", "enable_progress_bar"),
    *("enable_model_summary", "enable_autolog_hparams"),
)
# What earlier versions did that lacked these arguments of the data.
EARLIER = {"train_fraction": 1.0, "extra_per_batch": None, "teachers": None}
WORDS = {"EMAWeightAveraging": "EMA", "StochasticWeightAveraging": "SWA"}  # abbreviations; others go by their names
EXPERIMENT = ("model", "data", "trainer", "seed_everything")  # others, such as the run's name, do not count


def kinds_of(declaring: type) -> dict[str, Kind]:
    """Return the kind of each argument of a class, and of the base to which it passes the rest as ``**``."""
    kinds: dict[str, Kind] = {}
    for parameter, hint in _parameters_of(declaring):
        metadata = getattr(hint, "__metadata__", ())
        kinds.setdefault(parameter.name, next((m for m in metadata if isinstance(m, Kind)), Kind.GUARDED))
    return kinds


def defaults_of(declaring: type) -> dict[str, object]:
    """Return the default of each such argument that has one: what earlier versions did that lacked the argument."""
    defaults: dict[str, object] = {}
    for parameter, _ in _parameters_of(declaring):
        if parameter.default is not parameter.empty:
            defaults.setdefault(parameter.name, parameter.default)
    return defaults


@cache
def _parameters_of(declaring: type) -> list[tuple[inspect.Parameter, object]]:
    """List the arguments of a class, and of the base to which it passes the rest as ``**``, with their annotations."""
    found: list[tuple[inspect.Parameter, object]] = []
    for base in declaring.__mro__:
        if (init := vars(base).get("__init__")) is None:
            continue
        hints = get_type_hints(init, include_extras=True)
        parameters = list(inspect.signature(init).parameters.values())[1:]
        named = [parameter for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
        found += [(parameter, hints.get(parameter.name)) for parameter in named]
        if len(named) == len(parameters):
            break
    return found


def keep_own(saved: MutableMapping[str, object], declaring: type) -> None:
    """Drop what is not an argument of a class: what it merely passes to its base, and a name that LightningCLI adds."""
    for name in saved.keys() - kinds_of(declaring).keys():
        del saved[name]


def shared_arguments(model: type, data: type) -> set[str]:
    """Name the arguments that the data module takes from the model: those that both declare, such as ``image_size``."""
    return kinds_of(model).keys() & kinds_of(data).keys()


def machine_arguments(model: type, data: type) -> set[str]:
    """Return the paths of the arguments that concern the machine, such as ``data.root``."""
    named = {f"trainer.{name}" for name in MACHINE_OF_TRAINER}
    for part, declaring in (("model", model), ("data", data)):
        named |= {f"{part}.{name}" for name, kind in kinds_of(declaring).items() if kind is Kind.MACHINE}
    return named


def flatten(settings: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Key each value of nested settings by its path, such as ``data.fold``."""
    flat: dict[str, object] = {}
    for name, value in settings.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {f"{prefix}{name}": value}
    return flat


def experiment(settings: Mapping[str, object], machine: Iterable[str]) -> dict[str, object]:
    """Pick the nested settings that affect the result, keyed by path."""
    left_out = set(machine)
    given = flatten({part: settings[part] for part in EXPERIMENT if part in settings})
    return {
        name: value
        for name, value in (flatten({"data": EARLIER}) | given).items()
        if not any(name == one or name.startswith(f"{one}.") for one in left_out)
    }


def differing(
    one: Mapping[str, object], other: Mapping[str, object], model: type, data: type, besides: Iterable[str] = ()
) -> list[str]:
    """List the paths of the settings that affect the result and differ, sorted.

    Args:
        one, other: nested settings; those of earlier versions lack arguments, which then had their defaults.
        model, data: the classes that declare the arguments.
        besides: paths to leave out besides those that concern the machine.
    """
    left_out = machine_arguments(model, data).union(besides)
    left, right = experiment(one, left_out), experiment(other, left_out)
    defaults = flatten({"model": defaults_of(model), "data": defaults_of(data)})
    return sorted(
        name for name in {*left, *right} if left.get(name, defaults.get(name)) != right.get(name, defaults.get(name))
    )


def in_words(arguments: Mapping[str, object]) -> dict[str, str]:
    """Show arguments, keyed by path, as they would be typed, but each class as a single word.

    A class's own arguments are separate: ``trainer.callbacks`` is ``EMA``, and ``trainer.callbacks.EMA.decay`` 0.99.
    """
    shown: dict[str, str] = {}
    for name, value in arguments.items():
        classes = value if isinstance(value, list) else []
        paths = [one.get("class_path") if isinstance(one, dict) else None for one in classes]
        if not classes or not all(isinstance(path, str) for path in paths):
            shown[name] = as_typed(value)
            continue
        words = [WORDS.get(last := str(path).rpartition(".")[2], last) for path in paths]
        shown[name] = ", ".join(words)
        for word, one in zip(words, classes, strict=True):
            given = init if isinstance(init := one.get("init_args"), dict) else {}
            for inner, typed in ((f"{name}.{word}.{key}", as_typed(item)) for key, item in given.items()):
                shown[inner] = f"{shown[inner]} / {typed}" if inner in shown else typed  # two of the same class
    return shown


def as_typed(value: object) -> str:
    """Show a value as it would be typed, and a class by its name."""
    if isinstance(value, list):
        return "[" + ", ".join(map(as_typed, value)) + "]"
    if isinstance(value, dict) and isinstance(path := value.get("class_path"), str):
        given = init.items() if isinstance(init := value.get("init_args"), dict) else ()
        return f"{path.rsplit('.')[-1]}({', '.join(f'{name}={as_typed(one)}' for name, one in given)})"
    return value if isinstance(value, str) else json.dumps(value, default=str)
