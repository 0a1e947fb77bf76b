"""The stage `export`: a finished student's folder gets its `export/`, which is what was asked for,
no less and no more.

Everything is made and checked before the first file is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from distill.core.results import Evaluation, MethodResult
from distill.core.schema import seal
from distill.labelers.network import as_input, network_of
from distill.models.custom_source import Code
from distill.models.network import MultiHead, as_tensor
from distill.models.record import ModelRecord, NetworkPlan, read_weights
from distill.plan.steps import ExportStep
from distill.pools.formats.options import with_types
from distill.pools.open_pool import OpenPool
from distill.stages.export.judged import Judged
from distill.stages.export.model_card import describe_features, describe_heads, model_card
from distill.stages.export.onnx_file import onnx_file
from distill.stages.export.torch_source import own_expression, torch_source
from distill.storage.open import open_storage

_ONNX = "model.onnx"


@dataclass(frozen=True)
class Exported:
    """One student's export."""

    name: str
    uri: str
    """Of the folder."""


def export_student(
    step: ExportStep,
    results: Sequence[MethodResult],
    *,
    onnx: bool = False,
    evaluation: Evaluation | None = None,
) -> Exported:
    """Export a student; `results` are what is known of how well it does, `evaluation` what they
    are part of.

    With `onnx`, raises MissingExtraError, JobError for a student that cannot be one ONNX file,
    ExportError where ONNX Runtime answers otherwise than torch.
    """
    mine = [result for result in results if result.student == step.name]
    files = _files(step, Judged(mine, evaluation), onnx=onnx)
    export = open_storage(step.folder).folder("export")
    for key, content in files.items():
        # whoever deletes a student's `done.json` and trains it on other machines may have other last
        # bits under the same digest: an earlier model.onnx, held against other weights, goes
        if content is None:
            export.delete(key)
        else:
            export.put(key, content)
    return Exported(step.name, export.uri)


def _files(step: ExportStep, judged: Judged, *, onnx: bool) -> Mapping[str, bytes | None]:
    """Return content by name, in the order in which it is written; None for what must not be
    there."""
    record = step.record
    code = step.code
    pool = step.pool
    places = step.ngrams.most if step.ngrams else None
    features = describe_features(pool.features, record.in_features, places)
    own_names = _own_files(code)
    own_expressions = _own_expressions(record, own_names)
    folder = open_storage(step.folder)
    weights = read_weights(folder, record)
    network = network_of(record, weights, code)
    heads = describe_heads(record)
    source = torch_source(step.name, network, heads, features, own_expressions)
    card = model_card(step.name, record, features, judged, stopped_on=step.stopped_on, onnx=onnx)
    files: dict[str, bytes | None] = {}
    for key, file in code.items():
        files[own_names[key]] = file.text.encode()
    files["weights.safetensors"] = weights
    files["model.py"] = source.encode()
    files[_ONNX] = _checked_onnx(step, network) if onnx else None
    files["README.md"] = card.encode()
    # last: with it the export is whole
    body = _model_json(record, pool, code, own_names)
    files["model.json"] = seal(body)
    return files


def _model_json(
    record: ModelRecord, pool: OpenPool, code: Code, own_names: Mapping[str, str]
) -> dict[str, Any]:
    """Return what `distill predict` needs to know."""
    body = {
        "record": asdict(record),
        "features": pool.features.model_dump(mode="json"),
        "private": pool.spec.private,
    }
    if pool.spec.csv or pool.spec.format:
        body["format"] = with_types(pool.inventory.format, {})
    if code:
        body["sources"] = {
            key: {"file": own_names[key], "sha256": source.sha256} for key, source in code.items()
        }
    return body


def _checked_onnx(step: ExportStep, network: MultiHead) -> bytes:
    seen = as_input(network, step.pool.first_seen())
    features = as_tensor(seen, "cpu")
    return onnx_file(f"students.{step.name}", step.record, network, features)


def _own_files(code: Code) -> dict[str, str]:
    """Return the names of the user's files in the export, by the keys of the networks that they
    have: `own.py`, `own_2.py`; each text stands there once."""
    names: dict[str, str] = {}
    for source in code.values():
        number = len(names) + 1
        name = "own.py" if number == 1 else f"own_{number}.py"
        names.setdefault(source.text, name)
    return {key: names[source.text] for key, source in code.items()}


def _own_expressions(record: ModelRecord, own_names: Mapping[str, str]) -> dict[str, str]:
    """Return the expressions that make the user's own networks in `model.py`."""
    assert record.plan is not None
    plan = NetworkPlan.from_plain(record.plan)
    expressions = {}
    for key, model in plan.own.items():
        expressions[key] = own_expression(model, plan.in_features, own_names[key])
    return expressions
