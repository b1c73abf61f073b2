"""What constraints.txt pins is what pyproject.toml asks for, what is installed, and what sbom.json lists."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.quick import REPOSITORY

PINS = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENTRY = re.compile(r"(?P<requirement>[^#\s-][^#]*?)(?P<hashes>( --hash=sha256:[0-9a-f]{64})*)")


class Pin(NamedTuple):
    name: str
    version: str
    applies: bool  # on this platform and Python
    hashes: int


def entries(text: str) -> list[str]:
    """Give the lines of a requirements file, each with those that continue it, without comments."""
    joined = re.sub(r"\\\n\s*", "", text).splitlines()
    return [line for line in joined if line.strip() and not line.startswith("#")]


def read_pins(text: str) -> list[Pin]:
    """Read ``name==version ; marker --hash=…``, and refuse every other line: options, addresses, ranges."""
    pins = []
    for line in entries(text):
        entry = ENTRY.fullmatch(line)
        assert entry, f"neither an option nor a comment may stand in an entry: {line}"
        requirement = Requirement(entry["requirement"])
        assert requirement.url is None, f"an address: {line}"
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", f"no version: {line}"
        assert "*" not in specifier.version, f"no version: {line}"
        applies = requirement.marker is None or requirement.marker.evaluate()
        name = canonicalize_name(requirement.name)
        pins.append(Pin(name, specifier.version, applies, entry["hashes"].count("--hash")))
    return pins


def wanted(project: dict[str, Any]) -> Iterator[Requirement]:
    """Give what the project and its extras ask for, but for the project itself."""
    for line in sum(project["optional-dependencies"].values(), project["dependencies"]):
        requirement = Requirement(line)
        if canonicalize_name(requirement.name) != canonicalize_name(project["name"]):
            yield requirement


def unsatisfied(project: dict[str, Any], pins: list[Pin]) -> list[str]:
    """Name the dependencies that have no pin, or one that is not what they ask for."""
    found = []
    for requirement in wanted(project):
        versions = [pin.version for pin in pins if pin.name == canonicalize_name(requirement.name)]
        if not versions or not all(requirement.specifier.contains(version) for version in versions):
            found.append(f"{requirement}: {versions}")
    return found


def differing(installed: dict[str, str], pins: list[Pin]) -> list[str]:
    """Name what is installed in another version than its pin has."""
    return [
        f"{pin.name}: {installed[pin.name]} is installed, {pin.version} is pinned"
        for pin in pins
        if pin.applies and installed.get(pin.name, pin.version) != pin.version
    ]


def unlisted(bill: dict[str, Any], installed: dict[str, str], pins: list[Pin]) -> list[str]:
    """Name what is pinned and installed, but not in the bill of materials at that version."""
    listed = {(canonicalize_name(component["name"]), component["version"]) for component in bill["components"]}
    return [pin.name for pin in pins if pin.applies and pin.name in installed and (pin.name, pin.version) not in listed]


@pytest.fixture(scope="module")
def installed() -> dict[str, str]:
    return {canonicalize_name(found.name): found.version for found in distributions()}


def test_each_entry_is_one_version_with_hashes_and_no_address() -> None:
    pins = read_pins(PINS)
    assert [pin.name for pin in pins if not pin.hashes] == []
    assert {"torch", "numpy"} <= {pin.name for pin in pins}  # it sees what there is


INDEX, URL = "https://example.org/simple", "-url"  # of none that there is, and how flags that name one end
HASH = f"--hash=sha256:{'0' * 64}"


@pytest.mark.parametrize(
    "line",
    [
        f"--index{URL} {INDEX}",
        f"-i {INDEX}",
        f"--extra-index{URL}={INDEX}",
        "--find-links wheels",
        "-e .",
        "-r other.txt",
        f"a @ {INDEX}/a-1.whl {HASH}",
        "a==1 --hash=sha256:0",
        "a==1 --hash=md5:00000000000000000000000000000000",
        f"a>=1 {HASH}",
        f"a==1.* {HASH}",
        f"a {HASH}",
        f"{INDEX}/a-1.whl",
    ],
)
def test_another_line_is_refused(line: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        read_pins(f"# made\nb==1 \\\n    {HASH}\n{line}\n")


def test_a_missing_hash_is_seen() -> None:
    assert [
        pin.hashes for pin in read_pins(f"a==1\nb==2 ; sys_platform == 'win32' \\\n    {HASH} \\\n    {HASH}\n")
    ] == [0, 2]


def test_what_the_project_asks_for_is_pinned() -> None:
    pins = read_pins(PINS)
    assert unsatisfied(PROJECT, pins) == []
    assert len(list(wanted(PROJECT))) > 20
    # Of any extra, and with every one of its pins.
    for name in ("numpy", "pillow-heif", "ruff"):
        (pin,) = (pin for pin in pins if pin.name == name)
        rest = [other for other in pins if other is not pin]
        assert len(unsatisfied(PROJECT, rest)) == 1
        assert len(unsatisfied(PROJECT, [*pins, pin._replace(version="0.0.1")])) == 1


def test_what_is_installed_is_what_is_pinned(installed: dict[str, str]) -> None:
    pins = read_pins(PINS)
    assert differing(installed, pins) == []
    assert len([pin for pin in pins if pin.name in installed]) > 100
    (found,) = differing(installed | {"numpy": "0.0.1"}, pins)
    assert found.startswith("numpy: 0.0.1 is installed, ")


@pytest.mark.slow
def test_the_bill_of_materials_lists_what_is_installed(installed: dict[str, str], tmp_path: Path) -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    (words,) = re.findall(r"^\t\$\(BIN\)/cyclonedx-py (.+)$", makefile, re.MULTILINE)
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    # To validate it against the schema takes ten seconds.
    command = ["-m", "cyclonedx_py", *shlex.split(words.replace("$(BIN)/python", sys.executable)), "--no-validate"]
    done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "sbom.json").read_text(encoding="utf-8")
    bill, pins = json.loads(text), read_pins(PINS)
    assert unlisted(bill, installed, pins) == []
    assert "timestamp" not in bill["metadata"]  # it is reproducible
    assert str(REPOSITORY) not in text
    for change in ({"version": "0.0.1"}, {"name": "another"}):
        changed = [part | change if part["name"] == "numpy" else part for part in bill["components"]]
        assert unlisted(bill | {"components": changed}, installed, pins) == ["numpy"]
