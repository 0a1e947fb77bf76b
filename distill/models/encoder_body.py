"""The transformer within an `encoder`: opened from a folder, its layers dropped and its weights
frozen as the job says, or built empty for weights that come from a student's own.

With `pooling = "cls"` it is the architecture's own sequence classifier without the last layer, in
whose place the student's heads stand: so an export is that very class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from distill.core.errors import JobError
from distill.models.encoder_files import (
    kept_layers,
    require_architecture,
    require_safetensors,
    with_layers,
)
from distill.models.text_files import TextFiles, read_text_files, require_text_extra

if TYPE_CHECKING:
    from distill.models.networks.encoder import EncoderNetwork

_OUTPUTS = 7
"""Of the head that is taken off: it must be found, and no layer is so narrow."""
_MOST_NAMED = 4


@dataclass(frozen=True)
class Body:
    """A transformer as a network has it."""

    model: Any
    """Of transformers; with a classifier's head its last layer is an identity."""
    width: int
    """Numbers that it gives for a text, or for a token."""
    files: TextFiles
    """What the folder's text files say, the configuration as the body has it."""
    head: str = ""
    """Name of the layer that was taken off; empty where it is no classifier."""
    has_bias: bool = True
    """Whether that layer has a bias."""
    new: frozenset[str] = frozenset()
    """Parameters that were drawn, since the folder has none."""


def pretrained_body(folder: Path, table: EncoderNetwork, where: str) -> Body:
    """Open the encoder in `folder`, its layers dropped. Raises JobError."""
    require_text_extra(f'{where}.kind = "encoder"')
    require_safetensors(folder, where)
    files = read_text_files(folder)
    require_architecture(files.config, folder, where)
    model, loading = _loaded(folder, files.config, table.pooling, where)
    head, last = _head_of(model, table.pooling, where)
    new = _require_whole(loading, model, folder, where)
    if table.layers is not None:
        numbers = _drop_layers(model, table.layers, where)
        config = with_layers(files.config, numbers)
        files = TextFiles(files.tokenizer, config, files.tokenizer_config)
    body = _body(model, files, head, last, new)
    if table.layers is not None:
        _require_alike(body, table.pooling, where)
    return body


def empty_body(files: TextFiles, pooling: str) -> Body:
    """Build an encoder by its stored configuration, for weights that come later."""
    require_text_extra("an encoder")
    with _quiet():
        config = _config_of(files.config, pooling)
        # else in the precision that its configuration names, which rounds the weights to come
        model = _class_of(pooling).from_config(config, dtype=torch.float32)
    head, last = _head_of(model, pooling, "")
    return _body(model, files, head, last, frozenset())


def base_of(model: Any) -> Any:
    """Return the transformer itself, of a classifier too."""
    return getattr(model, model.base_model_prefix, model)


def layers_of(model: Any) -> tuple[nn.Module, str, nn.ModuleList] | None:
    """Return the module that has a transformer's layers, under which name, and the layers; None
    where they are no list, as where all are one."""
    base = base_of(model)
    count = model.config.num_hidden_layers
    for parent in base.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == count:
                return parent, name, child
    return None


def _body(
    model: Any, files: TextFiles, head: str, last: nn.Linear | None, new: frozenset[str]
) -> Body:
    if last is not None:
        return Body(model, last.in_features, files, head, last.bias is not None, new)
    # no answer would depend on a pooler, and workers wait for gradients of all that they train
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return Body(model, int(model.config.hidden_size), files, new=new)


def _loaded(
    folder: Path, config_plain: Mapping[str, Any], pooling: str, where: str
) -> tuple[Any, Mapping[str, Any]]:
    try:
        with _quiet():
            config = _config_of(config_plain, pooling)
            model, loading = _class_of(pooling).from_pretrained(
                folder,
                config=config,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that they are refused by name, below
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise JobError(
            f"{where}.model: {folder} cannot be opened as an encoder of transformers: {first_line}"
        ) from None
    return model, loading


def _config_of(plain: Mapping[str, Any], pooling: str) -> Any:
    """The configuration with as many outputs as are looked for."""
    from transformers import CONFIG_MAPPING

    config = CONFIG_MAPPING[plain["model_type"]].from_dict(dict(plain))
    if pooling == "cls":
        config.num_labels = _OUTPUTS
    if config.pad_token_id is None:
        config.pad_token_id = 0  # as `pad_token`; a decoder's head looks for it
    return config


def _class_of(pooling: str) -> Any:
    import transformers

    if pooling == "cls":
        return transformers.AutoModelForSequenceClassification
    return transformers.AutoModel


def _head_of(model: Any, pooling: str, where: str) -> tuple[str, nn.Linear | None]:
    """The last layer of a classifier, which is taken off, and its name."""
    if pooling != "cls":
        return "", None
    base = f"{model.base_model_prefix}."
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and module.out_features == _OUTPUTS
        and not name.startswith(base)
    ]
    if len(found) != 1:
        raise JobError(
            f'{where}.pooling = "cls": {type(model).__name__} ends in no one linear layer that'
            ' could be the student\'s. Use "mean".'
        )
    name, last = found[0]
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, nn.Identity())
    return name, last


