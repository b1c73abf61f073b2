"""Run notebooks, store what they show, and put pictures of it into docs: ``python -m docs.notebooks NAME …``.

NAME is that of a file in ``notebooks/`` without its suffix, such as ``04_feature_maps``.
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
TAKEN = {"04_feature_maps": ("attribution.png", -1), "05_errors": ("days.png", 0)}  # which of its pictures


def smaller(picture: bytes) -> bytes:
    """Encode a PNG anew with the same colours, without what matplotlib keeps of transparency."""
    stream = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").save(stream, "PNG", optimize=True)
    return stream.getvalue()


def execute(path: Path) -> list[bytes]:
    """Run a notebook, store its outputs in it, and give its pictures, PNG."""
    notebook, pictures = nbformat.read(path, as_version=4), []
    metadata = deepcopy(notebook.metadata)  # of no machine
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
    """Run those that are named."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    for name in sys.argv[1:]:
        pictures = execute(ROOT / "notebooks" / f"{name}.ipynb")
        if name in TAKEN:
            file, place = TAKEN[name]
            (ROOT / "docs" / file).write_bytes(pictures[place])


if __name__ == "__main__":
    main()
