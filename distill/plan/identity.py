"""Which trained model a job means: the digest of everything that decides it, and the folder named
after that digest.

How many workers or GPUs train it is left out (a smaller or larger cluster goes on with the same
student, whose last bits may differ), and so are how often checkpoints are kept and everything of
evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from distill.core.errors import ContractError
from distill.core.schema import digest, without_usual
from distill.job.sweep import Variant
from distill.models.custom_source import TRUNK, custom_models, head_key, identity_of
from distill.models.files import identify_model
from distill.models.record import ModelRecord, read_record
from distill.plan.held_out import fit_stop
from distill.plan.workspace import Workspace
from distill.spec.models import NOT_LEARNED, CustomModel, Eszsl, Training
from distill.spec.students import CustomLoss, HeldOut, Student, Term
from distill.storage.base import Storage

_USUAL: Mapping[str, Any] = {
    "warmup_fraction": 0.0,
    "clip_norm": None,
    "precision": "float32",
    "gradients": "workers",
    "compile": False,
    "smoothing": 0.0,
    "row_weight": None,
    "ramp": None,
    "width": None,
    "batch_share": {},
}
"""Options of a training, a head, a term or its loss that came later, and what they say of models
from before."""


def fit_folder(workspace: Workspace, name: str) -> Storage:
    """Where `fit.<name>` lies under the job as it is now. Lists the labelled pool."""
    fit = workspace.tables.fit[name]
    pool = workspace.pool(fit.on)
    outputs = workspace.tables.pool_outputs(fit.on)
    described = _described(workspace, name, fit.model) if isinstance(fit.model, Eszsl) else None
    identity = [
        _plain_fit_model(workspace, name),
        None if described else _learned(fit.training),
        [fit.seed, workspace.tables.fragment_rows],
        pool.inventory.content,
        pool.features.model_dump(mode="json"),
        [pool.spec.target, outputs.kind, list(outputs.classes), outputs.exclusive],
        described,
        *_stopped_by(workspace, fit_stop(fit.early_stop) if fit.early_stop else None),
    ]
    return workspace.root.folder("fits", name, digest(identity)[:16])


def _plain_fit_model(workspace: Workspace, name: str) -> dict[str, Any]:
    model = workspace.tables.fit[name].model
    if isinstance(model, CustomModel):
        return identity_of(model, workspace.tables.fit_code(name)[TRUNK], f"fit.{name}.{TRUNK}")
    return model.model_dump(mode="json", exclude={"encoder"})


def _described(workspace: Workspace, name: str, model: Eszsl) -> list[Any]:
    """What says how classes are described: the file, and the encoder of its texts."""
    if model.encoder is None:
        return list(workspace.tables.descriptions(name))
    encoder = identify_model(
        workspace.tables.model_uri(model.encoder), None, f"fit.{name}.model.encoder"
    )
    return [*workspace.tables.descriptions(name), encoder.sha256]


def find_fit(workspace: Workspace, name: str) -> tuple[Storage, ModelRecord]:
    """A finished fit. Raises ContractError where it is not done."""
    folder = fit_folder(workspace, name)
    record = read_record(folder)
    if record is None:
        raise ContractError(
            f"fit.{name} is not fitted yet under {workspace.tables.root_uri}. Run `distill fit {workspace.tables.path}"
            f" {name}`."
        )
    return folder, record


def student_pins(workspace: Workspace, student: Student) -> dict[str, str]:
    """What a student learns from, by digest: label hashes and pool contents."""
    pins = {}
    for term in student.terms:
        if term.label_set:
            for pool in student.on:
                pins[f"{term.learns} over {pool}"] = workspace.label_set(
                    term.label_set, pool
                ).label_hash
    for pool in student.taught_on:
        pins[f"pools.{pool}"] = workspace.pool(pool).inventory.content
    return pins


def student_folder(workspace: Workspace, variant: Variant, pins: Mapping[str, str]) -> Storage:
    """Where a student lies, given what it learns from."""
    student = variant.spec
    plain = _plain_student(workspace, student, f"students.{variant.student}")
    features = [workspace.tables.pools[pool].features for pool in student.taught_on]
    identity = [
        [plain, workspace.tables.fragment_rows],
        _learned(student.training),
        dict(pins),
        [feature.model_dump(mode="json") for feature in features if feature],
        [workspace.tables.pools[term.pool].target if term.pool else None for term in student.terms],
        [asdict(workspace.tables.term_outputs(term)) for term in student.terms],
        *([own] if (own := _own_losses(workspace, student)) else []),
        *_stopped_by(workspace, student.early_stop),
    ]
    return workspace.root.folder("students", variant.student, digest(identity)[:16])


def _stopped_by(workspace: Workspace, stop: HeldOut | None) -> list[dict[str, Any]]:
    """What decides when a training stops and which epoch is kept: nothing where it trains to the
    end."""
    if stop is None:
        return []
    pool, term = str(stop.rows), workspace.tables.held_out_term(stop)
    opened = workspace.pool(pool)
    own = (
        workspace.tables.custom_source(term.loss, "early_stop.loss").text
        if isinstance(term.loss, CustomLoss)
        else None
    )
    said = {"patience": stop.patience, "least": stop.least, "every_epochs": stop.every_epochs}
    measured = [
        _plain_term(term),
        own,
        asdict(workspace.tables.term_outputs(term)),
        opened.features.model_dump(mode="json"),
    ]
    return [
        {
            "early_stop": said,
            "measured": measured,
            "target": opened.spec.target,
            "pins": held_out_pins(workspace, stop),
        }
    ]


def held_out_pins(workspace: Workspace, stop: HeldOut) -> dict[str, str]:
    """The rows and labels that a training is stopped by, by digest."""
    pool = str(stop.rows)
    labels = (
        {f"{stop.learns} over {pool}": workspace.label_set(stop.label_set, pool).label_hash}
        if stop.label_set
        else {}
    )
    return {**labels, f"pools.{pool}": workspace.pool(pool).inventory.content}


def _own_losses(workspace: Workspace, student: Student) -> list[str]:
    """The text of each loss of the user's own."""
    own = [term.loss for term in student.terms if isinstance(term.loss, CustomLoss)]
    return [workspace.tables.custom_source(loss, f"students.….{loss.name}").text for loss in own]


