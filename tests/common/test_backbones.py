from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import nn
from torchvision import models

from common.backbones import Stem, build_backbone
from common.errors import UserError
from common.networks import LeNet, Normalize

OPTIONS: dict[str, Any] = {"in_channels": 3, "num_outputs": 5, "image_size": 64}


def test_lenet_is_the_seeds() -> None:
    shapes = [tuple(parameter.shape) for parameter in LeNet(3, 1, 224).parameters() if parameter.ndim > 1]
    assert shapes == [(6, 3, 5, 5), (16, 6, 5, 5), (120, 16 * 54 * 54), (84, 120), (10, 84), (1, 10)]


@pytest.mark.parametrize("size", [12, 13, 28, 33, 64])
def test_lenet_takes_any_size_from_12(size: int) -> None:
    assert LeNet(1, 4, size)(torch.zeros(2, 1, size, size)).shape == (2, 4)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("head", ["linear", "imagenet"])
@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenet_v2", "squeezenet1_1", "efficientnet_b0", "densenet121", "vit_b_32", "convnext_tiny"]
)
def test_classifiers_take_the_channels_and_give_the_outputs(name: str, head: Any, channels: int) -> None:
    network = build_backbone(name, in_channels=channels, num_outputs=5, image_size=64, head=head).eval()
    assert network(torch.zeros(2, channels, 64, 64)).shape == (2, 5)


def test_small_stem_is_three_by_three_with_stride_one() -> None:
    first = build_backbone("resnet18", **OPTIONS, stem="small").conv1
    assert (first.kernel_size, first.stride, first.padding) == ((3, 3), (1, 1), (1, 1))
    assert first.bias is None


def test_weights_from_a_file_and_summed_over_colours(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = models.resnet18()
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    path = str(tmp_path / "weights.pth")
    rgb = build_backbone("resnet18", **OPTIONS, pretrained=path)
    grey = build_backbone("resnet18", **(OPTIONS | {"in_channels": 1}), pretrained=path)
    assert torch.equal(rgb.conv1.weight, source.conv1.weight)
    assert torch.equal(grey.layer4[1].conv2.weight, source.layer4[1].conv2.weight)
    image = torch.rand(1, 1, 64, 64)
    assert torch.allclose(grey.conv1(image), source.conv1(image.expand(-1, 3, -1, -1)), atol=1e-5)
    stacked = build_backbone("resnet18", **OPTIONS, head="imagenet", pretrained=path)
    assert torch.equal(stacked[0].fc.weight, source.fc.weight)


def test_weights_of_another_architecture(tmp_path: Path) -> None:
    torch.save(models.resnet34().state_dict(), tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"not weights of resnet18, \d+ tensors differ.*expected resnet18-\w+\.pth"):
        build_backbone("resnet18", **OPTIONS, pretrained=str(tmp_path / "weights.pth"))


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("payload-ran"),)


@pytest.mark.parametrize("kind", ["truncated", "text", "objects", "list"])
def test_no_file_of_weights(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"a": Payload()} if kind == "objects" else [1, 2], path)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:100])
    if kind == "text":
        path.write_text("hello")
    with pytest.raises(UserError, match=r"--model.pretrained .*weights\.pth: not a .*expected resnet18") as caught:
        build_backbone("resnet18", **OPTIONS, pretrained=str(path))
    assert "\n" not in str(caught.value)
    assert not Path("payload-ran").exists()


def test_absent_file_of_weights() -> None:
    with pytest.raises(UserError, match=r"--model.pretrained nowhere\.pth: No such file"):
        build_backbone("resnet18", **OPTIONS, pretrained="nowhere.pth")


def test_without_a_network_the_error_names_file_and_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    with pytest.raises(UserError, match=r"no route to host.*fetch https.*resnet18-\w+\.pth.*--model.pretrained false"):
        build_backbone("resnet18", **OPTIONS, pretrained=True)


def test_unknown_backbone_names_close_ones() -> None:
    with pytest.raises(UserError, match="no such backbone; did you mean .*resnet18"):
        build_backbone("resnet-18", **OPTIONS)


def test_lenet_has_no_pretrained_weights() -> None:
    with pytest.raises(UserError, match="--model.pretrained True: there are no pretrained weights for lenet"):
        build_backbone("lenet", **OPTIONS, pretrained=True)


def test_image_normalisation_takes_light_and_contrast_away() -> None:
    normalize: nn.Module = Normalize("image", 1)
    images = torch.rand(4, 1, 28, 28)
    normal = normalize(images)
    assert torch.allclose(normal.mean((1, 2, 3)), torch.zeros(4), atol=1e-5)
    assert torch.allclose(normalize(0.5 * images + 0.1), normal, atol=0.02)
    assert torch.isfinite(normalize(torch.ones(1, 1, 28, 28))).all()


@pytest.mark.parametrize("size", [8, 9, 32, 48])
@pytest.mark.parametrize(("name", "weights"), [("airbench", 1_981_344), ("airbench_residual", 7_345_184)])
def test_airbench_takes_any_size_from_8(name: str, weights: int, size: int) -> None:
    network = build_backbone(name, in_channels=1, num_outputs=62, image_size=size)
    assert sum(parameter.numel() for parameter in network.parameters()) == weights
    assert network(torch.zeros(2, 1, size, size)).shape == (2, 62)
    with pytest.raises(UserError, match=f"too small for {name}"):
        build_backbone(name, in_channels=1, num_outputs=62, image_size=7)


@pytest.mark.parametrize(("name", "size"), [("googlenet", 32), ("inception_v3", 75)])
def test_auxiliary_heads_are_left_out(name: str, size: int) -> None:
    network = build_backbone(name, in_channels=3, num_outputs=4, image_size=size)
    assert network.training
    assert network(torch.zeros(2, 3, size, size)).shape == (2, 4)


@pytest.mark.parametrize("name", ["alexnet", "densenet121", "convnext_tiny", "maxvit_t"])
def test_too_small_an_image_is_refused_before_the_fit(name: str) -> None:
    with pytest.raises(UserError, match=r"image_size 24\b.*") as refusal:
        build_backbone(name, in_channels=3, num_outputs=4, image_size=24)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "efficientnet_b0", "shufflenet_v2_x0_5"])
@pytest.mark.parametrize(("stem", "size"), [("imagenet", 17), ("small", 9)])
def test_no_strided_convolution_meets_a_single_pixel(name: str, stem: Stem, size: int) -> None:
    network = build_backbone(name, in_channels=3, num_outputs=1, image_size=size, stem=stem).eval()
    sides: list[int] = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.stride != (1, 1) and layer.kernel_size != (1, 1):
            layer.register_forward_hook(lambda _, inputs, __: sides.append(inputs[0].shape[-1]))
    network(torch.zeros(2, 3, size, size))
    assert min(sides) == 2
    with pytest.raises(UserError, match=f"too small for {name}; give {size} or more"):
        build_backbone(name, in_channels=3, num_outputs=1, image_size=size - 1, stem=stem)
