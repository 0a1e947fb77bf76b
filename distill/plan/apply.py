"""A student over a whole pool, resolved: the label set by the student, and where its answers go.

The label set is one like any other, under a name of its own that holds a digest of what decides it:
another student, head or temperature labels anew beside what there is, and a pool that grew is
labelled where it grew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from distill.core.errors import ContractError, JobError
from distill.core.schema import digest
from distill.labelers.student import StudentLabeler, read_model
from distill.models.record import ModelRecord
from distill.plan.apply_steps import SentRows, WriteStep
from distill.plan.checks.labels import label_column_keys
from distill.plan.identity import find_student
from distill.plan.labelers import prepare_uncalibrated
from distill.plan.workspace import Workspace
from distill.spec.cascade import Apply
from distill.spec.labels import Fitted, LabelerTable, Labels, Taught
from distill.spec.outputs import Outputs

_TRIAL = "applied"


@dataclass(frozen=True)
class NamedLabels:
    """A label set by a student, and its name."""

    name: str
    labels: Labels
    student: str
    """For people."""
    outputs: Outputs
    seen: frozenset[str]
    """Contents of the pools that taught or stopped it, as its record pins them."""

    @property
    def tables(self) -> Mapping[str, Labels]:
        """What a job has more."""
        return {self.name: self.labels}


def applied_labels(workspace: Workspace, student: str, pool: str) -> NamedLabels:
    """Return the label set by a student of the job, by an `[apply.NAME]` with a model, or by the
    model in a folder, over one pool. Raises JobError for a name that nothing has, ContractError
    where the student is not trained."""
    tables = workspace.tables
    _require_keys(workspace, pool)
    settings = tables.apply.get(student.partition("[")[0], Apply())
    if settings.model is None and student not in _students(workspace):
        settings = _of_folder(workspace, student, settings)
    record = _record(workspace, student, settings)
    labeler, outputs, head = _labeler(workspace, student, settings, record)
    labels = Labels(
        labeler=_STAND_IN,
        over=(pool,),
        batch_rows=settings.batch_rows,
        precision=settings.precision,
        calibrate_on=settings.calibrate_on,
        compute=settings.compute,
        max_rejected_fraction=settings.max_rejected_fraction,
        encryption=settings.encryption,
        format="arrow" if settings.encryption is None else "parquet",
    )
    # no job file names it, so it is no kind that validation knows
    labels = labels.model_copy(update={"labeler": labeler})
    _require_calibrable(workspace, settings, outputs)
    trial = workspace.with_tables({_TRIAL: labels}, {})
    _, contract = prepare_uncalibrated(trial, _TRIAL)
    # the pool too: a job has one label set of a name, which may be over labelled rows besides
    identity = [contract.digest, pool, _calibrated_on(workspace, settings.calibrate_on)]
    name = f"applied-{slug(student)}-{digest(identity)[:12]}"
    return NamedLabels(name, labels, f"{student}, head {head}", outputs, _seen(record))


def settings_of(workspace: Workspace, student: str) -> Apply:
    """Return what the job says of how a student is applied."""
    return workspace.tables.apply.get(student.partition("[")[0], Apply())


def slug(name: str) -> str:
    """Return a name that can be a folder's."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")


def write_step(
    workspace: Workspace,
    name: str,
    named: NamedLabels,
    *,
    probabilities: bool,
    sent: SentRows | None = None,
) -> WriteStep:
    """Return the writing of what was answered. Raises ContractError where rows are not labelled."""
    encryption = named.labels.encryption
    (over,) = named.labels.over
    pool = workspace.pool(over)
    labels = workspace.label_set(named.name, over)
    labels.require_complete(pool.inventory)
    about = {
        "job": workspace.tables.job.name,
        "pool": over,
        "student": named.student,
        "labels": named.name,
        "label_hash": labels.label_hash,
    }
    pins: list[object] = [labels.label_hash, pool.inventory.content, probabilities]
    if sent is not None:
        pins.append(_sent_pins(sent))
    if encryption is not None:
        pins.append("encrypted")
    folder = workspace.root.folder("applied", slug(name), over, digest(pins)[:16])
    return WriteStep(
        name=name,
        folder=folder.uri,
        pool=pool,
        labels=labels,
        probabilities=probabilities,
        fragment_rows=workspace.tables.fragment_rows,
        sent=sent,
        about=about,
        key="" if encryption is None else encryption.key,
    )


