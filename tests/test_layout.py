"""What the packages may contain: files of a readable length, no circles, no task named where all share the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("growth", "julia", "common")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).glob("*.py"))]
TASKS = re.compile(r"growth|julia|plant|species|character", re.IGNORECASE)
CITATION = re.compile(r"arXiv:|doi:|\bSource: |\bet al\.|, (19|20)\d\d\b")
# Of the base classes that Python and pandas document under such names.
DOCUMENTED = {"_replace", "_asdict"}


def name_of(path: Path) -> str:
    return f"{path.parent.name}.{path.stem}"


def imports(path: Path) -> set[str]:
    """Name the modules of the packages that a file imports anywhere but for the types of its annotations."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    known, found = {name_of(file) for file in FILES}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            found |= {ast.unparse(argument).strip("'\"") for argument in node.args}
    return found & known


def circles(graph: dict[str, set[str]]) -> Iterator[list[str]]:
    """Give a path from each module back to itself, where there is one."""
    for start in graph:
        seen: set[str] = set()
        paths = [[start]]
        while paths:
            path = paths.pop()
            for following in graph[path[-1]]:
                if following == start:
                    yield [*path, start]
                    paths = []
                    break
                if following not in seen:
                    seen.add(following)
                    paths.append([*path, following])


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_has_at_most_300_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {name_of(path): imports(path) for path in FILES}
    assert {"common.task", "growth.data"} <= graph["growth.model"]  # it sees what there is
    assert list(circles(graph)) == []
    assert list(circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()})) != []


def test_tasks_do_not_import_each_other_nor_common_them() -> None:
    allowed = {"growth": {"growth", "common"}, "julia": {"julia", "common"}, "common": {"common"}}
    for path in FILES:
        assert {name.split(".")[0] for name in imports(path)} <= allowed[path.parent.name], path


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_is_imported_by_a_name_that_is_made_up(path: Path) -> None:
    # To look whether a library is there is no import.
    text = path.read_text().replace("importlib.util", "")
    assert not re.search(r"importlib|__import__|runpy|(?<![.\w])(exec|eval)\(", text)


def test_common_names_no_task() -> None:
    named = [
        f"{path.name}: {line.strip()}"
        for path in sorted((ROOT / "common").iterdir())
        if path.is_file()
        for line in path.read_text(encoding="utf-8").splitlines()
        if TASKS.search(line) and not CITATION.search(line)
    ]
    assert named == []


def test_few_lines_are_kept_from_the_type_checker() -> None:
    ignored = [line for path in (ROOT / "common").glob("*.py") for line in re.findall("type: ignore", path.read_text())]
    assert len(ignored) <= 10


@pytest.mark.parametrize("path", [path for path in FILES if path.name != "resume.py"], ids=name_of)
def test_only_one_file_touches_what_is_private_to_others(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if not line.startswith(("from ", "import "))]
    text = "\n".join(lines)
    used = set(re.findall(r"\.(_[a-z]\w*)", text)) | set(
        re.findall(r"(?:get|set|del|has)attr\([^,]+, \"(_[a-z]\w*)\"", text)
    )
    own = set(re.findall(r"(?:def|class) (_\w+)|self\.(_\w+)(?:: [^=]+)? = |^    (_\w+)\b.* = ", text, re.MULTILINE))
    private = used - {name for names in own for name in names} - DOCUMENTED
    # W&B gives the specification of a workspace in no other way.
    assert private <= ({"_to_model"} if name_of(path) == "common.dashboard" else set())
