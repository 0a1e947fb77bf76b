"""What `training.private` does not go together with: where its promise would not hold."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from distill.models.losses.cross_entropy import CrossEntropy
from distill.plan.checks.problems import Problems
from distill.plan.held_out import fit_student
from distill.plan.privacy import bare_pools
from distill.plan.tables import JobTables
from distill.spec.models import Training
from distill.spec.networks import FitModel
from distill.spec.selections import selection_name
from distill.spec.students import ClassBalance, ClusterBalance, Student


def check_private_fit(tables: JobTables, name: str) -> Problems:
    """Yield why `fit.<name>` cannot be trained privately as the job says."""
    fit = tables.fit[name]
    where = f"fit.{name}"
    if fit.training.private is None:
        return
    yield from _chosen((fit.on,), f"{where}.on")
    if fit.features is not None:
        # what it learns is no matter here
        loss = CrossEntropy(kind="cross_entropy")
        as_student = fit_student(fit, loss)
        yield from _seen_bare(tables, as_student, where)
    yield from _ways(fit.training, f"{where}.training")
    yield from _network(fit.model, f"{where}.model")
    if fit.early_stop is not None:
        key = f"{where}.early_stop"
        yield _early_stop(key)
    if fit.teachers is not None:
        yield (
            f"{where}.teachers: their noisy votes are the promise, and noise in each of them makes"
            " it no better. Leave `private` out."
        )


def check_private_student(tables: JobTables, student: Student, where: str) -> Problems:
    """Yield the same of a student."""
    if student.training.private is None:
        return
    yield from _ways(student.training, f"{where}.training")
    yield from _network(student.model, f"{where}.model")
    for name, head in student.heads.items():
        if head.model is not None:
            yield from _network(head.model, f"{where}.heads.{name}.model")
    if student.early_stop is not None:
        yield _early_stop(f"{where}.early_stop")
    yield from _chosen(student.taught_on, f"{where}.terms")
    yield from _twice(tables, student, where)
    yield from _seen_bare(tables, student, where)
    sources = {term.pool for term in student.terms}
    if len(sources) > 1:
        yield (
            f"{where}.terms: learn from rows of {len(sources)} sources, and `private` samples one."
            " Teach one student of each, or label the rows of one by the other."
        )
    for number, term in enumerate(student.terms):
        key = f"{where}.terms.{number}"
        if isinstance(term.row_weight, (ClassBalance, ClusterBalance)):
            yield (
                f"{key}.row_weight: weighs a row by counts of all others, which are private. Leave"
                " it out, or weigh by `confidence`."
            )
        if not type(term.loss).__module__.startswith("distill.") or term.loss.kind == "custom":
            yield _own_loss(key)


def _chosen(pools: Iterable[str], key: str) -> Problems:
    for pool in pools:
        if selection_name(pool) is not None:
            yield (
                f"{key}: {pool} was chosen by looking at all rows, so one row decides which others"
                " teach, without noise. Learn from the pool itself."
            )


def _twice(tables: JobTables, student: Student, where: str) -> Problems:
    for pool, other in combinations(student.taught_on, 2):
        if tables.may_share_rows(pool, other):
            yield (
                f"{where}.on: pools.{pool} and pools.{other} may have the same rows, and `private`"
                " hides each once. Leave one of them out."
            )


def _seen_bare(tables: JobTables, student: Student, where: str) -> Problems:
    bare = bare_pools(tables, student)
    seen = sorted(bare & {tables.base_pool(pool) for pool in student.taught_on})
    if seen:
        yield (
            f"{where}.training.private: hides rows of {seen}, which what it learns from has seen"
            " without noise. Train that privately too, or learn from others."
        )


def _own_loss(key: str) -> str:
    return (
        f"{key}.loss: a loss of your own may look at several rows at once, and `private` bounds what"
        " one row does. Use one of distill's."
    )


def _early_stop(key: str) -> str:
    return (
        f"{key}: what is measured on held-out rows is told without noise, epoch by epoch. Leave it"
        " out, and say `epochs`."
    )


def _network(model: FitModel, key: str) -> Problems:
    if model.kind == "eszsl":
        yield f"{key}: an eszsl has no gradients. Fit a network."
    if model.text_hashing is not None or getattr(model, "reads_text", False):
        yield (
            f"{key}: reads text, whose words' rows of a table say who has written them. Train it on"
            ' embeddings: `features = { kind = "labels", … }`.'
        )


def _ways(training: Training, where: str) -> Problems:
    refused = {
        "batch_norm": (training.batch_norm is not None, "mixes the rows of a step"),
        "gradients": (training.gradients == "lanes", "adds up lanes before rows are clipped"),
        "clip_norm": (training.clip_norm is not None, "is not `private.clip`, which is each row's"),
        "compile": (training.compile, "hides the layers by which rows' gradients are found"),
        "activation_checkpoints": (
            training.activation_checkpoints,
            "computes layers again, whose rows' gradients would count twice",
        ),
        "precision": (training.precision != "float32", "rounds what is clipped"),
        "augment": (training.augment is not None, "is not drawn for Poisson samples"),
        "tokens": (training.tokens is not None, "is for texts"),
    }
    for key, (is_there, reason) in refused.items():
        if is_there:
            yield f"{where}.{key}: {reason}; training.private does without. Leave it out."
