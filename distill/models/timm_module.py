"""timm's networks as modules of a student, and as they are saved for timm alone.

A module sees what any network of an image pool sees, (B, C·H·W) numbers in 0..1 channel by channel,
and subtracts its own mean. Weights come from safetensors alone: nothing is downloaded by timm, and
no pickle is opened.

Shapes: B rows, C channels, H and W sides, N features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from distill.core.errors import JobError, MissingExtraError
from distill.models.files import ModelFiles, local_model
from distill.models.image_config import Normalization, timm_normalization
from distill.models.networks.timm import TimmNetwork
from distill.spec.networks import BuiltNetwork, NetworkInput

_ROWS = 2
_SHOWN = 8
WEIGHTS = "model.safetensors"
"""timm's own name of them."""

Shape = tuple[int, int, int]


class TimmTrunk(nn.Module):
    """A network of timm's without its classifier: (B, C·H·W) in 0..1 → (B, N)."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, body: nn.Module, shape: Shape, normalization: Normalization, source: str = ""
    ) -> None:
        """`source` is the expression that makes it again, of a class of this name that
        `stages.export.torch_source` writes."""
        super().__init__()
        self.shape = shape
        self.source = source
        self.normalization = normalization
        # convolutions by channel are trained three times as fast so on a CPU
        # torch's types leave out this way to call it
        self.body = body.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # the network's table says them: they are no weights, and move to the device all the same
        for name in ("mean", "std"):
            numbers = torch.tensor(getattr(normalization, name))
            self.register_buffer(name, numbers.reshape(-1, 1, 1), persistent=False)

    def forward(self, x_BF: Tensor) -> Tensor:
        images_BCHW = x_BF.reshape(-1, *self.shape)
        normal_BCHW = (images_BCHW - self.mean) / self.std
        normal_BCHW = normal_BCHW.contiguous(memory_format=torch.channels_last)
        features_BN: Tensor = self.body(normal_BCHW)
        return features_BN


def build_trunk(network: TimmNetwork, given: NetworkInput) -> BuiltNetwork:
    """Build the module of a network, with the weights that it begins as. Raises JobError where timm
    has no such network, it cannot take such images, or the model's weights are not its own."""
    require_timm(f"a network of kind {network.kind!r}")
    name = str(network.name)
    options = model_options(name, network.shape, network.options)
    body = make_body(name, options, given.key)
    normalization = _normalization(network, body)
    source = _source(name, network.shape, normalization, options)
    trunk = TimmTrunk(body, network.shape, normalization, source)
    width = _width(trunk, network, given.key)
    # of a network that was trained before, the weights come from where it is kept
    if network.model is not None and given.stored is None:
        _load_start(body, network.files, network, given.key)
    return BuiltNetwork(trunk, width)


def require_timm(purpose: str) -> None:
    """Raise MissingExtraError where timm is not installed."""
    if find_spec("timm") is None:
        raise MissingExtraError("timm", "vision", purpose)


def model_options(name: str, shape: Shape, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what timm makes a network for images of `shape` with, without its classes."""
    import timm

    found = {**options, "in_chans": shape[0]}
    config = timm.get_pretrained_cfg(name) if timm.is_model(name.partition(".")[0]) else None
    # others take images of any size, and no such argument
    if config is not None and config.fixed_input_size:
        found["img_size"] = tuple(shape[1:])
    return found


def make_body(name: str, options: Mapping[str, Any], where: str, classes: int = 0) -> nn.Module:
    """Make timm's module with drawn weights. Raises JobError where timm refuses."""
    import timm

    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        near = get_close_matches(architecture, timm.list_models(), _SHOWN)
        raise JobError(
            f"{where}.name = {name!r}: timm {timm.__version__} has no such network."
            f" Near are {near or 'none; timm.list_models() lists all'}."
        )
    try:
        body: nn.Module = timm.create_model(
            architecture, pretrained=False, num_classes=classes, **options
        )
    except Exception as error:
        raise JobError(
            f"{where}: timm cannot make {name!r} with {dict(options)}:"
            f" {type(error).__name__}: {error}. Correct shape or options."
        ) from error
    return body


def read_tensors(folder: Path, where: str) -> dict[str, Tensor]:
    """Read a model's weights from safetensors, of a folder or one file. Raises JobError where it
    has none."""
    if folder.is_file():
        files = [folder]
    else:
        files = sorted(folder.glob("*.safetensors"))
    if not files or files[0].suffix != ".safetensors":
        raise JobError(
            f"{where}: {folder} has no *.safetensors file; others can run code and are not opened."
            " Save it anew: timm.models.save_for_hf(model, FOLDER, safe_serialization=True)."
        )
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= safetensors.torch.load_file(file)
    return tensors


def load_tensors(
    body: nn.Module, tensors: Mapping[str, Tensor], where: str, without: Sequence[str] = ()
) -> None:
    """Load weights into a module, all that it has, but `without` what begins so. Raises JobError
    where some are missing, of other shapes, or of something else."""
    mine = body.state_dict()
    theirs = {name: value for name, value in tensors.items() if not name.startswith(tuple(without))}
    lacking = [name for name in mine if name not in theirs]
    foreign = [name for name in theirs if name not in mine]
    odd = [
        f"{name} of {list(value.shape)}, not {list(mine[name].shape)}"
        for name, value in theirs.items()
        if name in mine and value.shape != mine[name].shape
    ]
    problems = {"lacks": lacking, "has beside": foreign, "has of another shape": odd}
    told = [f"{what} {_clipped(names)}" for what, names in problems.items() if names]
    if told:
        raise JobError(
            f"{where}: its weights are those of another architecture or image size: it"
            f" {'; '.join(told)}. Correct name, shape or options."
        )
    body.load_state_dict(theirs)


def classifier_names(body: nn.Module) -> tuple[str, ...]:
    """Return how the parts of a timm network that tell classes are named."""
    config: Mapping[str, Any] = getattr(body, "pretrained_cfg", {})
    names = config.get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)


