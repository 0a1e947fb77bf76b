"""What `teachers` of a fit, and labelers that count their votes, say of the rest of a job."""

from __future__ import annotations

from distill.core.dp.allowance import largest_allowance
from distill.labels.vote_answers import MOST_ROWS
from distill.plan.checks.problems import Problems
from distill.plan.tables import JobTables
from distill.spec.labels import Ensemble, Fitted, Labels
from distill.spec.models import Eszsl, Fit
from distill.spec.pate import Pate
from distill.spec.selections import selection_name


def check_teachers(tables: JobTables, name: str) -> Problems:
    """Yield why `fit.<name>` cannot have the teachers that it asks for."""
    fit = tables.fit[name]
    if fit.teachers is None:
        return
    where = f"fit.{name}.teachers"
    yield from _teachers(fit, where)
    outputs = tables.pool_outputs(fit.on)
    if not outputs.is_exclusive:
        yield f"{where}: teachers vote for one of several classes, and the target is another."


def _teachers(fit: Fit, where: str) -> Problems:
    if isinstance(fit.model, Eszsl):
        yield f"{where}: an eszsl is one model. Leave them out, or fit a network."
    if fit.features is not None:
        yield (
            f"{where}: what a label set says of a row is not split with the row. Leave `features`"
            " out."
        )
    if fit.early_stop is not None:
        yield (
            f"{where}: the rows that stop one teacher would stop all, and be seen by all. Leave"
            " early_stop out."
        )
    if selection_name(fit.on) is not None:
        yield f"{where}: {fit.on} is a selection already. Fit on a pool of files."


def check_votes(tables: JobTables, name: str) -> Problems:
    """Yield why `labels.<name>` cannot count the votes that it asks for, or must not store those of
    teachers as they are."""
    labels = tables.labels[name]
    for key, labeler in labels.members(name):
        if not isinstance(labeler, Fitted):
            continue
        has_teachers = tables.fit[labeler.fit].teachers is not None
        if isinstance(labeler, Pate) and not has_teachers:
            yield (
                f"{key}.fit = {labeler.fit!r}: is one network, which has one vote. Give"
                f" fit.{labeler.fit} `teachers`, each of which sees rows of its own."
            )
        elif has_teachers and not isinstance(labeler, Pate):
            yield (
                f"{key}.kind = {labeler.kind!r}: fit.{labeler.fit} has teachers, whose votes are"
                ' private. Use kind = "pate".'
            )
        elif isinstance(labeler, Pate):
            yield from _votes(tables, labels, labeler, f"labels.{name}")


def _votes(tables: JobTables, labels: Labels, labeler: Pate, where: str) -> Problems:
    key = f"{where}.labeler"
    if isinstance(labels.labeler, Ensemble):
        yield f"{key}: noisy votes are no member of an ensemble. Write a label set of them."
    if len(labels.over) > 1:
        yield (
            f"{where}.over = {list(labels.over)}: one budget is for the rows of one pool. Write a"
            " label set for each, whose budgets then add up."
        )
    private = tables.fit[labeler.fit].on
    if any(tables.may_share_rows(pool, private) for pool in labels.over):
        yield f"{where}.over: the teachers have seen rows of {private!r}. Ask them about others."
    if labels.calibrate_on is not None:
        yield f"{where}.calibrate_on: asking about those rows would spend privacy. Leave it out."
    if tables.fragment_rows > MOST_ROWS:
        yield (
            f"fragment_rows = {tables.fragment_rows}: what teachers answered is kept by fragment, of"
            f" at most {MOST_ROWS:,} rows. Lower it."
        )
    one = largest_allowance(labeler.vote, labeler.epsilon, labeler.delta, asked=labeler.asked)
    if not one.answered:
        yield (
            f"{key}.epsilon = {labeler.epsilon:g}: is not enough for one answer at scale ="
            f" {labeler.scale:g}. Raise scale or epsilon, or ask about fewer rows."
        )
