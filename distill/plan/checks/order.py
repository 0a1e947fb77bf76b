"""Whether all that a job makes can be made one after another."""

from __future__ import annotations

from distill.core.errors import JobError
from distill.plan.checks.problems import Problems
from distill.plan.order import working_order
from distill.plan.tables import JobTables


def check_order(tables: JobTables) -> Problems:
    """Yield the first circle of things that need each other."""
    try:
        working_order(tables)
    except JobError as error:
        yield str(error)
