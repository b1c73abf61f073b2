"""Teachers: earlier fits whose probabilities label the test images, from which a new fit then learns, too.

They label the images as they are, and the new fit learns from augmented ones. Source: Xie et al., "Self-training with
noisy student improves ImageNet classification", arXiv:1911.04252.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from lightning import pytorch as pl

from common.checkpoints import expand_checkpoints, read_checkpoint
from common.errors import UserError, counted, listed
from common.files import shown
from common.machine import is_first_process
from common.predictor import Predictor
from common.pretrained import digest_weights, load_checkpoint, split_of
from common.split import DIGITS, Split
from common.task import AnyTask, ImageTask

if TYPE_CHECKING:
    from common.data import ImageData

FLAG = "--data.teachers"
VIEWS = 10  # of each image that are averaged, if all teachers have learned as many


class Teacher(NamedTuple):
    """A checkpoint that labels images."""

    path: Path
    split: Split  # of its fit
    weights: str  # digest of its tensors


def choose_teachers(
    given: str | Sequence[str], split: Split, contents: Sequence[str], task: type[AnyTask] | None
) -> list[Teacher]:
    """Return those of some checkpoints that have learned from no image that a fit holds out or leaves out.

    Args:
        given: one path or pattern, or several.
        split: the rows of the fit that is about to start.
        contents: digest of each file of its training set.
        task: of that fit, if it is known.

    Raises:
        UserError: there is none; one is not a checkpoint of the task, has other classes, does not tell what it has
            learned from, or is a best.ckpt, whose epoch held-out rows have chosen; the task has no classes.
    """
    if task is not None and task.classes is None:
        raise UserError(f"{FLAG}: they label images with classes, which this task does not have; leave it out")
    others = {content[:DIGITS] for content in contents}.difference(split.contents[: len(split.trained)])
    words = [given] if isinstance(given, str) else given
    chosen: dict[str, Teacher] = {}  # by weights, so that a copy does not count twice
    paths = [path for word in words for path in expand_checkpoints(FLAG, word)]
    for path in dict.fromkeys(path.resolve() for path in paths):
        if path.name == "best.ckpt":
            raise UserError(f"{FLAG} {path}: held-out rows have chosen its epoch; give last.ckpt")
        saved = load_checkpoint(path, FLAG)
        fitted = split_of(saved, f"{FLAG} {path}")
        if fitted is None or not fitted.contents:
            why = "of an earlier version, which does not tell from which images it has learned"
            raise UserError(f"{FLAG} {path}: {why}; fit it again")
        if fitted.version != split.version:
            why = "fitted on other files of the images, such as smaller ones, so nobody knows which it has learned from"
            raise UserError(f"{FLAG} {path}: {why}; give fits on the same files")
        if task is not None:
            read_checkpoint(path, task, FLAG)
        if not fitted.seen & others:
            weights = digest_weights(saved["state_dict"])
            chosen.setdefault(weights, Teacher(path, fitted, weights))
    if not chosen:
        why = f"each of {counted(len(paths), 'checkpoint')} has learned from images that this fit does not train on"
        raise UserError(f"{FLAG}: {why}; give those of the same --data.fold and --data.train_fraction")
    return list(chosen.values())


def task_of(trainer: pl.Trainer) -> type[AnyTask]:
    """Return the class of the model that is fitted."""
    task = type(trainer.lightning_module)
    assert issubclass(task, ImageTask)
    return task


def label_test_set(trainer: pl.Trainer, data: ImageData, teachers: Sequence[Teacher]) -> np.ndarray:
    """Return the mean probabilities of the teachers for the test images of ``data``, N×classes, float32.

    Raises:
        UserError: the weights of a teacher do not fit the network that it describes.
    """
    paths = [str(teacher.path) for teacher in teachers]
    predictor = Predictor(task_of(trainer), data, paths, str(trainer.strategy.root_device), 1, flag=FLAG)
    predictor.tta = min(VIEWS, *(len(one.views()) for one in predictor.data))
    labels: np.ndarray = predictor.models[0].estimates(predictor.predict_test_set(), data).astype(np.float32)
    if is_first_process():
        who = listed([shown(teacher.path) for teacher in teachers], most=3)
        print(f"teachers: {who}, which label {counted(len(labels), 'test image')}", file=sys.stderr)
    return labels
