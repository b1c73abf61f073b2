from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from common.feature_maps import Member, activations, attribution, attribution_figure, feature_figure, titles_of
from growth.model import GrowthRegressor
from julia.model import CharacterClassifier
from tests.common.test_export import saved
from tests.conftest import Run

NETS = [
    (CharacterClassifier, {"backbone": name, "image_size": 32})
    for name in ("resnet18", "airbench", "lenet", "efficientnet_b0", "mobilenet_v3_small")
] + [
    (GrowthRegressor, {"backbone": name, "image_size": 64, "pretrained": False})
    for name in ("lenet", "mobilenet_v2", "resnext50_32x4d")
]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "settings"), NETS)
def test_three_depths_of_every_network(model: Any, settings: dict[str, Any]) -> None:
    module = model(**settings).eval()
    image = torch.rand(1, module.hparams["channels"], settings["image_size"], settings["image_size"])
    maps = activations(module, image, None)
    sides = [value.shape[1] for value in maps.values()]
    assert len(maps) in (2, 3) and sides == sorted(sides, reverse=True) and sides[0] > sides[-1] > 1


def test_a_layer_gives_what_its_module_gives() -> None:
    module = CharacterClassifier("resnet18").eval()
    image = torch.rand(1, 1, 28, 28)
    kept: list[torch.Tensor] = []
    handle = module.net.backbone.layer2.register_forward_hook(lambda _, __, output: kept.append(output[0].detach()))  # type: ignore[union-attr, operator]
    with torch.no_grad():
        module(image)
    handle.remove()
    (found,) = activations(module, image, ["layer2"]).values()
    assert torch.allclose(found, kept[0], atol=1e-5)


def test_layers_are_named_as_people_name_them() -> None:
    module = CharacterClassifier("resnet18").eval()
    found = activations(module, torch.rand(1, 1, 28, 28), None)
    assert list(found)[1:] == ["layer2", "layer4"]  # as --layers takes them
    titles = titles_of(module, [*found, "layer3.0.relu_1"])
    assert list(titles.values())[1:] == ["stage 2 (layer2)", "stage 4 (layer4)", "stage 3 (layer3.0.relu_1)"]
    module = CharacterClassifier("lenet").eval()
    titles = titles_of(module, ["1", "4", "5"])
    counted = ("1 of 2 convolutions (1, ReLU)", "2 of 2 convolutions (4, ReLU)", "2 of 2 convolutions (5, AvgPool2d)")
    assert list(titles.values()) == [f"after {one}" for one in counted]


def test_each_channel_has_a_scale_of_its_own() -> None:
    module = CharacterClassifier("lenet").eval()
    maps = torch.stack([torch.linspace(0, 1, 4).view(2, 2), torch.linspace(-50, 50, 4).view(2, 2)])
    figure = feature_figure([Member(module, "a (epoch 1)"), Member(module, "b")], [{"1": maps}, {"1": maps / 2}], 8)
    shown = [axes.images[0].get_clim() for axes in figure.subfigs[0].axes]
    assert shown == [(-50, 50), (0, 1)] * 2  # what varies most first; of a channel, the same for all checkpoints
    assert [axes.get_title() for axes in figure.subfigs[0].axes[:2]] == ["1\n-50 to 50", "0\n0 to 1"]


def test_an_attribution_says_what_its_colours_mean_and_what_follows() -> None:
    module = GrowthRegressor("lenet", image_size=32, pretrained=False).eval()
    image, parts = torch.full((1, 3, 32, 32), 0.5), torch.linspace(-2, 1, 32 * 32).view(32, 32)
    figure = attribution_figure([Member(module, "a")], [parts], image)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "raises the answer: covered, it falls",
        "lowers it: covered, it rises",
    ]
    # As the scale of colours has them: positive is a fall.
    ends = [figure.axes[1].images[1].cmap(end)[:3] for end in (0.9, 0.1)]
    assert [patch.get_facecolor()[:3] for patch in legend.get_patches()] == [
        pytest.approx(end, abs=0.05) for end in ends
    ]
    assert legend.get_title().get_text() == "the darker the colour, the more, up to 2 days"
    assert figure.get_suptitle().startswith("a: no green leaf was found")
    one = attribution_figure([Member(module, "a")], [parts / 2], image).legends[0]
    assert one.get_title().get_text() == "the darker the colour, the more, up to 1.0 days"