def find_student(workspace: Workspace, variant: Variant) -> tuple[Storage, ModelRecord]:
    """A finished student. Raises ContractError where it is not trained on what is stored now."""
    folder = student_folder(workspace, variant, student_pins(workspace, variant.spec))
    record = read_record(folder)
    if record is None:
        raise ContractError(
            f"students.{variant.name} is not trained yet under {workspace.tables.root_uri}. Run `distill train"
            f" {workspace.tables.path} {variant.student}`."
        )
    return folder, record


def _learned(training: Training) -> dict[str, Any]:
    return without_usual(training.model_dump(mode="json", exclude=set(NOT_LEARNED)), _USUAL)


def _plain_student(workspace: Workspace, student: Student, where: str) -> dict[str, Any]:
    """What a student's table says, without its training."""
    code = workspace.tables.student_code(student, where)
    own = {
        key: identity_of(model, code[key], f"{where}.{key}")
        for key, model in custom_models(student.model, student.heads).items()
    }
    plain = without_usual(
        student.model_dump(mode="json", exclude={"training", "terms", "early_stop"}), _USUAL
    )
    plain["model"] = own.get(TRUNK, plain["model"])
    plain["heads"] = {
        name: without_usual({**head, "model": own.get(head_key(name), head["model"])}, _USUAL)
        for name, head in plain["heads"].items()
    }
    plain["terms"] = [_plain_term(term) for term in student.terms]
    return plain


def _plain_term(term: Term) -> dict[str, Any]:
    plain = term.model_dump(mode="json")
    return without_usual({**plain, "loss": without_usual(plain["loss"], _USUAL)}, _USUAL)
