"""The classifiers of timm, as ``timm/<name>``; timm is imported only when needed, since that takes a second."""

from __future__ import annotations

import sys
from collections.abc import Callable
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from torch import nn

from common.arguments import Settings
from common.errors import UserError, no_such
from common.networks import Constants, Float32Linear
from common.pretrained import Pretrained, not_downloaded, read_state

PREFIX = "timm/"
HUB = "https://huggingface.co"


def names_of_timm() -> list[str]:
    """Name all networks of timm, also with the tags that name their weights, such as ``timm/resnet18.a1_in1k``."""
    import timm

    return [PREFIX + name for name in dict.fromkeys([*timm.list_models(), *timm.list_pretrained()])]


def constants_of_timm(name: str) -> Constants:
    """Return the mean and the deviation that a network's weights were trained with."""
    from timm.data import resolve_data_config

    config = resolve_data_config(pretrained_cfg=_configuration(name))
    return config["mean"], config["std"]


def build_timm(name: str, in_channels: int, image_size: int, pretrained: Pretrained) -> nn.Module:
    """Build a network with as many outputs as its weights have, or as published if they are random.

    Raises:
        UserError: the name is unknown, the network does not accept the size, or weights are unavailable or do not fit.
    """
    import timm

    config = _configuration(name)
    options: Settings = {"in_chans": in_channels}
    if config.get("fixed_input_size"):
        options["img_size"] = image_size
    source = _source(config)
    if pretrained is True and not source:
        raise UserError(f"--model.pretrained true: timm has no weights of {name}; give --model.pretrained false")
    unreachable = _look_for_the_hub() if pretrained is True else ""
    if isinstance(pretrained, str):
        state = read_state(pretrained, source or f"a state dict of timm's {name.removeprefix(PREFIX)}")
        options["pretrained_cfg_overlay"] = {"state_dict": state}
        # As many classes as the file has, since timm checks the names of all tensors only if the numbers agree.
        heads = config.get("classifier") or ()  # the layers that produce the logits, or the name of the only one
        heads = (heads,) if isinstance(heads, str) else heads
        if classifier := [key for key in (f"{head}.weight" for head in heads) if key in state]:
            options["num_classes"] = options["pretrained_cfg_overlay"]["num_classes"] = len(state[classifier[0]])
    try:
        network: nn.Module = timm.create_model(name.removeprefix(PREFIX), pretrained=bool(pretrained), **options)
    except OSError as error:
        raise not_downloaded(name, source, unreachable or " ".join(str(error).split())[:200]) from None
    except Exception as error:  # sizes and weights that do not fit raise AssertionError, ValueError, ...
        reason = " ".join(str(error).split())[:200]
        if not pretrained:
            size = f"--model.image_size {image_size}"
            raise UserError(f"--model.backbone {name} cannot be built for {size}: {reason}") from None
        build_timm(name, in_channels, image_size, pretrained=False)  # if this fails, the weights are not at fault
        raise UserError(
            f"--model.pretrained {pretrained}: not weights of {name} ({reason}); expected {source}"
        ) from None
    vars(network)["pretrained_cfg"].pop("state_dict", None)
    return network


def _configuration(name: str) -> Settings:
    """Return timm's configuration of a network, if it has one of this name."""
    import timm

    if name not in (known := names_of_timm()):
        raise no_such("--model.backbone", name, known, "timm.list_models()")
    config = timm.get_pretrained_cfg(name.removeprefix(PREFIX))
    return {"input_size": (3, 224, 224)} if config is None else dict(config.to_dict())


def _source(config: Settings) -> str:
    """Return the address of the published weights; empty if there are none."""
    if repository := config.get("hf_hub_id"):
        return f"{HUB}/{repository}/resolve/main/{config.get('hf_hub_filename') or 'model.safetensors'}"
    return str(config.get("url") or "")


def _look_for_the_hub() -> str:
    """Say why the hub does not answer, and limit its client to its cache, since it would retry for a minute."""
    from huggingface_hub import constants

    try:
        urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=10).close()
    except HTTPError:
        return ""
    except OSError as error:
        constants.HF_HUB_OFFLINE = True
        return str(getattr(error, "reason", error))
    return ""


def give_outputs(network: nn.Module, num_outputs: int) -> nn.Module:
    """Give a timm network a new last layer, in float32."""
    reset, classifier = (getattr(network, name) for name in ("reset_classifier", "get_classifier"))
    reset(num_outputs)
    heads = classifier()
    parts = [part for head in (heads if isinstance(heads, tuple) else (heads,)) for part in head.modules()]
    for path, layer in list(network.named_modules()):
        if isinstance(layer, nn.Linear) and layer.out_features == num_outputs and any(layer is part for part in parts):
            exact = Float32Linear(layer.in_features, num_outputs, layer.bias is not None)
            exact.load_state_dict(layer.state_dict())
            network.set_submodule(path, exact)
    return network


def has_plain_stem(name: str, path: str, first: nn.Module) -> bool:
    """Whether only a network's first convolution, at ``path``, takes the images, and its stride can be changed."""
    from timm.layers import Conv2dSame

    config = _configuration(name)
    plain = type(first) in (nn.Conv2d, Conv2dSame) and config.get("first_conv") == path
    return plain and not config.get("fixed_input_size")


def opaque_to_tracing() -> tuple[list[type[nn.Module]], list[Callable[..., object]]]:
    """Return the layers and functions of timm that torch.fx must not trace into, if timm is in use."""
    if "timm" not in sys.modules:
        return [], []
    from timm.models import get_notrace_functions, get_notrace_modules

    return get_notrace_modules(), get_notrace_functions()


class SyncBatchNorm(TorchSyncBatchNorm):
    """Batch normalisation over all processes that keeps the activation in timm's layers, which torch's would drop."""

    def apply(self, model: nn.Module) -> nn.Module:
        if "timm" not in sys.modules:
            return super().apply(model)
        from timm.layers import convert_sync_batchnorm

        converted: nn.Module = convert_sync_batchnorm(model)
        return converted

    def revert(self, model: nn.Module) -> nn.Module:
        """Leave a fitted timm network as it is, since in evaluation mode its layers do the same as before."""
        return model if "timm" in sys.modules else super().revert(model)
