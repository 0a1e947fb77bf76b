"""The stage `export`: a finished student's folder gets its `export/`, which is what was asked for,
no less and no more.

Everything is made and checked before the first file is written. A student's folder is of one set of
weights, but somebody who deletes its `done.json` and trains it on other machines may have other
last bits under the same digest; so an export without ONNX takes an earlier `model.onnx` away,
rather than leave one that nobody held against these weights. It names its weights (`weights_sha256`
of its metadata).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from distill.core.results import MethodResult
from distill.core.schema import seal
from distill.labelers.network import as_input, load_network
from distill.models.custom_source import Code
from distill.models.network import MultiHead, as_tensor
from distill.models.record import ModelRecord, NetworkPlan, read_weights
from distill.plan.steps import ExportStep
from distill.stages.export.model_card import features_said, heads_said, model_card
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
    step: ExportStep, results: Sequence[MethodResult], *, onnx: bool = False
) -> Exported:
    """Export a student; `results` are what is known of how well it does.

    With `onnx`, raises MissingExtraError, JobError for a student that cannot be one ONNX file,
    ExportError where ONNX Runtime answers otherwise than torch.
    """
    mine = [result for result in results if result.student == step.name]
    files = _files(step, mine, onnx=onnx)
    export = open_storage(step.folder).folder("export")
    for key, content in files.items():
        if content is None:
            export.delete(key)
        else:
            export.put(key, content)
    return Exported(step.name, export.uri)


def _files(
    step: ExportStep, results: Sequence[MethodResult], *, onnx: bool
) -> Mapping[str, bytes | None]:
    """Content by name, in the order in which it is written; None for what must not be there."""
    record, code, pool = step.record, step.code, step.pool
    network = load_network(step.folder, record, code)
    own = _own_files(code)
    places = step.ngrams.most if step.ngrams else None
    features = features_said(pool.features, record.in_features, places)
    source = torch_source(step.name, network, heads_said(record), features, _own_made(record, own))
    return {
        **{own[key]: file.text.encode() for key, file in code.items()},
        "weights.safetensors": read_weights(open_storage(step.folder), record),
        "model.py": source.encode(),
        _ONNX: _checked_onnx(step, network) if onnx else None,
        "README.md": model_card(step.name, record, features, results, onnx=onnx).encode(),
        "model.json": seal(_description(step, own)),  # last: with it the export is whole
    }


def _description(step: ExportStep, own: Mapping[str, str]) -> dict[str, object]:
    """What `distill predict` reads of an export."""
    description: dict[str, object] = {
        "record": asdict(step.record),
        "features": step.pool.features.model_dump(mode="json"),
        "private": step.pool.spec.private,
    }
    if step.code:
        description["sources"] = {
            key: {"file": own[key], "sha256": file.sha256} for key, file in step.code.items()
        }
    return description


def _checked_onnx(step: ExportStep, network: MultiHead) -> bytes:
    features = as_tensor(as_input(network, step.pool.first_seen()), "cpu")
    return onnx_file(f"students.{step.name}", step.record, network, features)


def _own_files(code: Code) -> dict[str, str]:
    """Names of the user's files in the export, by the keys of the networks that they have; each
    text stands there once."""
    texts = list(dict.fromkeys(source.text for source in code.values()))
    names = [f"own_{number}.py" if number > 1 else "own.py" for number in range(1, len(texts) + 1)]
    return {key: names[texts.index(source.text)] for key, source in code.items()}


def _own_made(record: ModelRecord, own: Mapping[str, str]) -> dict[str, str]:
    """The expressions that make the user's own networks in `model.py`."""
    assert record.plan is not None
    plan = NetworkPlan.from_plain(record.plan)
    return {
        key: own_expression(model, plan.in_features, own[key]) for key, model in plan.own.items()
    }
