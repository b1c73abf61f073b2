"""The W&B workspace of a task, as code: ``python -m common.dashboard --project growth [--entity E]``.

With a key (``wandb login``) it is published as a saved view of the project; without one its specification is written
as JSON. Learning curves, the deciding metric against each argument, parallel coordinates, the mean over a group (the
folds of a ``crossval``), and the pictures of the held-out rows.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
from pathlib import Path
from typing import Any

from common.errors import UserError, exit_on_user_error
from common.runs import TASKS
from common.submission import check_output, replacing
from common.tracking import STEP, wandb_key_configured

CLASSES = {"growth": ("GrowthRegressor", "GrowthData"), "julia": ("CharacterClassifier", "CharacterData")}
# Where data lie, what the model hands to them, and what does not bear on the result.
LEFT_OUT = {"self", "pretrained", "root", "cache_dir", "num_workers", "eval_batch_size", "image_size", "channels"}
TRAINER = ("trainer.max_epochs", "trainer.precision", "trainer.gradient_clip_val", "trainer.accumulate_grad_batches")
# Most compared, and numbers: side by side in the parallel coordinates.
COORDINATES = ("model.backbone", "model.image_size", "model.lr", "model.weight_decay", "trainer.max_epochs")
LOGARITHMIC = ("model.lr", "model.weight_decay")


def arguments(task: str) -> list[str]:
    """List the arguments of a task that may bear on its result, named as in the configuration."""
    model, data = CLASSES[task]
    names = ["model.image_size", "model.channels"]
    for part, name in (("model", model), ("data", data)):
        signature = inspect.signature(getattr(importlib.import_module(f"{task}.{part}"), name).__init__)
        names += [f"{part}.{argument}" for argument in signature.parameters if argument not in LEFT_OUT]
    return [*names, *TRAINER, "seed_everything"]


def workspace(task: str, entity: str) -> Any:
    """Make the workspace of a task, a ``wandb_workspaces.workspaces.Workspace``.

    Args:
        task: growth or julia; also W&B's project.
        entity: the user or team that it belongs to.
    """
    import wandb_workspaces.reports.v2 as panels
    import wandb_workspaces.workspaces as workspaces

    metrics = importlib.import_module(f"{task}.metrics")
    model: Any = getattr(importlib.import_module(f"{task}.model"), CLASSES[task][0])
    better = {"min": "lower is better", "max": "higher is better"}
    monitor = metrics.MONITOR
    best = panels.SummaryMetric(f"{monitor}.{metrics.DIRECTIONS[monitor]}")

    def curve(name: str, **options: Any) -> Any:
        unit = f", {metrics.UNITS[name]}" if name in metrics.UNITS else ""
        title = f"{name}{unit} ({better[metrics.DIRECTIONS[name]]})"
        named = {"metric_regex": name.replace("*", ".*")} if "*" in name else {"y": [name]}
        return panels.LinePlot(title=title, x=STEP, **named, **options)

    against = [
        panels.ScatterPlot(
            title=f"best {monitor} against {name}", x=panels.Config(name), y=best, log_x=name in LOGARITHMIC or None
        )
        for name in arguments(task)
    ]
    coordinates = panels.ParallelCoordinatesPlot(
        title=f"best {monitor} and the main arguments",
        columns=[
            *(
                panels.ParallelCoordinatesPlotColumn(panels.Config(name), log=name in LOGARITHMIC or None)
                for name in COORDINATES
            ),
            panels.ParallelCoordinatesPlotColumn(best, inverted=metrics.DIRECTIONS[monitor] == "min" or None),
        ],
    )
    means = [
        curve(name, groupby="Group", groupby_aggfunc="mean", groupby_rangefunc="minmax", aggregate=True)
        for name in metrics.DIRECTIONS
        if name.startswith("val/") and "*" not in name
    ]
    galleries = [panels.MediaBrowser(title=name, media_keys=[f"pictures/{name}"]) for name in model.drawn]
    sections = {
        "learning curves": [curve(name) for name in metrics.DIRECTIONS],
        "held-out rows": galleries,
        "means of groups, such as folds": means,
        "main arguments": [coordinates],
        "each argument": against,
    }
    return workspaces.Workspace(
        entity=entity,
        project=task,
        name=f"{task}: runs compared",
        sections=[
            workspaces.Section(name=name, panels=shown, is_open=number < 2)
            for number, (name, shown) in enumerate(sections.items())
        ],
        settings=workspaces.WorkspaceSettings(x_axis=STEP),
    )


def publish(task: str, entity: str | None) -> str:
    """Save the workspace with W&B, and give its address.

    Raises:
        UserError: W&B refuses, or cannot be reached.
    """
    import wandb

    try:
        view = workspace(task, entity or wandb.Api().default_entity or "")
        view.save()
    except Exception as error:  # W&B raises CommError, UsageError, ValueError and those of its HTTP library
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"W&B has not taken the workspace of {task}: {reason[:200]}; see wandb login") from error
    return str(view.url)


def write(task: str, entity: str | None, path: Path) -> None:
    """Write the specification of the workspace as JSON."""
    check_output(path, "--output")
    view = workspace(task, entity or "")._to_model()
    with replacing(path) as temporary:
        temporary.write_text(
            json.dumps(view.model_dump(mode="json", by_alias=True, exclude_none=True), indent=1) + "\n"
        )


def main() -> None:
    parser = argparse.ArgumentParser("python -m common.dashboard", description="The W&B workspace of a task.")
    parser.add_argument("--project", required=True, help="growth or julia")
    parser.add_argument("--entity", help="user or team of W&B; your own if not given")
    parser.add_argument("--output", type=Path, help="write the specification as JSON instead of publishing it")
    given = parser.parse_args()
    with exit_on_user_error():
        if given.project not in TASKS:
            raise UserError(f"--project {given.project}: give {' or '.join(TASKS)}")
        if given.output is None and wandb_key_configured():
            print(f"published: {publish(given.project, given.entity)}")
            return
        path = given.output or Path(f"dashboard-{given.project}.json")
        write(given.project, given.entity, path)
        if given.output is None:
            print("no W&B key, so nothing is published: type wandb login, or set WANDB_API_KEY, and this command again")
        print(f"written: {path}")


if __name__ == "__main__":
    main()
