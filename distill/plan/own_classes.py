"""What classes a labeler says to have by itself: a class of the user's own, or a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from distill.core.errors import JobError
from distill.core.source import PythonFile
from distill.labelers.kind import ModelLabelerKind
from distill.plan.names import JobNames
from distill.spec.labels import Answers, Custom, Precision
from distill.spec.outputs import Outputs

if TYPE_CHECKING:
    from distill.labels.contract import Contract


def model_classes(tables: JobNames, labeler: ModelLabelerKind, where: str) -> tuple[str, ...]:
    """Return the classes that a labeler's model says to have, those first that its label set was
    begun with; `where` is its key. Raises JobError."""
    classes = labeler.own_classes(tables.model_uri(labeler.model), f"{where}.model")
    begun = _begun_by(tables, labeler, where)
    # a pinned model that is not there says none, and of one that says some, values were
    # stored before distill asked it
    if begun is not None and (begun.kind == "value" or not classes):
        return begun.classes
    return classes


def _begun_by(tables: JobNames, labeler: ModelLabelerKind, where: str) -> Contract | None:
    """What is stored of the label set that a labeler has alone, where it is by this one."""
    # imported here: most jobs are refused, or go on, without a look into the root
    from distill.labels.contract import read_contract
    from distill.labels.identity import label_set_folder
    from distill.storage.open import open_storage

    for name, spec in tables.labels.items():
        if where != f"labels.{name}.labeler":
            continue
        root = open_storage(tables.job.root_of(f"labels.{name}"))
        folder = label_set_folder(root, name, spec.version, spec.over[0])
        stored = read_contract(folder)
        if stored is None:
            return None
        files = labeler.identify(tables.model_uri(labeler.model), f"{where}.model")
        is_same = stored.contract.revision == labeler.contract_revision(files)
        return stored.contract if is_same else None
    return None


def declared_outputs(source: PythonFile, labeler: Custom, where: str) -> Outputs:
    """Return what a class of the user's own says of itself; `where` is its key. Raises JobError."""
    declared = source.load(labeler.name, where)
    if not isinstance(declared, type):
        raise JobError(
            f"{where}: {labeler.name} in {labeler.file} is no class."
            " Write a class that has `label(self, features)`."
        )
    kind = getattr(declared, "kind", "logits")
    classes = getattr(declared, "classes", ())
    revision = getattr(declared, "revision", "")
    precision = getattr(declared, "precision", "float32")
    ordered = isinstance(classes, tuple | list) and all(isinstance(each, str) for each in classes)
    distinct = ordered and len(set(classes)) == len(classes)
    has_classes = not ordered or bool(classes)  # an array's truth is none
    fits_kind = kind in ("logits", "value") and (kind == "logits") == has_classes
    # a method's text has its address, so that each run would be of another revision
    is_text = isinstance(revision, str | int | float) and bool(revision)
    if not distinct or not fits_kind or not is_text:
        raise JobError(
            f"{where}: class {labeler.name} in {labeler.file} must have a `revision` (text) and"
            " `classes` (distinct names in a tuple), "
            f'or `kind = "value"` and no classes; it has revision={revision!r}, kind={kind!r},'
            f" classes={classes!r}"
        )
    answers = getattr(declared, "answers", "logits")
    if answers not in get_args(Answers) or (answers == "probabilities" and not classes):
        raise JobError(
            f"{where}: class {labeler.name} in {labeler.file} has answers={answers!r}: say"
            ' "probabilities" of classes, or leave it out.'
        )
    known = get_args(Precision)
    if precision not in known:
        raise JobError(
            f"{where}: class {labeler.name} in {labeler.file} has precision={precision!r}: say in"
            f" what it computes, {', '.join(known)}."
        )
    exclusive = bool(getattr(declared, "exclusive", True))
    return Outputs("logits" if classes else "value", tuple(classes), exclusive)
