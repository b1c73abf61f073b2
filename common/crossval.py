"""Cross-validation: one run per fold; each row of the training set is predicted by the model that has not seen it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cached_property
from glob import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import yaml
from lightning import pytorch as pl

from common.arguments import Settings, differing
from common.calibration import NONE
from common.checkpoints import Checkpoint, read_checkpoint
from common.config import read_config
from common.data import ImageData
from common.ensemble import data_of, learned_views, predict_views
from common.errors import UserError, counted, listed
from common.files import replacing, write_json, write_text
from common.out_of_fold import Estimates, read_others
from common.pictures import entitled
from common.platforms import end, quoted
from common.plots import save_png
from common.pretrained import identify
from common.resume import is_being_fitted
from common.runs import is_finished, latest_of, read_result
from common.split import digest_of
from common.submission import Outputs
from common.task import AnyTask

LAST = "checkpoints/last.ckpt"


class Measured(NamedTuple):
    """What a cross-validation has measured."""

    # One line per fold: how much it was trained on (trained_images, and trained_ with the name of the groups), the
    # number of rows held out, the metric, the seconds its fit took.
    folds: pd.DataFrame
    overall: float  # the metric over all out-of-fold rows
    suffix: str  # of the names of its tables


@dataclass(frozen=True)
class CrossValidation:
    """What a cross-validation does in each fold, and where."""

    name: str  # its name, its folder and its W&B group
    folder: Path  # runs/<task>/<name>, which holds fold_<k>/version_<n>/ and the results
    home: Path  # the same, of the whole training set
    settings: Settings  # of python -m <task> fit
    leads: bool  # whether this process, of several that do the same, tabulates and prints
    trainer: pl.Trainer  # predicts the held-out rows
    model: AnyTask
    data: ImageData
    tta: int  # how many views of each held-out image to average
    before: int = 0  # how many fits the same processes may already have started

    @cached_property
    def weights(self) -> str:
        """What each fold starts from, as from :func:`common.pretrained.identify`."""
        return identify(self.settings["model"].get("pretrained"))

    def run(self, folds: list[int], others: list[Path]) -> Measured | None:
        """Fit those of ``folds`` that have no finished run, and tabulate the held-out rows of all of them.

        Args:
            folds: the folds, counted from 0.
            others: files of out-of-fold estimates for the same rows, to average with these.

        Returns:
            What was measured, if this process leads.

        Raises:
            UserError: a fit fails, ``others`` are for other rows, or the model has learned fewer views.
        """
        # Fail early.
        learned_views(self.data, self.tta)
        read = read_others(others, self.home)
        self.data.like(fold=folds[0]).prepare_data()
        self._match(read, folds)
        for number, fold in enumerate(folds, start=1):
            self._fit(fold, f"{number} of {len(folds)}")
        return self._tabulate(folds, read) if self.leads else None

    def _match(self, others: list[Estimates], folds: list[int]) -> None:
        """Refuse others that are of other rows than those held out by these folds."""
        if not others:
            return
        parts = [self.data.like(fold=fold) for fold in folds]
        for part in parts:
            part.held_out = True
            part.setup("fit")
        ids = np.concatenate([np.asarray(part.sample.ids) for part in parts])
        truth = np.concatenate([part.truth for part in parts])
        for other in others:
            other.sorted_as(ids, truth, (len(ids), *other.values.shape[1:]))

    def _fit(self, fold: int, position: str) -> None:
        home = self.folder / f"fold_{fold}"
        reason = self._why_again(fold, latest_of(home))
        if not reason:
            return self._say(f"fold {fold}: finished in {latest_of(home)}, not fitted again")
        if self.leads and (run := latest_of(home)) is not None and is_being_fitted(run):
            raise UserError(
                f"fold {fold}: another process is fitting it in {run}; wait for its end, or give others by --folds"
            )
        if any(home.glob("version_*")):
            self._say(f"fold {fold}: {reason}, fitting it again")
        self._say(f"fold {fold} ({position}): fitting")
        settings = {**self.settings, "name": f"{self.name}/fold_{fold}"}
        settings["data"] = {**settings["data"], "fold": fold}
        settings["trainer"] = {**settings["trainer"], "enable_model_summary": False}
        # A separate process, so that no fold inherits memory, seeds or ranks from the one before.
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "fold.yaml"
            config.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
            command = [sys.executable, "-m", self.model.task, "fit", "--config", str(config)]
            environment = {**os.environ, "WANDB_RUN_GROUP": self.name}
            for shared in ("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_RESUME"):
                environment.pop(shared, None)  # set by a sweep, but each fold is its own run
            if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
                # The ranks of the previous fold have left their addresses in torchrun's store.
                environment["TORCHELASTIC_USE_AGENT_STORE"] = "False"
                environment["MASTER_PORT"] = str(int(os.environ["MASTER_PORT"]) - 1 - self.before - fold)
            with subprocess.Popen(command, env=environment) as fit:
                try:
                    code = fit.wait()
                except BaseException:
                    end(fit)
                    raise
        if code == 2:
            sys.exit(code)  # it has already said why
        # Other ranks may check before the first has written its result.
        if code or (self.leads and not _has_ended(latest_of(home))):
            raise UserError(f"fold {fold} did not finish; the same command fits it again")

    def _why_again(self, fold: int, run: Path | None) -> str:
        """Say why a fold's newest run cannot be used; empty if it can."""
        if run is None or not _has_ended(run):
            return "its last run did not end or has lost files"
        try:
            theirs, ours = read_config(run / "config.yaml"), self.settings
            read_result(run)
            checkpoint = read_checkpoint(run / LAST, type(self.model))
            origin = checkpoint.origin
            if fitted := checkpoint.split:
                twin = self.data.like(fold=fold)
                twin.setup("fit")
                if seen := twin.split.checked_against(fitted).learned:
                    return f"the weights of {run} have learned from {len(seen)} of its held-out rows before"
        except UserError as error:
            return str(error)
        weights = ours["model"].get("pretrained")
        besides = {"data.fold"} | ({"model.pretrained"} if origin else set())  # weights are compared by what they are
        if names := differing(theirs, ours, type(self.model), type(self.data), besides):
            return f"{run} was fitted with another {listed(names)}"
        if origin and origin["changed"]:
            return f"{run} was resumed with another {listed(origin['changed'])} than it was started with"
        if origin and origin["pretrained"] != self.weights:
            return f"{run} was fitted from other weights than --model.pretrained {weights}"
        if not origin and (weights or theirs.get("ckpt_path")):
            return f"{run}, of an earlier version, does not tell from which weights it was fitted"
        return ""

    def _tabulate(self, folds: list[int], others: list[Estimates]) -> Measured:
        metric, held_out = self.model.monitor, [self._predict_held_out(fold) for fold in folds]
        results = [read_result(one.checkpoint.run) for one in held_out]
        ids = np.concatenate([np.asarray(one.data.sample.ids) for one in held_out])
        estimates = np.concatenate([one.estimates for one in held_out])
        truth = np.concatenate([one.data.truth for one in held_out])
        groups = np.concatenate([one.data.truth_groups for one in held_out])
        parts = np.repeat(folds, [len(one.estimates) for one in held_out])
        tables, lines, calibrated = [], [], []
        for one, result in zip(held_out, results, strict=True):
            # From the other folds alone, since the checkpoint's own calibration was learned from these very rows.
            kept = parts != one.fold
            learned = one.member.calibrate(estimates[kept], truth[kept], groups[kept]) if kept.any() else NONE
            one.member.calibration = learned
            calibrated.append(one.member.calibrated(one.estimates))
            tables.append(one.member.table_of_held_out(one.outputs, one.data).assign(fold=one.fold))
            value = one.member.measure(one.estimates, one.data.truth)
            trained, seconds = _count_trained(one.data), result["seconds"]
            lines.append({"fold": one.fold, **trained, "rows": int((~kept).sum()), metric: value, "seconds": seconds})
        member = held_out[-1].member
        total = estimates
        for other in others:
            theirs = other.sorted_as(ids, truth, estimates.shape)
            if np.array_equal(theirs, estimates):
                same = "holds these very estimates, which would count twice; leave it out"
                raise UserError(f"--others {other.path}: {same}")
            total = total + theirs
        average = total / (1 + len(others))
        rows, summary = pd.concat(tables, ignore_index=True), pd.DataFrame(lines)
        suffix = "_folds" + "-".join(map(str, folds)) if len(folds) < self.data.num_folds else ""
        suffix += f"_tta{self.tta}" if self.tta > 1 else ""
        rows_path, summary_path = self.folder / f"out_of_fold{suffix}.csv", self.folder / f"crossval{suffix}.csv"
        estimates_path = rows_path.with_suffix(".npz")
        for path, frame in ((rows_path, rows), (summary_path, summary)):
            write_text(path, frame.to_csv(index=False))
        with replacing(estimates_path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, ids=ids, estimates=estimates, truth=truth)
        overall, digest = member.measure(estimates, truth), digest_of(ids.tolist(), truth)
        fitted = ["/".join(one.checkpoint.run.resolve().parts[-2:]) for one in held_out]
        about = {"metric": metric, "value": overall, "rows": len(ids), "digest": digest, "folds": len(folds)}
        about |= {"views": int(self.tta), "runs": fitted, "epochs": [result.get("epochs") for result in results]}
        write_json(self.folder / f"crossval{suffix}.json", about | {"seconds": float(summary["seconds"].sum())})
        table = summary.to_string(index=False, formatters={metric: "{:.4f}".format, "seconds": "{:.0f}".format})
        self._say(f"\n{table}")
        each = summary[metric]
        if len(folds) > 1:
            spread = f"mean ± standard deviation over {len(folds)} folds: {each.mean():.4f} ± {each.std():.4f}"
            self._say(f"{metric}, {spread}")
        self._say(f"{metric} over all {len(ids)} out-of-fold rows: {overall:.4f}")
        if others:
            self._say(f"{metric} averaged with {counted(len(others), 'other')}: {member.measure(average, truth):.4f}")
        if len(folds) == self.data.num_folds:  # fewer would undo what all folds have taught
            self._calibrate(held_out, estimates, truth, groups, np.concatenate(calibrated), suffix)
        self._say(f"tables: {rows_path}, {summary_path.name}, {estimates_path.name}")
        members = [f"fold_{fold}" for fold in folds]
        if {path.name for path in self.folder.glob("fold_*")} == {*members}:  # or others would be averaged in
            members = ["fold_*"]
        paths = " ".join(quoted(f"{escape(self.folder.as_posix())}/{member}/latest/{LAST}") for member in members)
        paths += f" --submission.tta {self.tta}" if self.tta > 1 else ""
        self._say(f"next: python -m {self.model.task} predict --ckpt_path {paths}")
        return Measured(summary, overall, suffix)

    def _calibrate(
        self,
        held_out: list[_HeldOut],
        estimates: np.ndarray,
        truth: np.ndarray,
        groups: np.ndarray,
        cross_fit: np.ndarray,
        suffix: str,
    ) -> None:
        """Calibrate every fold's checkpoint on all out-of-fold rows; measure each fold as calibrated by the others."""
        member = held_out[-1].member
        member.calibration = member.calibrate(estimates, truth, groups)
        if not member.calibration:
            return
        for one in held_out:
            one.checkpoint.recalibrate(self.tta, member.calibration)
        self._say(member.about_calibration())
        before = member.calibration_metrics(member.calibrated(estimates, NONE), truth)
        for name, value in member.calibration_metrics(cross_fit, truth).items():
            was = f" (uncalibrated: {before[name]:.4f})" if name in before else ""
            self._say(f"{name}, each fold by the others: {value:.4f}{was}")
        for name, picture in member.picture_estimates(estimates, cross_fit, truth).items():
            path = self.folder / f"{name}{suffix}.png"
            save_png(entitled(picture, f"last.ckpt of {len(held_out)} folds"), path)
            self._say(f"picture: {path}")

    def _predict_held_out(self, fold: int) -> _HeldOut:
        run = latest_of(self.folder / f"fold_{fold}")
        assert run is not None
        checkpoint = read_checkpoint(run / LAST, type(self.model))
        # Uses its own model, not the one typed, since a fit may have chosen arguments from its data.
        member, data = checkpoint.build(type(self.model)), data_of(checkpoint, self.data.like(fold=fold))
        data.held_out = True
        outputs = predict_views(self.trainer, member, data, self.tta)
        return _HeldOut(fold, checkpoint, member, data, outputs, member.estimates(outputs, data))

    def _say(self, text: str) -> None:
        if self.leads:
            print(text, flush=True)


def _count_trained(data: ImageData) -> dict[str, int]:
    rows, groups = data.train_set.rows, data.listing.groups
    counts = {"trained_images": len(rows)}
    return counts if groups is None else counts | {f"trained_{data.group}": len(np.unique(groups[rows]))}


def _has_ended(run: Path | None) -> bool:
    return run is not None and is_finished(run) and all((run / name).is_file() for name in (LAST, "config.yaml"))


class _HeldOut(NamedTuple):
    """What a fold's checkpoint predicts for the rows held out of its fit."""

    fold: int
    checkpoint: Checkpoint
    member: AnyTask
    data: ImageData
    outputs: Outputs
    estimates: np.ndarray
