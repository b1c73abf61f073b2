"""Training of ``julia``: its network, loss and metrics, and how outputs become classes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_confusion_matrix

from common.arguments import Resumable
from common.backbones import Head, Stem, build_backbone, constants_of
from common.batches import ImageBatch, LabelledBatch
from common.calibration import Calibration, fit_temperature, scale_probabilities
from common.held_out_tables import HeldOutColumns
from common.networks import FromBytes, Normalization, Normalize, Temperature
from common.plots import Direction, Gallery
from common.pretrained import Pretrained
from common.submission import Outputs
from common.task import Deployed, ImageTask
from julia import plots
from julia.colours import ColourPrior
from julia.data import CharacterData
from julia.files import CLASSES
from julia.metrics import CaseBlindAccuracy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class CharacterClassifier(ImageTask[CharacterData, LabelledBatch]):
    """Classifies a character bitmap as one of a-z, A-Z, 0-9.

    Logged for the held-out bitmaps, higher is better: ``acc``, ``f1`` (macro), ``acc_case_blind``; lower is better:
    ``loss``, ``nll`` (negative log-likelihood) and ``ece`` (expected calibration error, 15 bins), the latter two also
    as ``_calibrated``: each fifth is scaled by the temperature of the others.

    Args:
        backbone: a torchvision or timm (timm/<name>) classifier, airbench, airbench_residual or lenet.
        stem: imagenet, or small: a 3×3 first convolution with stride 1, for images of few pixels.
        head: linear, or imagenet to keep the 1000 logits and put a linear layer on top of them.
        image_size: side of the square that bitmaps are resized to, in pixels.
        channels: 1 for grey, 3 for colour.
        normalize: image (by each bitmap's own mean and standard deviation), auto (by those that the backbone's
            published weights expect, even if it starts from random ones), imagenet (by those of ImageNet) or none.
        colour_prior: tell small letters, capitals and digits of the competition's bitmaps apart by training bitmaps of
            nearly the same colours, which are often from the same sign. The network learns nothing from it, and images
            from elsewhere (--images, julia.load, an exported network) are answered without it.
        pretrained: true for published weights, a file of them (.pth, .safetensors) or another fit's checkpoint (.ckpt).
        label_smoothing: fraction of the target that is spread over all classes.
        lr: peak learning rate.
        weight_decay: AdamW's weight decay, for matrices and kernels only.
        warmup: fraction of all steps over which the learning rate rises.
    """

    task = "julia"
    monitor = "val/acc"
    directions: ClassVar[dict[str, Direction]] = {
        "val/acc": "max",
        "val/f1": "max",
        "val/acc_case_blind": "max",
        "val/loss": "min",
        "val/nll": "min",
        "val/nll_calibrated": "min",
        "val/ece": "min",
        "val/ece_calibrated": "min",
        "train/acc": "max",
        "train/loss": "min",
        "train/images_per_s": "max",
    }
    units: Mapping[str, str] = dict.fromkeys(("val/loss", "val/nll", "val/nll_calibrated", "train/loss"), "nats")
    throughput = "images_per_s"
    drawn = ("confusion", "worst_classes", "worst_errors", "reliability", "answered", "errors")
    score_unit = "logits"
    classes = CLASSES
    columns = ("row", "truth", "loss", *CLASSES)
    held_out_columns = HeldOutColumns(ids=("ID",), group="Class", truth="Class")

    def __init__(
        self,
        backbone: str = "resnet18",
        stem: Stem = "small",
        head: Head = "linear",
        image_size: PositiveInt = 28,
        channels: Literal[1, 3] = 1,
        normalize: Normalization = "image",
        colour_prior: bool = False,
        pretrained: Pretrained = False,
        label_smoothing: Resumable[ClosedUnitInterval] = 0.1,
        lr: PositiveFloat = 3e-3,
        weight_decay: NonNegativeFloat = 0.05,
        warmup: Resumable[ClosedUnitInterval] = 0.2,
    ) -> None:
        network = build_backbone(
            backbone,
            in_channels=channels,
            num_outputs=len(CLASSES),
            image_size=image_size,
            stem=stem,
            head=head,
            pretrained=pretrained,
        )
        metrics = {
            # Also measured on every training batch, where validating the targets would stall a GPU.
            "acc": MulticlassAccuracy(len(CLASSES), average="micro", validate_args=False),
            "f1": MulticlassF1Score(len(CLASSES), average="macro"),
            "acc_case_blind": CaseBlindAccuracy(),
        }
        normalization = Normalize(normalize, channels, constants_of(backbone))
        net = nn.Sequential(OrderedDict(normalize=normalization, backbone=network))
        super().__init__(net, metrics, lr, weight_decay, warmup, pretrained=pretrained)
        self.loss = nn.CrossEntropyLoss(reduction="none", label_smoothing=label_smoothing)
        self.prior = ColourPrior() if colour_prior else None
        self.example_input_array = torch.zeros(2, channels, image_size, image_size)

    def forward(self, images: Tensor) -> Tensor:
        """N×channels×H×W, or N×3×H×W if colours count, float in [0, 1] → N×62 logits of the network."""
        logits: Tensor = self.net(images)
        return logits

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit" and self.prior is not None:
            self.prior.learn(self.data.train_set)

    def compute_loss(self, batch: LabelledBatch) -> Tensor:
        logits = self(batch.images).float()
        # A blended bitmap counts as its dominant class.
        targets = batch.targets if batch.targets.ndim == 1 else batch.targets.argmax(dim=1)
        self.train_metrics.update(logits.detach(), targets)
        losses: Tensor = self.loss(logits, batch.targets)
        return losses.mean()

    def evaluate(self, batch: LabelledBatch) -> Tensor:
        logits = self(batch.images).float()
        if self.prior is not None:
            logits = logits + self.prior(batch.images)
        losses: Tensor = self.loss(logits, batch.targets)
        self.val_metrics.update(logits, batch.targets)
        columns = torch.stack([column.float() for column in (batch.row, batch.targets, losses)], dim=1)
        return torch.cat([columns, logits.softmax(dim=1)], dim=1)

    def evaluated_estimates(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return probabilities (N×62), classes (N) and rows (N): each bitmap is its own group."""
        rows, truth = self.evaluated[:, :2].astype(int).T
        return self.evaluated[:, 3:], truth, rows

    def count_confusions(self) -> np.ndarray:
        """Count how often each class was taken for each other, 62×62, with the truth in rows."""
        probabilities, truth, _ = self.evaluated_estimates()
        predicted = torch.from_numpy(probabilities.argmax(axis=1))
        counts: np.ndarray = multiclass_confusion_matrix(predicted, torch.from_numpy(truth), len(CLASSES)).numpy()
        return counts

    def log_evaluation(self) -> None:
        """Log the loss and how well the answers are calibrated."""
        probabilities, truth, rows = self.evaluated_estimates()
        measured = self.calibration_metrics(probabilities, truth)
        after = self.calibration_metrics(self.cross_fitted(probabilities, truth, rows), truth)
        measured |= {f"{name}_calibrated": value for name, value in after.items()}
        measured["loss"] = float(self.evaluated[:, 2].mean())
        self.log_dict({f"val/{name}": value for name, value in measured.items()}, sync_dist=True)

    def pictures(self) -> dict[str, Figure | Gallery]:
        bitmaps, counts = self.data.val_set, self.count_confusions()
        probabilities, truth, rows = self.evaluated_estimates()
        calibrated = self.cross_fitted(probabilities, truth, rows)
        best = calibrated.argmax(axis=1)
        columns = {"row": rows, "truth": truth, "predicted": best, "probability": calibrated.max(axis=1)}
        return self.picture_estimates(probabilities, calibrated, truth) | {
            "confusion": plots.confusion(counts),
            "worst_classes": plots.worst_classes(counts),
            "worst_errors": plots.worst_errors(pd.DataFrame(columns), bitmaps.images[bitmaps.rows]),
        }

    def tables(self) -> dict[str, pd.DataFrame]:
        """Tabulate the confusion matrix."""
        index = pd.Index(list(CLASSES), name="truth")
        return {"confusion": pd.DataFrame(self.count_confusions(), index=index, columns=list(CLASSES))}

    def calibrate(self, estimates: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> Calibration:
        """Fit the temperature of the probabilities, N×62; ``rows`` is the number it was fitted on."""
        return {"temperature": fit_temperature(estimates, truth), "rows": float(len(truth))}

    def calibrated(self, estimates: np.ndarray, calibration: Calibration | None = None) -> np.ndarray:
        """Return the probabilities scaled by the temperature, N×62."""
        learned = self.calibration if calibration is None else calibration
        return scale_probabilities(estimates, learned["temperature"]) if learned else estimates

    def calibration_metrics(self, calibrated: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        """Measure the expected calibration error (15 bins) and the negative log-likelihood of probabilities, N×62."""
        given, classes = torch.from_numpy(calibrated).double(), torch.from_numpy(truth).long()
        error = multiclass_calibration_error(given, classes, len(CLASSES), n_bins=15, norm="l1")
        loss = nn.functional.nll_loss(given.clamp(min=torch.finfo(torch.float32).tiny).log(), classes)
        return {"ece": float(error), "nll": float(loss)}

    def picture_estimates(
        self, estimates: np.ndarray, calibrated: np.ndarray, truth: np.ndarray
    ) -> dict[str, Figure | Gallery]:
        """Draw the errors by look-alikes, the reliability diagram, and the accuracy against the share answered."""
        right = estimates.argmax(axis=1) == truth
        before, after = self.calibration_metrics(estimates, truth), self.calibration_metrics(calibrated, truth)
        labels = [f"{name}: ECE {one['ece']:.3f}" for name, one in (("as fitted", before), ("by temperature", after))]
        probability = calibrated.max(axis=1)
        return {
            "reliability": plots.reliability([estimates.max(axis=1), probability], labels, right),
            "answered": plots.answered(probability, right),
            "errors": plots.errors(truth, estimates.argmax(axis=1)),
        }

    def about_calibration(self) -> str:
        if not self.calibration:
            return ""
        temperature, rows = self.calibration["temperature"], self.calibration["rows"]
        return f"probabilities: by temperature {temperature:.2f}, fitted on {rows:,.0f} held-out bitmaps"

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> dict[str, Tensor]:
        """Return ``row`` (N, index of each image) and ``probabilities`` (N×62, in the order of ``CLASSES``)."""
        return {"row": batch.row, "probabilities": self(batch.images).float().softmax(dim=1)}

    def refine(self, outputs: Outputs, data: CharacterData) -> Outputs:
        if self.prior is None:
            return outputs
        return {"probabilities": self.prior.adjust(outputs["probabilities"], data.test_set)}

    def estimates(self, outputs: Outputs, data: CharacterData) -> np.ndarray:
        """Return the probabilities, N×62."""
        return outputs["probabilities"]

    def values(self, estimates: np.ndarray) -> np.ndarray:
        """Name the most probable class of each bitmap, N."""
        classes: np.ndarray = np.array(list(CLASSES))[estimates.argmax(axis=1)]
        return classes

    def spread(self, estimates: np.ndarray, deviation: np.ndarray) -> np.ndarray:
        """Return the standard deviation of the most probable class's probability across the members, N."""
        spread: np.ndarray = np.take_along_axis(deviation, estimates.argmax(axis=1)[:, None], axis=1)[:, 0]
        return spread

    def table_of_items(self, outputs: Outputs, data: CharacterData) -> pd.DataFrame:
        """Tabulate the bitmaps with their three most probable classes."""
        return self._tabulate(data.sample.ids, outputs["probabilities"])

    def table_of_held_out(self, outputs: Outputs, data: CharacterData) -> pd.DataFrame:
        return self._tabulate_held_out(data.sample.ids, outputs["probabilities"], data.truth)

    def table_of_evaluated(self) -> pd.DataFrame:
        probabilities, truth, rows = self.evaluated_estimates()
        return self._tabulate_held_out(self.data.held_out_ids(rows), probabilities, truth)

    def _tabulate(self, ids: Sequence[str], estimates: np.ndarray) -> pd.DataFrame:
        probabilities = self.calibrated(estimates)
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :3]
        table = pd.DataFrame({"ID": ids})
        for rank, suffix in enumerate(("", "_2", "_3")):
            table[f"Class{suffix}"] = np.array(list(CLASSES))[order[:, rank]]
            table[f"probability{suffix}"] = np.take_along_axis(probabilities, order[:, rank, None], axis=1)[:, 0]
        return table

    def _tabulate_held_out(self, ids: Sequence[str], estimates: np.ndarray, truth: np.ndarray) -> pd.DataFrame:
        table = self._tabulate(ids, estimates)[["ID", "Class", "probability"]].rename(columns={"Class": "predicted"})
        table.insert(1, "Class", [CLASSES[index] for index in truth])
        return table

    @property
    def encoder(self) -> nn.Module:
        return self.net.get_submodule("backbone")

    def explained_scores(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits, N×62, and which of them to explain: the greatest."""
        logits = self(images)
        return logits, logits.argmax(dim=1)

    def describe(self, images: Tensor) -> list[str]:
        """Name the most probable class of each image and its probability."""
        best, index = self._temperature()(self(images)).softmax(dim=1).max(dim=1)
        return [f"{CLASSES[i]}, {100 * p:.0f} %" for i, p in zip(index.tolist(), best.tolist(), strict=True)]

    def deployed(self) -> Deployed:
        """Return the network to deploy: uint8 images in, probabilities (N×62) out."""
        size, channels = self.hparams["image_size"], self.hparams["channels"]
        images = torch.zeros(2, channels, size, size, dtype=torch.uint8)
        net = nn.Sequential(FromBytes(), self.net, self._temperature(), nn.Softmax(dim=1))
        return Deployed(net, {"images": images}, {"images": "N"}, ("probabilities",), "1")

    def _temperature(self) -> Temperature:
        return Temperature(self.calibration.get("temperature", 1.0))
