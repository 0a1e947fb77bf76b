"""What the tables of a job say of each other. Each function yields problems as `key = value: what
is wrong. What to do.`"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from distill.core.errors import JobError
from distill.job.job import Job
from distill.plan.checks.labels import check_alike, check_labels, check_maker, check_model
from distill.plan.checks.networks import check_learnable, check_networks, check_own
from distill.plan.checks.stops import check_fit_stop, check_shares, check_stop, stop_names
from distill.plan.checks.terms import check_term
from distill.plan.outputs import head_outputs, label_outputs, pool_outputs
from distill.spec.labels import Fitted, TopK
from distill.spec.models import Eszsl, Training
from distill.spec.outputs import Outputs
from distill.spec.students import Student
from distill.spec.uris import wrong_uri

Problems = Iterator[str]


def check_job(job: Job) -> Problems:
    """All problems of a resolved job; the first kind found hides the later ones, which would only
    repeat it."""
    for check in (_uris, _names, _pools, _fits, check_labels, _sweeps, _students, _evaluate):
        problems = list(dict.fromkeys(check(job)))
        yield from problems
        if problems:
            return


def _uris(job: Job) -> Problems:
    """Said first, so that no later message shows a secret."""
    wrong = wrong_uri(job.root_uri)
    if wrong:
        yield f"root: {wrong}"
    for name in job.pools:
        wrong = wrong_uri(job.pool_uri(name))
        if wrong:
            yield f"pools.{name}.path: {wrong}"


def _names(job: Job) -> Problems:
    """Every name that is used exists."""
    for fit, spec in job.fit.items():
        stopped_by = spec.early_stop.pool if spec.early_stop else None
        yield from _known(spec.on, job.pools, f"fit.{fit}.on", "pool")
        yield from _known(stopped_by, [None, *job.pools], f"fit.{fit}.early_stop.learns", "pool")
    for name, labels in job.labels.items():
        for where, labeler in labels.members(name):
            if isinstance(labeler, Fitted):
                yield from _known(labeler.fit, job.fit, f"{where}.fit", "fit")
        for pool in labels.over:
            yield from _known(pool, job.pools, f"labels.{name}.over", "pool")
        yield from _known(
            labels.calibrate_on, [None, *job.pools], f"labels.{name}.calibrate_on", "pool"
        )
    for name, student in job.students.items():
        yield from _student_names(job, name, student)
    for name, sweep in job.sweep.items():
        for swept in sweep.students:
            yield from _known(swept, job.students, f"sweep.{name}.student", "student")
    if job.evaluate:
        yield from _known(job.evaluate.on, job.pools, "evaluate.on", "pool")
        yield from _known(
            job.evaluate.teacher, [None, *job.labels], "evaluate.teacher", "label set"
        )


def _student_names(job: Job, name: str, student: Student) -> Problems:
    for number, term in enumerate(student.terms):
        where = f"students.{name}.terms.{number}.learns"
        if term.label_set:
            yield from _known(term.label_set, job.labels, where, "label set")
        else:
            yield from _known(term.pool, job.pools, where, "pool")
    for pool in student.on:
        yield from _known(pool, job.pools, f"students.{name}.on", "pool")
    for key, named, known, what in stop_names(job, student):
        yield from _known(named, known, f"students.{name}.{key}", what)
    for head in student.heads:
        yield from _known(
            head, student.head_names, f"students.{name}.heads", "head that a term teaches"
        )


def _known(name: str | None, known: Iterable[str | None], where: str, what: str) -> Problems:
    names = list(known)
    if name not in names:
        yield (
            f"{where} = {name!r}: there is no such {what}. There is:"
            f" {', '.join(filter(None, names)) or 'none'}."
        )


def _pools(job: Job) -> Problems:
    uris = {name: job.pool_uri(name) for name in job.pools}
    for name, pool in job.pools.items():
        if pool.features is None:
            yield (
                f"pools.{name}.features: missing, and the job's pools do not share one. Say what a"
                " model sees of a row."
            )
        private = sorted(set(pool.private).intersection(pool.read_columns))
        if private:  # features that the pool takes from another one
            yield (
                f"pools.{name}.private = {list(pool.private)}: private columns {private} are used"
                " as features. Take them out of one of the two."
            )
        if f"{job.root_uri}/".startswith(f"{uris[name]}/"):
            yield (
                f"root = {job.root_uri!r}: lies in pools.{name} ({uris[name]!r}), whose files it"
                " would join. Keep it elsewhere."
            )
        if pool_outputs(job, name).says_nothing:
            yield (
                f"pools.{name}.classes = {list(pool.class_names)}: one exclusive class is every"
                " row's. Name all classes; of a yes or no say outputs = 'independent'."
            )
        yield from _maker(job, name)
        for other in list(job.pools)[: list(job.pools).index(name)]:
            if f"{uris[name]}/".startswith(f"{uris[other]}/") or f"{uris[other]}/".startswith(
                f"{uris[name]}/"
            ):
                yield (
                    f"pools.{name}.path = {uris[name]!r}: its files lie in pools.{other} too"
                    f" ({uris[other]!r}). Give each pool a folder of its own."
                )


def _maker(job: Job, pool: str) -> Problems:
    made_by = job.pools[pool].made_by
    if made_by is None:
        return
    yield from check_maker(job, made_by, f"pools.{pool}.made_by")
    if job.pools[pool].format not in (None, "parquet"):
        yield (
            f"pools.{pool}.format = {job.pools[pool].format!r}: a pool that is made is Parquet."
            " Leave it out."
        )


def _fits(job: Job) -> Problems:
    for name, fit in job.fit.items():
        if job.pools[fit.on].target is None:
            yield (
                f"fit.{name}.on = {fit.on!r}: that pool has no target to learn. Name its target"
                " column."
            )
            continue
        if job.evaluate and job.evaluate.on == fit.on:
            yield (
                f"fit.{name}.on = {fit.on!r}: students are judged on that pool. Fit it on another"
                " one."
            )
        yield from check_learnable(job, (fit.on,), fit.model, f"fit.{name}")
        yield from check_own(job, fit.model, f"fit.{name}.model")
        yield from check_fit_stop(job, name)
        if not isinstance(fit.model, Eszsl):
            yield from _training(fit.training, f"fit.{name}.training")
            continue
        yield from _descriptions(job, name, pool_outputs(job, fit.on))


def _descriptions(job: Job, fit: str, target: Outputs) -> Problems:
    where = f"fit.{fit}.model.descriptions"
    try:
        classes, rows = job.descriptions(fit)
    except JobError as error:
        yield str(error)
        return
    if not target.classes or not target.exclusive:
        yield (
            f"fit.{fit}.on = {job.fit[fit].on!r}: zero-shot needs a target of exclusive classes,"
            f" not {target.said}."
        )
    lacking = [name for name in target.classes if name not in classes]
    if lacking:
        yield (
            f"{where}: no row for the classes {lacking} of pools.{job.fit[fit].on}. Describe every"
            " class."
        )
    if len(target.classes) < 4:
        yield (
            f"{where}: constants are chosen by holding out pairs of classes; {len(target.classes)}"
            " labelled classes are too few (4 at the least)."
        )
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        yield f"{where}: the classes {twice} stand there more than once. Describe each once."
    model = job.fit[fit].model
    encoder = model.encoder if isinstance(model, Eszsl) else None
    if encoder is not None:
        yield from check_model(job, encoder, f"fit.{fit}.model.encoder")
        if any(len(row) != 1 or not row[0].strip() for row in rows):
            yield (
                f"{where}: with an encoder every row must be a class name and one text (in quotes,"
                " where it has a comma)."
            )
    elif (
        len({len(row) for row in rows}) != 1
        or not rows[0]
        or not all(_is_number(cell) for row in rows for cell in row)
    ):
        yield f"{where}: every row must be a class name and the same number of numbers."


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _training(training: Training, where: str) -> Problems:
    if training.batch_rows % training.lanes:
        yield (
            f"{where}.batch_rows = {training.batch_rows}: not a multiple of lanes ="
            f" {training.lanes}. Each lane gives the same share of a batch."
        )
    fewest, most = training.worker_range
    if fewest > most:
        yield f"{where}.workers = [{fewest}, {most}]: the fewest come first, then the most."
    elif most > training.lanes:
        yield (
            f"{where}.workers = [{fewest}, {most}]: more than lanes = {training.lanes}. Each worker"
            " takes one lane at the least."
        )
    elif fewest == most and training.lanes % most:
        yield (
            f"{where}.workers = {most}: does not divide lanes = {training.lanes}. Each worker takes"
            " whole lanes."
        )


def _sweeps(job: Job) -> Problems:
    try:
        _ = job.variants
    except ValueError as error:
        yield str(error)


def _students(job: Job) -> Problems:
    for variant in job.variants:
        where, student = f"students.{variant.student}", variant.spec
        unknown = list(_student_names(job, variant.student, student))
        yield from unknown
        if unknown:
            continue
        yield from _training(student.training, f"{where}.training")
        yield from check_shares(student, where)
        yield from _rows(job, student, where)
        yield from check_networks(job, student, where)
        yield from _head_names(job, student, where)
        for number, term in enumerate(student.terms):
            yield from check_term(job, student, term, f"{where}.terms.{number}")
        yield from check_stop(job, student, f"{where}.early_stop")


def _head_names(job: Job, student: Student, where: str) -> Problems:
    for head in student.head_names:
        said = head_outputs(job, student, head)
        if said.classes and said.exclusive and f"{head}_probability" in student.head_names:
            yield (
                f"{where}.heads: heads {head!r} and '{head}_probability' would have columns of one"
                " name where `predict` writes the first one's probability. Rename one."
            )


def _rows(job: Job, student: Student, where: str) -> Problems:
    judged = (job.evaluate.on,) if job.evaluate else ()
    yield from check_alike(job, (*student.taught_on, *judged), f"{where}.on")
    for term in student.terms:
        over = job.labels[term.label_set].over if term.label_set else ()
        lacking = [pool for pool in student.on if pool not in over]
        if term.label_set and (lacking or not student.on):
            yield (
                f"{where}.on = {list(student.on)}: {term.learns} covers {list(over)}. Label those"
                " pools too, or name others."
            )
        if job.evaluate and term.pool == job.evaluate.on:
            yield (
                f"{where}: learns the target of pools.{term.pool}, which it is judged on. Teach it"
                " from another pool."
            )
    if job.evaluate and job.evaluate.on in student.on:
        yield f"{where}.on: has pools.{job.evaluate.on}, which it is judged on. Leave it out."


def _evaluate(job: Job) -> Problems:
    if job.evaluate is None:
        return
    on, teacher = job.evaluate.on, job.evaluate.teacher
    if job.pools[on].target is None:
        yield f"evaluate.on = {on!r}: that pool has no target to judge by. Name its target column."
    for name, labels in job.labels.items():
        if (
            on in labels.over
            and isinstance(labels.encoding, TopK)
            and 1.0 not in labels.encoding.temperatures
        ):
            yield (
                f"labels.{name}.encoding.temperatures = {list(labels.encoding.temperatures)}: it is"
                f" judged on pools.{on}, at temperature 1. Add 1."
            )
    yield from _judged(job, on)
    truth = pool_outputs(job, on)
    for name, labels in job.labels.items():
        if on in labels.over:
            yield from _judgeable(label_outputs(job, name), truth, f"labels.{name}.over", on)
    for variant in job.variants:
        for head in variant.spec.judged_heads:
            yield from _judgeable(
                head_outputs(job, variant.spec, head),
                truth,
                f"students.{variant.student}.heads.{head}",
                on,
            )
    if teacher is not None and on not in job.labels[teacher].over:
        yield (
            f"evaluate.teacher = {teacher!r}: it does not label pools.{on}. Add {on!r} to"
            f" labels.{teacher}.over."
        )


def _judged(job: Job, on: str) -> Problems:
    """Whether anything is judged."""
    covered = any(on in labels.over for labels in job.labels.values())
    if (
        job.variants
        and not covered
        and not any(variant.spec.judged_heads for variant in job.variants)
    ):
        yield (
            f"evaluate.on = {on!r}: no label set covers it, and hints (heads with a width of their"
            " own) are not judged. Take [evaluate] out, or judge another head."
        )


def _judgeable(answers: Outputs, truth: Outputs, where: str, on: str) -> Problems:
    if (answers.kind, answers.exclusive) != (truth.kind, truth.exclusive):
        yield (
            f"{where}: answers with {answers.said}, but pools.{on}, which it is judged on, has"
            f" {truth.said}. Judge it on another pool."
        )
    elif truth.classes and not answers.positions.keys() & truth.positions.keys():
        yield (
            f"{where}: shares no class with pools.{on}: {answers.said} against {truth.said}. Spell"
            " them alike."
        )
