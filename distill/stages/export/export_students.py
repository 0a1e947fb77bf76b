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
from distill.models.text_tokens import ModelTokens
from distill.models.timm_module import TimmTrunk
from distill.plan.steps import ExportStep
from distill.pools.formats.masking import plain_rules
from distill.pools.formats.options import with_mask, with_types
from distill.pools.open_pool import OpenPool
from distill.stages.export.all_forms import describe_forms, forms_of
from distill.stages.export.forms import Form, TextStudent, form_card
from distill.stages.export.joined import joined_with_encoder
from distill.stages.export.judged import Judged, front_matter
from distill.stages.export.model_card import describe_features, describe_heads, model_card
from distill.stages.export.onnx_file import onnx_file
from distill.stages.export.tokenizer_files import tokenizer_json
from distill.stages.export.torch_source import own_expression, torch_source
from distill.storage.open import open_storage

_ONNX = "model.onnx"


@dataclass(frozen=True)
class Exported:
    """One student's export."""

    name: str
    uri: str  # of the folder


def export_student(
    step: ExportStep,
    results: Sequence[MethodResult],
    *,
    onnx: bool = False,
    evaluation: Evaluation | None = None,
) -> Exported:
    """Export a student; `results` are what is known of how well it does, `evaluation` what they are
    part of.

    With `onnx`, raises MissingExtraError, JobError for a student that cannot be one ONNX file,
    ExportError where ONNX Runtime answers otherwise than torch."""
    mine = [result for result in results if result.student == step.name]
    files = _files(step, Judged(mine, evaluation), onnx=onnx)
    folder = open_storage(step.folder)
    export = folder.folder("export")
    for key, content in files.items():
        # whoever deletes a student's `done.json` and trains it on other machines may have other last
        # bits under the same digest: an earlier model.onnx, held against other weights, goes
        if content is None:
            export.delete(key)
        else:
            export.put(key, content)
    return Exported(step.name, export.uri)


@dataclass(frozen=True)
class _Model:
    """What is exported: of a student that saw an encoder's embeddings both together."""

    record: ModelRecord
    weights: bytes
    network: MultiHead

    @property
    def tokens(self) -> ModelTokens | None:
        """How it reads tokens, if it does."""
        tokens = self.network.tokens
        return tokens if isinstance(tokens, ModelTokens) else None


def _model(step: ExportStep) -> _Model:
    record = step.record
    folder = open_storage(step.folder)
    weights = read_weights(folder, record)
    if step.seen is not None:
        record, weights = joined_with_encoder(step, step.seen, record, weights)
    return _Model(record, weights, network_of(record, weights, step.code))


def _files(step: ExportStep, judged: Judged, *, onnx: bool) -> Mapping[str, bytes | None]:
    """Return content by name, in the order of writing; None for what must not be there."""
    code = step.code
    model = _model(step)
    own_names = _own_files(code)
    features = _described(step, model)
    student = TextStudent(step.name, model.record, model.network)
    forms, refused = forms_of(student)
    card = model_card(
        step.name,
        model.record,
        features,
        judged,
        stopped_on=step.stopped_on,
        onnx=onnx,
        tokens=model.tokens,
    )
    card += describe_forms(forms, refused, cuts_middle=_cuts_middle(model.tokens))
    files: dict[str, bytes | None] = {}
    for key, file in code.items():
        files[own_names[key]] = file.text.encode()
    files["weights.safetensors"] = model.weights
    files["model.py"] = _source(step, model, features, own_names)
    files[_ONNX] = _checked_onnx(step, model) if onnx else None
    if model.tokens is not None:
        files["tokenizer.json"] = tokenizer_json(model.tokens)
    files |= _timm_files(step, model)
    front = front_matter(step.name, judged)
    files["README.md"] = "\n\n".join(filter(None, [front, card])).encode()
    body = _model_json(model.record, step.pool, code, own_names)
    for form in forms:
        form_readme = form_card(student, form, card, judged)
        files |= _form_files(form, student, body, form_readme)
    # last: with it the export is whole
    files["model.json"] = seal(body)
    return files


def _described(step: ExportStep, model: _Model) -> str:
    """What the student sees, in words."""
    places = step.ngrams.most if step.ngrams else None
    tokens = model.tokens.most if model.tokens else None
    return describe_features(step.pool.features, model.record.in_features, places, tokens)


def _source(step: ExportStep, model: _Model, features: str, own_names: Mapping[str, str]) -> bytes:
    record = model.record
    heads = describe_heads(record)
    own = _own_expressions(record, own_names)
    source = torch_source(step.name, model.network, heads, features, own, outputs=record.heads)
    return source.encode()


def _form_files(
    form: Form, student: TextStudent, body: Mapping[str, Any], card: bytes
) -> dict[str, bytes]:
    """Return the files of a folder that another library loads."""
    files = {**form.files, "README.md": card}
    files |= {name: weights.content for name, weights in form.weights.items()}
    said = {**body, "form": form.body(student.trunk.text_files)}
    files["model.json"] = seal(said)
    return {f"{form.folder}/{name}": content for name, content in files.items()}


def _model_json(
    record: ModelRecord, pool: OpenPool, code: Code, own_names: Mapping[str, str]
) -> dict[str, Any]:
    """Return what `distill predict` needs to know."""
    plain = pool.features.model_dump(mode="json")
    body = {"record": asdict(record), "features": plain, "private": pool.spec.dropped}
    if pool.spec.mask:
        body["mask"] = plain_rules(pool.spec.mask)
    if pool.spec.csv or pool.spec.format:
        body["format"] = with_mask(with_types(pool.inventory.format, {}), {})
    if code:
        body["sources"] = {
            key: {"file": own_names[key], "sha256": source.sha256} for key, source in code.items()
        }
    return body


def _timm_files(step: ExportStep, model: _Model) -> dict[str, bytes]:
    """What timm alone loads, of a student on a network of its."""
    if not any(isinstance(module, TimmTrunk) for module in model.network.modules()):
        return {}
    # imported here, since it is for these alone
    from distill.stages.export.timm_folder import timm_files

    rows = as_tensor(as_input(model.network, step.pool.first_seen()), "cpu")
    return timm_files(model.record, model.network, step.pool.features, rows)


def _checked_onnx(step: ExportStep, model: _Model) -> bytes:
    seen = as_input(model.network, step.pool.first_seen())
    features = as_tensor(seen, "cpu")
    return onnx_file(f"students.{step.name}", model.record, model.network, features)


def _cuts_middle(tokens: ModelTokens | None) -> bool:
    """Whether it reads a long text's head and tail."""
    if tokens is None:
        return False
    return tokens.reading == "encoder" and tokens.long_texts == "head_tail"


def _own_files(code: Code) -> dict[str, str]:
    """Return the names of the user's files in the export, by the keys of the networks that they
    have: `own.py`, `own_2.py`."""
    # a file that several networks share stands there once
    names: dict[str, str] = {}
    for source in code.values():
        count = len(names)
        number = count + 1
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
