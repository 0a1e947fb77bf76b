"""The steps of a label set: its calibration, a look at it, the labelling, and what is stored."""

from __future__ import annotations

from collections.abc import Sequence

from distill.labelers.calibration import read_calibration
from distill.labels.identity import label_set_folder
from distill.loader.merged_values import StoredValues
from distill.plan.calibration import calibration_folder
from distill.plan.label_values import label_values
from distill.plan.labelers import prepare_labels, prepare_uncalibrated
from distill.plan.merges import merged_values
from distill.plan.overlaps import shared_rows
from distill.plan.pooled import grouped_votes
from distill.plan.steps import (
    CalibrateStep,
    LabelPart,
    LabelStep,
    PreviewStep,
    StoredLabelsStep,
    VerifyStep,
)
from distill.plan.votes import allowed_fraction, votes_step
from distill.plan.workspace import Workspace
from distill.pools.chosen import selection_folder
from distill.spec.labels import Pooled
from distill.spec.selections import selection_name


def label_step(
    workspace: Workspace, name: str, pools: Sequence[str], *, mending: bool = False
) -> LabelStep:
    """Return the labelling `labels.<name>` over some pools. With `mending`, damaged commits are no
    error. Raises ContractError, PoolError."""
    recipe, contract = prepare_labels(workspace, name)
    tables = workspace.tables
    spec = tables.labels[name]
    parts = [
        LabelPart(
            workspace.pool(pool),
            workspace.label_set_state(name, pool, mending=mending),
            _values(workspace, name, pool),
        )
        for pool in pools
    ]
    return LabelStep(
        name=name,
        root=tables.root_uri,
        recipe=recipe,
        contract=contract,
        parts=tuple(parts),
        fragment_rows=tables.fragment_rows,
        compute=spec.compute,
        max_rejected_fraction=allowed_fraction(spec),
        strict=spec.deterministic == "strict",
        shared_rows=tuple(shared_rows(workspace, name, pools)),
        votes=votes_step(workspace, name),
    )


def calibrate_step(workspace: Workspace, name: str) -> CalibrateStep | None:
    """Return how `labels.<name>` is calibrated; None where the job asks for none."""
    tables = workspace.tables
    labels = tables.labels[name]
    if labels.calibrate_on is None:
        return None
    recipe, contract = prepare_uncalibrated(workspace, name)
    folder = calibration_folder(workspace, name, contract)
    return CalibrateStep(
        name,
        folder.uri,
        read_calibration(folder),
        recipe,
        contract,
        workspace.pool(labels.calibrate_on),
        _values(workspace, name, labels.calibrate_on),
        tables.pool_outputs(labels.calibrate_on),
        tables.fragment_rows,
        labels.compute,
    )


def preview_step(workspace: Workspace, name: str) -> PreviewStep:
    """Return a look at `labels.<name>` over its first pool, before any calibration."""
    recipe, contract = prepare_uncalibrated(workspace, name)
    tables = workspace.tables
    labels = tables.labels[name]
    first = labels.over[0]
    pool = workspace.pool(first)
    outputs = tables.label_outputs(name)
    strict = labels.deterministic == "strict"
    values = _values(workspace, name, pool.name)
    return PreviewStep(name, recipe, contract, outputs, pool, strict, values)


def stored_labels(workspace: Workspace, name: str) -> list[StoredLabelsStep]:
    """Return the label sets of `labels.<name>` as they lie; reads nothing."""
    tables = workspace.tables
    spec = tables.labels[name]
    root = workspace.root
    return [
        StoredLabelsStep(
            name, spec.version, pool, label_set_folder(root, name, spec.version, pool).uri
        )
        for pool in spec.over
    ]


def verify_steps(workspace: Workspace, name: str) -> list[VerifyStep]:
    """Return what proves the label sets of `labels.<name>`; opens none and lists no pool."""
    tables = workspace.tables
    return [
        VerifyStep(
            stored,
            workspace.inventory(stored.pool),
            tables.fragment_rows,
            tables.path,
            _selection(workspace, stored.pool),
        )
        for stored in stored_labels(workspace, name)
    ]


def _selection(workspace: Workspace, pool: str) -> str | None:
    """The folder of the selection that a pool is, if it is one."""
    name = selection_name(pool)
    return None if name is None else selection_folder(workspace.root, name).uri


def _values(workspace: Workspace, name: str, pool: str) -> StoredValues | None:
    """What the labeler of `labels.<name>` sees in place of the pool's features, if it does."""
    tables = workspace.tables
    label_tables = tables.labels
    labeler = label_tables[name].labeler
    if isinstance(labeler, Pooled):
        return grouped_votes(workspace, labeler, (pool,))
    merge = label_tables[name].merge
    if merge is not None:
        return merged_values(workspace, name, merge, pool)
    values_of = tables.values_of(name)
    return label_values(workspace, values_of, (pool,)) if values_of else None
