"""The stage `label`: what is left, who labels it, and what came of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

from distill.core.errors import LabelerError, PoolError
from distill.core.progress import track
from distill.engine.protocol import Engine
from distill.labelers.registry import require_libraries_of
from distill.labels.label_set import LabelSet
from distill.labels.lease import hold_lease
from distill.labels.manifest import ManifestEntry
from distill.labels.pending import PendingFragments
from distill.labels.repair import find_lost, find_problems, pending_fragments
from distill.labels.writer import LabelWriter
from distill.plan.steps import LabelPart, LabelStep
from distill.pools.open_pool import OpenPool
from distill.stages.label.failure_policy import Decision, FailurePolicy
from distill.stages.label.messages import (
    FragmentResult,
    FragmentTask,
    LabelConfig,
    PoolPart,
    group_tasks,
)
from distill.stages.label.rejects import too_many_rejected
from distill.stages.label.worker import LabelWorker
from distill.storage.open import open_storage, require_conditional_put

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelSummary:
    """What one label set is after the stage: rows in = labelled + rejected."""

    labels: LabelSet
    pool: str
    rows: int
    labelled_now: int
    """Fragments labelled in this run."""

    @property
    def name(self) -> str:
        """The label set's name in the job."""
        return self.labels.name

    @property
    def rejected(self) -> int:
        """Rows without labels."""
        return self.labels.entries.rejected

    @property
    def labelled(self) -> int:
        """Rows with labels."""
        return self.rows - self.rejected

    @property
    def fragments(self) -> int:
        """Fragments in all."""
        return len(self.labels.entries)

    @property
    def bytes(self) -> int:
        """Of all data objects."""
        return self.labels.entries.size_bytes

    @property
    def label_hash(self) -> str:
        """See `LabelSet.label_hash`."""
        return self.labels.label_hash


@dataclass
class _Part:
    """One pool of the labelling while it is under way."""

    pool: OpenPool
    labels: LabelWriter
    before: LabelSet
    """As it was when this run began."""
    label_set: str
    left: PendingFragments
    again: list[ManifestEntry]
    """Committed fragments that are labelled again."""


def label_pool(
    step: LabelStep,
    engine: Engine,
    *,
    mend: bool = False,
    begin: Callable[[Collection[str]], None] | None = None,
) -> list[LabelSummary]:
    """Label what is missing of a label set over all its pools.

    With `mend`, all that is stored is read first, and what is damaged is labelled anew in the next
    generation. `begin` is called before any work, with the pools that have some.

    Raises ContractError for another contract, BusyError where another driver is at work on it,
    LabelerError where the labeler raises, RejectedError over the job's budget of bad rows.
    """
    parts = [_begin(step, part, mend=mend) for part in step.parts]
    # a finished set takes no lease, needs no library of its labeler's and no engine
    pools = {part.pool.name for part in parts if len(part.left)}
    if pools:
        if begin is not None:
            begin(pools)
        _label(step, parts, engine)
    # also where nothing was left: a killed driver may have rolled up less than it committed
    for part in parts:
        part.labels.write_manifest()
        part.labels.tidy_manifest()
    summaries = [_summary(step, part) for part in parts]
    rejected = sum(summary.rejected for summary in summaries)
    if rejected > _allowed(step):
        raise too_many_rejected(step, rejected)
    return summaries


def _allowed(step: LabelStep) -> float:
    """Rows that may be rejected, over all pools together."""
    return step.max_rejected_fraction * sum(part.pool.inventory.rows for part in step.parts)


def _begin(step: LabelStep, part: LabelPart, *, mend: bool) -> _Part:
    """Hold what is stored against the contract and the inventory. Raises ContractError."""
    pool, contract = part.pool, step.contract
    known = part.stored.labels
    if known.stored is not None:  # refused before anything of the data is listed
        known.require(contract, pool.inventory, step.fragment_rows)
    state, again = find_lost(part.stored)
    labels = LabelWriter(state)
    if state.labels.stored is None:
        contract = replace(contract, in_features=pool.width)
    digest = labels.begin(contract, pool.inventory, step.fragment_rows)
    before = labels.snapshot()
    where = f"labels.{step.name} over {pool.name}"
    _warn(f"{where}: lost the data", again)
    if mend:
        lost = {entry.fragment for entry in again}
        damaged = [entry for entry in _damaged(before, pool.name) if entry.fragment not in lost]
        _warn(f"{where}: found damage in what is stored", damaged)
        again += damaged
    left = pending_fragments(state, pool.inventory, step.fragment_rows, again)
    return _Part(pool, labels, before, digest, left, again)


def _damaged(labels: LabelSet, pool: str) -> list[ManifestEntry]:
    found = []
    with track(f"check {labels.name} over {pool}", len(labels.entries), "fragments") as bar:
        for entry, problem in find_problems(labels):
            if problem:
                found.append(entry)
            bar.advance(1)
    return found