def _require_whole(
    loading: Mapping[str, Any], model: Any, folder: Path, where: str
) -> frozenset[str]:
    """Refuse weights of another architecture than the configuration's; return the names of those
    that a head has and the folder has not, which were drawn. Raises JobError."""
    base = f"{model.base_model_prefix}."
    is_base = base_of(model) is model
    missing = {str(name) for name in loading["missing_keys"]}
    mismatched = {str(name) for name, _, _ in loading["mismatched_keys"]}
    odd = [
        name
        for name in sorted(missing | mismatched)
        if (is_base or name.startswith(base)) and "pooler." not in name
    ]
    if odd:
        shown = ", ".join(odd[:_MOST_NAMED])
        more = f" and {len(odd) - _MOST_NAMED} more" if len(odd) > _MOST_NAMED else ""
        raise JobError(
            f"{where}.model: {folder}/config.json says {type(model).__name__}, but its weights are"
            f" another architecture's: {shown}{more} are missing or of other shapes. Restore the"
            " configuration that belongs to the weights."
        )
    return frozenset(missing | mismatched)


def _drop_layers(model: Any, layers: int | tuple[int, ...], where: str) -> list[int]:
    """Keep some layers alone. Returns their numbers."""
    found = layers_of(model)
    if found is None:
        raise JobError(
            f"{where}.layers: {type(model).__name__} has no list of layers of which some could be"
            " kept. Leave it out."
        )
    parent, name, there = found
    numbers = kept_layers(layers, len(there))
    kept = nn.ModuleList([there[number] for number in numbers])
    for number, layer in enumerate(kept):
        _renumber(layer, number)
    setattr(parent, name, kept)
    model.config.num_hidden_layers = len(kept)
    return numbers


def _renumber(layer: nn.Module, number: int) -> None:
    for module in layer.modules():
        if hasattr(module, "layer_idx"):
            vars(module)["layer_idx"] = number


@torch.inference_mode()
def _require_alike(body: Body, pooling: str, where: str) -> None:
    """Refuse an architecture that, built again by its configuration, computes something else with
    the layers that were kept: one whose layers differ by their number."""
    again = empty_body(body.files, pooling)
    again.model.load_state_dict(body.model.state_dict(), strict=False)
    ids = torch.arange(1, 9)[None] % int(body.model.config.vocab_size)
    was_training = body.model.training
    first = answer_of(body.model.eval(), ids, torch.ones_like(ids))
    second = answer_of(again.model.eval(), ids, torch.ones_like(ids))
    body.model.train(was_training)
    if not torch.allclose(first, second, atol=1e-5):
        raise JobError(
            f"{where}.layers: the layers of a {body.model.config.model_type} are not alike, and"
            " with these kept it could not be opened again as it was taught. Keep all, or others."
        )


def answer_of(model: Any, ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
    """Return what a transformer gives: of each text (B, H), or of each token (B, L, H)."""
    outputs = model(input_ids=ids_BL, attention_mask=mask_BL)
    answer: Tensor = outputs["logits"] if "logits" in outputs else outputs["last_hidden_state"]
    return answer


def frozen_modules(body: Body, freeze: str | int | None) -> Sequence[nn.Module]:
    """Return the modules that stay as they were."""
    base = base_of(body.model)
    if freeze is None:
        return []
    if freeze == "all":
        return [base]
    embeddings = getattr(base, "embeddings", None) or base.get_input_embeddings()
    if freeze == "embeddings":
        return [embeddings]
    found = layers_of(body.model)
    layers = [] if found is None else list(found[2])
    return [embeddings, *layers[: int(freeze)]]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what transformers says of loading, which is told by name here, and its bars."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    had_bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if had_bars:
            logging.enable_progress_bar()
