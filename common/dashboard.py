"""The W&B workspace of a task, as code: ``python -m <task> dashboard [--entity E]``.

With a key (``wandb login``) it is published as a saved view of the project; without one its specification is written
as JSON. Learning curves, the deciding metric against each argument, parallel coordinates, the mean over a group (the
folds of a ``crossval``), and the pictures of the held-out rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from common.arguments import RESUMED, Kind, kinds_of
from common.data import ImageData
from common.errors import UserError
from common.files import check_output, write_json
from common.task import AnyTask
from common.tracking import STEP, wandb_key_configured

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

# Most compared, and numbers: side by side in the parallel coordinates.
COORDINATES = ("model.backbone", "model.image_size", "model.lr", "model.weight_decay", "trainer.max_epochs")
LOGARITHMIC = ("model.lr", "model.weight_decay")


def arguments(task: type[AnyTask], data: type[ImageData]) -> list[str]:
    """List the arguments of a task that may bear on its result, named as in the configuration."""
    of_model, of_data = kinds_of(task), kinds_of(data)
    names = [f"model.{name}" for name in of_model if name != "pretrained"]
    # What the model hands to the data stands among the model's.
    names += [f"data.{name}" for name, kind in of_data.items() if kind is not Kind.MACHINE and name not in of_model]
    return [*names, "trainer.precision", *(f"trainer.{name}" for name in RESUMED), "seed_everything"]


def workspace(task: type[AnyTask], data: type[ImageData], entity: str) -> Workspace:
    """Make the workspace (of ``wandb_workspaces``) of a task, whose name is W&B's project, for a user or team."""
    import wandb_workspaces.reports.v2 as panels
    import wandb_workspaces.workspaces as workspaces

    better = {"min": "lower is better", "max": "higher is better"}
    monitor = task.monitor
    best = panels.SummaryMetric(f"{monitor}.{task.directions[monitor]}")

    def curve(name: str, **options: object) -> panels.LinePlot:
        unit = f", {task.units[name]}" if name in task.units else ""
        title = f"{name}{unit} ({better[task.directions[name]]})"
        named = {"metric_regex": name.replace("*", ".*")} if "*" in name else {"y": [name]}
        return panels.LinePlot(title=title, x=STEP, **named, **options)

    def scatter(name: str) -> panels.ScatterPlot:
        title, log = f"best {monitor} against {name}", name in LOGARITHMIC or None
        return panels.ScatterPlot(title=title, x=panels.Config(name), y=best, log_x=log)

    column = panels.ParallelCoordinatesPlotColumn
    coordinates = [column(panels.Config(name), log=name in LOGARITHMIC or None) for name in COORDINATES]
    coordinates.append(column(best, inverted=task.directions[monitor] == "min" or None))
    mean = {"groupby": "Group", "groupby_aggfunc": "mean", "groupby_rangefunc": "minmax", "aggregate": True}
    validated = [name for name in task.directions if name.startswith("val/") and "*" not in name]
    main = panels.ParallelCoordinatesPlot(title=f"best {monitor} and the main arguments", columns=coordinates)
    sections = {
        "learning curves": [curve(name) for name in task.directions],
        "held-out rows": [panels.MediaBrowser(title=name, media_keys=[f"pictures/{name}"]) for name in task.drawn],
        "means of groups, such as folds": [curve(name, **mean) for name in validated],
        "main arguments": [main],
        "each argument": [scatter(name) for name in arguments(task, data)],
    }
    return workspaces.Workspace(
        entity=entity,
        project=task.task,
        name=f"{task.task}: runs compared",
        sections=[
            workspaces.Section(name=name, panels=shown, is_open=name in ("learning curves", "held-out rows"))
            for name, shown in sections.items()
        ],
        settings=workspaces.WorkspaceSettings(x_axis=STEP),
    )


def publish(task: type[AnyTask], data: type[ImageData], entity: str | None) -> str:
    """Save the workspace with W&B, and give its address; a :class:`UserError` if it refuses or is out of reach."""
    import wandb

    try:
        view = workspace(task, data, entity or wandb.Api().default_entity or "")
        view.save()
    except Exception as error:  # W&B raises CommError, UsageError, ValueError and those of its HTTP library
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"W&B did not accept the workspace of {task.task}: {reason[:200]}; see wandb login") from error
    return str(view.url)


def build_dashboard(task: type[AnyTask], data: type[ImageData], entity: str | None, output: Path | None) -> None:
    """Publish the workspace, or write its specification where there is no key or a file is named."""
    if output is None and wandb_key_configured():
        print(f"published: {publish(task, data, entity)}")
        return
    path = output or Path(f"dashboard-{task.task}.json")
    check_output(path, "--output")
    specification = workspace(task, data, entity or "")._to_model()
    plain = specification.model_dump(mode="json", by_alias=True, exclude_none=True)
    write_json(path, plain)
    if output is None:
        print("no W&B key, so nothing is published: run wandb login or set WANDB_API_KEY, then give this command again")
    print(f"written: {path}")
