"""What the site takes from outside docs/: pages of other folders, and links to files that are no pages."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
# Where each page stands in the repository, by its name on the site.
ELSEWHERE = {
    "index.md": "README.md",
    "speed.md": "benchmarks/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
ROLE = re.compile(r":(?:attr|class|func|meth|mod):(?=<code>)")  # of docstrings
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages from outside docs/."""
    for name, source in ELSEWHERE.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Point links to where the pages stand on the site; what has no page there stays as text."""
    home = posixpath.dirname(ELSEWHERE.get(page.file.src_uri, f"docs/{page.file.src_uri}"))
    names = {source: name for name, source in ELSEWHERE.items()}

    def moved(match: re.Match[str]) -> str:
        mark, text, address = match.groups()
        path, hash_sign, anchor = address.partition("#")
        if not path or re.match(r"[a-z]+:", address):
            return match[0]
        source = posixpath.normpath(posixpath.join(home, path))
        name = names.get(source, source.removeprefix("docs/"))
        if source not in names and files.get_file_from_path(name) is None:
            return text
        return f"{mark}[{text}]({name}{hash_sign}{anchor})"

    return LINK.sub(moved, markdown)


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Leave out the roles of Sphinx, which the docstrings of the API name things by."""
    return ROLE.sub("", html)
