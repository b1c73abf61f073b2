"""The networks of ``julia``: first the plain module, then its training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveFloat, PositiveInt
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassF1Score

from common.backbones import Head, Normalization, Normalize, Pretrained, Stem, build_backbone
from common.data import ImageBatch
from common.export import Deployed
from common.metrics import Rows
from common.optim import adamw_warmup_cosine
from common.plots import Gallery
from common.submission import Outputs, replacing
from julia import plots
from julia.data import CharacterBatch, CharacterData
from julia.files import CLASSES
from julia.metrics import DIRECTIONS, UNITS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class CharacterNet(nn.Module):
    """Normalisation and a backbone with one logit a class.

    Args: as :class:`CharacterClassifier`.

    Shape: N×channels×image_size×image_size, float in [0, 1] → N×62 logits.
    """

    def __init__(
        self,
        backbone: str = "resnet18",
        stem: Stem = "small",
        head: Head = "linear",
        image_size: int = 28,
        channels: int = 1,
        normalize: Normalization = "image",
        pretrained: Pretrained = False,
    ) -> None:
        super().__init__()
        self.normalize = Normalize(normalize, channels)
        self.backbone = build_backbone(
            backbone,
            in_channels=channels,
            num_outputs=len(CLASSES),
            image_size=image_size,
            stem=stem,
            head=head,
            normalize=normalize,
            pretrained=pretrained,
        )

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.backbone(self.normalize(images))
        return logits


class DeployedCharacterNet(nn.Module):
    """From uint8 images to probabilities: N×C×S×S → N×62."""

    def __init__(self, net: CharacterNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images.float() / 255)
        return logits.softmax(dim=1)


class CaseBlindAccuracy(MulticlassAccuracy):
    """Accuracy that takes an upper-case letter and its lower case for the same character. Higher is better."""

    # Not a buffer: averaging the weights averages those as well, and cuts whole numbers off.
    folded = torch.tensor([CLASSES.index(name.lower()) for name in CLASSES])

    def __init__(self) -> None:
        super().__init__(num_classes=len(CLASSES), average="micro")

    def update(self, preds: Tensor, target: Tensor) -> None:
        folded = self.folded.to(target.device)
        super().update(folded[preds.argmax(dim=1)], folded[target])


class CharacterClassifier(LightningModule):
    """Classifies a character bitmap as one of a-z, A-Z, 0-9.

    Logged for validation and test, all better when higher but the loss: ``acc``, ``f1`` (macro), ``acc_case_blind``.

    Args:
        backbone: name of a torchvision classifier, airbench or lenet.
        stem: imagenet, or small: a first convolution of 3×3 taps with stride 1, for images of few pixels.
        head: linear, or imagenet to keep the 1000 logits and stack a linear layer on them.
        image_size: pixels a side that bitmaps are resized to.
        channels: 1 for grey, 3 for colour.
        normalize: image (each by its own mean and deviation), imagenet (constants) or none.
        pretrained: true for torchvision's ImageNet weights, or the path of a file of them.
        label_smoothing: share of the target spread over all classes.
        lr: highest learning rate.
        weight_decay: AdamW's decay of matrices and kernels.
        warmup: share of all steps in which the learning rate rises.
    """

    task = "julia"
    score_unit = "logit"
    classes = CLASSES
    directions = DIRECTIONS
    units = UNITS
    throughput = "images_per_s"
    drawn = ("confusion", "worst_classes", "worst_errors")  # the names of :meth:`pictures`

    def __init__(
        self,
        backbone: str = "resnet18",
        stem: Stem = "small",
        head: Head = "linear",
        image_size: PositiveInt = 28,
        channels: Literal[1, 3] = 1,
        normalize: Normalization = "image",
        pretrained: Pretrained = False,
        label_smoothing: ClosedUnitInterval = 0.1,
        lr: PositiveFloat = 3e-3,
        weight_decay: NonNegativeFloat = 0.05,
        warmup: ClosedUnitInterval = 0.2,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore="pretrained", logger=False)
        self.lr, self.weight_decay, self.warmup = lr, weight_decay, warmup
        self.net = CharacterNet(backbone, stem, head, image_size, channels, normalize, pretrained)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.example_input_array = torch.zeros(2, channels, image_size, image_size)
        self.loss = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
        metrics = MetricCollection(
            {
                "acc": MulticlassAccuracy(len(CLASSES), average="micro"),
                "f1": MulticlassF1Score(len(CLASSES), average="macro"),
                "acc_case_blind": CaseBlindAccuracy(),
            },
            compute_groups=False,  # which take two for one as soon as their first batches agree
        )
        self.val_metrics = metrics.clone(prefix="val/")
        self.test_metrics = metrics.clone(prefix="test/")
        self.mean_loss = MeanMetric()
        self.rows = Rows()
        self.confusion = MulticlassConfusionMatrix(len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        """N×channels×H×W, float in [0, 1] → N×62 logits."""
        logits: Tensor = self.net(images)
        return logits

    def model_step(self, batch: CharacterBatch) -> tuple[Tensor, Tensor]:
        """Give the logits of a batch (N×62) and its loss."""
        logits = self(batch.images).float()
        return logits, self.loss(logits, batch.targets)

    def training_step(self, batch: CharacterBatch, batch_idx: int) -> Tensor:
        _, loss = self.model_step(batch)
        self.log("train/loss", loss, on_step=True, on_epoch=False)
        return loss

    def validation_step(self, batch: CharacterBatch, batch_idx: int) -> None:
        self._evaluate(self.val_metrics, batch)

    def test_step(self, batch: CharacterBatch, batch_idx: int) -> None:
        self._evaluate(self.test_metrics, batch)

    def _evaluate(self, metrics: MetricCollection, batch: CharacterBatch) -> None:
        logits, loss = self.model_step(batch)
        metrics.update(logits, batch.targets)
        self.mean_loss.update(loss, len(logits))
        self.confusion.update(logits, batch.targets)
        probability, predicted = logits.softmax(dim=1).max(dim=1)
        self.rows.update(batch.row, batch.targets, predicted, probability)

    def on_validation_epoch_end(self) -> None:
        self._log_evaluation("val/", self.val_metrics)

    def on_test_epoch_end(self) -> None:
        self._log_evaluation("test/", self.test_metrics)

    def _log_evaluation(self, prefix: str, metrics: MetricCollection) -> None:
        """Log the figures, and save the confusion matrix (rows: truth, columns: prediction) in the run folder."""
        # Here, not with each batch: a rank without one takes part in the sums, too.
        self.log_dict(metrics, prog_bar=True)
        self.log(f"{prefix}loss", self.mean_loss)
        log_dir = self.trainer.log_dir  # on every rank: it is broadcast
        self.counts = counts = self.confusion.compute().cpu().numpy()
        self.evaluated = self.rows.compute().cpu().numpy()
        self.confusion.reset()
        self.rows.reset()
        if self.trainer.is_global_zero and log_dir and not self.trainer.sanity_checking:
            table = pd.DataFrame(counts, index=list(CLASSES), columns=list(CLASSES))
            with replacing(Path(log_dir) / "confusion.csv") as temporary:
                table.to_csv(temporary, index_label="truth")

    @property
    def encoder(self) -> nn.Module:
        """The network behind the normalisation."""
        return self.net.backbone

    def scores(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Give what is to be explained of images (N×C×H×W, float in [0, 1]): N×62 logits, and which counts, N."""
        logits = self(images)
        return logits, logits.argmax(dim=1)

    def told(self, images: Tensor) -> list[str]:
        """Say what is predicted of each image (N×C×H×W, float in [0, 1])."""
        best, index = self(images).softmax(dim=1).max(dim=1)
        return [f"{CLASSES[i]}, {100 * p:.0f} %" for i, p in zip(index.tolist(), best.tolist(), strict=True)]

    def deployed(self) -> Deployed:
        """Give the network for use elsewhere: uint8 images in, probabilities (N×62) out."""
        images = torch.zeros(2, *self.example_input_array.shape[1:], dtype=torch.uint8)  # type: ignore[union-attr]
        return Deployed(DeployedCharacterNet(self.net), {"images": images}, {"images": "N"}, "probabilities", "1")

    def items(self, batch: CharacterBatch) -> int:
        """Count the images of a batch."""
        return len(batch.images)

    def pictures(self) -> dict[str, Figure | Gallery]:
        """Draw what the latest evaluation has shown."""
        columns = ["row", "truth", "predicted"]
        evaluated = pd.DataFrame(self.evaluated, columns=[*columns, "probability"]).astype(dict.fromkeys(columns, int))
        data: CharacterData = self.trainer.datamodule  # type: ignore[attr-defined]
        return {
            "confusion": plots.confusion(self.counts),
            "worst_classes": plots.worst_classes(self.counts),
            "worst_errors": plots.worst_errors(evaluated, data.val_set.images[data.val_set.rows]),
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["task"], checkpoint["classes"] = self.task, self.classes
        checkpoint["precision"] = self.trainer.precision

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> dict[str, Tensor]:
        """Give ``row`` (N, of the images predicted) and ``probabilities`` (N×62, in the order of ``CLASSES``)."""
        return {"row": batch.row, "probabilities": self(batch.images).float().softmax(dim=1)}

    def estimates(self, outputs: Outputs, data: CharacterData) -> np.ndarray:
        """Give the probabilities, N×62."""
        return outputs["probabilities"]

    def submission_values(self, outputs: Outputs, data: CharacterData) -> list[str]:
        """Name the most probable class of each bitmap."""
        return [CLASSES[index] for index in outputs["probabilities"].argmax(axis=1)]

    def submission_spread(self, outputs: Outputs, data: CharacterData, deviation: np.ndarray) -> np.ndarray:
        """Give the deviation of the most probable class's probability over the members, N."""
        best = outputs["probabilities"].argmax(axis=1)
        spread: np.ndarray = deviation[np.arange(len(best)), best]
        return spread

    def held_out_table(self, outputs: Outputs, data: CharacterData) -> pd.DataFrame:
        """Tabulate held-out bitmaps with their class and the predicted one."""
        table = self.submission_items(outputs, data).rename(columns={"Class": "predicted"})
        table.insert(1, "Class", [CLASSES[index] for index in data.truth])
        return table

    def figure(self, estimates: np.ndarray, truth: np.ndarray) -> float:
        """Give the accuracy of probabilities (N×62) of bitmaps of known class (N)."""
        return float((estimates.argmax(axis=1) == truth).mean())

    def submission_items(self, outputs: Outputs, data: CharacterData) -> pd.DataFrame:
        """Tabulate the test bitmaps with the most probable class and its probability."""
        classes = self.submission_values(outputs, data)
        return pd.DataFrame(
            {"ID": data.sample.ids, "Class": classes, "probability": outputs["probabilities"].max(axis=1)}
        )

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        return adamw_warmup_cosine(self, self.lr, self.weight_decay, self.warmup)
