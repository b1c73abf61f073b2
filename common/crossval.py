"""Cross-validation: a run a fold, and each row of the training set predicted by the model that has not seen it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import yaml
from lightning import pytorch as pl

from common.config import read_config
from common.data import ImageData
from common.ensemble import learned_views, member_of, predicted
from common.errors import UserError, listed
from common.submission import replacing

RESULT = "result.json"  # a run folder has it when its fit has ended
# Settings in which the runs of one cross-validation may differ.
FREE = (
    "name",
    "ckpt_path",
    "trainer.enable_model_summary",
    "data.fold",
    "data.cache_dir",
    "data.num_workers",
    "trainer.enable_progress_bar",
)


@dataclass(frozen=True)
class CrossValidation:
    """What a cross-validation does in each fold, and where.

    Args:
        task: growth or julia.
        name: of the cross-validation, its folder and its W&B group.
        folder: ``runs/<task>/<name>``, which holds ``fold_<k>/version_<n>/`` and the results.
        settings: of ``python -m <task> fit``.
        figure: name of the metric.
        leads: whether this process, of several that do the same, tabulates and prints.
    """

    task: str
    name: str
    folder: Path
    settings: dict[str, Any]
    figure: str
    leads: bool

    def run(
        self,
        trainer: pl.Trainer,
        model: pl.LightningModule,
        data: ImageData,
        folds: list[int],
        tta: int,
        others: list[Path],
    ) -> None:
        """Fit ``folds``, those without a finished run, and tabulate the held-out rows of all of them.

        Args:
            trainer: predicts the held-out rows.
            model: of the task.
            data: of the task.
            folds: from 0.
            tta: how many views of each held-out image are averaged.
            others: files of out-of-fold estimates, of the same rows, that are averaged with these.

        Raises:
            UserError: a fold was fitted with other settings, its fit fails, ``others`` are of other rows, or the model
                has learned fewer views.
        """
        # What cannot be done is said before the long part.
        learned_views(data, tta)
        read = [_Estimates.read(path) for path in others]
        for number, fold in enumerate(folds, start=1):
            self._fit(fold, f"{number} of {len(folds)}")
        if self.leads:
            self._tabulate(trainer, model, data, folds, tta, read)

    def _fit(self, fold: int, position: str) -> None:
        run = self._finished(fold)
        if run is not None:
            return self._say(f"fold {fold}: finished in {run}, not fitted again")
        if any((self.folder / f"fold_{fold}").glob("version_*")):
            self._say(f"fold {fold}: its last run did not end or has lost its last.ckpt, fitting it anew")
        self._say(f"fold {fold} ({position}): fitting")
        settings = {**self.settings, "name": f"{self.name}/fold_{fold}"}
        settings["data"] = {**settings["data"], "fold": fold}
        settings["trainer"] = {**settings["trainer"], "enable_model_summary": False}
        # A process of its own: no fold inherits memory, seeds or ranks from the one before.
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "fold.yaml"
            config.write_text(yaml.safe_dump(settings, sort_keys=False))
            command = [sys.executable, "-m", self.task, "fit", "--config", str(config)]
            environment = {**os.environ, "WANDB_RUN_GROUP": self.name}
            if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
                # Where torchrun lets ranks meet, those of the fold before have left their addresses.
                environment["TORCHELASTIC_USE_AGENT_STORE"] = "False"
                environment["MASTER_PORT"] = str(int(os.environ["MASTER_PORT"]) - 1 - fold)
            with subprocess.Popen(command, env=environment) as fit:
                try:
                    code = fit.wait()
                except BaseException:
                    fit.terminate()
                    raise
        if code == 2:
            sys.exit(code)  # it has said why
        # Other ranks may look before the first has written its result.
        if code or (self.leads and self._finished(fold) is None):
            raise UserError(f"fold {fold} did not come to its end; the same command fits it anew")

    def _finished(self, fold: int) -> Path | None:
        """Find the newest run of a fold, if it is finished; it must have our settings."""
        link = self.folder / f"fold_{fold}" / "latest"
        if not link.is_symlink():
            return None
        run = link.parent / link.readlink()
        if not (run / RESULT).is_file() or not (run / "checkpoints" / "last.ckpt").is_file():
            return None
        try:
            theirs, ours = _flat(read_config(run / "config.yaml")), _flat(self.settings)
            json.loads((run / RESULT).read_text())["seconds"]
        except (OSError, ValueError, LookupError, TypeError, RecursionError, UserError):
            raise UserError(f"{run}: config.yaml or {RESULT} cannot be read; delete the folder to fit anew") from None
        # A fit that was gone on with needs no pretrained weights.
        free = {*FREE, "model.pretrained"} if theirs.get("ckpt_path") else {*FREE}
        names = sorted(name for name in {*theirs, *ours} - free if theirs.get(name) != ours.get(name))
        if names:
            raise UserError(
                f"{run} was fitted with another {listed(names)}; give --name for a new cross-validation, or delete it"
            )
        return run

    def _tabulate(
        self,
        trainer: pl.Trainer,
        model: Any,
        data: ImageData,
        folds: list[int],
        tta: int,
        others: list[_Estimates],
    ) -> None:
        parts: dict[str, list[np.ndarray]] = {"ids": [], "estimates": [], "truth": []}
        tables, lines = [], []
        for fold in folds:
            run = self._finished(fold)
            assert run is not None
            checkpoint = run / "checkpoints" / "last.ckpt"
            member, its_data = member_of(model, data.like({"fold": fold}), checkpoint)
            its_data.held_out = True
            outputs = predicted(trainer, member, its_data, checkpoint, tta)
            estimates: np.ndarray = model.estimates(outputs, its_data)
            for name, values in (("ids", its_data.sample.ids), ("estimates", estimates), ("truth", its_data.truth)):
                parts[name].append(np.asarray(values))
            tables.append(model.held_out_table(outputs, its_data).assign(fold=fold))
            seconds = json.loads((run / RESULT).read_text())["seconds"]
            figure = model.figure(estimates, its_data.truth)
            lines.append({"fold": fold, "rows": len(estimates), self.figure: figure, "seconds": seconds})
        ids, estimates, truth = (np.concatenate(arrays) for arrays in parts.values())
        average = (estimates + sum(other.sorted_as(ids, estimates.shape) for other in others)) / (1 + len(others))
        rows, summary = pd.concat(tables, ignore_index=True), pd.DataFrame(lines)

        some = "_folds" + "-".join(map(str, folds)) if len(folds) < self.settings["data"]["num_folds"] else ""
        views = some + (f"_tta{tta}" if tta > 1 else "")
        rows_path, estimates_path = self.folder / f"out_of_fold{views}.csv", self.folder / f"out_of_fold{views}.npz"
        summary_path = self.folder / f"crossval{views}.csv"
        for path, frame in ((rows_path, rows), (summary_path, summary)):
            with replacing(path) as temporary:
                frame.to_csv(temporary, index=False)
        with replacing(estimates_path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, ids=ids, estimates=estimates, truth=truth)

        formats = {self.figure: "{:.4f}".format, "seconds": "{:.0f}".format}
        self._say(f"\n{summary.to_string(index=False, formatters=formats)}")  # type: ignore[arg-type]
        each = summary[self.figure]
        if len(folds) > 1:
            self._say(f"{self.figure}, mean ± deviation over {len(folds)} folds: {each.mean():.4f} ± {each.std():.4f}")
        overall = model.figure(estimates, truth)
        self._say(f"{self.figure} over all {len(ids)} out-of-fold rows: {overall:.4f}")
        if others:
            self._say(f"{self.figure} averaged with {len(others)} others: {model.figure(average, truth):.4f}")
        self._say(f"tables: {rows_path}, {summary_path.name}, {estimates_path.name}")
        pattern = f"'{self.folder}/fold_*/latest/checkpoints/last.ckpt'"
        tta_flag = f" --submission.tta {tta}" if tta > 1 else ""
        self._say(f"next: python -m {self.task} predict --ckpt_path {pattern}{tta_flag}")

    def _say(self, text: str) -> None:
        if self.leads:
            print(text, flush=True)


def _flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Name each value of nested settings by its path, ``data.fold``."""
    if not isinstance(settings, dict):
        return {prefix: settings}
    return {
        name: value
        for key, inner in settings.items()
        for name, value in _flat(inner, f"{prefix}.{key}" if prefix else str(key)).items()
    }


class _Estimates(NamedTuple):
    """A file of out-of-fold estimates."""

    path: Path
    ids: np.ndarray
    values: np.ndarray

    @classmethod
    def read(cls, path: Path) -> _Estimates:
        try:
            with np.load(path, allow_pickle=False) as file:
                found = cls(path, file["ids"], file["estimates"])
        except (OSError, ValueError, KeyError, TypeError, BadZipFile, EOFError, zlib.error):
            found = None
        if found is None or found.ids.ndim != 1 or found.values.shape[:1] != found.ids.shape:
            raise UserError(f"--others {path}: not a file out_of_fold.npz of crossval")
        return found

    def sorted_as(self, ids: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Give the values, which must have a shape, in the order of ``ids``."""
        order = np.argsort(self.ids)
        if self.values.shape != shape or not np.array_equal(self.ids[order], np.sort(ids)):
            raise UserError(f"--others {self.path}: of other rows than these {len(ids)}; give one of the same folds")
        values: np.ndarray = self.values[order[np.searchsorted(self.ids[order], ids)]]
        return values
