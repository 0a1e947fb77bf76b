"""Which trained model a job means: the digest of everything that decides it, and the folder named
after that digest.

How many workers or GPUs train it is left out (a smaller or larger cluster goes on with the same
student, whose last bits may differ), and so are how often checkpoints are kept and everything of
evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from distill.core.errors import ContractError
from distill.core.schema import digest, without_usual
from distill.job.sweep import Variant
from distill.models.custom_source import TRUNK, custom_models, head_key, identity_of
from distill.models.files import identify_model
from distill.models.losses.custom import CustomLoss
from distill.models.networks.custom import CustomModel
from distill.models.networks.pretrained import BegunNetwork
from distill.models.record import ModelRecord, read_record
from distill.plan.held_out import fit_stop
from distill.plan.pretrained import begun_networks, network_with_files, student_with_files
from distill.plan.workspace import Workspace
from distill.spec.models import NOT_LEARNED, USUAL_TRAINING, Eszsl, Fit, LabelFeatures, Training
from distill.spec.networks import FitModel
from distill.spec.students import ClusterBalance, Head, HeldOut, Student, Term
from distill.storage.base import Storage

# options of training, head, term or loss that came later, and what they say of older models
_USUAL: Mapping[str, Any] = {
    **USUAL_TRAINING,
    "smoothing": 0.0,
    "row_weight": None,
    "ramp": None,
    "width": None,
    "batch_share": {},
    "rows": {},
    "features": None,
}


_LETTERS = {"words": "letters"}  # what was a word to every network before that was a key


def fit_folder(workspace: Workspace, name: str) -> Storage:
    """Return where `fit.<name>` lies under the job as it is now. Lists the labelled pool."""
    tables = workspace.tables
    fit = tables.fit[name]
    folder = _fit_folder(workspace, name, fit)
    if not fit.model.words_are_unsaid:
        return folder
    before = fit.model_copy(update={"model": fit.model.with_words("letters")})
    return _finished(folder, _fit_folder(workspace, name, before))


def _finished(folder: Storage, before: Storage) -> Storage:
    """Return the folder of before where a model was finished there and none was since."""
    # what was trained under a former digest stays
    if read_record(folder) is None and read_record(before) is not None:
        return before
    return folder


def _fit_folder(workspace: Workspace, name: str, fit: Fit) -> Storage:
    tables = workspace.tables
    on = fit.on
    pool = workspace.pool(on)
    outputs = tables.pool_outputs(on)
    described = None
    learned = None
    if isinstance(fit.model, Eszsl):
        described = _described(workspace, name, fit.model)
    else:
        learned = _learned(fit.training)
    stop = fit_stop(fit.early_stop) if fit.early_stop else None
    identity = [
        _plain_fit_model(workspace, name, fit.model),
        learned,
        [fit.seed, tables.fragment_rows],
        pool.inventory.content,
        pool.features.model_dump(mode="json"),
        [pool.spec.target, outputs.kind, list(outputs.classes), outputs.exclusive],
        described,
        *_stopped_by(workspace, stop, fit.features),
    ]
    if fit.teachers is not None:
        identity.append({"teachers": fit.teachers.model_dump(mode="json")})
    if fit.features is not None:  # what came later is left out where it says nothing
        identity.append(value_pins(workspace, fit.features, (on,)))
    return workspace.root_of(f"fit.{name}").folder("fits", name, digest(identity)[:16])


def find_fit(workspace: Workspace, name: str) -> tuple[Storage, ModelRecord]:
    """Find a finished fit. Raises ContractError where it is not done."""
    folder = fit_folder(workspace, name)
    record = read_record(folder)
    if record is None:
        tables = workspace.tables
        raise ContractError(
            f"fit.{name} is not fitted yet under {tables.root_uri}."
            f" Run `distill fit {tables.path} {name}`."
        )
    return folder, record


def value_pins(
    workspace: Workspace, features: LabelFeatures | None, pools: Sequence[str]
) -> dict[str, str]:
    """Return the labels that are seen in place of some pools' features, by digest; none where the
    pools' own are."""
    if features is None:
        return {}
    name = features.label_set
    return {
        f"features {features.of} over {pool}": workspace.label_set(name, pool).label_hash
        for pool in pools
    }


