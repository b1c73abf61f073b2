from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from julia.files import CLASSES
from julia.metrics import CaseBlindAccuracy
from julia.model import CharacterClassifier


def test_resnet18_has_the_seeds_parameters_and_sizes() -> None:
    net = CharacterClassifier().net
    assert sum(parameter.numel() for parameter in net.parameters()) == 11_199_486
    sizes: dict[str, tuple[int, ...]] = {}

    def remember(name: str) -> object:
        return lambda module, args, output: sizes.update({name: tuple(output.shape[1:])})

    for name, module in net.backbone.named_children():
        module.register_forward_hook(remember(name))  # type: ignore[arg-type]
    assert net(torch.zeros(2, 1, 28, 28)).shape == (2, 62)
    assert sizes["conv1"] == (64, 28, 28)
    assert sizes["maxpool"] == (64, 14, 14)
    assert sizes["layer1"] == (64, 14, 14)
    assert sizes["layer2"] == (128, 7, 7)
    assert sizes["layer3"] == (256, 4, 4)
    assert sizes["layer4"] == (512, 2, 2)
    assert sizes["fc"] == (62,)


def test_case_blind_accuracy() -> None:
    metric = CaseBlindAccuracy()
    truth = torch.tensor([CLASSES.index(name) for name in "aAbBcC09"])
    said = torch.tensor([CLASSES.index(name) for name in "AaBbxC90"])
    metric.update(nn.functional.one_hot(said, 62).float(), truth)
    assert metric.compute().item() == pytest.approx(5 / 8)


def test_submission_names_the_most_probable_class() -> None:
    probabilities = np.zeros((3, 62), dtype=np.float32)
    probabilities[[0, 1, 2], [0, 26, 61]] = 1
    assert CharacterClassifier().values(probabilities).tolist() == ["a", "A", "9"]


def test_weight_decay_spares_biases_and_norms() -> None:
    from common.optim import parameter_groups

    decayed, spared = parameter_groups(CharacterClassifier().net, 0.1)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    assert all(parameter.ndim > 1 for parameter in decayed["params"])  # type: ignore[attr-defined]
    assert len(decayed["params"]) == 21  # type: ignore[arg-type]
    assert len(spared["params"]) == 41  # type: ignore[arg-type]