def _warn(what: str, entries: Sequence[ManifestEntry]) -> None:
    if entries:
        named = _clipped([entry.fragment for entry in entries], ", ")
        log.warning("%s of %d fragments (%s); labelling them anew", what, len(entries), named)


def _clipped(names: Sequence[str], joint: str) -> str:
    return joint.join(names[:3]) + ("…" if len(names) > 3 else "")


def _label(step: LabelStep, parts: Sequence[_Part], engine: Engine) -> None:
    """Label what is left while holding the sets' leases."""
    require_libraries_of(step.recipe)
    width = _width(step)
    for part in parts:
        part.before.require_width(width)
    config = LabelConfig(
        step.name,
        step.recipe,
        step.contract,
        parts[0].pool.seen_features,
        width,
        {part.pool.name: _pool_config(step, part) for part in parts},
        step.strict,
    )
    require_conditional_put(open_storage(step.root))
    with ExitStack() as leases:
        for part in parts:
            where = f"labels.{step.name} over {part.pool.name}"
            leases.enter_context(hold_lease(part.labels.folder, where))
        _label_left(step, config, parts, engine)


def _width(step: LabelStep) -> int:
    """Numbers in a row, the same in all pools and what the labeler was fitted on. Raises PoolError."""
    widths = {part.pool.name: part.pool.width for part in step.parts}
    due = {part.record.in_features for part in step.recipe.parts() if part.record}
    if not due:
        due = {next(iter(widths.values()))}
    if set(widths.values()) != due:
        numbers = " or ".join(map(str, sorted(due)))
        raise PoolError(
            f"labels.{step.name}: rows of {numbers} numbers are due, but the pools have {widths}."
            " Label them by labelers of their own."
        )
    return due.pop()


def _pool_config(step: LabelStep, part: _Part) -> PoolPart:
    inventory = part.pool.inventory
    made_on = part.before.entries.made_on
    only = made_on[0] if made_on and step.strict else None
    return PoolPart(inventory.uri, part.labels.folder.uri, part.label_set, inventory.format, only)


def _label_left(
    step: LabelStep, config: LabelConfig, parts: Sequence[_Part], engine: Engine
) -> None:
    sets = {part.pool.name: part.labels for part in parts}
    policy = FailurePolicy(_allowed(step), sum(map(_rejected_before, parts)))
    rows = sum(part.left.rows for part in parts)
    groups = group_tasks(_tasks(parts))
    made_on = {each for part in parts for each in part.before.entries.made_on}
    notes: set[str] = set()
    try:
        with (
            track(f"label {step.name}", rows) as bar,
            closing(engine.map(LabelWorker, config, groups, step.compute, bar)) as answers,
        ):
            for result in map(FragmentResult.from_plain, answers):
                _tell(step.name, result, notes)
                # before the decision: it is stored, whatever is decided
                if result.commit is not None:
                    sets[result.pool].add(result.commit)
                if policy.decide(result) is Decision.STOP:
                    break
                if result.commit is not None:
                    note = f"{policy.rejected} rejected" if policy.rejected else ""
                    bar.advance(result.commit.rows, note)
                    if step.strict and result.commit.made_on not in made_on:
                        made_on.add(result.commit.made_on)
                        sets[result.pool].snapshot().require_one_origin()
                    if sets[result.pool].manifest_due:
                        sets[result.pool].write_manifest()
    finally:
        # else the next run would read each of these commits by itself
        for labels in sets.values():
            labels.write_manifest()
    if policy.stopped_by_rejects:
        raise too_many_rejected(step, policy.rejected)
    if policy.failures:
        raise LabelerError(_failure_text(step.name, policy, sum(len(part.left) for part in parts)))


def _tell(name: str, result: FragmentResult, told: set[str]) -> None:
    """Tell once what the actors found of the labeler: each finds the same."""
    for note in result.notes:
        if note not in told:
            log.warning("labels.%s: %s", name, note)
            told.add(note)


def _rejected_before(part: _Part) -> int:
    """Rejected rows of fragments that are not labelled again."""
    return part.before.entries.rejected - sum(entry.rejected for entry in part.again)


def _tasks(parts: Sequence[_Part]) -> Iterator[FragmentTask]:
    """What is left, made as it is handed over."""
    for part in parts:
        for shard, intent, group in part.left:
            yield FragmentTask(part.pool.name, shard.key, intent, group)


def _failure_text(name: str, policy: FailurePolicy, fragments: int) -> str:
    wheres = _clipped([failure.where for failure in policy.failures], "; ")
    return (
        f"labels.{name}: {len(policy.failures)} of {fragments} fragments could not be labelled, at"
        f" {wheres}.\n{policy.failures[0].trace}\nWhat was committed stays. Mend it and run the"
        " same command again; only what is missing is labelled."
    )


def _summary(step: LabelStep, part: _Part) -> LabelSummary:
    labels = part.labels.snapshot()
    labels.require_complete(part.pool.inventory)
    if step.strict:
        labels.require_one_origin()
    return LabelSummary(labels, part.pool.name, part.pool.inventory.rows, len(part.left))
