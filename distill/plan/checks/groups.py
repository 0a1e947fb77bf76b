"""Whether a label set puts rows into groups: clusters or units of a structure, or classes."""

from __future__ import annotations

from collections.abc import Sequence

from distill.plan.checks.problems import Problems
from distill.plan.checks.structures import NUMBERS
from distill.plan.tables import JobTables
from distill.spec.labels import Structured


def check_groups(tables: JobTables, name: str, pools: Sequence[str], where: str) -> Problems:
    """Yield why `labels.<name>` says no group of every row of some pools; `where` is the key that
    names it, and its value."""
    if name not in tables.labels:
        there = ", ".join(tables.labels)
        yield f"{where}: there is no such label set. There is: {there}."
        return
    labels = tables.labels[name]
    outputs = tables.label_outputs(name)
    labeler = labels.labeler
    is_number = isinstance(labeler, Structured) and labeler.gives in NUMBERS
    if not is_number and not outputs.is_exclusive:
        yield (
            f"{where}: says {outputs.in_words}, which are no groups. Name a label set of"
            " gives = 'cluster' or 'unit', or one of classes."
        )
    missing = [pool for pool in pools if pool not in labels.over]
    if missing:
        yield (
            f"{where}: it covers {list(labels.over)}, and rows of {missing} are seen too. Add"
            f" them to labels.{name}.over."
        )
