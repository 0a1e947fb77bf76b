"""What is done of each step and what is left: control objects are read, no rows, and no Ray starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from distill.core.errors import DistillError
from distill.job.sweep import Variant
from distill.labels.part_leases import parts_at_work
from distill.labels.repair import find_lost
from distill.models.record import read_record
from distill.plan.audit.audit_plan import stored_audit
from distill.plan.identity import fit_folder, student_folder, student_pins
from distill.plan.structure_identity import structure_folder, structure_pools
from distill.plan.workspace import Workspace
from distill.spec.audit import Audit
from distill.storage.base import Storage

_MOST_NAMED = 8  # parts of a label set


@dataclass(frozen=True)
class StatusLine:
    """One thing that the job makes: so many of so many units are there."""

    name: str
    done: int
    total: int
    unit: str
    note: str = ""

    @property
    def left(self) -> int:
        """Units not made yet."""
        return self.total - self.done


def job_status(workspace: Workspace) -> Iterator[StatusLine]:
    """Yield fits, structures, selections, label sets and students of a job, in this order, and its
    audit."""
    tables = workspace.tables
    for name, fit in tables.fit.items():
        folder = partial(fit_folder, workspace, name)
        yield _model(workspace, f"fit.{name}", (fit.on,), folder, "fitted")
    for name in tables.structure:
        pools = structure_pools(workspace, name)
        folder = partial(structure_folder, workspace, name)
        yield _model(workspace, f"structure.{name}", pools, folder, "fitted")
    for name in tables.select:
        yield _selection(workspace, name)
    for name, labels in tables.labels.items():
        for pool in labels.over:
            yield _labels(workspace, name, pool)
    for variant in tables.job.variants:
        name = f"students.{variant.name}"
        folder = partial(_student_folder, workspace, variant)
        yield _model(workspace, name, variant.spec.taught_on, folder, "trained")
    if tables.audit is not None:
        yield _audit(workspace, tables.audit)


def _student_folder(workspace: Workspace, variant: Variant) -> Storage:
    return student_folder(workspace, variant, student_pins(workspace, variant.spec))


def _model(
    workspace: Workspace,
    name: str,
    pools: Sequence[str],
    find_folder: Callable[[], Storage],
    done: str,
) -> StatusLine:
    for pool in pools:
        if workspace.inventory(pool) is None:
            return StatusLine(name, 0, 1, "model", f"pools.{pool} is not listed yet")
    try:
        record = read_record(find_folder())
    except DistillError as error:
        return StatusLine(name, 0, 1, "model", str(error))
    if record is None:
        note = f"{name} is not {done} yet under {workspace.tables.root_uri}"
        return StatusLine(name, 0, 1, "model", note)
    return StatusLine(name, 1, 1, "model", f"{record.parameters:,} parameters")


def _audit(workspace: Workspace, audit: Audit) -> StatusLine:
    for pool in (audit.members, audit.others):
        if workspace.inventory(pool) is None:
            return StatusLine("audit", 0, 1, "audit", f"pools.{pool} is not listed yet")
    try:
        found = stored_audit(workspace)
    except DistillError as error:
        return StatusLine("audit", 0, 1, "audit", str(error))
    if found is None:
        note = f"not audited yet, by {audit.shadows} shadows"
        return StatusLine("audit", 0, 1, "audit", note)
    of_all = [(each.strongest.auc, each.name) for each in found.subjects]
    auc, name = max(of_all)
    return StatusLine("audit", 1, 1, "audit", f"AUC at most {auc:.3f}, of {name}")


def _selection(workspace: Workspace, name: str) -> StatusLine:
    title = f"select.{name}"
    tables = workspace.tables
    table = tables.select[name]
    total = table.rows
    try:
        rounds = workspace.rounds(name)
    except DistillError as error:
        return StatusLine(title, 0, total, "rows", str(error))
    if not rounds:
        root = tables.root_uri
        note = f"not chosen yet under {root}"
        return StatusLine(title, 0, total, "rows", note)
    note = f"by {rounds[-1].method['kind']}"
    newest = rounds[-1]
    duplicates = newest.counts["duplicates"]
    if duplicates:
        note += f", {duplicates:,} near-duplicates left out"
    done = sum(each.rows for each in rounds)
    if table.rounds == 1:
        return StatusLine(title, done, done, "rows", note)
    measures = workspace.measures(name)
    note += f", {len(rounds)} of {table.rounds} rounds, {len(measures)} measured"
    if measures and measures[-1].promises_less(table.stop_below):
        return StatusLine(title, done, done, "rows", f"{note}, no more is worth it")
    return StatusLine(title, done, table.most_rows, "rows", note)


def _labels(workspace: Workspace, name: str, pool: str) -> StatusLine:
    title = f"labels.{name} over {pool}"
    inventory = workspace.inventory(pool)
    if inventory is None:
        return StatusLine(title, 0, 0, "fragments", f"pools.{pool} is not listed yet")
    total = len(inventory.fragment_table(workspace.tables.fragment_rows))
    try:
        state = workspace.label_set_state(name, pool)
    except DistillError as error:
        return StatusLine(title, 0, total, "fragments", str(error))
    state, lost_entries = find_lost(state)
    lost = len(lost_entries)
    entries = state.labels.entries
    rows, rejected = entries.rows, entries.rejected
    note = f"{rows - rejected:,} rows labelled, {rejected:,} rejected"
    if lost:
        note += f", {lost} lost"
    if len(entries) - lost < total:  # a finished set costs no look at who is at work
        folder = state.labels.folder
        note += _at_work(folder)
    return StatusLine(title, len(entries) - lost, total, "fragments", note)


def _at_work(folder: Storage) -> str:
    """Which parts of a label set drivers are at work on."""
    parts = parts_at_work(folder)
    if not parts:
        return ""
    first = parts[:_MOST_NAMED]
    named = ", ".join(first)
    more = f" and {len(parts) - _MOST_NAMED} more" if len(parts) > _MOST_NAMED else ""
    return f", parts at work: {named}{more}"
