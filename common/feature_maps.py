"""What a network sees in one image: the channels of its layers, and the parts of the image its answer is based on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from common.errors import UserError, listed
from common.files import check_output
from common.networks import Float32Linear
from common.plots import new_figure, save_png
from common.task import AnyTask
from common.timm_backbones import opaque_to_tracing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

LISTED = 59  # layers that an error lists


@dataclass(frozen=True)
class Member:
    """A checkpoint to visualize: its model, in evaluation mode, and its name in the pictures."""

    model: AnyTask
    name: str


def draw(members: Sequence[Member], pixels: np.ndarray, layers: list[str] | None, channels: int, stem: Path) -> None:
    """Draw ``<stem>_features.png`` and ``<stem>_attribution.png``, and print what they show.

    Args:
        members: checkpoints of one network, side by side.
        pixels: the image, S×S×C, uint8.
        layers: names of layers; three at different depths if None.
        channels: largest number of channels per layer.
        stem: path of the pictures without their suffixes.

    Raises:
        UserError: a layer does not exist or has no two-dimensional channels, or a picture cannot be written.
    """
    of_features, of_attribution = (stem.with_name(f"{stem.name}_{name}.png") for name in ("features", "attribution"))
    for path in (of_features, of_attribution):
        check_output(path, "--output")
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    found = [activations(member.model, image, layers) for member in members]
    if found[0]:
        save_png(feature_figure(members, found, channels), of_features)
        print(f"feature maps: {of_features} ({', '.join(found[0])})")
    else:
        print("feature maps: none, since this network has no layers with channels of two dimensions")
    maps = [attribution(member.model, image) for member in members]
    save_png(attribution_figure(members, maps, image), of_attribution)
    print(f"attribution: {of_attribution}")
    for member, parts in zip(members, maps, strict=True):
        if verdict := member.model.judge(image, parts):
            print(f"{member.name}: {verdict}")


@torch.no_grad()
def activations(model: AnyTask, image: Tensor, layers: list[str] | None) -> dict[str, Tensor]:
    """Return the output of layers for one image (1×C×S×S, float in [0, 1]), each K×H×W.

    Without names, these are three layers at different depths, or none if the network cannot be traced.

    Raises:
        UserError: a layer does not exist, or its output is not K×H×W.
    """
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

    encoder, (layers_of_timm, functions) = model.encoder, opaque_to_tracing()
    # Float32Linear reads its input's device, which tracing does not know.
    opaque = {"leaf_modules": [Float32Linear, *layers_of_timm], "autowrap_functions": functions}
    try:
        names = get_graph_node_names(encoder, opaque)[1]
    except Exception:  # torch.fx raises TypeError, TraceError, ... if the flow depends on values
        names = []
    if unknown := [name for name in layers or [] if not any(f"{n}.".startswith(f"{name}.") for n in names)]:
        there = listed(names[1:], most=LISTED) or "none that can be shown"
        raise UserError(f"--layers {unknown[0]}: no such layer; there are {there}")
    if not names:
        return {}
    extractor = create_feature_extractor(encoder, {name: name for name in layers or names}, tracer_kwargs=opaque).eval()
    outputs = extractor(model.normalize(image))
    maps = {name: value[0] for name, value in outputs.items() if isinstance(value, Tensor) and value.ndim == 4}
    if flat := [name for name in layers or [] if name not in maps]:
        raise UserError(f"--layers {flat[0]}: its output has no channels of two dimensions; give an earlier layer")
    if not layers:  # takes the last layer of the first, the middle and the last size
        last = list({tuple(value.shape[1:]): name for name, value in maps.items() if min(value.shape[1:]) > 1}.values())
        layers = list(dict.fromkeys([last[0], last[len(last) // 2], last[-1]])) if last else []
        maps = {_whole(name, names): maps[name] for name in layers}
    return maps


def feature_figure(members: Sequence[Member], found: Sequence[dict[str, Tensor]], channels: int) -> Figure:
    """Lay out the channels that vary most, each on its own scale: one block per layer, one row per checkpoint."""
    columns = min(channels, max(len(value) for value in found[0].values()))
    titles = titles_of(members[0].model, list(found[0]))
    longest = max(len(line) for member in members for line in member.name.split(" (", 1))
    width, height = 0.9 * columns + 0.09 * longest + 0.3, 0.9 * len(members) + 0.9  # per block
    figure = new_figure(max(width, 6.4), height * len(found[0]) + 0.4)
    figure.suptitle("each channel on its own scale, from its lowest (dark) to its highest value (bright)", fontsize=10)
    blocks = figure.subfigures(len(found[0]), 1, squeeze=False)[:, 0]
    for block, (layer, first) in zip(blocks, found[0].items(), strict=True):
        order = first.flatten(1).std(dim=1).argsort(descending=True)[:columns].tolist()
        shape = "×".join(map(str, first.shape[1:]))
        which = f"the {len(order)} of {len(first)} that vary most" if len(order) < len(first) else "all"
        block.suptitle(f"{titles[layer]}: channels of {shape}, {which}", fontsize=10)
        maps = [one[layer][order].numpy() for one in found]
        grid = block.subplots(len(members), columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for row, (member, values) in enumerate(zip(members, maps, strict=True)):
            for column, (index, channel) in enumerate(zip(order, values, strict=True)):
                low, high = (limit([one[column] for one in maps]) for limit in (np.min, np.max))
                grid[row, column].imshow(channel, vmin=low, vmax=high, interpolation="nearest")
                if row == 0:
                    grid[row, column].set_title(f"{index}\n{low:.2g} to {high:.2g}", fontsize=8, pad=2)
            place = {"transform": grid[row, 0].transAxes, "ha": "right", "va": "center"}
            grid[row, 0].text(-0.1, 0.5, member.name.replace(" (", "\n("), fontsize=9, **place)
    return figure


def titles_of(model: AnyTask, layers: Sequence[str]) -> dict[str, str]:
    """Name layers as people do: by their stage if it has a name, or by how many convolutions come before."""
    modules = dict(model.encoder.named_modules())
    places = {name: place for place, name in enumerate(modules)}  # in the order of construction
    convolutions = [name for name, module in modules.items() if isinstance(module, nn.Conv2d)]
    titles = {}
    for layer in layers:
        if stage := re.search(r"(?:^|\.)(layer|stages\.)(\d+)", layer):
            number = int(stage[2]) + (stage[1] == "stages.")  # "stages" count from 0
            titles[layer] = f"stage {number} ({layer})"
            continue
        # An operation without a module of its own comes after everything that its parent holds.
        whole = next(name for name in [layer, *_parents(layer), ""] if name in places)
        last = max(place for name, place in places.items() if f"{name}.".startswith(f"{whole}.") or not whole)
        before = sum(places[name] <= last for name in convolutions)
        kind = f", {type(modules[layer]).__name__}" if layer in modules else ""
        titles[layer] = f"after {before} of {len(convolutions)} convolutions ({layer}{kind})"
    return titles


def _whole(layer: str, names: Sequence[str]) -> str:
    """Name the largest module that ends with a layer, excluding those that the network also begins with."""
    for parent in reversed(_parents(layer)):
        inside = [name for name in names if name.startswith(f"{parent}.")]
        if inside[-1] == layer and inside[0] != names[1]:  # the first is the input
            return parent
    return layer


def _parents(layer: str) -> list[str]:
    parts = layer.split(".")
    return [".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]


def windows(size: int) -> int:
    """Count the windows that :func:`attribution` covers in turn, in an image of ``size`` pixels per side."""
    window, step = _window(size)
    return (-(-(size - window) // step) + 1) ** 2


def _window(size: int) -> tuple[int, int]:
    window = max(2, size // 8)
    return window, max(1, window // 2)


@torch.no_grad()
def attribution(model: AnyTask, image: Tensor) -> Tensor:
    """Measure how much the answer falls when a part of the image is covered: 1×C×S×S, float in [0, 1] → S×S.

    A window of an eighth of the side, in the mean colour of the image's border, slides over it. Occlusion works with
    every network, has the answer's own unit, and needs no gradient, which flat and counting layers do not have.

    Source: Zeiler and Fergus, "Visualizing and understanding convolutional networks", arXiv:1311.2901.
    """
    from captum.attr import Occlusion

    window, step = _window(image.shape[-1])
    border = torch.cat([image[..., 0, :], image[..., -1, :], image[..., :, 0], image[..., :, -1]], dim=-1)
    _, target = model.explained_scores(image)
    covered = Occlusion(lambda images: model.explained_scores(images)[0]).attribute(
        image,
        target=int(target),
        sliding_window_shapes=(image.shape[1], window, window),
        strides=(image.shape[1], step, step),
        baselines=border.mean(dim=-1)[..., None, None].expand_as(image),
        perturbations_per_eval=32,
    )
    parts: Tensor = covered[0].mean(dim=0).float()
    return parts


def attribution_figure(members: Sequence[Member], maps: Sequence[Tensor], image: Tensor) -> Figure:
    """Show the image and, beside it for each checkpoint, where covering it lowers and raises the answer."""
    pixels = image[0].permute(1, 2, 0).numpy()
    grey = pixels.mean(axis=2)
    columns, width = 2, 6.4  # still readable at half its width
    rows = -(-(len(members) + 1) // columns)
    verdicts = [(member.name, member.model.judge(image, parts)) for member, parts in zip(members, maps, strict=True)]
    lines = [line for name, said in verdicts if said for line in wrap(f"{name}: {said}", round(11 * width))]
    figure = new_figure(width, 3.5 * rows + 0.2 * len(lines) + 0.8)
    figure.suptitle("\n".join(lines), fontsize=10)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    first, *others = grid.flat
    first.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    first.set_title("the image", fontsize=10)
    most = max(float(parts.abs().max()) for parts in maps) or 1.0
    for axes, member, parts in zip(others, members, maps, strict=False):
        draw_attribution(axes, grey, parts.numpy(), most)
        axes.set_title(f"{member.name}: {member.model.describe(image)[0]}", fontsize=10)
    number = "1.0" if f"{most:.2g}" == "1" else f"{most:.2g}"  # 1 days would be one day too many
    explain_signs(figure, f"{number} {members[0].model.score_unit}")
    return figure


def explain_signs(figure: Figure, most: str) -> None:
    """Explain below a figure the colours and lines of :func:`draw_attribution`; ``most`` includes its unit."""
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Patch

    looks = (
        ("#B35806", "-", "raises the answer: covered, it falls"),
        ("#542788", "--", "lowers it: covered, it rises"),
    )
    patches = [
        Patch(facecolor=to_rgba(colour, 0.65), edgecolor="black", linestyle=dash, label=label)
        for colour, dash, label in looks
    ]
    title = f"the darker the colour, the more, up to {most}"
    figure.legend(handles=patches, loc="outside lower center", ncols=2, frameon=False, title=title)


def draw_attribution(axes: Axes, grey: np.ndarray, parts: np.ndarray, most: float) -> AxesImage:
    """Lay an attribution (S×S) over its image (S×S, 0 to 1); ``most`` is the end of the colour scale."""
    axes.imshow(grey, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    shown = axes.imshow(parts, cmap="PuOr_r", vmin=-most, vmax=most, alpha=0.65, interpolation="bilinear")
    # Lines distinguish the signs in greyscale: solid where covering lowers the answer, dashed where it raises it.
    for level, style in ((0.25 * most, "-"), (-0.25 * most, "--")):
        if parts.min() < level < parts.max():
            axes.contour(parts, levels=[level], colors="black", linewidths=1, linestyles=style)
    return shown