def _source(
    name: str, shape: Shape, normalization: Normalization, options: Mapping[str, Any]
) -> str:
    numbers = f"mean={list(normalization.mean)}, std={list(normalization.std)}"
    architecture = name.partition(".")[0]
    return f"TimmTrunk({architecture!r}, {tuple(shape)}, {numbers}, **{dict(options)!r})"


def _load_start(body: nn.Module, files: ModelFiles, network: TimmNetwork, where: str) -> None:
    tensors = read_tensors(local_model(files), f"{where}.model")
    channels = network.shape[0]
    first = getattr(body, "pretrained_cfg", {}).get("first_conv")
    if isinstance(first, str):
        _adapt_first(tensors, f"{first}.weight", channels)
    # the heads are the student's own
    heads = tuple(f"{name}." for name in classifier_names(body))
    load_tensors(body, tensors, f"{where}.model", without=heads)


def _adapt_first(tensors: dict[str, Tensor], name: str, channels: int) -> None:
    """Sum the weights of three colours where images are grey, as timm does."""
    from timm.models import adapt_input_conv

    weight = tensors.get(name)
    if weight is not None and weight.shape[1] != channels:
        tensors[name] = adapt_input_conv(channels, weight)


def _normalization(network: TimmNetwork, body: nn.Module) -> Normalization:
    own = timm_normalization(getattr(body, "pretrained_cfg", {}))
    channels = network.shape[0]
    return Normalization(
        of_channels(network.mean or own.mean, channels),
        of_channels(network.std or own.std, channels),
    )


def of_channels(numbers: Sequence[float], channels: int) -> tuple[float, ...]:
    """Return one number a channel: the mean of a model's own where it has other channels."""
    if len(numbers) == channels:
        return tuple(numbers)
    return (sum(numbers) / len(numbers),) * channels


def _width(trunk: TimmTrunk, network: TimmNetwork, where: str) -> int:
    """N, found by asking it. Raises JobError where it cannot take such images."""
    channels, height, width = network.shape
    _require_whole_patches(trunk.body, network, where)
    rows = torch.zeros(_ROWS, channels * height * width)
    was_training = trunk.training
    try:
        with torch.no_grad():
            answer = trunk.eval()(rows)
    except Exception as error:
        raise JobError(
            f"{where}.shape = {list(network.shape)}: {network.name} cannot take images of {height} ×"
            f" {width}: {type(error).__name__}: {error}. Its own are"
            f" {_own_size(trunk.body)}; give the pool such a shape, or take another network."
        ) from error
    trunk.train(was_training)
    if answer.ndim != 2:
        raise JobError(
            f"{where}: {network.name} answers {tuple(answer.shape)} for {_ROWS} rows, where a row of"
            " features for each is due. Take another network, or options that pool."
        )
    return int(answer.shape[1])


def _require_whole_patches(body: nn.Module, network: TimmNetwork, where: str) -> None:
    """Refuse sides that patches do not fill, of which timm leaves the rest out. Raises JobError."""
    patch = getattr(getattr(body, "patch_embed", None), "patch_size", None)
    if not isinstance(patch, tuple) or len(patch) != 2:
        return
    sides = network.shape[1:]
    if sides[0] % patch[0] or sides[1] % patch[1]:
        raise JobError(
            f"{where}.shape = {list(network.shape)}: {network.name} sees patches of {patch[0]} ×"
            f" {patch[1]}, which do not fill images of {sides[0]} × {sides[1]}. Give the pool a"
            " shape that they do, or the network another patch_size in options."
        )


def _own_size(body: nn.Module) -> str:
    size = getattr(body, "pretrained_cfg", {}).get("input_size", (3, 224, 224))
    return f"{size[1]} × {size[2]}"


def _clipped(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