def student_pins(workspace: Workspace, student: Student) -> dict[str, str]:
    """Return what a student learns from, by digest: label hashes and pool contents."""
    pins = {}
    for term in student.terms:
        if term.label_set is None:
            continue
        for pool in student.on:
            labels = workspace.label_set(term.label_set, pool)
            pins[f"{term.learns} over {pool}"] = labels.label_hash
    pins |= _group_pins(workspace, student)
    for pool in student.taught_on:
        pins[f"pools.{pool}"] = workspace.pool(pool).inventory.content
    return pins | value_pins(workspace, student.features, student.taught_on)


def _group_pins(workspace: Workspace, student: Student) -> dict[str, str]:
    """What says the groups that rows are weighed by, by digest."""
    pins = {}
    for term in student.terms:
        if isinstance(term.row_weight, ClusterBalance):
            name = term.row_weight.labels
            pools = student.on if term.label_set else (str(term.pool),)
            for pool in pools:
                labels = workspace.label_set(name, pool)
                pins[f"groups labels.{name} over {pool}"] = labels.label_hash
    return pins


def held_out_pins(
    workspace: Workspace, stop: HeldOut, features: LabelFeatures | None = None
) -> dict[str, str]:
    """Return the rows and labels that a training is stopped by, by digest."""
    pool = str(stop.rows)
    pins = value_pins(workspace, features, (pool,))
    if stop.label_set:
        labels = workspace.label_set(stop.label_set, pool)
        pins[f"{stop.learns} over {pool}"] = labels.label_hash
    pins[f"pools.{pool}"] = workspace.pool(pool).inventory.content
    return pins


def student_folder(workspace: Workspace, variant: Variant, pins: Mapping[str, str]) -> Storage:
    """Return where a student lies, given what it learns from."""
    student = variant.spec
    folder = _student_folder(workspace, variant.student, student, pins)
    if not student.model.words_are_unsaid:
        return folder
    heads = {name: _head_before(head) for name, head in student.heads.items()}
    model = student.model.with_words("letters")
    before = student.model_copy(update={"model": model, "heads": heads})
    return _finished(folder, _student_folder(workspace, variant.student, before, pins))


def _head_before(head: Head) -> Head:
    if head.model is None:
        return head
    return head.model_copy(update={"model": head.model.with_words("letters")})


def _student_folder(
    workspace: Workspace, name: str, student: Student, pins: Mapping[str, str]
) -> Storage:
    tables = workspace.tables
    features = [tables.pools[pool].features for pool in student.taught_on]
    targets = [tables.pools[term.pool].target if term.pool else None for term in student.terms]
    identity = [
        [_plain_student(workspace, student, f"students.{name}"), tables.fragment_rows],
        _learned(student.training),
        dict(pins),
        [each.model_dump(mode="json") for each in features if each],
        targets,
        [asdict(tables.term_outputs(term)) for term in student.terms],
    ]
    losses = _custom_losses(workspace, student)
    if losses:  # what came later is left out where it says nothing: older digests stay
        identity.append(losses)
    identity += _stopped_by(workspace, student.early_stop, student.features)
    return workspace.root.folder("students", name, digest(identity)[:16])


def find_student(workspace: Workspace, variant: Variant) -> tuple[Storage, ModelRecord]:
    """Find a finished student. Raises ContractError where it is not trained on what is stored now."""
    student = variant.spec
    pins = student_pins(workspace, student)
    folder = student_folder(workspace, variant, pins)
    record = read_record(folder)
    if record is None:
        tables = workspace.tables
        raise ContractError(
            f"students.{variant.name} is not trained yet under {tables.root_uri}."
            f" Run `distill train {tables.path} {variant.student}`."
        )
    return folder, record


