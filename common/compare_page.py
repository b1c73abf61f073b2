"""The page of runs, one HTML file that needs no network: learning curves above, tables below, linked to each other."""

from __future__ import annotations

import html
import json
import math
import os
import textwrap
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from common.curves import curves_of, describe_metrics
from common.errors import counted
from common.held_out_tables import read_held_out, weights_of
from common.plots import COLOURS
from common.ranking import ABSENT, FIXED, Group
from common.run_tree import Node, order_columns, tree_of
from common.runs import About

LONGEST = 36  # letters of a name in the legend, and of a cell on one line
DASHES = {"solid": "", "dash": "9 4", "dot": "2 3", "dashdot": "9 3 2 3", "longdash": "14 4", "longdashdot": "14 3 2 3"}
MOST_CELLS = 400_000  # predictions of held-out rows per page


def page(groups: list[Group], table: pd.DataFrame, about: About, home: Path) -> tuple[str, list[str]]:
    """Make the page, as a single text.

    Args:
        groups: the runs, ranked.
        table: one line per run, in order, as :func:`common.ranking.table_of` makes it.
        about: a run's description of the metrics.
        home: the folder that the page is written to, which links to the runs' pictures are relative to.

    Returns:
        The page, and notes on what was left out of it, one line each.
    """
    from plotly.offline import get_plotlyjs

    columns, lines = order_columns(table), iter(table.to_dict("records"))
    lowest_first = about["directions"][about["monitor"]] == "min"
    trees = [(group.rows, tree_of(group, [next(lines) for _ in group.runs], columns, lowest_first)) for group in groups]
    nodes = [node for _, roots in trees for root in roots for node in root.all()]
    for number, node in enumerate(nodes):
        node.number = number
        for child in node.below:
            child.parent = number
    order = sorted(nodes, key=lambda node: node.parent is not None)  # rows visible at first get distinct colours
    dashes = [*DASHES]
    styles = {
        node.number: (COLOURS[i % len(COLOURS)], dashes[(i + i // len(COLOURS)) % len(dashes)])
        for i, node in enumerate(order)
    }
    metrics = describe_metrics([run for node in nodes if not node.below for run in node.fitted()], about)
    rows, notes = _rows(nodes)
    drawn = [_drawn(node, styles[node.number], columns) | rows["nodes"].get(node.number, {}) for node in nodes]
    data = {"metrics": metrics, "runs": drawn, "rows": rows["sets"]}
    bodies = []
    for title, roots in trees:
        heading = f'<tr class="rows"><th colspan="{len(columns) + 1}" scope="rowgroup"><span>{html.escape(title)}'
        heading = f"{heading}</span></th></tr>" if len(trees) > 1 else ""
        inner = "".join(_row(node, styles[node.number], columns, home) for root in roots for node in root.all())
        bodies.append(f"<tbody>{heading}{inner}</tbody>")
    number = sum(len(group.runs) for group in groups)
    headings = (html.escape(str(name)) for name in columns)
    parts = {
        "TITLE": html.escape(f"{counted(number, 'run')} of {about['task']}, best {about['monitor']} first"),
        "HEAD": "".join(f'<th scope="col"><button type="button">{name}</button></th>' for name in headings),
        "BODY": "".join(bodies),
        "PLOTLY": get_plotlyjs(),
        "DATA": json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
    }
    text = (Path(__file__).parent / "compare.html").read_text(encoding="utf-8")
    before, *rest = text.split("@@")  # pieces and names alternate
    return before + "".join(parts[name] + piece for name, piece in zip(rest[::2], rest[1::2], strict=True)), notes


def _drawn(node: Node, style: tuple[str, str], columns: list[str]) -> dict[str, Any]:
    """Describe a row for the page's script."""
    arguments = [name for name in columns if name not in FIXED]
    settings = [f"{name}: {node.row[name][0]}" for name in arguments]
    lines = [html.escape(line) for setting in settings for line in textwrap.wrap(setting, 80)]
    half = LONGEST // 2
    label = node.name if len(node.name) <= LONGEST else f"{node.name[: half - 1]}…{node.name[-half:]}"
    return {
        "colour": style[0],
        "dash": style[1],
        "name": node.name,
        "label": html.escape(f"{label} ({node.what})" if node.what else label),  # plotly reads some HTML in names
        "about": [f"<b>{html.escape(node.name)}</b>", *lines],  # hover text
        "what": node.what,
        "summed": node.run is None,
        "find": " ".join([node.name, node.row["state"][0], *settings]).lower(),
        "parent": node.parent,
        "curves": curves_of(node),
    }


def _row(node: Node, style: tuple[str, str], columns: list[str], home: Path) -> str:
    """Write a row of the table: the name with its swatch, cells, links to pictures."""
    line = f'<line x2="30" y1="4" y2="4" stroke="{style[0]}" stroke-width="3" stroke-dasharray="{DASHES[style[1]]}"/>'
    swatch = f'<svg class="swatch" viewBox="0 0 30 8" aria-hidden="true">{line}</svg>'
    label = f"show the {node.what} of {node.name}"
    opens = f'<button type="button" class="open" aria-expanded="false" aria-label="{html.escape(label)}"></button>'
    name = f'<button type="button" class="pick" aria-pressed="false">{html.escape(node.name)}</button>'
    cells = [f"<td>{opens if node.below else '<i></i>'}{swatch}{name}</td>"]
    for column in columns[1:]:
        text, number = node.row[column]
        kind = ' class="number"' if number is not None or text == ABSENT else ' class="long"' * (len(text) > LONGEST)
        sorts = f' data-number="{number!r}"' if number is not None else ""
        cells.append(f"<td{kind}{sorts}>{html.escape(text)}</td>")
    links = " · ".join(f'<a href="{html.escape(link)}">{html.escape(name)}</a>' for name, link in _pictures(node, home))
    hidden = "" if node.parent is None else " hidden"
    return f'<tr data-run="{node.number}"{hidden}>{"".join(cells)}<td>{links}</td></tr>'


def _pictures(node: Node, home: Path) -> list[tuple[str, str]]:
    """Find the pictures of a run, with their links relative to the folder of the page."""
    if node.run is None:
        return []
    folder = node.run.path if node.below else node.run.path / "pictures"
    paths = sorted(path for path in folder.glob("*.png") if path.is_file())
    return [(path.stem, quote(Path(os.path.relpath(path, home.resolve())).as_posix())) for path in paths]


def _rows(nodes: list[Node]) -> tuple[dict[str, Any], list[str]]:
    """Collect the predictions of held-out rows: each row once, and for each run which rows it has."""
    known: dict[tuple[str, object], int] = {}
    groups: list[str] = []
    sets: dict[tuple[int, ...], int] = {}
    by_node: dict[int, dict[str, object]] = {}
    columns: object = None
    notes, cells = [], 0
    for node in nodes:
        if node.run is None:
            continue
        table, wrong = read_held_out(node.run)
        notes += wrong
        if table is None or node.run.about["columns"] != (columns or node.run.about["columns"]):
            continue
        columns = node.run.about["columns"]
        cells += len(table)
        if cells > MOST_CELLS:
            notes.append(f"{node.name}: of over {MOST_CELLS:,} predictions, the page holds those of the runs before it")
            break
        found = []
        for name, group, truth in zip(table["id"], table["group"], table["truth"], strict=True):
            found.append(known.setdefault((name, truth), len(known)))
            if len(known) > len(groups):
                groups.append(group)
        predicted = [_plain(value) for value in table["predicted"].tolist()]
        where = sets.setdefault(tuple(found), len(sets))
        by_node[node.number] = {"set": where, "predicted": predicted, "by": weights_of(node.run)}
    names = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    shared = {
        "columns": columns,
        "ids": [name for name, _ in known],
        "truth": [_plain(truth) for _, truth in known],
        "names": list(names),
        "group": [names[group] for group in groups],
        "sets": [list(numbers) for numbers in sets],
    }
    return {"sets": shared, "nodes": by_node}, notes


def _plain(value: object) -> object:
    if not isinstance(value, float):
        return value
    return float(f"{value:.4g}") if math.isfinite(value) else None
