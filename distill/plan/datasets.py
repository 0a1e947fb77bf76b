"""Which rows a training sees together, and what is learned on them: one dataset for each group of
pools that terms share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from distill.core.errors import ContractError
from distill.loader.dataset import Dataset, LabelColumn, TargetColumn
from distill.loader.subset import Subset, drawn_rows
from distill.loader.views import Views
from distill.models.custom_source import TRUNK
from distill.plan.class_balance import class_weights
from distill.plan.group_balance import group_weights
from distill.plan.label_values import features_of
from distill.plan.labelers import prepare_labels
from distill.plan.pretrained import network_with_files
from distill.plan.subset_balance import balanced
from distill.plan.workspace import Workspace
from distill.pools.open_pool import OpenPool
from distill.spec.students import ClassBalance, ClusterBalance, Student, Term

PoolGroup = tuple[str, ...]  # names of pools whose rows are seen together


def pools_of(student: Student, term: Term) -> PoolGroup:
    """Return the pools whose rows a term sees."""
    return student.on if term.label_set else (str(term.pool),)


def pool_groups(student: Student) -> list[PoolGroup]:
    """Return the groups of pools that a student's terms see: that of its label sets first, since it
    sets the length of an epoch."""
    groups = [pools_of(student, term) for term in student.terms]
    groups.sort(key=lambda group: group != student.on)
    distinct = dict.fromkeys(groups)
    return list(distinct)


def group_dataset(workspace: Workspace, student: Student, group: PoolGroup) -> Dataset:
    """Return the rows of one group, with what each of its terms learns, by the term's number."""
    numbered = enumerate(student.terms)
    terms = {str(number): term for number, term in numbered if pools_of(student, term) == group}
    pools = [workspace.pool(name) for name in group]
    dataset = dataset_of(workspace, student, pools, terms)
    limits = [student.rows.get(name) for name in group]
    counts = [count for count in limits if count is not None]
    if not counts:
        return dataset
    subset = _subset(dataset, pools, counts, student.seed or 0)
    columns = {name: balanced(subset, name, term) for name, term in terms.items()}
    return replace(subset, columns=columns)


def _subset(dataset: Dataset, pools: list[OpenPool], counts: list[int], seed: int) -> Subset:
    """Return so many rows of each pool. Raises ContractError where a pool has fewer."""
    picked = []
    before = 0
    for pool, count in zip(pools, counts, strict=True):
        rows = pool.inventory.rows
        if count > rows:
            raise ContractError(
                f"a student learns from {count:,} rows of pools.{pool.name}, which has {rows:,}."
                " Make `rows` smaller, or leave it out for all of them."
            )
        picked.append(before + drawn_rows(rows, count, seed))
        before += rows
    numbers = np.concatenate(picked)
    return Subset.of(dataset, numbers)


def replaying(dataset: Dataset) -> Dataset:
    """Return the dataset with the views that its label sets have, replayed; checks refuse sets of
    different views. Others see the rows that are given."""
    for column in dataset.columns.values():
        views = Views.of_contract(column.contract) if isinstance(column, LabelColumn) else None
        if views is not None:
            columns = {name: _replaying(each) for name, each in dataset.columns.items()}
            return replace(dataset, columns=columns, views=views)
    return dataset


def _replaying(column: LabelColumn | TargetColumn) -> LabelColumn | TargetColumn:
    if isinstance(column, LabelColumn) and column.contract.views:
        return replace(column, replayed=True)
    return column


def dataset_of(
    workspace: Workspace, student: Student, pools: list[OpenPool], terms: Mapping[str, Term]
) -> Dataset:
    """Return rows of pools as a student sees them, with what terms learn of them, by column."""
    columns = {name: _column(workspace, term, pools) for name, term in terms.items()}
    inventories = tuple(pool.inventory for pool in pools)
    features, width = features_of(workspace, student.features, pools)
    model = network_with_files(workspace.tables, student.model, TRUNK)
    return Dataset(inventories, features, width, columns, model.text_hashing, model.text_tokens)


def _column(workspace: Workspace, term: Term, pools: list[OpenPool]) -> LabelColumn | TargetColumn:
    balance = None
    if isinstance(term.row_weight, ClassBalance):
        balance = class_weights(workspace, term, pools)
    groups = None
    if isinstance(term.row_weight, ClusterBalance):
        groups = group_weights(workspace, term.row_weight, pools)
    if term.pool:
        truth = workspace.tables.pool_outputs(term.pool)
        first = pools[0]
        width = first.target_width(truth)
        return TargetColumn(str(first.spec.target), truth, balance, width, groups)
    name = str(term.label_set)
    _, contract = prepare_labels(workspace, name)
    sets = tuple(workspace.whole_labels(name, pool, contract) for pool in pools)
    temperature = term.loss.label_temperature
    if groups is not None:
        return LabelColumn(contract, sets, temperature, groups=groups)
    return LabelColumn(contract, sets, temperature, term.row_weight, balance)
