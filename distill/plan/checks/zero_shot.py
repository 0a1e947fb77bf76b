"""Descriptions of classes that a zero-shot fit learns from."""

from __future__ import annotations

import math
from collections.abc import Sequence

from distill.core.errors import JobError
from distill.plan.checks.files import check_model_uri
from distill.plan.checks.problems import Problems
from distill.plan.tables import JobTables
from distill.spec.base import repeated
from distill.spec.models import Eszsl

# two to learn from while two others are held out, by which constants are chosen
_FEWEST_CLASSES = 4


def check_descriptions(tables: JobTables, fit: str, model: Eszsl) -> Problems:
    """Yield all problems of a zero-shot fit's descriptions, and of the target that it learns."""
    where = f"fit.{fit}.model.descriptions"
    try:
        classes, rows = tables.descriptions(fit)
    except JobError as error:
        yield str(error)
        return
    yield from _target(tables, fit, classes)
    twice = repeated(classes)
    if twice:
        yield f"{where}: the classes {twice} stand there more than once. Describe each once."
    if model.encoder is None:
        yield from _numbers(rows, where)
    else:
        yield from check_model_uri(tables, model.encoder, f"fit.{fit}.model.encoder")
        yield from _texts(rows, where)


def _target(tables: JobTables, fit: str, described: Sequence[str]) -> Problems:
    where = f"fit.{fit}.model.descriptions"
    fit_table = tables.fit[fit]
    on = fit_table.on
    target = tables.pool_outputs(on)
    if not target.classes or not target.exclusive:
        yield (
            f"fit.{fit}.on = {on!r}: zero-shot needs a target of exclusive classes,"
            f" not {target.in_words}."
        )
    lacking = [name for name in target.classes if name not in described]
    if lacking:
        yield f"{where}: no row for the classes {lacking} of pools.{on}. Describe every class."
    count = len(target.classes)
    if count < _FEWEST_CLASSES:
        yield (
            f"{where}: constants are chosen by holding out pairs of classes;"
            f" {count} labelled classes are too few ({_FEWEST_CLASSES} at the least)."
        )


def _texts(rows: Sequence[Sequence[str]], where: str) -> Problems:
    for cells in rows:
        if len(cells) != 1 or not cells[0].strip():
            yield (
                f"{where}: with an encoder every row must be a class name and one text"
                " (in quotes, where it has a comma)."
            )
            return


def _numbers(rows: Sequence[Sequence[str]], where: str) -> Problems:
    lengths = {len(row) for row in rows}
    cells = [cell for row in rows for cell in row]
    if len(lengths) != 1 or not cells or not all(map(_is_number, cells)):
        yield f"{where}: every row must be a class name and the same number of numbers."


def _is_number(cell: str) -> bool:
    try:
        number = float(cell)
    except ValueError:
        return False
    return math.isfinite(number)