def _sent_pins(sent: SentRows) -> list[object]:
    hashes: list[object] = [each.labels.label_hash for each in sent.answered]
    return [sent.result.to_plain(), *(hashes or [None])]


def _students(workspace: Workspace) -> list[str]:
    return [variant.name for variant in workspace.tables.job.variants]


def _of_folder(workspace: Workspace, folder: str, settings: Apply) -> Apply:
    """The settings for a model that is named by its folder. Raises JobError where none lies
    there."""
    if read_model(workspace.tables.model_uri(folder)) is not None:
        return settings.model_copy(update={"model": folder})
    there = [*workspace.tables.cascade, *workspace.tables.apply, *_students(workspace)]
    raise JobError(
        f"{workspace.tables.path}: there is no student {folder!r}, and no exported one in a folder"
        f" of that name. There is: {', '.join(dict.fromkeys(there)) or 'none'}."
    )


def _labeler(
    workspace: Workspace, student: str, settings: Apply, record: ModelRecord
) -> tuple[LabelerTable, Outputs, str]:
    """The labeler, what it answers, and by which head. Raises JobError."""
    head = settings.head or next(iter(record.heads))
    if head not in record.heads:
        raise JobError(
            f"{workspace.tables.path}: apply.{student}.head = {head!r}: the student has no such"
            f" head. It has: {', '.join(record.heads)}."
        )
    outputs = record.heads[head]
    width = record.widths[head]
    if settings.model is None:
        return Taught(student=student, head=head, width=width), outputs, head
    labeler = StudentLabeler(
        kind="student",
        model=settings.model,
        file=settings.file,
        classes=outputs.classes or None,
        independent=not outputs.exclusive,
        width=width,
        head=head,
    )
    return labeler, outputs, head


def _record(workspace: Workspace, student: str, settings: Apply) -> ModelRecord:
    if settings.model is None:
        (variant,) = [each for each in workspace.tables.job.variants if each.name == student]
        _, record = find_student(workspace, variant)
        return record
    uri = workspace.tables.model_uri(settings.model)
    record_there = read_model(uri)
    if record_there is None:
        raise ContractError(
            f"{workspace.tables.path}: apply.{student}.model: no student lies at {uri}. Give the"
            " folder that `distill export` named, or <root>/students/<name>/<digest>."
        )
    return record_there


def _require_keys(workspace: Workspace, pool: str) -> None:
    """Refuse keys that stand where labels do: no table of the job labels this pool, so nothing has
    looked before. Raises JobError."""
    taken = label_column_keys(workspace.tables, [pool])
    if taken:
        raise JobError(
            f"{workspace.tables.path}: pools.{pool}.keys: it keeps {taken}, but label sets have"
            " columns of that name. Rename them in the pool, or take them out."
        )


def _seen(record: ModelRecord) -> frozenset[str]:
    stop = record.details.get("early_stop") or {}
    pins = {**record.taught_by, **stop.get("pins", {})}
    return frozenset(content for name, content in pins.items() if name.startswith("pools."))


def _require_calibrable(workspace: Workspace, settings: Apply, outputs: Outputs) -> None:
    """Refuse a temperature of values, or by other classes. Raises JobError."""
    on = settings.calibrate_on
    if on is None:
        return
    truth = workspace.tables.pool_outputs(on)
    lacking = [name for name in truth.classes if name not in outputs.positions]
    if outputs.kind == "value" or not outputs.is_like(truth) or lacking:
        raise JobError(
            f"{workspace.tables.path}: apply.….calibrate_on = {on!r}: the student says"
            f" {outputs.in_words}, the pool's target {truth.in_words}; only logits of the same"
            " classes are calibrated. Leave it out."
        )


def _calibrated_on(workspace: Workspace, pool: str | None) -> list[str | None]:
    if pool is None:
        return []
    opened = workspace.pool(pool)
    return [pool, opened.inventory.content, opened.spec.target]


_STAND_IN = Fitted(kind="fitted", fit="stand-in")
"""What a label set is validated with."""
