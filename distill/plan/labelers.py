"""What a label set means, from the job and from what was fitted: the recipe that builds its
labeler, and its contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from distill.core.errors import ContractError, JobError
from distill.core.schema import canonical, digest
from distill.core.source import read_source
from distill.labelers.kind import LabelerKind, ModelLabelerKind
from distill.labelers.recipe import Member, Recipe
from distill.labelers.versions import library_versions
from distill.labels.contract import Contract, Revealed
from distill.models.record import read_record
from distill.plan.calibration import stored_temperature
from distill.plan.identity import find_fit, find_student
from distill.plan.merges import annotators_folder, merge_revision, merged_values
from distill.plan.pooled import grouped_votes, pooled_folder, pooled_revision
from distill.plan.structure_identity import structure_recipe
from distill.plan.workspace import Workspace
from distill.pools.formats.masking import rules_digest
from distill.spec.labels import (
    Answers,
    Custom,
    Ensemble,
    Fitted,
    Labels,
    MemberTable,
    Merge,
    Pooled,
    Structured,
    Taught,
    TopK,
)
from distill.spec.outputs import Outputs
from distill.spec.pate import Pate
from distill.spec.pools import VectorFeatures

# a share of the row's largest output: what other hardware may make of the same weights. Two bits
# of TF32's ten, which cuDNN takes for float32 convolutions unasked, and of float16's ten, and
# three of bfloat16's eight, for the roundings that add up over layers. The same machine repeats
# its bits.
_TOLERANCE: Mapping[str, float] = {"float32": 2.0**-8, "bfloat16": 2.0**-5, "float16": 2.0**-8}


def prepare_labels(workspace: Workspace, name: str) -> tuple[Recipe, Contract]:
    """Recipe and contract of `labels.<name>`. Raises ContractError: its fit is not done."""
    recipe, contract = prepare_uncalibrated(workspace, name)
    temperature = stored_temperature(workspace, name, contract)
    return replace(recipe, temperature=temperature), replace(contract, calibration=temperature)


def prepare_uncalibrated(workspace: Workspace, name: str) -> tuple[Recipe, Contract]:
    """The same, of the labeler as it came. Raises ContractError where its fit is not done."""
    tables = workspace.tables
    labels = tables.labels[name]
    listed = labels.members(name)
    members = {where: _member(workspace, name, table, where) for where, table in listed}
    if isinstance(labels.labeler, Ensemble):
        spec = labels.labeler
        labeler = _ensemble(spec, members)
    else:
        (labeler,) = members.values()
    return labeler.recipe, _contract(workspace, name, labeler)


@dataclass(frozen=True)
class _Labeler:
    """A labeler, and what of it stands in a contract."""

    recipe: Recipe
    name: str
    revision: str
    outputs: Outputs
    width: int
    precision: str = "float32"
    answers: Answers = "logits"


def _member(workspace: Workspace, name: str, table: MemberTable, where: str) -> _Labeler:
    """The labeler under `where`, and in its recipe what it declares of its answers."""
    tables = workspace.tables
    labels = tables.labels[name]
    precision = labels.precision
    if isinstance(table, Pate):
        return _pate(workspace, table, precision)
    if isinstance(table, Fitted):
        labeler = _fitted(workspace, table.fit, precision)
    elif isinstance(table, Taught):
        labeler = _taught(workspace, table, precision)
    elif isinstance(table, Structured):
        labeler = _structured(workspace, table, where)
    elif isinstance(table, Pooled):
        labeler = _pooled(workspace, name, table, where)
    elif isinstance(table, Merge):
        labeler = _merge(workspace, name, table, where)
    elif isinstance(table, LabelerKind):
        labeler = _by_kind(workspace, table, where, labels.precision)
    else:
        assert isinstance(table, Custom)
        labeler = _custom(workspace, table, where)
    answers = tables.labeler_answers(table, where)
    features = tables.pools[labels.over[0]].features
    columns = features.columns if isinstance(features, VectorFeatures) else ()
    width = labeler.width
    recipe = replace(
        labeler.recipe, outputs=labeler.outputs, width=width, answers=answers, columns=columns
    )
    return replace(labeler, recipe=recipe, answers=answers)


def _fitted(workspace: Workspace, fit: str, precision: str) -> _Labeler:
    folder, record = find_fit(workspace, fit)
    form: Literal["eszsl", "network"] = "eszsl" if record.form == "eszsl" else "network"
    tables = workspace.tables
    code = tables.fit_code(fit)
    outputs = tables.fit_outputs(fit)
    width = next(iter(record.widths.values()))
    recipe = Recipe(form=form, folder=folder.uri, record=record, code=code, precision=precision)
    return _Labeler(recipe, f"fitted:{fit}", record.sha256, outputs, width, precision)


def _taught(workspace: Workspace, table: Taught, precision: str) -> _Labeler:
    (variant,) = workspace.tables.job.chosen_variants([table.student])
    folder, record = find_student(workspace, variant)
    code = workspace.tables.student_code(variant.spec, f"students.{variant.student}")
    uri = folder.uri
    recipe = Recipe(
        form="network", folder=uri, record=record, code=code, head=table.head, precision=precision
    )
    revision = digest([record.sha256, table.head])
    shown = f"student:{table.student}.{table.head}"
    return _Labeler(recipe, shown, revision, record.heads[table.head], table.width, precision)


def _pate(workspace: Workspace, table: Pate, precision: str) -> _Labeler:
    fitted = _fitted(workspace, table.fit, precision)
    # undeclared: its answers are counts, of which labels are made later
    recipe = replace(fitted.recipe, form="teachers")
    plain = table.model_dump(mode="json", exclude={"kind", "fit"}, exclude_defaults=True)
    revision = digest([fitted.revision, plain])
    return replace(fitted, recipe=recipe, name=f"pate:{table.fit}", revision=revision)


def _structured(workspace: Workspace, table: Structured, where: str) -> _Labeler:
    recipe = structure_recipe(workspace, table.structure, table.gives)
    revision = digest([table.gives, *_chain_digests(recipe)])
    outputs = workspace.tables.labeler_outputs(table, where)
    width = workspace.tables.labeler_width(table, where)
    return _Labeler(recipe, f"structure:{table.structure}", revision, outputs, width)


def _pooled(workspace: Workspace, name: str, table: Pooled, where: str) -> _Labeler:
    outputs = workspace.tables.labeler_outputs(table, where)
    width = workspace.tables.labeler_width(table, where)
    values = grouped_votes(workspace, table, workspace.tables.labels[name].over)
    folder = pooled_folder(workspace, name, values)
    record = read_record(folder)
    if record is None:
        raise ContractError(
            f"labels.{name}: its groups are not pooled yet. Run `distill label"
            f" {workspace.tables.path} {name}`."
        )
    recipe = Recipe(form="pooled", pooled=table, folder=folder.uri, record=record)
    revision = digest([table.own_share, pooled_revision(values)])
    shown = f"{table.votes} within {table.groups}"
    return _Labeler(recipe, shown, revision, outputs, width)


def _merge(workspace: Workspace, name: str, table: Merge, where: str) -> _Labeler:
    outputs = workspace.tables.labeler_outputs(table, where)
    width = workspace.tables.labeler_width(table, where)
    label_tables = workspace.tables.labels
    pools = label_tables[name].over
    seen = [merged_values(workspace, name, table, pool) for pool in pools]
    recipe = Recipe(form="merge", merge=table)
    if table.by == "dawid_skene":
        folder = annotators_folder(workspace, name, table, seen)
        record = read_record(folder)
        if record is None:
            raise ContractError(
                f"labels.{name}: its parties are not fitted yet. Run `distill label"
                f" {workspace.tables.path} {name}`."
            )
        recipe = replace(recipe, folder=folder.uri, record=record)
    inputs = merge_revision(table, seen)
    revision = digest(inputs)
    shown = f"{table.by} of {', '.join(table.of)}"
    return _Labeler(recipe, shown, revision, outputs, width)


def _chain_digests(recipe: Recipe | None) -> Iterator[str]:
    """The weights of a structure and of those that it stands on."""
    while recipe is not None:
        assert recipe.record is not None
        yield recipe.record.sha256
        recipe = recipe.before


def _by_kind(workspace: Workspace, kind: LabelerKind, where: str, precision: str) -> _Labeler:
    tables = workspace.tables
    files = None
    if isinstance(kind, ModelLabelerKind):
        uri = tables.model_uri(kind.model)
        files = kind.identify(uri, f"{where}.model")
    source = None
    if kind.code_file:
        source = read_source(tables.beside(kind.code_file), f"{where}.file")
    recipe = Recipe(form="ready", ready=kind, files=files, source=source, precision=precision)
    revision = kind.contract_revision(files)
    outputs = tables.labeler_outputs(kind, where)
    width = tables.labeler_width(kind, where)
    return _Labeler(recipe, kind.kind, revision, outputs, width, precision)


def _custom(workspace: Workspace, table: Custom, where: str) -> _Labeler:
    source = workspace.tables.custom_source(table, where)
    declared = source.load(table.name)
    outputs = workspace.tables.labeler_outputs(table, where)
    width = workspace.tables.labeler_width(table, where)
    recipe = Recipe(form="custom", source=source, name=table.name)
    revision = str(declared.revision)
    precision = str(getattr(declared, "precision", "float32"))
    return _Labeler(recipe, f"custom:{table.name}", revision, outputs, width, precision)


def _ensemble(spec: Ensemble, members: Mapping[str, _Labeler]) -> _Labeler:
    """An ensemble from its members, by their keys. Raises ContractError where they answer with
    values of different widths."""
    first = next(iter(members.values()))
    for where, member in members.items():
        if member.width != first.width:
            raise ContractError(
                f"{where}: {member.name} answers with {member.width} numbers a row,"
                f" the first member with {first.width}. Leave one of them out."
            )
    parts = []
    revisions = []
    shown = []
    for member, share in zip(members.values(), spec.shares, strict=True):
        order = _order(first.outputs, member.outputs)
        parts.append(Member(member.name, member.recipe, share, order))
        revision = [member.name, member.revision, share, list(member.outputs.classes)]
        if member.answers != "logits":  # left out where usual: older digests stay
            revision.append(member.answers)
        revisions.append(revision)
        shown.append(f"{member.name} × {share:.3g}")
    listed = ", ".join(shown)
    name = f"ensemble of {listed}"
    recipe = Recipe(form="ensemble", members=tuple(parts), outputs=first.outputs, width=first.width)
    # a contract's tolerance must allow for the member whose numbers are the coarsest
    coarsest = max((member.precision for member in members.values()), key=_TOLERANCE.__getitem__)
    return _Labeler(recipe, name, digest(revisions), first.outputs, first.width, coarsest)


def _order(first: Outputs, own: Outputs) -> tuple[int, ...] | None:
    """Where the first member's classes stand in a member's own; None where they stand alike."""
    if own.classes == first.classes:
        return None
    return tuple(own.positions[name] for name in first.classes)


def _contract(workspace: Workspace, name: str, labeler: _Labeler) -> Contract:
    tables = workspace.tables
    labels = tables.labels[name]
    outputs = labeler.outputs
    kind, dtype, k, temperatures = _encoding(labels, outputs)
    return Contract(
        labeler=labeler.name,
        revision=labeler.revision,
        preprocessing=digest(_preprocessing(workspace, name)),
        kind=outputs.kind,
        classes=outputs.classes,
        exclusive=outputs.exclusive,
        width=labeler.width,
        encoding=kind,
        dtype=dtype,
        k=k,
        temperatures=temperatures,
        batch_rows=labels.batch_rows,
        precision=labeler.precision,
        answers=labeler.answers,
        tolerance=_TOLERANCE[labeler.precision],
        disagreement=labels.has_disagreement,
        **_views(labels),
        keys=tables.label_keys(name),
        format=labels.format,
        reveal=Revealed(**labels.reveal.model_dump()) if labels.reveal else None,
        encrypted=labels.encryption is not None,
        key=labels.key,
        versions=library_versions(labeler.recipe),
    )


def _views(labels: Labels) -> dict[str, Any]:
    """What a contract says of views; nothing where there are none."""
    views = labels.views
    if views is None:
        return {}
    table = views.augment.model_dump(mode="json", exclude_defaults=True)
    content = canonical(table)
    augment = content.decode()
    return {"views": views.count, "view_seed": views.seed, "view_augment": augment}


def _preprocessing(workspace: Workspace, name: str) -> dict[str, Any]:
    """What decides the features that the labeler sees, and the keys, as plain values."""
    seen, columns = _seen(workspace, name)
    masks = _masks(workspace, name, columns)
    return {**seen, "mask": masks} if masks else seen


def _seen(workspace: Workspace, name: str) -> tuple[dict[str, Any], Sequence[str]]:
    """What the labeler sees, and which columns of its pools that is."""
    if workspace.tables.labels[name].merge is not None:
        return {"labels of": "parties"}, ()  # which, stands in the revision
    if isinstance(workspace.tables.labels[name].labeler, Pooled):
        return {"votes in": "groups"}, ()  # the same
    tables = workspace.tables
    values_of = tables.values_of(name)
    if values_of is not None:
        _, contract = prepare_labels(workspace, values_of)
        pins = {"values of": contract.digest}
        return pins, ()
    labels = tables.labels[name]
    features = tables.pools[labels.over[0]].features
    assert features is not None
    # without defaults, so that a key that came later changes no digest of before
    return features.model_dump(mode="json", exclude_defaults=True), features.columns


def _masks(workspace: Workspace, name: str, columns: Sequence[str]) -> str:
    """Return the digest of what private columns that a label set's labeler sees, or that stand
    beside its labels, are masked as; "" where none is. Raises JobError where its pools differ."""
    tables = workspace.tables
    used = {*columns, *tables.label_keys(name)}
    digests = {}
    for pool in tables.labels[name].over:
        spec = tables.pools[pool]
        rules = spec.rules
        digests[pool] = rules_digest({each: rules[each] for each in used if each in rules})
    if len({*digests.values()}) > 1:
        pools = ", ".join(digests)
        raise JobError(
            f"labels.{name}.over: {pools} mask columns that it reads differently, and a label set"
            " has one meaning. Give all of them the same rules."
        )
    values = digests.values()
    return next(iter(values))


def _encoding(
    labels: Labels, outputs: Outputs
) -> tuple[Literal["dense", "topk", "value"], str, int, tuple[float, ...]]:
    """Encoding, dtype, k and temperatures of a contract."""
    encoding = labels.encoding
    if isinstance(encoding, TopK):
        return "topk", encoding.values, encoding.k, encoding.temperatures
    dtype = encoding.dtype if encoding else "float32"
    if outputs.kind == "value":
        return "value", dtype, 0, ()
    return "dense", dtype, 0, ()
