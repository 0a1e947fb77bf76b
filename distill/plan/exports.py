"""The exports of students."""

from __future__ import annotations

from distill.core.errors import JobError
from distill.job.sweep import Variant
from distill.labelers.embedding import Embedding
from distill.plan.identity import find_student
from distill.plan.steps import ExportStep, SeenEncoder
from distill.plan.tables import JobTables
from distill.plan.workspace import Workspace


def export_step(workspace: Workspace, variant: Variant) -> ExportStep:
    """Return the export of one student. Raises ContractError where it is not trained, JobError
    where nobody else could use it."""
    tables = workspace.tables
    student = variant.spec
    seen = None
    if student.features is not None:
        seen = _seen_encoder(tables, student.features.label_set, f"students.{variant.name}")
    folder, record = find_student(workspace, variant)
    # rows of a selection are read as those of its pool, and so are others of their kind
    first = student.taught_on[0]
    pool = tables.base_pool(first)
    return ExportStep(
        variant.name,
        folder.uri,
        record,
        workspace.pool(pool),
        student.model.text_hashing,
        tables.student_code(student, f"students.{variant.student}"),
        student.early_stop.rows if student.early_stop else None,
        seen,
    )


def _seen_encoder(tables: JobTables, name: str, student: str) -> SeenEncoder:
    """The model that wrote a label set whose values a student saw."""
    labels = tables.labels[name]
    labeler = labels.labeler
    if not isinstance(labeler, Embedding):
        raise JobError(
            f"{tables.path}: {student} sees labels.{name}, and not what its pool has: its"
            " weights alone are no model that others could use. With a labeler of kind"
            f' "embedding", and not {labeler.kind!r}, both are exported as one; or export'
            " students of pools' features."
        )
    where = f"labels.{name}.labeler"
    files = labeler.identify(tables.model_uri(labeler.model), f"{where}.model")
    return SeenEncoder(where, files, labeler.normalize)
