"""A student that saw stored embeddings, exported as one model: the encoder that made them, and on top
of it what was taught.

Both are one network of kind `encoder`, which is what anything else of an export is made of. Nothing
is believed: texts of the pool must come out as the student answers what the encoder's own library
makes of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from distill.core.errors import ExportError, JobError
from distill.labelers.encoder import Encoder
from distill.labelers.network import as_input, network_of
from distill.labelers.runtime import Runtime, computing
from distill.models.encoder_body import pretrained_body
from distill.models.encoder_module import EncoderModule
from distill.models.files import local_model
from distill.models.network import as_tensor, head_parameters, parameter_count
from distill.models.networks.encoder import EncoderNetwork
from distill.models.networks.linear import Linear
from distill.models.networks.mlp import Mlp
from distill.models.record import ModelRecord, NetworkPlan
from distill.plan.steps import ExportStep, SeenEncoder

_POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_lasttoken": "last"}
_KNOWN = ("Transformer", "Pooling", "Normalize")
# how far both ways may be from each other, as a share of the largest: the same float32 numbers in
# other batches, and embeddings that were stored in float16 are of no matter here
_TOLERANCE = 2.0**-13


@dataclass(frozen=True)
class _Parts:
    """The modules of a sentence-transformers folder."""

    transformer: Path
    pooling: str
    most: int | None
    normalize: bool


def joined_with_encoder(
    step: ExportStep, seen: SeenEncoder, record: ModelRecord, weights: bytes
) -> tuple[ModelRecord, bytes]:
    """Return the record and the weights of encoder and student as one. Raises JobError where they
    cannot be one, ExportError where that answers otherwise."""
    where = f"students.{step.name}"
    plan = _require_plain(where, record)
    table, prefix = _encoder(seen, plan, where)
    tensors = prefix | _above(safetensors.torch.load(weights))
    joined = NetworkPlan(1, table, plan.heads)
    content = safetensors.torch.save(tensors)
    sha256 = hashlib.sha256(content).hexdigest()
    whole = replace(record, in_features=1, sha256=sha256, plan=joined.to_plain())
    network = network_of(whole, content)
    parameters = parameter_count(network)
    whole = replace(whole, parameters=parameters, head_parameters=head_parameters(network))
    _require_same(step, seen, (record, weights), (whole, content))
    return whole, content


def _require_plain(where: str, record: ModelRecord) -> NetworkPlan:
    """Raises JobError for a network that cannot stand on an encoder."""
    assert record.plan is not None
    plan = NetworkPlan.from_plain(record.plan)
    for key, network in plan.networks.items():
        if key != "model" or not isinstance(network, Linear | Mlp):
            raise JobError(
                f"{where}.{key}: it sees stored embeddings, and only a linear network or an mlp is"
                f" exported on top of their encoder, not a network of kind {network.kind!r}. Use"
                " one of those, or leave the student out of the export."
            )
    return plan


def _encoder(
    seen: SeenEncoder, plan: NetworkPlan, where: str
) -> tuple[EncoderNetwork, dict[str, Tensor]]:
    """The network, and the tensors of its encoder."""
    parts = _parts_of(local_model(seen.files), seen.where)
    above = plan.model if isinstance(plan.model, Mlp) else None
    table = EncoderNetwork(
        kind="encoder",
        model=seen.files.uri,
        sha256=seen.files.sha256,
        pooling=parts.pooling,  # type: ignore[arg-type]
        max_tokens=parts.most or 1 << 20,
        long_texts="head",
        normalize=parts.normalize or seen.normalize,
        above=above,
    )
    body = pretrained_body(parts.transformer, table, where)
    module = EncoderModule(body, table, None)
    return table, {f"trunk.{name}": each for name, each in module.state_dict().items()}


def _parts_of(folder: Path, where: str) -> _Parts:
    """Read the modules of a sentence-transformers folder. Raises JobError for no encoder's."""
    modules = json.loads((folder / "modules.json").read_text("utf-8"))
    kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or not set(kinds) <= set(_KNOWN):
        raise JobError(
            f"{where}: a student on its embeddings is exported with it where it is a transformer"
            f" and a pooling; it is {', '.join(kinds)}. Teach the student by the pool's features."
        )
    transformer = folder / modules[0]["path"]
    pooling = _json_of(folder / modules[1]["path"] / "config.json")
    modes = {name for name, is_on in pooling.items() if name.startswith("pooling_mode_") and is_on}
    mode = pooling.get("pooling_mode") or (_POOLINGS.get(modes.pop()) if len(modes) == 1 else None)
    file = transformer / "sentence_bert_config.json"
    limits = _json_of(file)
    if mode not in _POOLINGS.values() or limits.get("do_lower_case"):
        raise JobError(
            f"{where}: it pools by {', '.join(sorted(modes)) or mode}, or writes texts small, which"
            ' a network of kind "encoder" does not. Teach the student by the pool\'s features.'
        )
    return _Parts(transformer, str(mode), limits.get("max_seq_length"), "Normalize" in kinds)


def _above(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The student's own tensors, where they stand on top of an encoder."""
    trunk = "trunk."
    return {
        f"{trunk}above.{name.removeprefix(trunk)}" if name.startswith(trunk) else name: each
        for name, each in tensors.items()
    }


def _require_same(
    step: ExportStep,
    seen: SeenEncoder,
    student: tuple[ModelRecord, bytes],
    whole: tuple[ModelRecord, bytes],
) -> None:
    """Ask both ways about the pool's first texts. Raises ExportError where they differ."""
    texts = step.pool.first_seen()
    runtime = Runtime(files=seen.files)
    encoder = Encoder(runtime)
    embeddings = encoder.embeddings(texts.tolist(), normalize=seen.normalize)
    above = network_of(*student)
    joined = network_of(*whole)
    with computing("cpu", "float32"):
        inputs = torch.from_numpy(embeddings)
        due = above(inputs)
        found = joined(as_tensor(as_input(joined, texts), "cpu"))
    for head, values in due.items():
        difference = float((found[head] - values).abs().max())
        largest = float(values.abs().max())
        if not difference <= _TOLERANCE * largest:  # not `>`: a NaN must not pass
            raise ExportError(
                f"students.{step.name}: on the encoder of {seen.where} its head {head!r} answers by"
                f" up to {difference:.3g} otherwise than on what sentence-transformers makes of the"
                f" pool's first texts, where {_TOLERANCE * largest:.3g} may be. Nothing was"
                " written. Teach the student by the pool's features."
            )


def _json_of(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text("utf-8")) if file.is_file() else {}
