"""What a label set means, from the job and from what was fitted: the recipe that builds its
labeler, and its contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from distill.core.errors import ContractError
from distill.core.schema import digest
from distill.core.source import read_source
from distill.labelers.kind import LabelerKind, ModelLabelerKind
from distill.labelers.recipe import Member, Recipe
from distill.labelers.versions import library_versions
from distill.labels.contract import Contract
from distill.plan.calibration import stored_temperature
from distill.plan.identity import find_fit
from distill.plan.workspace import Workspace
from distill.spec.labels import Custom, Ensemble, Fitted, Labels, MemberTable, TopK
from distill.spec.outputs import Outputs

_TOLERANCE: Mapping[str, float] = {"float32": 2.0**-8, "bfloat16": 2.0**-5, "float16": 2.0**-8}
"""A share of the row's largest output: what other hardware may make of the same weights. Two bits
of TF32's ten, which cuDNN takes for float32 convolutions unasked, and of float16's ten, and three
of bfloat16's eight, for the roundings that add up over layers. The same machine repeats its bits.
"""


def prepare_labels(workspace: Workspace, name: str) -> tuple[Recipe, Contract]:
    """Recipe and contract of `labels.<name>`. Raises ContractError where its fit or its calibration
    is not done."""
    recipe, contract = prepare_uncalibrated(workspace, name)
    temperature = stored_temperature(workspace, name, contract)
    return replace(recipe, temperature=temperature), replace(contract, calibration=temperature)


def prepare_uncalibrated(workspace: Workspace, name: str) -> tuple[Recipe, Contract]:
    """The same, of the labeler as it came. Raises ContractError where its fit is not done."""
    labels = workspace.tables.labels[name]
    members = [
        (where, labeler, _known(workspace, labeler, where, labels.precision))
        for where, labeler in labels.members(name)
    ]
    known = (
        _together(workspace, labels.labeler, members)
        if isinstance(labels.labeler, Ensemble)
        else members[0][2]
    )
    return known.recipe, _contract(workspace, name, known)


@dataclass(frozen=True)
class _Known:
    """A labeler, and what of it stands in a contract."""

    recipe: Recipe
    labeler: str
    revision: str
    width: int
    precision: str = "float32"


def _known(workspace: Workspace, labeler: MemberTable, where: str, precision: str) -> _Known:
    if isinstance(labeler, Fitted):
        folder, record = find_fit(workspace, labeler.fit)
        form: Literal["eszsl", "network"] = "eszsl" if record.form == "eszsl" else "network"
        code = workspace.tables.fit_code(labeler.fit)
        recipe = Recipe(form=form, folder=folder.uri, record=record, code=code, precision=precision)
        return _Known(
            recipe,
            f"fitted:{labeler.fit}",
            record.sha256,
            next(iter(record.widths.values())),
            precision,
        )
    if isinstance(labeler, LabelerKind):
        return _known_kind(workspace, labeler, where, precision)
    assert isinstance(labeler, Custom)
    source = workspace.tables.custom_source(labeler, where)
    made = source.load(labeler.name)
    width = workspace.tables.labeler_width(labeler, where)
    recipe = Recipe(form="custom", source=source, name=labeler.name)
    own = str(getattr(made, "precision", "float32"))
    return _Known(recipe, f"custom:{labeler.name}", str(made.revision), width, own)


def _known_kind(workspace: Workspace, kind: LabelerKind, where: str, precision: str) -> _Known:
    tables = workspace.tables
    files = None
    if isinstance(kind, ModelLabelerKind):
        files = kind.identify(tables.model_uri(kind.model), f"{where}.model")
    source = None
    if kind.code_file:
        source = read_source(tables.beside(kind.code_file), f"{where}.file")
    recipe = Recipe(form="ready", ready=kind, files=files, source=source, precision=precision)
    width = tables.labeler_width(kind, where)
    return _Known(recipe, kind.kind, kind.contract_revision(files), width, precision)


def _together(
    workspace: Workspace,
    spec: Ensemble,
    members: Sequence[tuple[str, MemberTable, _Known]],
) -> _Known:
    """An ensemble from its members. Raises ContractError where they answer with values of different
    widths."""
    said = [workspace.tables.labeler_outputs(labeler, where) for where, labeler, _ in members]
    widths = [known.width for *_, known in members]
    for (where, _, known), width in zip(members, widths, strict=True):
        if width != widths[0]:
            raise ContractError(
                f"{where}: {known.labeler} answers with {width} numbers a row, the first member"
                f" with {widths[0]}. Leave one of them out."
            )
    named, asked = [], []
    for (*_, known), share, own in zip(members, spec.shares, said, strict=True):
        named.append((known.labeler, known.revision, share, list(own.classes)))
        asked.append(Member(known.labeler, known.recipe, share, _places(said[0], own)))
    told = ", ".join(f"{name} × {share:.3g}" for name, _, share, _ in named)
    recipe = Recipe(form="ensemble", members=tuple(asked), outputs=said[0], width=widths[0])
    coarsest = max((known.precision for *_, known in members), key=lambda each: _TOLERANCE[each])
    return _Known(recipe, f"ensemble of {told}", digest(named), widths[0], coarsest)


def _places(first: Outputs, own: Outputs) -> tuple[int, ...] | None:
    return (
        None
        if own.classes == first.classes
        else tuple(own.positions[name] for name in first.classes)
    )


def _contract(workspace: Workspace, name: str, known: _Known) -> Contract:
    labels, outputs = workspace.tables.labels[name], workspace.tables.label_outputs(name)
    kind, dtype, k, temperatures = _encoding(labels, outputs)
    features = workspace.tables.pools[labels.over[0]].features
    assert features is not None
    return Contract(
        labeler=known.labeler,
        revision=known.revision,
        preprocessing=digest(features.model_dump(mode="json", exclude_defaults=True)),
        kind=outputs.kind,
        classes=outputs.classes,
        exclusive=outputs.exclusive,
        width=known.width,
        encoding=kind,
        dtype=dtype,
        k=k,
        temperatures=temperatures,
        batch_rows=labels.batch_rows,
        precision=known.precision,
        tolerance=_TOLERANCE[known.precision],
        disagreement=isinstance(labels.labeler, Ensemble),
        keys=workspace.tables.pools[labels.over[0]].keys,
        format=labels.format,
        versions=library_versions(known.recipe),
    )


def _encoding(
    labels: Labels, outputs: Outputs
) -> tuple[Literal["dense", "topk", "value"], str, int, tuple[float, ...]]:
    encoding = labels.encoding
    if isinstance(encoding, TopK):
        return "topk", encoding.values, encoding.k, encoding.temperatures
    dtype = encoding.dtype if encoding else "float32"
    return ("value" if outputs.kind == "value" else "dense"), dtype, 0, ()
