"""The W&B workspace of a task, and a report on its runs, as code: ``python -m <task> dashboard [--report]``.

With a key (``wandb login``) they are published in the project; without one, the workspace's specification is written
as JSON, the report as Markdown. The workspace shows learning curves, the monitored metric against each argument,
parallel coordinates, the mean over a group (the folds of a ``crossval``), and the pictures of the held-out rows; runs
are grouped by the rows they held out.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from common.arguments import RESUMED, Kind, Settings, experiment, in_words, kinds_of, machine_arguments
from common.data import ImageData
from common.errors import UserError
from common.files import check_output, shown, write_json, write_text
from common.plots import BETTER
from common.ranking import rank, read_groups, tell_apart
from common.report import write_report
from common.runs import About, Result, Run
from common.task import AnyTask
from common.tracking import STEP, wandb_key_configured

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import Report
    from wandb_workspaces.workspaces import Workspace

MOST_POINTS = 10_000  # validations per run to read from W&B
HELD_OUT = "dataset.held_out_digest"  # runs are grouped by this argument
# The arguments compared most, all but one of them numeric, for the parallel coordinates.
COORDINATES = ("model.backbone", "model.image_size", "model.lr", "model.weight_decay", "trainer.max_epochs")
LOGARITHMIC = ("model.lr", "model.weight_decay")


def arguments(task: type[AnyTask], data: type[ImageData]) -> list[str]:
    """List the arguments of a task that may affect its result, named as in the configuration."""
    of_model, of_data = kinds_of(task), kinds_of(data)
    names = [f"model.{name}" for name in of_model if name != "pretrained"]
    # Arguments that the model passes on to the data are listed with the model's.
    names += [f"data.{name}" for name, kind in of_data.items() if kind is not Kind.MACHINE and name not in of_model]
    return [*names, "trainer.precision", *(f"trainer.{name}" for name in RESUMED), "seed_everything"]


def workspace(task: type[AnyTask], data: type[ImageData], entity: str) -> Workspace:
    """Make the ``wandb_workspaces`` workspace of a task, whose name is the W&B project, for a user or team."""
    import wandb_workspaces.reports.v2 as panels
    import wandb_workspaces.workspaces as workspaces
    from wandb_workspaces import expr

    monitor = task.monitor
    best = panels.SummaryMetric(f"{monitor}.{task.directions[monitor]}")

    def curve(name: str, **options: object) -> panels.LinePlot:
        unit = f", {task.units[name]}" if name in task.units else ""
        title = f"{name}{unit} ({BETTER[task.directions[name]]})"
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
    # Since runs are grouped, W&B would draw the means of groups by default.
    each = {"aggregate": False}
    main = panels.ParallelCoordinatesPlot(title=f"best {monitor} and the main arguments", columns=coordinates)
    sections = {
        "learning curves": [curve(name, **each) for name in task.directions],
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
        runset_settings=workspaces.RunsetSettings(
            groupby=[expr.Config(HELD_OUT)],
            order=[expr.Ordering(expr.Summary(best.name), ascending=task.directions[monitor] == "min")],
        ),
    )


def report_runs(task: type[AnyTask], data: type[ImageData], entity: str) -> Report:
    """Make the W&B report on the runs of a task's project: the text, then the curves for each set of held-out rows.

    Raises:
        UserError: no run of the project has been measured.
    """
    import wandb_workspaces.reports.v2 as panels

    runs = fetch_runs(task, data, entity)
    if not runs:
        raise UserError(f"no run in {entity}/{task.task} has been measured; see wandb sync")
    monitor, direction = task.monitor, task.directions[task.monitor]
    groups = rank(runs, monitor, direction)
    title, _, text = write_report(groups, runs[0].about).partition("\n")
    best = panels.SummaryMetric(f"{monitor}.{direction}")
    grids = []
    for group in groups:
        where = f"Config('{HELD_OUT}') = '{group.runs[0].about['held_out']['digest']}'"
        order = [panels.OrderBy(best, ascending=direction == "min")]
        shown = panels.Runset(entity=entity, project=task.task, name=group.rows, filters=where, order=order)
        curve = panels.LinePlot(title=f"{monitor}, {group.rows}", x=STEP, y=[monitor])
        grids.append(panels.PanelGrid(runsets=[shown], panels=[curve]))
    blocks = [panels.MarkdownBlock(text=text.strip()), *grids]
    return panels.Report(project=task.task, entity=entity, title=title.removeprefix("# "), blocks=blocks)


def fetch_runs(task: type[AnyTask], data: type[ImageData], entity: str) -> list[Run]:
    """Read the measured runs of a task's project from W&B; each fold of a cross-validation counts as a separate run."""
    import wandb

    machine, monitor = sorted(machine_arguments(task, data)), task.monitor
    runs = []
    for one in wandb.Api().runs(f"{entity}/{task.task}"):
        settings: Settings = one.config
        points = one.history(keys=["epoch", monitor], samples=MOST_POINTS, pandas=False)
        described = settings.get("dataset") or {}
        if not points or "held_out_digest" not in described:
            continue
        curve = pd.Series([point[monitor] for point in points], [int(point["epoch"]) + 1 for point in points], float)
        about: About = {
            "task": task.task,
            "monitor": monitor,
            "directions": task.directions,
            "units": dict(task.units),
            "machine": machine,
            "held_out": {"rows": described["held_out"], "digest": described["held_out_digest"]},
        }
        arguments = in_words(experiment(settings, machine))
        seconds = float(one.summary.get("_runtime") or 0)
        result: Result | None = {"seconds": seconds} if one.state == "finished" else None
        runs.append(Run(Path(*one.path), about, arguments, {monitor: curve}, result, one.name))
    tell_apart(runs)
    return runs


def publish(task: type[AnyTask], data: type[ImageData], entity: str | None, report: bool) -> str:
    """Save the workspace or the report on W&B, and return its address.

    Raises:
        UserError: W&B refuses or cannot be reached, or there is nothing to report on.
    """
    import wandb

    what, make = ("report on", report_runs) if report else ("workspace of", workspace)
    try:
        view = make(task, data, entity or wandb.Api().default_entity or "")
        view.save()
    except UserError:
        raise
    except Exception as error:  # W&B raises CommError, UsageError, ValueError and those of its HTTP library
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"W&B did not accept the {what} {task.task}: {reason[:200]}; see wandb login") from error
    return str(view.url)


def build_dashboard(
    task: type[AnyTask], data: type[ImageData], entity: str | None, output: Path | None, report: bool, runs: Path
) -> None:
    """Publish the workspace or the report; without a key, or if a file is named, write it to a file.

    Args:
        task: class of the model.
        data: class of the data module.
        entity: W&B user or team; the key's default if None.
        output: the file to write.
        report: whether to make the report instead of the workspace.
        runs: folder of the runs covered by a report that is written to a file.
    """
    if output is None and wandb_key_configured():
        print(f"published: {publish(task, data, entity, report)}")
        return
    path = output or Path(f"report-{task.task}.md" if report else f"dashboard-{task.task}.json")
    check_output(path, "--output", ".md" if report else ".json")
    if report:
        write_text(path, write_report(*read_groups([shown(runs)])))
    else:
        specification = workspace(task, data, entity or "")._to_model()
        write_json(path, specification.model_dump(mode="json", by_alias=True, exclude_none=True))
    if output is None:
        print("no W&B key, so nothing is published: run wandb login or set WANDB_API_KEY, then give this command again")
    print(f"written: {path}")
