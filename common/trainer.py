"""What can be done with a model: Lightning's Trainer, with a method for each additional subcommand."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
from jsonargparse.typing import PositiveInt
from lightning import pytorch as pl

from common.answers import Answers
from common.app import serve
from common.arguments import Settings
from common.calibration import average_calibrations
from common.checkpoints import Checkpoint
from common.crossval import CrossValidation, Measured
from common.dashboard import build_dashboard
from common.data import ImageData
from common.data_curve import write_data_curve
from common.decoding import read_image, resize
from common.ensemble import average_members, notes_on, predict_members
from common.errors import UserError
from common.export import export
from common.feature_maps import Member, draw
from common.files import check_folder, shown
from common.fitting import as_list
from common.folds import check_train_fraction
from common.machine import is_first_process
from common.page import Page
from common.predictor import Predictor
from common.pretrained import BUILT_WITH
from common.runs import RUNS
from common.submission import Outputs, Submission, SubmissionFiles, default_path
from common.task import AnyTask

DEFAULT_SUBMISSION = Submission()
SHOWN = 5  # kinds of notes that a prediction prints


class Trainer(pl.Trainer):
    """Lightning's Trainer, with a method for each subcommand."""

    checkpoints: list[Checkpoint]  # those that were typed after --ckpt_path
    images: list[str]  # the user's own images, as typed after --images
    page: type[Page]  # class of the page that app shows
    report: bool  # whether dashboard writes the report
    fit_settings: Settings  # the arguments of fit, which a cross-validation passes to each fold
    crossval_home: tuple[str, Path]  # name and folder of a cross-validation

    def fit(self, model: AnyTask, datamodule: ImageData) -> None:  # type: ignore[override]
        """Train a network, or resume a fit."""
        path = None
        for checkpoint in self.checkpoints:
            checkpoint.load_into(model)  # refuses unsuitable weights with a one-line error
            path = str(checkpoint.path)
        super().fit(model, datamodule=datamodule, ckpt_path=path)

    def validate(self, model: AnyTask, datamodule: ImageData) -> None:  # type: ignore[override]
        """Evaluate a trained network on the rows held out of its training."""
        (checkpoint,) = self.checkpoints
        checkpoint.load_into(model)
        measured = super().validate(model, datamodule=datamodule, ckpt_path=str(checkpoint.path), verbose=False)
        for figures in measured if self.is_global_zero else []:
            datamodule.split.warn_of_learned()
            print("measured on the held-out rows:")
            width = max(map(len, figures))
            for name in sorted(figures, key=lambda name: (name != model.monitor, name)):
                print(f"{name:{width}}  {model.with_unit(name, figures[name], decimals=6)}")

    def predict(  # type: ignore[override]
        self,
        model: AnyTask,
        datamodule: ImageData,
        submission: Submission = DEFAULT_SUBMISSION,
        output: str | None = None,
    ) -> None:
        """Predict the test files and write the submission, or predict --images; several checkpoints are averaged.

        Args:
            model: the network to predict with.
            datamodule: source of the test files.
            submission: where the predictions go, and how they are made.
            output: folder for the tables and pictures of --images; images in the run folder if null.
        """
        members, least = self.checkpoints, submission.min_probability
        if least and model.classes is None:
            raise UserError(f"--submission.min_probability {least}: {model.task} gives no probabilities; leave it out")
        if self.images:
            if submission.path is not None:
                raise UserError(f"--submission.path {submission.path}: --images makes no submission; give --output")
            answers = Answers(members[0].run, output, self.images)
            datamodule.take_images(self.images)
            outputs = self._average(model, datamodule, submission.tta)[0]
            if self.is_global_zero:
                answers.write(outputs, model, datamodule, notes_on(model, datamodule, outputs, members), least)
            return
        if output is not None:
            raise UserError(f"--output {output}: it is for --images; give --submission.path")
        path = Path(submission.path or default_path(members, submission.tta, least))
        named = [member.path for member in members] if submission.path is None and len(members) > 1 else []
        files = SubmissionFiles(path, datamodule.source(), named)  # fail early
        outputs, deviation = self._average(model, datamodule, submission.tta)
        if self.is_global_zero:
            notes = notes_on(model, datamodule, outputs, members)
            files.write(outputs, deviation, model, datamodule, notes, least)
            print(f"\nsubmission: {shown(files.path)}")
            print(f"beside it: {files.raw_path.name} (raw outputs), {files.items_path.name} ({model.about_items})")
            if deviation is not None:
                print(f"           {files.spread_path.name} (how far the {len(members)} checkpoints differ)")
            if files.intervals_path.exists():
                print(f"           {files.intervals_path.name} (one row an id)")
            if least:
                given = int(model.answered(model.estimates(outputs, datamodule), least).sum())
                print(f"answered: {given} of {len(notes)}; not a valid submission, which needs an answer in every row")
            if about := model.about_calibration():
                print(about)
            kinds = Counter(kind for note in notes for kind in note.split("; ") if kind).most_common()
            for kind, number in kinds[:SHOWN]:
                print(f"note: {number} of {len(notes)} images: {kind}", file=sys.stderr)
            if (more := len(kinds) - SHOWN) > 0:
                print(f"note: {more} more in the column note of {files.items_path.name}", file=sys.stderr)

    def _average(self, model: AnyTask, data: ImageData, tta: int) -> tuple[Outputs, np.ndarray | None]:
        predicted = predict_members(self, model, data, self.checkpoints, tta)
        averaged = average_members(predicted, lambda outputs: model.estimates(outputs, data))
        model.calibration = average_calibrations([member.calibration for member in self.checkpoints], tta)
        return averaged

    def crossval(
        self,
        model: AnyTask,
        datamodule: ImageData,
        folds: list[int] | int | str | None = None,
        tta: PositiveInt = 1,
        others: list[str] | None = None,
    ) -> None:
        """Fit every fold (--data.num_folds) and evaluate each held-out row with the model that has not seen it.

        Args:
            model: the network.
            datamodule: the data; each of several --data.train_fraction gets its own cross-validation.
            folds: folds to fit, such as 0,1; all if null. A fold whose run has finished is not fitted again.
            tta: how many views of each held-out image to average, like --submission.tta of predict.
            others: out_of_fold.npz files of other cross-validations, as [A, B], whose estimates are averaged in.
        """
        number = datamodule.num_folds
        if number < 2:
            raise UserError(f"--data.num_folds {number}: give 2 or more")
        chosen = _chosen_folds(folds, number)
        shares = sorted({check_train_fraction(fraction) for fraction in as_list(datamodule.train_fraction)})
        if not shares:
            raise UserError("--data.train_fraction []: give one fraction or several, such as [0.25, 0.5, 1]")
        if model.learned_from is not None:
            data = datamodule.like(fold=chosen[0], train_fraction=1.0)
            data.prepare_data()
            data.setup("fit")
            data.split.refuse_learned("--model.pretrained", model.learned_from)
        name, folder = self.crossval_home
        # Of several processes that run the same command, only the first prints and tabulates.
        leads = is_first_process()
        measured: dict[float, Measured] = {}
        for place, share in enumerate(shares):
            if leads and len(shares) > 1:
                print(f"\n--data.train_fraction {share} ({place + 1} of {len(shares)})", flush=True)
            below = "" if share == 1 else f"fraction_{share}"
            settings = {**self.fit_settings, "data": {**self.fit_settings["data"], "train_fraction": share}}
            data, home = datamodule.like(train_fraction=share), "/".join(filter(None, (name, below)))
            of_share = (home, folder / below, folder, settings, leads, self, model, data, tta, place * number)
            if (result := CrossValidation(*of_share).run(chosen, [Path(path) for path in others or []])) is not None:
                measured[share] = result
        if len(measured) > 1:
            write_data_curve(type(model), measured, folder)

    def feature_maps(
        self,
        model: AnyTask,
        datamodule: ImageData,
        image: str,
        layers: list[str | int] | None = None,
        channels: PositiveInt = 6,
        output: str | None = None,
    ) -> None:
        """Draw what networks see in one image: channels of their layers, and what their answer is based on.

        Args:
            model: the network of the first checkpoint; the other checkpoints, of the same network, are drawn beside it.
            datamodule: how images are read.
            image: image file to look at, of any size.
            layers: layers to draw, such as [layer1,layer4]; three of different depths if null.
            channels: largest number of channels to draw per layer.
            output: folder for the pictures; the run folder of the first checkpoint if null.
        """
        first = self.checkpoints[0]
        folder = first.run if output is None else Path(output)
        check_folder(folder, "--output")
        members = []
        for checkpoint in self.checkpoints:
            if any(checkpoint.model.get(name) != first.model.get(name) for name in (*BUILT_WITH, "image_size")):
                path = checkpoint.path
                raise UserError(f"--ckpt_path {path}: another network than {first.path}; give checkpoints of one run")
            loaded = checkpoint.build(type(model)).float()
            members.append(Member(loaded, f"{checkpoint.path.stem} (epoch {checkpoint.epoch + 1})"))
        pixels = resize(read_image(Path(image), datamodule.mode, datamodule.max_pixels), model.hparams["image_size"])
        names = None if layers is None else [str(layer) for layer in layers]
        draw(members, pixels, names, channels, folder / Path(image).stem)

    def export(self, model: AnyTask, datamodule: ImageData, output: str) -> None:
        """Write a trained network as ONNX: uint8 images in, answers out, any batch size.

        Args:
            model: the network.
            datamodule: unused.
            output: the .onnx file to write.
        """
        (checkpoint,) = self.checkpoints
        export(checkpoint.build(type(model)), checkpoint.path.name, Path(output))

    def app(
        self,
        model: AnyTask,
        datamodule: ImageData,
        host: str = "127.0.0.1",
        port: int | None = None,
        tta: PositiveInt = 1,
    ) -> None:
        """Show a page in the browser that predicts your own images; several checkpoints are averaged.

        Args:
            model: the network.
            datamodule: how images are read.
            host: address to listen on; 127.0.0.1 can be reached only from this machine.
            port: port to listen on; the first free one from 7860 if null.
            tta: how many views of each image to average, like --submission.tta of predict.
        """
        paths = [checkpoint.path for checkpoint in self.checkpoints]
        device = str(self.strategy.root_device)
        predictor = Predictor(type(model), datamodule, paths, device, tta, self.precision)
        serve(self.page(predictor), host, port)

    def dashboard(
        self, model: AnyTask, datamodule: ImageData, entity: str | None = None, output: str | None = None
    ) -> None:
        """Save the W&B workspace that compares this task's runs, or a report on them; without a key, write a file.

        Args:
            model: determines what is logged.
            datamodule: determines what can be set.
            entity: W&B user or team that owns the project; the key's default if null.
            output: write to this file instead of publishing: the workspace as JSON, the report as Markdown.
        """
        runs = Path(self.default_root_dir) / RUNS / model.task
        path = None if output is None else Path(output)
        build_dashboard(type(model), type(datamodule), entity, path, self.report, runs)


def _chosen_folds(folds: list[int] | int | str | None, number: int) -> list[int]:
    """Read ``--folds``: numbers from 0 to ``number`` - 1, each once, in order."""
    try:
        given = folds if isinstance(folds, list) else map(int, str(folds).split(","))
        chosen = sorted(set(range(number) if folds is None else given))
    except ValueError:
        chosen = [-1]
    if not chosen or not all(0 <= fold < number for fold in chosen):
        raise UserError(
            f"--folds {folds}: give numbers from 0 to {number - 1} (--data.num_folds {number}), such as 0,1"
        )
    return chosen
