"""What the tables of a job say of each other. Each function yields problems as `key = value: what
is wrong. What to do.`"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from distill.core.errors import JobError
from distill.plan.checks.labels import check_alike, check_labels, check_maker, check_model
from distill.plan.checks.networks import check_learnable, check_networks, check_own
from distill.plan.checks.stops import check_fit_stop, check_shares, check_stop, stop_names
from distill.plan.checks.terms import check_term
from distill.plan.tables import JobTables
from distill.spec.labels import Fitted, TopK
from distill.spec.models import Eszsl, Training
from distill.spec.outputs import Outputs
from distill.spec.students import Student
from distill.spec.uris import wrong_uri

Problems = Iterator[str]


def check_job(tables: JobTables) -> Problems:
    """All problems of a resolved job; the first kind found hides the later ones, which would only
    repeat it."""
    for check in (_uris, _names, _pools, _fits, check_labels, _sweeps, _students, _evaluate):
        problems = list(dict.fromkeys(check(tables)))
        yield from problems
        if problems:
            return


def _uris(tables: JobTables) -> Problems:
    """Said first, so that no later message shows a secret."""
    wrong = wrong_uri(tables.root_uri)
    if wrong:
        yield f"root: {wrong}"
    for name in tables.pools:
        wrong = wrong_uri(tables.pool_uri(name))
        if wrong:
            yield f"pools.{name}.path: {wrong}"


def _names(tables: JobTables) -> Problems:
    """Every name that is used exists."""
    for fit, spec in tables.fit.items():
        stopped_by = spec.early_stop.pool if spec.early_stop else None
        yield from _known(spec.on, tables.pools, f"fit.{fit}.on", "pool")
        yield from _known(stopped_by, [None, *tables.pools], f"fit.{fit}.early_stop.learns", "pool")
    for name, labels in tables.labels.items():
        for where, labeler in labels.members(name):
            if isinstance(labeler, Fitted):
                yield from _known(labeler.fit, tables.fit, f"{where}.fit", "fit")
        for pool in labels.over:
            yield from _known(pool, tables.pools, f"labels.{name}.over", "pool")
        yield from _known(
            labels.calibrate_on, [None, *tables.pools], f"labels.{name}.calibrate_on", "pool"
        )
    for name, student in tables.students.items():
        yield from _student_names(tables, name, student)
    for name, sweep in tables.sweep.items():
        for swept in sweep.students:
            yield from _known(swept, tables.students, f"sweep.{name}.student", "student")
    if tables.evaluate:
        yield from _known(tables.evaluate.on, tables.pools, "evaluate.on", "pool")
        yield from _known(
            tables.evaluate.teacher, [None, *tables.labels], "evaluate.teacher", "label set"
        )


def _student_names(tables: JobTables, name: str, student: Student) -> Problems:
    for number, term in enumerate(student.terms):
        where = f"students.{name}.terms.{number}.learns"
        if term.label_set:
            yield from _known(term.label_set, tables.labels, where, "label set")
        else:
            yield from _known(term.pool, tables.pools, where, "pool")
    for pool in student.on:
        yield from _known(pool, tables.pools, f"students.{name}.on", "pool")
    for key, named, known, what in stop_names(tables, student):
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


def _pools(tables: JobTables) -> Problems:
    uris = {name: tables.pool_uri(name) for name in tables.pools}
    for name, pool in tables.pools.items():
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
        if f"{tables.root_uri}/".startswith(f"{uris[name]}/"):
            yield (
                f"root = {tables.root_uri!r}: lies in pools.{name} ({uris[name]!r}), whose files it"
                " would join. Keep it elsewhere."
            )
        if tables.pool_outputs(name).says_nothing:
            yield (
                f"pools.{name}.classes = {list(pool.class_names)}: one exclusive class is every"
                " row's. Name all classes; of a yes or no say outputs = 'independent'."
            )
        yield from _maker(tables, name)
        for other in list(tables.pools)[: list(tables.pools).index(name)]:
            if f"{uris[name]}/".startswith(f"{uris[other]}/") or f"{uris[other]}/".startswith(
                f"{uris[name]}/"
            ):
                yield (
                    f"pools.{name}.path = {uris[name]!r}: its files lie in pools.{other} too"
                    f" ({uris[other]!r}). Give each pool a folder of its own."
                )


def _maker(tables: JobTables, pool: str) -> Problems:
    made_by = tables.pools[pool].made_by
    if made_by is None:
        return
    yield from check_maker(tables, made_by, f"pools.{pool}.made_by")
    if tables.pools[pool].format not in (None, "parquet"):
        yield (
            f"pools.{pool}.format = {tables.pools[pool].format!r}: a pool that is made is Parquet."
            " Leave it out."
        )


def _fits(tables: JobTables) -> Problems:
    for name, fit in tables.fit.items():
        if tables.pools[fit.on].target is None:
            yield (
                f"fit.{name}.on = {fit.on!r}: that pool has no target to learn. Name its target"
                " column."
            )
            continue
        if tables.evaluate and tables.evaluate.on == fit.on:
            yield (
                f"fit.{name}.on = {fit.on!r}: students are judged on that pool. Fit it on another"
                " one."
            )
        yield from check_learnable(tables, (fit.on,), fit.model, f"fit.{name}")
        yield from check_own(tables, fit.model, f"fit.{name}.model")
        yield from check_fit_stop(tables, name)
        if not isinstance(fit.model, Eszsl):
            yield from _training(fit.training, f"fit.{name}.training")
            continue
        yield from _descriptions(tables, name, tables.pool_outputs(fit.on))


def _descriptions(tables: JobTables, fit: str, target: Outputs) -> Problems:
    where = f"fit.{fit}.model.descriptions"
    try:
        classes, rows = tables.descriptions(fit)
    except JobError as error:
        yield str(error)
        return
    if not target.classes or not target.exclusive:
        yield (
            f"fit.{fit}.on = {tables.fit[fit].on!r}: zero-shot needs a target of exclusive classes,"
            f" not {target.said}."
        )
    lacking = [name for name in target.classes if name not in classes]
    if lacking:
        yield (
            f"{where}: no row for the classes {lacking} of pools.{tables.fit[fit].on}. Describe every"
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
    model = tables.fit[fit].model
    encoder = model.encoder if isinstance(model, Eszsl) else None
    if encoder is not None:
        yield from check_model(tables, encoder, f"fit.{fit}.model.encoder")
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


def _sweeps(tables: JobTables) -> Problems:
    try:
        _ = tables.job.variants
    except ValueError as error:
        yield str(error)


def _students(tables: JobTables) -> Problems:
    for variant in tables.job.variants:
        where, student = f"students.{variant.student}", variant.spec
        unknown = list(_student_names(tables, variant.student, student))
        yield from unknown
        if unknown:
            continue
        yield from _training(student.training, f"{where}.training")
        yield from check_shares(student, where)
        yield from _rows(tables, student, where)
        yield from check_networks(tables, student, where)
        yield from _head_names(tables, student, where)
        for number, term in enumerate(student.terms):
            yield from check_term(tables, student, term, f"{where}.terms.{number}")
        yield from check_stop(tables, student, f"{where}.early_stop")


def _head_names(tables: JobTables, student: Student, where: str) -> Problems:
    for head in student.head_names:
        said = tables.head_outputs(student, head)
        if said.classes and said.exclusive and f"{head}_probability" in student.head_names:
            yield (
                f"{where}.heads: heads {head!r} and '{head}_probability' would have columns of one"
                " name where `predict` writes the first one's probability. Rename one."
            )


def _rows(tables: JobTables, student: Student, where: str) -> Problems:
    judged = (tables.evaluate.on,) if tables.evaluate else ()
    yield from check_alike(tables, (*student.taught_on, *judged), f"{where}.on")
    for term in student.terms:
        over = tables.labels[term.label_set].over if term.label_set else ()
        lacking = [pool for pool in student.on if pool not in over]
        if term.label_set and (lacking or not student.on):
            yield (
                f"{where}.on = {list(student.on)}: {term.learns} covers {list(over)}. Label those"
                " pools too, or name others."
            )
        if tables.evaluate and term.pool == tables.evaluate.on:
            yield (
                f"{where}: learns the target of pools.{term.pool}, which it is judged on. Teach it"
                " from another pool."
            )
    if tables.evaluate and tables.evaluate.on in student.on:
        yield f"{where}.on: has pools.{tables.evaluate.on}, which it is judged on. Leave it out."


def _evaluate(tables: JobTables) -> Problems:
    if tables.evaluate is None:
        return
    on, teacher = tables.evaluate.on, tables.evaluate.teacher
    if tables.pools[on].target is None:
        yield f"evaluate.on = {on!r}: that pool has no target to judge by. Name its target column."
    for name, labels in tables.labels.items():
        if (
            on in labels.over
            and isinstance(labels.encoding, TopK)
            and 1.0 not in labels.encoding.temperatures
        ):
            yield (
                f"labels.{name}.encoding.temperatures = {list(labels.encoding.temperatures)}: it is"
                f" judged on pools.{on}, at temperature 1. Add 1."
            )
    yield from _judged(tables, on)
    truth = tables.pool_outputs(on)
    for name, labels in tables.labels.items():
        if on in labels.over:
            yield from _judgeable(tables.label_outputs(name), truth, f"labels.{name}.over", on)
    for variant in tables.job.variants:
        for head in variant.spec.judged_heads:
            yield from _judgeable(
                tables.head_outputs(variant.spec, head),
                truth,
                f"students.{variant.student}.heads.{head}",
                on,
            )
    if teacher is not None and on not in tables.labels[teacher].over:
        yield (
            f"evaluate.teacher = {teacher!r}: it does not label pools.{on}. Add {on!r} to"
            f" labels.{teacher}.over."
        )


def _judged(tables: JobTables, on: str) -> Problems:
    """Whether anything is judged."""
    covered = any(on in labels.over for labels in tables.labels.values())
    if (
        tables.job.variants
        and not covered
        and not any(variant.spec.judged_heads for variant in tables.job.variants)
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
