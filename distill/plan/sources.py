"""Which rows a lesson sees together, and what is learned on them: one source for each group of
pools that terms share."""

from __future__ import annotations

from collections.abc import Mapping

from distill.loader.dataset import Dataset, LabelColumn, TargetColumn
from distill.plan.class_balance import class_weights
from distill.plan.labelers import prepare_labels
from distill.plan.workspace import Workspace
from distill.pools.open_pool import OpenPool
from distill.spec.models import ngrams_of
from distill.spec.students import ClassBalance, Student, Term


def pools_of(student: Student, term: Term) -> tuple[str, ...]:
    """The pools whose rows a term sees."""
    return student.on if term.label_set else (str(term.pool),)


def plan_datasets(
    workspace: Workspace, student: Student
) -> tuple[tuple[Dataset, ...], dict[tuple[str, ...], int]]:
    """One source for each group of pools that terms see together; where a group stands among them."""
    groups = list(
        dict.fromkeys(
            sorted(
                (pools_of(student, term) for term in student.terms),
                key=lambda pools: pools != student.on,
            )
        )
    )
    made = []
    for pools in groups:
        terms = {
            str(number): term
            for number, term in enumerate(student.terms)
            if pools_of(student, term) == pools
        }
        made.append(source_of(workspace, student, [workspace.pool(pool) for pool in pools], terms))
    return tuple(made), {pools: number for number, pools in enumerate(groups)}


def source_of(
    workspace: Workspace, student: Student, pools: list[OpenPool], terms: Mapping[str, Term]
) -> Dataset:
    """Rows of pools as a student sees them, with what terms learn of them, by column."""
    columns = {name: _column(workspace, term, pools) for name, term in terms.items()}
    inventories = tuple(pool.inventory for pool in pools)
    return Dataset(
        inventories, pools[0].features, pools[0].width, columns, ngrams_of(student.model)
    )


def _column(workspace: Workspace, term: Term, pools: list[OpenPool]) -> LabelColumn | TargetColumn:
    balance = (
        class_weights(workspace, term, pools) if isinstance(term.row_weight, ClassBalance) else None
    )
    if term.pool:
        truth = workspace.tables.pool_outputs(term.pool)
        return TargetColumn(str(pools[0].spec.target), truth, balance, pools[0].target_width(truth))
    name = str(term.label_set)
    _, contract = prepare_labels(workspace, name)
    sets = tuple(workspace.whole_labels(name, pool, contract) for pool in pools)
    return LabelColumn(
        contract, sets, getattr(term.loss, "temperature", None), term.row_weight, balance
    )
