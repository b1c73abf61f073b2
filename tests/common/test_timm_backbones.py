from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import timm
import torch
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.transforms import Normalize as Constant

from common import timm_backbones
from common.backbones import build_backbone, checkpoint_blocks, constants_of
from common.decoding import read_image, resize
from common.errors import UserError
from common.networks import IMAGENET, Float32Linear, Normalize, head_of
from common.timm_backbones import SyncBatchNorm
from growth.model import GrowthRegressor
from tests.conftest import QUIET, REAL_DATA, Run
from tests.quick import REPOSITORY

NAME = "timm/test_efficientnet"  # 0.4 million weights, with layers of timm's own
OPTIONS: dict[str, Any] = {"in_channels": 3, "num_outputs": 5, "image_size": 64}
PHOTOS = REAL_DATA / "growth" / "train_dataset"
WEIGHTS = REAL_DATA / "weights" / "tf_efficientnet_lite0.pth"


def published(path: str, **options: Any) -> nn.Module:
    """Write random weights as timm would publish them, and give the network of timm's that has them."""
    torch.manual_seed(1)
    network = timm.create_model("test_efficientnet", **options).eval()
    if path.endswith(".safetensors"):
        save_file(network.state_dict(), path)
    else:
        torch.save(network.state_dict(), path)
    return network


def images(channels: int = 3, size: int = 64) -> Tensor:
    return torch.rand(2, channels, size, size, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "test_vit", "test_convnext", "test_maxvit"])
def test_classifiers_take_the_channels_and_give_the_outputs_in_float32(name: str, channels: int) -> None:
    network = build_backbone(f"timm/{name}", **{**OPTIONS, "in_channels": channels})
    assert network.training
    (head,) = head_of(network)
    assert type(network.get_submodule(head)) is Float32Linear
    assert network.eval()(images(channels)).shape == (2, 5)


@pytest.mark.parametrize("file", ["weights.pth", "weights.safetensors"])
def test_weights_from_a_file_are_timms_own(file: str) -> None:
    theirs = published(file)
    kept = build_backbone(NAME, **OPTIONS, head="imagenet", pretrained=file).eval()
    replaced = build_backbone(NAME, **OPTIONS, pretrained=file).eval()
    grey = build_backbone(NAME, **{**OPTIONS, "in_channels": 1}, pretrained=file).eval()
    with torch.no_grad():
        assert torch.equal(kept[0](images()), theirs(images()))
        assert torch.equal(replaced.forward_features(images()), theirs.forward_features(images()))
        repeated = images(1).expand(-1, 3, -1, -1)
        assert torch.allclose(grey.forward_features(images(1)), theirs.forward_features(repeated), atol=1e-4)
    assert "state_dict" not in kept[0].pretrained_cfg  # no second copy in each average of the weights


def test_a_file_of_other_classes_brings_all_but_the_head() -> None:
    theirs = published("weights.pth", num_classes=7)
    network = build_backbone(NAME, **OPTIONS, pretrained="weights.pth").eval()
    assert torch.equal(network.conv_stem.weight, theirs.conv_stem.weight)
    with pytest.raises(UserError, match="head imagenet: timm/test_efficientnet has 7 logits, not 1000"):
        build_backbone(NAME, **OPTIONS, head="imagenet", pretrained="weights.pth")


def test_weights_that_do_not_fit() -> None:
    state = published("weights.pth").state_dict()
    del state["conv_stem.weight"]
    torch.save(state, "part.pth")
    for name, file in ((NAME, "part.pth"), ("timm/test_resnet", "weights.pth")):
        with pytest.raises(UserError, match=rf"{file}: not weights of {name} .*; expected https.*safetensors") as error:
            build_backbone(name, **OPTIONS, pretrained=file)
        assert "\n" not in str(error.value)
    Path("text.safetensors").write_text("hello")
    with pytest.raises(UserError, match=r"text\.safetensors: not a file of weights"):
        build_backbone(NAME, **OPTIONS, pretrained="text.safetensors")
    # Where the size is at fault, the weights are not.
    with pytest.raises(UserError, match="timm/xcit_nano_12_p8_224 cannot be built for --model.image_size 28: "):
        build_backbone("timm/xcit_nano_12_p8_224", **{**OPTIONS, "image_size": 28}, pretrained="weights.pth")


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("timm/test_efficentnet", NAME),
        ("tf_efficientnet_lite0", "timm/tf_efficientnet_lite0"),
        ("timm/resnet18.a1_in2k", r"timm/resnet18\.a1_in1k"),
        ("timm/hf-hub:timm/resnet18", "timm/"),
    ],
)
def test_unknown_names_are_refused_with_close_ones(name: str, close: str) -> None:
    with pytest.raises(UserError, match=f"{name}: no such backbone; did you mean .*{close}"):
        build_backbone(name, **OPTIONS)


def test_without_a_network_the_error_names_file_and_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(timm_backbones, "urlopen", unreachable)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # and back
    with pytest.raises(UserError, match=r"no route to host.*fetch https.*give --model.pretrained model\.safetensors,"):
        build_backbone(NAME, **OPTIONS, pretrained=True)
    with pytest.raises(UserError, match="timm has no weights of timm/coatnet_0_224; give --model.pretrained false"):
        build_backbone("timm/coatnet_0_224", **OPTIONS, pretrained=True)


