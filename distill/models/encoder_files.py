"""What an encoder's folder says of itself, held against the job before any work and without torch:
weights that run no code, an architecture, layers, a tokenizer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.core.errors import JobError
from distill.models.files import local_model
from distill.models.text_files import TextFiles, read_text_files, require_text_extra

if TYPE_CHECKING:
    from distill.models.networks.encoder import EncoderNetwork

_LAYER_KEYS = ("num_hidden_layers", "n_layers", "num_layers", "n_layer")
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_LONGEST_NAMED = 4

log = logging.getLogger(__name__)


def require_encoder_files(table: EncoderNetwork, where: str) -> None:
    """Refuse a folder that holds no such encoder; `where` is the network's key. Tell what is added
    to it and what is left out. Raises JobError."""
    require_text_extra(f'{where}.kind = "encoder"')
    folder = local_model(table.files)
    require_safetensors(folder, where)
    files = read_text_files(folder)
    require_architecture(files.config, folder, where)
    _require_layers(table, files.config, where)
    _tell(table, files, where)


def require_safetensors(folder: Path, where: str) -> None:
    """Refuse a folder without weights in safetensors. Raises JobError."""
    if any(folder.glob("*.safetensors")):
        return
    pickled = [file.name for pattern in _PICKLED for file in sorted(folder.glob(pattern))]
    has = (
        f"has {', '.join(pickled[:_LONGEST_NAMED])}, which can run code, and" if pickled else "has"
    )
    raise JobError(
        f"{where}.model: {folder} {has} no *.safetensors file, which alone are opened. Save the"
        " model by save_pretrained of a current transformers."
    )


def require_architecture(config: Mapping[str, Any], folder: Path, where: str) -> None:
    """Refuse a configuration that names no encoder of transformers. Raises JobError."""
    kind = config.get("model_type")
    if not kind:
        raise JobError(
            f"{where}.model: {folder}/config.json names no model_type, so it is no encoder of"
            ' transformers. A table of token vectors is a network of kind "static".'
        )
    if config.get("is_encoder_decoder"):
        raise JobError(
            f"{where}.model: {folder} holds a {kind} of an encoder and a decoder, where an encoder"
            " is due. Save its encoder alone, or name another model."
        )


def layer_count(config: Mapping[str, Any]) -> int | None:
    """Return how many layers a configuration says the model has; None where it says none."""
    counts = [config[key] for key in _LAYER_KEYS if isinstance(config.get(key), int)]
    return counts[0] if counts else None


def kept_layers(layers: int | tuple[int, ...] | None, there: int) -> list[int]:
    """Return the numbers of the layers that are kept of so many: of a number so many evenly spaced
    ones, the first and the last among them."""
    if layers is None:
        return list(range(there))
    if isinstance(layers, tuple):
        return list(layers)
    # 6 of 12 are 0, 2, 4, 7, 9, 11, as DistilBERT took them
    gaps = max(1, layers - 1)
    return [round(number * (there - 1) / gaps) for number in range(layers)]


def with_layers(config: Mapping[str, Any], numbers: Sequence[int]) -> dict[str, Any]:
    """Return a configuration of the layers of those numbers alone."""
    there = layer_count(config)
    changed = dict(config)
    for key, value in config.items():
        if key in _LAYER_KEYS and value == there:
            changed[key] = len(numbers)
        # such as `layer_types`: what it says of each layer goes with it
        if isinstance(value, list) and len(value) == there:
            changed[key] = [value[number] for number in numbers]
    return changed


def pad_token(files: TextFiles) -> int:
    """Return the token that pads: the model's own, or else its first. What is padded is masked, so
    that it matters to positions alone."""
    own = files.config.get("pad_token_id")
    return own if isinstance(own, int) and own >= 0 else 0


def _require_layers(table: EncoderNetwork, config: Mapping[str, Any], where: str) -> None:
    there = layer_count(config)
    if there is None:
        return
    asked = table.layers
    most = max(asked) + 1 if isinstance(asked, tuple) else (asked or 0)
    if most > there:
        shown = list(asked) if isinstance(asked, tuple) else asked
        raise JobError(
            f"{where}.layers = {shown}: the model has {there} layers, counted from 0. Keep fewer."
        )
    kept = len(kept_layers(asked, there))
    if isinstance(table.freeze, int) and table.freeze > kept:
        raise JobError(
            f"{where}.freeze = {table.freeze}: the network has {kept} layers. Freeze fewer, or"
            ' "all".'
        )


def _tell(table: EncoderNetwork, files: TextFiles, where: str) -> None:
    """Say what a person would not expect: a token that pads, fewer tokens, a head that goes."""
    tokens = table.text_tokens
    if tokens.most < table.max_tokens:
        log.info(
            "%s.max_tokens = %d: the model in %s takes %d tokens; longer texts are cut to that",
            where,
            table.max_tokens,
            table.model,
            tokens.most,
        )
    if files.config.get("pad_token_id") is None:
        log.info(
            "%s: the model in %s has no token that pads; token 0 does, masked", where, table.model
        )
    named = _own_classes(files.config)
    if named:
        log.info(
            "%s: the own head of the model in %s, of the classes %s, is left out; heads begin anew",
            where,
            table.model,
            ", ".join(named),
        )


def _own_classes(config: Mapping[str, Any]) -> list[str]:
    """The classes of a model that was saved with a classifier's head."""
    architectures = config.get("architectures") or [""]
    if not str(architectures[0]).endswith("ForSequenceClassification"):
        return []
    named = config.get("id2label") or {}
    return [str(named[key]) for key in sorted(named, key=int)]
