"""Which run is best, and why: a report in Markdown on ranked runs."""

from __future__ import annotations

from common.errors import counted
from common.held_out_tables import compare_rows, read_held_out, weights_of
from common.plots import BETTER
from common.ranking import FIXED, Group, table_of, text_of
from common.run_tree import SUMMED_UP, Node, order_columns, tree_of
from common.runs import About, Run

FIRST = 5  # groups of rows, at either end, where two runs differ most


def write_report(groups: list[Group], about: About) -> str:
    """Write the report on ranked runs."""
    monitor = about["monitor"]
    direction, unit = about["directions"][monitor], about.get("units", {}).get(monitor)
    measured = f"`{monitor}`{f' in {unit}' if unit else ''}, {BETTER[direction]}"
    runs = counted(sum(len(group.runs) for group in groups), "run")
    apart = "; only runs with the same held-out rows are ranked together" if len(groups) > 1 else ""
    lines = [f"# Runs of {about['task']}: which is best, and why", "", f"{runs}, by {measured}{apart}."]
    lines += ["A row of several seeds stands for their mean; its range is in brackets."]
    table = table_of(groups)
    columns, cells = order_columns(table), iter(table.to_dict("records"))
    for group in groups:
        roots = tree_of(group, [next(cells) for _ in group.runs], columns, direction == "min")
        lines += ["", f"## {group.rows}: {counted(len(group.runs), 'run')}", "", *_section(roots, columns, monitor)]
    return "\n".join(lines) + "\n"


def _section(roots: list[Node], columns: list[str], monitor: str) -> list[str]:
    ranked = [node for node in roots if node.row["best"][1] is not None]
    if not ranked:
        return ["None has a figure yet."]
    best, *others = ranked
    lines = [f"**Best: {_named(best)}, {monitor} {best.row['best'][0]}.**"]
    if any(run.result is None for run in best.fitted()):
        lines[-1] += " It is unfinished."
    if best.run is None or "folds" not in (best.run.result or {}):
        lines.append("These very rows chose the best epoch; `crossval` gives a figure that is free of this choice.")
    if not others:
        return [*lines, "", "No other run was measured on these rows."]
    lines += ["", *_beside(best, others[0])]
    cells = [[_named(node), *(node.row[name][0] for name in ("best", *columns[2:3]))] for node in ranked[:10]]
    lines += ["", *_table(["", monitor, *columns[2:3]], cells)]
    if changes := _alone(best, others, columns):
        lines += ["", "Settings that differ from the best in one argument alone:", ""]
        lines += _table(["argument", "of the best", "instead", monitor, "worse by"], changes)
    return lines + _errors(best, others[0])


def _named(node: Node) -> str:
    return f"`{node.name}`{f' ({node.what})' if node.what else ''}"


def _beside(best: Node, second: Node) -> list[str]:
    """Say how far the best is ahead of the second, whether seeds vary as much, and how the two differ."""
    ahead = abs((best.row["best"][1] or 0) - (second.row["best"][1] or 0))
    line = f"It is ahead of the second, {_named(second)}, by {text_of('', ahead)}"
    ranges = [_width(node) for node in (best, second) if node.run is None]
    if not ahead:
        line = f"It is no better than the second, {_named(second)}."
    elif not ranges:
        line += "; several seeds of both would tell whether that is more than chance."
    elif ahead > max(ranges):
        line += f", more than seeds of one setting lie apart ({text_of('', max(ranges))})."
    else:
        line += f", less than seeds of one setting lie apart ({text_of('', max(ranges))}): it may be chance."
    differ = [
        f"`{name}` {best.row[name][0]} instead of {second.row[name][0]}"
        for name in _settings(best)
        if best.row[name][0] != second.row[name][0]
    ]
    return [line, f"Of the two, the first has {'; '.join(differ)}."] if differ else [line]


def _width(node: Node) -> float:
    figures = [figure for one in node.below if (figure := one.row["best"][1]) is not None]
    return max(figures) - min(figures)


def _settings(node: Node) -> list[str]:
    return [name for name in node.row if name not in FIXED and name not in SUMMED_UP]


def _alone(best: Node, others: list[Node], columns: list[str]) -> list[list[str]]:
    """List those that differ from the best in a single argument, which shows what the argument is worth."""
    found = []
    for node in others:
        differing = [name for name in _settings(best) if node.row[name][0] != best.row[name][0]]
        if len(differing) == 1:
            name = differing[0]
            worse = abs((node.row["best"][1] or 0) - (best.row["best"][1] or 0))
            cells = [best.row[name][0], node.row[name][0], node.row["best"][0], text_of("", worse)]
            found.append([f"`{name}`", *cells])
    return sorted(found, key=lambda cells: columns.index(cells[0].strip("`")))


def _errors(best: Node, second: Node) -> list[str]:
    """Show where the best is ahead of the second, and where it is not, by groups of held-out rows."""
    one, other = _chosen(best), _chosen(second)
    tables = [read_held_out(run)[0] for run in (one, other)]
    if tables[0] is None or tables[1] is None or one.about.get("columns") != other.about.get("columns"):
        return []
    columns = one.about["columns"]
    summed = compare_rows(tables[0], tables[1], columns["classes"])
    if summed.empty:
        return []
    what = "alone got right" if columns["classes"] else f"mean error, {columns['truth']}"
    ends = summed if len(summed) <= 2 * FIRST else summed.iloc[[*range(FIRST), *range(-FIRST, 0)]]
    some = "" if len(ends) == len(summed) else f" ({FIRST} of {len(summed)} at either end)"
    title = f"By {columns['group']}, where `{one.name}` is most ahead of `{other.name}` first{some}"
    by = [(which, weights_of(run)) for which, run in (("first", one), ("second", other))]
    title += "".join(f"; the {which}'s predictions are those of {weights}" for which, weights in by if weights) + ":"
    cells = [
        [str(name), *(str(int(v)) if float(v).is_integer() else f"{v:.3g}" for v in row)]
        for name, *row in ends.itertuples()
    ]
    return ["", title, "", *_table([columns["group"], "rows", f"the first: {what}", f"the second: {what}"], cells)]


def _chosen(node: Node) -> Run:
    """Return the run of a row, or the best one of several seeds."""
    run = node.run or node.below[0].run
    assert run is not None
    return run


def _table(head: list[str], lines: list[list[str]]) -> list[str]:
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in (head, ["---"] * len(head), *lines)]
    return [f"| {' | '.join(line)} |" for line in escaped]