def _plain_fit_model(workspace: Workspace, name: str, model: FitModel) -> dict[str, Any]:
    model = network_with_files(workspace.tables, model, f"fit.{name}.{TRUNK}")
    if isinstance(model, BegunNetwork):
        return _plain_pretrained(model)
    if not isinstance(model, CustomModel):
        return _plain_network(model.model_dump(mode="json", exclude={"encoder"}))
    source = workspace.tables.fit_code(name)[TRUNK]
    return _plain_network(identity_of(model, source, f"fit.{name}.{TRUNK}"))


def _plain_pretrained(model: BegunNetwork) -> dict[str, Any]:
    """What says which network this is: everything but where its model lies."""
    # without defaults, so that a key that comes later changes no digest of before
    exclude = set(model.location_keys)
    return model.model_dump(mode="json", exclude=exclude, exclude_defaults=True)


def _plain_network(plain: dict[str, Any]) -> dict[str, Any]:
    """What a network's table says, as it was before a word had more than letters."""
    plain = without_usual(plain, _LETTERS)
    if isinstance(plain.get("text"), dict):
        plain["text"] = without_usual(plain["text"], _LETTERS)
    return plain


def _described(workspace: Workspace, name: str, model: Eszsl) -> list[Any]:
    """What says how classes are described: the file, and the encoder of its texts."""
    described: list[Any] = [*workspace.tables.descriptions(name)]
    if model.encoder is not None:
        uri = workspace.tables.model_uri(model.encoder)
        encoder = identify_model(uri, None, f"fit.{name}.model.encoder")
        described.append(encoder.sha256)
    return described


def _stopped_by(
    workspace: Workspace, stop: HeldOut | None, features: LabelFeatures | None
) -> list[dict[str, Any]]:
    """What decides when a training stops and which epoch is kept: nothing without an early stop."""
    if stop is None:
        return []
    tables = workspace.tables
    term = tables.held_out_term(stop)
    rows = str(stop.rows)
    pool = workspace.pool(rows)
    loss_text = None
    if isinstance(term.loss, CustomLoss):
        loss_text = tables.custom_source(term.loss, "early_stop.loss").whole_text
    plain = pool.features.model_dump(mode="json")
    measured = [_plain_term(term), loss_text, asdict(tables.term_outputs(term)), plain]
    stopping = {"patience": stop.patience, "least": stop.least, "every_epochs": stop.every_epochs}
    return [
        {
            "early_stop": stopping,
            "measured": measured,
            "target": pool.spec.target,
            "pins": held_out_pins(workspace, stop, features),
        }
    ]


def _custom_losses(workspace: Workspace, student: Student) -> list[str]:
    """The text of each loss of the user's own."""
    losses = [term.loss for term in student.terms if isinstance(term.loss, CustomLoss)]
    sources = [workspace.tables.custom_source(loss, f"students.….{loss.name}") for loss in losses]
    return [source.whole_text for source in sources]


def _learned(training: Training) -> dict[str, Any]:
    """What of a training's table decides what is learned."""
    plain = training.model_dump(mode="json", exclude=set(NOT_LEARNED))
    return without_usual(plain, _USUAL)


def _plain_student(workspace: Workspace, student: Student, where: str) -> dict[str, Any]:
    """What a student's table says, without its training."""
    code = workspace.tables.student_code(student, where)
    student = student_with_files(workspace.tables, student, where)
    models = custom_models(student.model, student.heads)
    own = {key: identity_of(model, code[key], f"{where}.{key}") for key, model in models.items()}
    own |= {key: _plain_pretrained(each) for key, each in begun_networks(student).items()}
    plain = student.model_dump(mode="json", exclude={"training", "terms", "early_stop"})
    plain = without_usual(plain, _USUAL)
    plain["model"] = _plain_network(own.get(TRUNK, plain["model"]))
    for name, head in plain["heads"].items():
        head_model = own.get(head_key(name), head["model"])
        head["model"] = None if head_model is None else _plain_network(head_model)
        plain["heads"][name] = without_usual(head, _USUAL)
    plain["terms"] = [_plain_term(term) for term in student.terms]
    return plain


def _plain_term(term: Term) -> dict[str, Any]:
    plain = term.model_dump(mode="json")
    plain["loss"] = without_usual(plain["loss"], _USUAL)
    return without_usual(plain, _USUAL)