def test_auto_takes_the_constants_of_the_backbone_and_keeps_them() -> None:
    half = ((0.5,) * 3, (0.5,) * 3)
    assert constants_of("timm/tf_efficientnet_lite0") == half
    assert constants_of("timm/resnet18") == constants_of("resnet18") == constants_of("lenet") == IMAGENET
    # A tag names other weights, and so may the constants be.
    assert constants_of("timm/vit_base_patch16_224.augreg_in21k") == half
    assert constants_of("timm/vit_base_patch16_clip_224.openai") not in (half, IMAGENET)
    normalize = Normalize("auto", 3, half)
    assert torch.allclose(normalize(images()), 2 * images() - 1, atol=1e-6)
    assert normalize.state_dict().keys() == {"mean", "std"}
    assert torch.equal(Normalize("auto", 1)(images(1)), Normalize("imagenet", 1)(images(1)))
    assert not Normalize("imagenet", 3, half).state_dict()
    assert torch.equal(Normalize("imagenet", 3, half)(images()), Normalize("imagenet", 3)(images()))


def test_the_small_stem_keeps_what_fits_and_is_refused_where_there_is_none() -> None:
    theirs = published("weights.pth")
    network = build_backbone(NAME, **OPTIONS, stem="small", pretrained="weights.pth")
    first = network.conv_stem
    assert (first.kernel_size, first.stride, first.padding) == ((3, 3), (1, 1), (1, 1))
    assert torch.equal(first.weight, theirs.conv_stem.weight)
    for name in ("test_vit", "test_convnext", "test_nfnet", "test_maxvit", "repvgg_a0"):
        with pytest.raises(UserError, match=f"stem small does not fit timm/{name}, .*; give imagenet"):
            build_backbone(f"timm/{name}", **OPTIONS, stem="small")


@pytest.mark.parametrize("name", ["timm/test_vit", "timm/test_efficientnet"])
def test_grad_checkpointing_changes_neither_names_nor_gradients(name: str) -> None:
    networks = []
    for grad_checkpointing in (False, True):
        torch.manual_seed(0)
        network = build_backbone(name, **OPTIONS).eval()
        if grad_checkpointing:
            checkpoint_blocks(network)
            assert network.grad_checkpointing
        network(images()).sum().backward()
        networks.append(network)
    plain, checkpointed = networks
    assert plain.state_dict().keys() == checkpointed.state_dict().keys()
    for a, b in zip(plain.parameters(), checkpointed.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_grad_checkpointing_that_timm_does_not_have() -> None:
    with pytest.raises(UserError, match="grad_checkpointing true: timm has none"):
        checkpoint_blocks(build_backbone("timm/dla46_c", **OPTIONS))


def test_grad_checkpointing_of_a_network_without_blocks() -> None:
    with pytest.raises(UserError, match="grad_checkpointing true: this backbone has no blocks to recompute"):
        checkpoint_blocks(build_backbone("lenet", **OPTIONS))


def test_synchronised_batch_normalisation_keeps_the_activations() -> None:
    network = build_backbone(NAME, **OPTIONS).eval()
    with torch.no_grad():
        before = network(images())
        synced = SyncBatchNorm().apply(network)
        assert any(isinstance(layer, nn.SyncBatchNorm) for layer in synced.modules())
        assert torch.equal(synced(images()), before)
        assert torch.equal(SyncBatchNorm().revert(synced)(images()), before)
        # What it is for: when this fails, Lightning's own will do.
        assert not torch.allclose(TorchSyncBatchNorm().apply(build_backbone(NAME, **OPTIONS).eval())(images()), before)


def test_a_compiled_network_gives_the_same() -> None:
    network = build_backbone(NAME, **OPTIONS).eval()
    with torch.no_grad():
        before = network(images())
        network.compile(backend="eager")
        assert torch.allclose(network(images()), before, atol=1e-6)


@pytest.mark.slow
def test_from_the_fit_to_the_exported_network(run: Run, julia_root: Path) -> None:
    """With averaged weights, as julia's recipe has them."""
    words = ("--model.backbone", NAME, "--model.image_size", 32, "--model.normalize", "auto", "--data.batch_size", 64)
    run("julia", "fit", *words, "--data.root", julia_root, *QUIET, "--trainer.max_epochs", 1)
    run("julia", "predict", "--ckpt_path", "last", *QUIET)
    assert "differs from PyTorch" in run("julia", "export", "--ckpt_path", "last", "--output", "model.onnx")
    Image.new("L", (20, 30), 9).save("image.png")
    look = ("julia", "feature_maps", "--ckpt_path", "last", "--image", "image.png", "--output", ".")
    assert "(conv_stem)" in run(*look, "--layers", "[conv_stem]")


def test_timm_is_imported_for_its_networks_only() -> None:
    files = [path for package in ("common", "growth", "julia") for path in (REPOSITORY / package).glob("*.py")]
    slow = re.compile(r"^(import|from) (timm|huggingface_hub|safetensors)\b", re.MULTILINE)
    assert [path.name for path in files if slow.search(path.read_text())] == []


def test_real_weights_give_the_logits_that_timm_gives() -> None:
    if not (WEIGHTS.is_file() and PHOTOS.is_dir()):
        pytest.skip(f"no real weights or photos in {REAL_DATA}")
    files = sorted(path for path in PHOTOS.rglob("*") if path.is_file())[::9][:10]
    assert len(files) == 10
    pixels = torch.stack([torch.from_numpy(resize(read_image(file, "RGB", 10**9), 224).copy()) for file in files])
    photos = pixels.permute(0, 3, 1, 2).float() / 255
    model = GrowthRegressor("timm/tf_efficientnet_lite0", head="imagenet", pretrained=str(WEIGHTS)).eval()
    theirs = timm.create_model("tf_efficientnet_lite0", checkpoint_path=str(WEIGHTS)).eval()
    config = timm.data.resolve_model_data_config(theirs)
    with torch.no_grad():
        logits = model.encoder[0](model.normalize(photos))
        assert torch.equal(logits, theirs(Constant(config["mean"], config["std"])(photos)))
