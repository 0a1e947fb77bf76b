"""The stage `export`: a finished student's folder gets its `export/`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from distill.export.card import card, features_said, heads_said
from distill.export.program import program
from distill.job import Job, NgramBag, Variant
from distill.labelers.network import load_network
from distill.models import ModelRecord, read_weights
from distill.models.identity import find_student
from distill.results import MethodResult
from distill.schema import seal
from distill.storage import Storage


@dataclass(frozen=True)
class Exported:
    """One student's export."""

    name: str
    uri: str
    """Of the folder."""


def export_students(job: Job, names: Sequence[str] | None, results: Sequence[MethodResult]) -> list[Exported]:
    """Export the named students, all by default, every variant of a sweep; `results` are what is known of how well they do.

    Raises JobError for a name that the job lacks, ContractError where a student is not trained.
    """
    return [_export(job, variant, results) for variant in job.chosen_variants(names)]


def _export(job: Job, variant: Variant, results: Sequence[MethodResult]) -> Exported:
    folder, record = find_student(job, variant)
    mine = [result for result in results if result.role == "student" and _is_of(result.name, variant.name)]
    files = _files(job, variant, folder, record, mine)
    export = folder.folder("export")
    for key, content in files.items():
        export.put(key, content)
    return Exported(variant.name, export.uri)


def _is_of(result: str, variant: str) -> bool:
    """Whether a result is of this student: its name, and its head's after a dot where it has several."""
    return result == variant or result.startswith(f"{variant} · ")


def _files(
    job: Job, variant: Variant, folder: Storage, record: ModelRecord, results: Sequence[MethodResult]
) -> Mapping[str, bytes]:
    student = variant.spec
    pool = (*student.on, *(term.pool for term in student.terms if term.pool))[0]
    features = job.pools[pool].features
    assert features is not None
    places = student.model.most if isinstance(student.model, NgramBag) else None
    seen = features_said(features, record.in_features, places)
    network = load_network(folder.uri, record)
    told = {"record": asdict(record), "features": features.model_dump(mode="json"), "private": job.pools[pool].private}
    return {
        "weights.safetensors": read_weights(folder, record),
        "model.py": program(variant.name, network, heads_said(record), seen).encode(),
        "README.md": card(variant.name, record, seen, results).encode(),
        "model.json": seal(told),  # last: with it the export is whole
    }
