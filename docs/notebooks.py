"""Run notebooks, store their outputs, and copy pictures of them to docs: ``python -m docs.notebooks NAME …``.

NAME is the name of a file in ``notebooks/`` without its suffix, such as ``04_feature_maps``.
"""

from __future__ import annotations

import base64
import io
import os
import sys
from copy import deepcopy
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parents[1]
TAKEN = {
    "04_feature_maps": ("attribution.png", -1),
    "05_errors": ("days.png", 0),
}  # the file in docs, and which picture of the notebook


def smaller(picture: bytes) -> bytes:
    """Encode a PNG again without the alpha channel that matplotlib adds."""
    stream = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").save(stream, "PNG", optimize=True)
    return stream.getvalue()


def execute(path: Path) -> list[bytes]:
    """Run a notebook, store its outputs in it, and return its pictures as PNG."""
    notebook, pictures = nbformat.read(path, as_version=4), []
    metadata = deepcopy(notebook.metadata)  # the one without this machine's Python version
    client = NotebookClient(notebook, timeout=None, kernel_name="python3", record_timing=False, coalesce_streams=True)
    client.execute()
    notebook.metadata = metadata
    shown = [output.data for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    for data in shown:
        if "image/png" in data:
            pictures.append(smaller(base64.b64decode(data["image/png"])))
            data["image/png"] = base64.b64encode(pictures[-1]).decode()
    nbformat.write(notebook, path)
    return pictures


def main() -> None:
    """Run the named notebooks."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    for name in sys.argv[1:]:
        pictures = execute(ROOT / "notebooks" / f"{name}.ipynb")
        if name in TAKEN:
            file, place = TAKEN[name]
            (ROOT / "docs" / file).write_bytes(pictures[place])


if __name__ == "__main__":
    main()
