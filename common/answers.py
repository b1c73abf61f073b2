"""Answers on the user's own images: printed, and saved as tables and a picture."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import UserError, counted
from common.files import check_folder, check_output, expand, read_json, shown, write_json, write_text
from common.platforms import signals_held
from common.plots import save_png
from common.submission import leave_out

if TYPE_CHECKING:
    from common.data import ImageData
    from common.submission import Outputs
    from common.task import AnyTask

OURS = ".answers.json"  # lists the names of files that earlier commands have written
PRINTED = 60, 10  # rows of the first table and of others; the files have all of them


class Answers:
    """The folder for the answers, which replace those of an earlier command.

    Args:
        run: the run folder of the first checkpoint, where a folder ``images`` is made.
        output: another, existing folder; None for the one in ``run``.
        images: what was typed after ``--images``.

    Raises:
        UserError: the folder cannot be written to, or the images are read from it.
    """

    def __init__(self, run: Path, output: str | None, images: Sequence[str]) -> None:
        self.folder = run / "images" if output is None else Path(output)
        self.of_run = output is None and (run / "config.yaml").is_file()
        if output is not None:
            check_folder(self.folder, "--output")
        for path in (path for word in images for path in expand("--images", word)):
            below = path.is_dir() and self.folder.resolve().is_relative_to(path.resolve())
            if below or (path.suffix.lower() != ".zip" and self.folder.resolve() == path.resolve().parent):
                reason = f"{path} is read there: a picture of the answers could replace an image, or be read as one"
                another = "--output another folder" if output is None else "another folder"
                raise UserError(f"--output {shown(self.folder)}: {reason}; give {another}")
        check_output((run if output is None else self.folder) / "images.csv", "--output")

    @signals_held()  # so that the tables are all of one command
    def write(self, outputs: Outputs, model: AnyTask, data: ImageData, notes: Sequence[str], least: float) -> None:
        """Print the answers, and write their tables and picture.

        Args:
            outputs: outputs for all images of ``data``, in order, which ``model`` turns into answers.
            model: the network.
            data: the images.
            notes: a caveat on each image's answer.
            least: answers less probable than this are left out.

        Raises:
            UserError: a file of that name is there that no earlier command has written.
        """
        self.folder.mkdir(exist_ok=True)
        tables = model.answers(outputs, data)
        first = next(iter(tables))
        drawn = self.folder / f"{first}.png"
        earlier = (read_json(self.folder / OURS, dict[str, list[str]], []) or {}).get("files", [])
        ours = [*(self.folder / f"{name}.csv" for name in tables), drawn]
        for path in ours:
            if path.exists() and path.name not in earlier and not self.of_run:
                raise UserError(f"{path} was not written by an earlier command: move it, or give another --output")
        write_json(self.folder / OURS, {"files": sorted({*earlier, *(path.name for path in ours)})})
        answered = model.answered(model.estimates(outputs, data), least)
        tables[first] = leave_out(tables[first], data.sample.value_column, answered)
        tables[first] = tables[first].assign(note=notes) if any(notes) else tables[first]
        written = []
        for name, table in tables.items():
            path = self.folder / f"{name}.csv"
            write_text(path, table.to_csv(index=False))
            written.append(path)
            most = PRINTED[name != first]
            print(f"\n{table.head(most).to_string(index=False, float_format='{:.2f}'.format)}")
            if len(table) > most:
                print(f"… and {counted(len(table) - most, 'more row')} in {shown(path)}")
        drawn.unlink(missing_ok=True)  # from an earlier command
        if picture := model.picture_answers(tables):
            written.append(drawn)
            save_png(picture, drawn)
        if least:
            print(f"answered: {int(answered.sum())} of {len(answered)}")
        if about := model.about_calibration():
            print(about)
        print(f"\nwritten: {', '.join(shown(path) for path in written)}", file=sys.stderr)
