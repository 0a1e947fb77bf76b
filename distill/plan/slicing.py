"""What rows of the test pool are told apart by, resolved."""

from __future__ import annotations

from dataclasses import dataclass

from distill.loader.dataset import LabelColumn
from distill.plan.labelers import prepare_labels
from distill.plan.workspace import Workspace
from distill.pools.open_pool import OpenPool
from distill.spec.evaluation import COLUMNS, LABELS, Evaluate


@dataclass(frozen=True)
class LabelSlicing:
    """A label set whose classes, or whole numbers such as clusters', tell rows apart."""

    column: LabelColumn
    classes: tuple[str, ...]
    pin: str  # digest of what it says


@dataclass(frozen=True)
class Slicing:
    """One way to tell rows apart."""

    name: str
    # where numbers are cut; of a column without any, each value is a slice
    edges: tuple[float, ...] = ()
    column: str | None = None  # of the pool
    labels: LabelSlicing | None = None


def slicings(workspace: Workspace, evaluate: Evaluate, pool: OpenPool) -> tuple[Slicing, ...]:
    """Return all that `[evaluate]` names. Raises ContractError where labels are not there."""
    found = []
    for name in evaluate.slices:
        edges = evaluate.edges_of(name)
        column = None
        labels = None
        if name.startswith(COLUMNS):
            column = name.removeprefix(COLUMNS)
        if name.startswith(LABELS):
            labels = label_slicing(workspace, name.removeprefix(LABELS), pool)
        found.append(Slicing(name, edges, column, labels))
    return tuple(found)


def label_slicing(workspace: Workspace, name: str, pool: OpenPool) -> LabelSlicing:
    """Return a label set over a pool as slices. Raises ContractError where it is not there."""
    _, contract = prepare_labels(workspace, name)
    labels = workspace.whole_labels(name, pool, contract)
    are_logits = contract.kind == "logits"
    temperature = 1.0 if are_logits else None
    tables = workspace.tables
    outputs = tables.label_outputs(name)
    column = LabelColumn(contract, (labels,), temperature)
    return LabelSlicing(column, outputs.classes, f"{contract.digest} {labels.label_hash}")
