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
from distill.job.job import Job
from distill.job.sweep import Variant
from distill.labels.contract import Contract
from distill.labels.identity import label_set_folder
from distill.labels.label_set import LabelSet
from distill.models.custom_source import TRUNK, custom_models, head_key, identity_of
from distill.models.files import identify_model
from distill.models.record import ModelRecord, read_record
from distill.plan.code import fit_code, student_code
from distill.plan.held_out import fit_stop, held_out_term
from distill.plan.outputs import pool_outputs, term_outputs
from distill.plan.pools import known_inventory, open_pool
from distill.pools.open_pool import OpenPool
from distill.spec.models import NOT_LEARNED, CustomModel, Eszsl, Training
from distill.spec.students import CustomLoss, HeldOut, Student, Term
from distill.storage.base import Storage
from distill.storage.open import open_storage

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


def fit_folder(job: Job, name: str) -> Storage:
    """Where `fit.<name>` lies under the job as it is now. Lists the labelled pool."""
    fit = job.fit[name]
    pool = open_pool(job, fit.on)
    outputs = pool_outputs(job, fit.on)
    described = _described(job, name, fit.model) if isinstance(fit.model, Eszsl) else None
    identity = [
        _plain_fit_model(job, name),
        None if described else _learned(fit.training),
        [fit.seed, job.fragment_rows],
        pool.inventory.content,
        pool.features.model_dump(mode="json"),
        [pool.spec.target, outputs.kind, list(outputs.classes), outputs.exclusive],
        described,
        *_stopped_by(job, fit_stop(fit.early_stop) if fit.early_stop else None),
    ]
    return open_storage(job.root_uri).folder("fits", name, digest(identity)[:16])


def _plain_fit_model(job: Job, name: str) -> dict[str, Any]:
    model = job.fit[name].model
    if isinstance(model, CustomModel):
        return identity_of(model, fit_code(job, name)[TRUNK], f"fit.{name}.{TRUNK}")
    return model.model_dump(mode="json", exclude={"encoder"})


def _described(job: Job, name: str, model: Eszsl) -> list[Any]:
    """What says how classes are described: the file, and the encoder of its texts."""
    if model.encoder is None:
        return list(job.descriptions(name))
    encoder = identify_model(job.model_uri(model.encoder), None, f"fit.{name}.model.encoder")
    return [*job.descriptions(name), encoder.sha256]


def find_fit(job: Job, name: str) -> tuple[Storage, ModelRecord]:
    """A finished fit. Raises ContractError where it is not done."""
    folder = fit_folder(job, name)
    record = read_record(folder)
    if record is None:
        raise ContractError(
            f"fit.{name} is not fitted yet under {job.root_uri}. Run `distill fit {job.path}"
            f" {name}`."
        )
    return folder, record


def student_pins(job: Job, student: Student) -> dict[str, str]:
    """What a student learns from, by digest: label hashes and pool contents."""
    pins = {}
    for term in student.terms:
        if term.label_set:
            for pool in student.on:
                pins[f"{term.learns} over {pool}"] = label_set(job, term.label_set, pool).label_hash
    for pool in student.taught_on:
        pins[f"pools.{pool}"] = open_pool(job, pool).inventory.content
    return pins


def student_folder(job: Job, variant: Variant, pins: Mapping[str, str]) -> Storage:
    """Where a student lies, given what it learns from."""
    student = variant.spec
    plain = _plain_student(job, student, f"students.{variant.student}")
    features = [job.pools[pool].features for pool in student.taught_on]
    identity = [
        [plain, job.fragment_rows],
        _learned(student.training),
        dict(pins),
        [feature.model_dump(mode="json") for feature in features if feature],
        [job.pools[term.pool].target if term.pool else None for term in student.terms],
        [asdict(term_outputs(job, term)) for term in student.terms],
        *([own] if (own := _own_losses(job, student)) else []),
        *_stopped_by(job, student.early_stop),
    ]
    return open_storage(job.root_uri).folder("students", variant.student, digest(identity)[:16])


def _stopped_by(job: Job, stop: HeldOut | None) -> list[dict[str, Any]]:
    """What decides when a training stops and which epoch is kept: nothing where it trains to the
    end."""
    if stop is None:
        return []
    pool, term = str(stop.rows), held_out_term(job, stop)
    opened = open_pool(job, pool)
    own = (
        job.custom_source(term.loss, "early_stop.loss").text
        if isinstance(term.loss, CustomLoss)
        else None
    )
    said = {"patience": stop.patience, "least": stop.least, "every_epochs": stop.every_epochs}
    measured = [
        _plain_term(term),
        own,
        asdict(term_outputs(job, term)),
        opened.features.model_dump(mode="json"),
    ]
    return [
        {
            "early_stop": said,
            "measured": measured,
            "target": opened.spec.target,
            "pins": held_out_pins(job, stop),
        }
    ]


def held_out_pins(job: Job, stop: HeldOut) -> dict[str, str]:
    """The rows and labels that a training is stopped by, by digest."""
    pool = str(stop.rows)
    labels = (
        {f"{stop.learns} over {pool}": label_set(job, stop.label_set, pool).label_hash}
        if stop.label_set
        else {}
    )
    return {**labels, f"pools.{pool}": open_pool(job, pool).inventory.content}


def _own_losses(job: Job, student: Student) -> list[str]:
    """The text of each loss of the user's own."""
    own = [term.loss for term in student.terms if isinstance(term.loss, CustomLoss)]
    return [job.custom_source(loss, f"students.….{loss.name}").text for loss in own]


def find_student(job: Job, variant: Variant) -> tuple[Storage, ModelRecord]:
    """A finished student. Raises ContractError where it is not trained on what is stored now."""
    folder = student_folder(job, variant, student_pins(job, variant.spec))
    record = read_record(folder)
    if record is None:
        raise ContractError(
            f"students.{variant.name} is not trained yet under {job.root_uri}. Run `distill train"
            f" {job.path} {variant.student}`."
        )
    return folder, record


def label_set(job: Job, name: str, pool: str, *, mending: bool = False) -> LabelSet:
    """One label set of the job, its commits read, of live shards alone; the same object until
    `forget_labels`."""
    key = ("labels", name, pool)
    if key not in job.memo:
        version = job.labels[name].version
        folder = label_set_folder(open_storage(job.root_uri), name, version, pool)
        job.memo[key] = LabelSet(folder, name, version).refresh(
            known_inventory(job, pool), mending=mending
        )
    found: LabelSet = job.memo[key]
    return found


def whole_labels(job: Job, name: str, pool: OpenPool, contract: Contract) -> LabelSet:
    """One label set to read from: it means what the job means, and covers every row of its pool.
    Raises ContractError."""
    labels = label_set(job, name, pool.name)
    labels.require(contract, pool.inventory, job.fragment_rows)
    labels.require_complete(pool.inventory)
    if job.labels[name].deterministic == "strict":
        labels.require_one_origin()
    return labels


def forget_labels(job: Job, name: str) -> None:
    """Read the label sets of `labels.<name>` anew when they are next asked for; they are about to
    change, or did."""
    for pool in job.labels[name].over:
        job.memo.pop(("labels", name, pool), None)


def _learned(training: Training) -> dict[str, Any]:
    return without_usual(training.model_dump(mode="json", exclude=set(NOT_LEARNED)), _USUAL)


def _plain_student(job: Job, student: Student, where: str) -> dict[str, Any]:
    """What a student's table says, without its training."""
    code = student_code(job, student, where)
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