def test_attribution_is_where_the_answer_comes_from() -> None:
    class Corner(nn.Module):
        task = "growth"

        def explained_scores(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return images[:, :, :8, :8].sum(dim=(1, 2, 3))[:, None], torch.zeros(len(images), dtype=torch.int64)

    image = torch.zeros(1, 3, 32, 32)
    image[..., 2:6, 2:6] = 1
    parts = attribution(Corner(), image)  # type: ignore[arg-type]
    assert parts.shape == (32, 32)
    assert parts[2:6, 2:6].min() > 1  # days that are lost when it is covered
    assert parts[12:, :].abs().max() == 0 and parts[:, 12:].abs().max() == 0


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16"])
def test_checkpoints_side_by_side_of_an_image_of_any_mode(run: Run, mode: str) -> None:
    Path("out").mkdir()
    for name in ("a.ckpt", "b.ckpt"):
        saved(CharacterClassifier("lenet", image_size=16), Path(name))
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)
    image = Image.fromarray(pixels.astype(np.uint16) * 256) if mode == "I;16" else Image.fromarray(pixels).convert(mode)
    image.save("photo.png")
    words = ("julia", "feature_maps", "--ckpt_path", "a.ckpt", "b.ckpt", "--image", "photo.png")
    said = run(*words, "--output", "out", "--channels", 4)
    assert sorted(path.name for path in Path("out").iterdir()) == ["photo_attribution.png", "photo_features.png"]
    assert "feature maps: out/photo_features.png" in said
    assert min(Image.open("out/photo_features.png").size) > 100


@pytest.mark.slow
def test_growth_says_how_much_lies_on_the_leaves(run: Run, growth_root: Path) -> None:
    saved(GrowthRegressor("leaf_hull", image_size=64, normalize="none", pretrained=False), Path("x.ckpt"))
    photo = max((growth_root / "train_dataset" / "BC").rglob("*.png"))  # of lettuce, little is green
    said = run("growth", "feature_maps", "--ckpt_path", "x.ckpt", "--image", photo)
    assert "x (epoch 5): the answer rests on the green leaves" in said and "% of the photo and carry" in said
    assert "feature maps: none" in said  # measures of the photo, no layers
    assert Path(f"{photo.stem}_attribution.png").is_file()  # beside the checkpoint


def test_mistakes(refused: Run) -> None:
    saved(CharacterClassifier("lenet", image_size=16), Path("x.ckpt"))
    saved(CharacterClassifier("lenet", image_size=20), Path("y.ckpt"))
    for stem in ("small", "imagenet"):
        saved(CharacterClassifier("squeezenet1_0", image_size=32, stem=stem), Path(f"{stem}.ckpt"))
    Image.new("L", (8, 8)).save("photo.png")
    Path("text.png").write_text("no image")
    words = ("julia", "feature_maps", "--ckpt_path", "x.ckpt")
    assert "nothing.png: no such file" in refused(*words, "--image", "nothing.png")
    assert "text.png: not a readable image" in refused(*words, "--image", "text.png")
    unknown = refused(*words, "--image", "photo.png", "--layers", "[nope]")
    assert unknown.startswith("error: --layers nope: no such layer; there are 0, 1, 2")
    assert "--layers 12: its output has no channels" in refused(*words, "--image", "photo.png", "--layers", "[12]")
    assert "--output no: no such folder" in refused(*words, "--image", "photo.png", "--output", "no")
    assert "y.ckpt: another network than x.ckpt" in refused(*words, "y.ckpt", "--image", "photo.png")
    line = refused(*words[:-1], "small.ckpt", "imagenet.ckpt", "--image", "photo.png")
    assert "imagenet.ckpt: another network than small.ckpt" in line
    assert not list(Path().glob("photo_*"))
