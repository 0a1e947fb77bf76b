"""Everything that is checked of a job file when it is loaded: the one list of such checks.

What also needs the pools is checked before any work (`distill.plan.checks.stored`).
"""

from __future__ import annotations

from collections.abc import Callable

from distill.plan.checks.audit import check_audit, check_audited
from distill.plan.checks.budget import check_budget
from distill.plan.checks.cascades import check_cascades
from distill.plan.checks.evaluation import check_evaluation
from distill.plan.checks.files import check_uris
from distill.plan.checks.fits import check_fits
from distill.plan.checks.judging import check_judging
from distill.plan.checks.labels import check_labels
from distill.plan.checks.names import check_names
from distill.plan.checks.order import check_order
from distill.plan.checks.pools import check_pools
from distill.plan.checks.problems import Problems
from distill.plan.checks.review import check_review
from distill.plan.checks.selections import check_selections
from distill.plan.checks.structures import check_structures
from distill.plan.checks.students import check_students, check_sweeps
from distill.plan.tables import JobTables

_CHECKS: tuple[Callable[[JobTables], Problems], ...] = (
    check_uris,  # first, so that no later message shows a secret
    check_names,  # second, since all others look names up
    check_order,  # third, since others follow what needs what
    check_pools,
    check_fits,
    check_structures,
    check_selections,
    check_labels,
    check_sweeps,
    check_students,
    check_evaluation,
    check_budget,
    check_judging,
    check_cascades,
    check_audit,
    check_audited,
    check_review,
)


def check_job(tables: JobTables) -> Problems:
    """Yield all problems of a resolved job; the first kind found hides the later ones, which would
    only repeat it."""
    for check in _CHECKS:
        found = check(tables)
        distinct = dict.fromkeys(found)
        problems = list(distinct)  # the variants of a student share theirs
        yield from problems
        if problems:
            return
