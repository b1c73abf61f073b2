"""README and docs: links lead somewhere, pictures are what their command draws, the site builds and opens offline."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.conftest import Run, Shared, requested
from tests.test_pins import read_pins, unsatisfied

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def prose(text: str) -> str:
    """Leave out code: fenced, indented and between backticks."""
    lines = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL).splitlines()
    return re.sub(r"`[^`]*`", "", "\n".join(line for line in lines if not line.startswith("    ")))


def anchors(text: str) -> set[str]:
    """Name the headings of a page as GitHub and the site do."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def broken(page: Path, text: str) -> list[str]:
    """Name the links of a page that lead nowhere."""
    found = []
    for address in LINK.findall(prose(text)):
        parts = urlsplit(address)
        if parts.scheme:
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        there = target.exists() and target.is_relative_to(ROOT)
        if not there or (
            parts.fragment and parts.fragment not in anchors(text if target == page else target.read_text("utf-8"))
        ):
            found.append(address)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_link_leads_nowhere(page: Path) -> None:
    assert broken(page, page.read_text(encoding="utf-8")) == []


def test_a_link_that_leads_nowhere_is_seen() -> None:
    page = ROOT / "docs" / "code.md"
    wrong = ["absent.md", "training.md#absent", "#absent", "../../outside.md"]
    right = ["training.md#resume", "#a-title-with-signs", "growth.png", "https://example.org"]
    text = "# A title, with signs\n" + "".join(f"[x]({address}) " for address in wrong + right) + "`[x](code.png)`"
    assert broken(page, text) == wrong


def test_every_page_is_linked_from_the_readme_and_stands_in_the_menu() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    menu = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name}" in readme
        assert page.name in str(menu)


def test_the_readme_is_short_and_names_what_there_is() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.split()) <= 940
    assert "    python -m growth fit --config configs/resnext.yaml\n    python -m julia fit\n" in readme
    # The figures come first.
    assert readme.index("| runs |") < readme.index("python -m growth fit") < readme.index("I want to")
    named = set(re.findall(r"\b(?:configs|docs|notebooks|benchmarks)/[\w/.]+\w", readme))
    assert {"configs/small.yaml", "docs/api.md"} <= named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_pictures_are_what_their_command_draws(run: Run, tmp_path: Path) -> None:
    run("docs.pictures", tmp_path)
    for name in ("growth", "julia"):
        drawn, kept = (
            np.asarray(Image.open(folder / f"{name}.png").convert("RGB"), dtype=int)
            for folder in (tmp_path, ROOT / "docs")
        )
        assert np.abs(drawn - kept).mean() < 2  # another release of Pillow rounds otherwise
        assert (ROOT / "docs" / f"{name}.png").stat().st_size < 70_000


def test_what_the_site_needs_is_pinned() -> None:
    pins = read_pins((ROOT / "constraints-docs.txt").read_text(encoding="utf-8"))
    wanted = {"name": "", "dependencies": PROJECT["dependency-groups"]["docs"], "optional-dependencies": {}}
    assert unsatisfied(wanted, pins) == []
    assert [pin.name for pin in pins if not pin.hashes] == []
    rest = [pin for pin in pins if pin.name != "mkdocs"]
    assert len(unsatisfied(wanted, rest)) == 1


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation.keys() >= {"cff-version", "message", "title", "authors"}
    assert citation["version"] == PROJECT["project"]["version"]


def mkdocs() -> list[str]:
    """Give the command that builds the site: that of ``make docs``, or of this environment."""
    own = ROOT / ".venv-docs" / "bin" / "python"
    if own.exists():
        return [str(own), "-m", "mkdocs"]
    if importlib.util.find_spec("mkdocstrings") is None or importlib.util.find_spec("material") is None:
        pytest.skip("make docs has not been run: no mkdocs-material")
    return [sys.executable, "-m", "mkdocs"]


@pytest.fixture
def site(shared: Shared) -> Path:
    """The site, built once, strictly: a link that leads nowhere ends it."""
    command = mkdocs()

    def build(folder: Path) -> None:
        words = [*command, "build", "--strict", "--site-dir", str(folder / "site")]
        variables = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
        done = subprocess.run(words, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    return shared("site", build) / "site"


def attributes(site: Path) -> Iterator[tuple[Path, str, str]]:
    """Give each page with the addresses in it that a browser fetches (src, stylesheets) and those of links."""
    for page in sorted(site.rglob("*.html")):
        text = page.read_text(encoding="utf-8")
        for tag in re.findall(r"<(?:script|link|img|a|iframe)\b[^>]*>", text):
            for address in re.findall(r"\b(?:src|href)=[\"']?([^\"'\s>]+)", tag):
                yield page, tag.split()[0].lstrip("<"), address


@pytest.mark.slow
def test_the_site_is_whole_and_asks_nobody_for_anything(site: Path) -> None:
    fetched = [address for _, tag, address in attributes(site) if tag != "a" and urlsplit(address).scheme]
    assert [address for address in fetched if not address.startswith("data:")] == []
    inside = [(page, urlsplit(address).path) for page, _, address in attributes(site) if not urlsplit(address).scheme]
    assert len(inside) > 500
    lost = [(page.name, path) for page, path in inside if path and not (page.parent / unquote(path)).exists()]
    assert lost == [] or {page for page, _ in lost} == {"404.html"}  # which a server gives at any address
    api = (site / "api.html").read_text(encoding="utf-8")
    for name in ("growth.load", "julia.predictor.Guess", "common.task.ImageTask.compute_loss"):
        assert f'id="{name}"' in api
    assert "unpkg" not in api and ":class:" not in api


@pytest.mark.slow
def test_the_site_opens_from_the_disk_and_searches(site: Path, browser: Any) -> None:
    for width in (1280, 400):
        # No window is narrower than 500.
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        for name in ("index", "training", "api"):
            browser.get((site / f"{name}.html").as_uri())
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.get((site / "index.html").as_uri())
    field = browser.find_element("css selector", "input.md-search__input")
    field.click()
    field.send_keys("conformal")
    results = browser.execute_async_script(
        """const done = arguments[0], wait = () => {
            const found = [...document.querySelectorAll(".md-search-result__link")].map((one) => one.href);
            found.length ? done(found) : setTimeout(wait, 50);
        }; wait();"""
    )
    assert any("uncertainty.html" in address for address in results)
    assert {urlsplit(address).scheme for address in requested(browser)} <= {"file", "data", "about", "blob"}
    assert browser.get_log("browser") == []
