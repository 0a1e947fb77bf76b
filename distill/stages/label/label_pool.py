"""The stage `label`: what is left, who labels it, and what came of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

from distill.core.errors import LabelerError, PoolError, RejectedError
from distill.core.progress import track
from distill.engine.ray.map import map_fragments
from distill.job.job import Job
from distill.labelers.base import Recipe
from distill.labelers.registry import require_libraries_of
from distill.labels.contract import Contract
from distill.labels.label_set import LabelSet
from distill.labels.lease import hold_lease
from distill.labels.manifest import ManifestEntry
from distill.labels.pending import PendingFragments
from distill.labels.segments import SEGMENT_ENTRIES
from distill.plan.identity import forget_labels, label_set
from distill.plan.labelers import prepare_labels
from distill.plan.pools import open_pool
from distill.pools.open_pool import OpenPool
from distill.stages.label.calibrate import calibrate
from distill.stages.label.failure_policy import Decision, FailurePolicy
from distill.stages.label.messages import (
    FragmentResult,
    FragmentTask,
    LabelConfig,
    PoolPart,
    group_tasks,
)
from distill.stages.label.worker import LabelWorker
from distill.storage.open import open_storage, require_conditional_put

log = logging.getLogger(__name__)

_SEGMENT_SECONDS = 60.0


@dataclass(frozen=True)
class LabelSummary:
    """What one label set is after the stage: rows in = labelled + rejected."""

    name: str
    pool: str
    rows: int
    rejected: int
    fragments: int
    labelled_now: int
    """Fragments labelled in this run."""
    bytes: int
    label_hash: str

    @property
    def labelled(self) -> int:
        """Rows with labels."""
        return self.rows - self.rejected


@dataclass
class _Part:
    """One pool of the labelling while it is under way."""

    pool: OpenPool
    labels: LabelSet
    label_set: str
    left: PendingFragments
    again: list[ManifestEntry]
    """Committed fragments that are labelled again."""


def label_pool(job: Job, name: str, *, mend: bool = False) -> list[LabelSummary]:
    """Write `labels.<name>` over all its pools, doing only what is missing. Needs Ray only where
    something is.

    With `mend`, all that is stored is read first, and what is damaged is labelled anew in the next
    generation.

    Raises ContractError for another contract, BusyError where another driver is at work on it,
    LabelerError where the labeler raises, RejectedError over the job's budget of bad rows.
    """
    job.chosen_labels(name)
    forget_labels(job, name)
    opened = [open_pool(job, pool) for pool in job.labels[name].over]
    calibrate(job, name)
    recipe, contract = prepare_labels(job, name)
    parts = [_begin(job, name, pool, contract, mend=mend) for pool in opened]
    if any(len(part.left) for part in parts):
        told = {part.pool.name: _told_pool(job, name, part) for part in parts}
        require_libraries_of(recipe)
        width = _width(name, recipe, opened)
        for part in parts:
            part.labels.require_width(width)
        _label(job, LabelConfig(name, recipe, contract, opened[0].features, width, told), parts)
    for part in parts:
        part.labels.write_manifest()
        part.labels.tidy_manifest()
    summaries = [_summary(job, name, part) for part in parts]
    rejected = sum(summary.rejected for summary in summaries)
    if rejected > _allowed(job, name, parts):
        raise _too_many_rejected(job, name, parts, rejected)
    return summaries


def _allowed(job: Job, name: str, parts: Sequence[_Part]) -> float:
    """Rows that may be rejected, over all pools together."""
    return job.labels[name].max_rejected_fraction * sum(part.pool.inventory.rows for part in parts)


def _too_many_rejected(job: Job, name: str, parts: Sequence[_Part], rejected: int) -> RejectedError:
    rejects = ", ".join(part.labels.folder.url("rejects") for part in parts)
    return RejectedError(
        f"labels.{name}: {rejected:,} rows were rejected, more than max_rejected_fraction ="
        f" {job.labels[name].max_rejected_fraction} allows. Their reasons lie under {rejects}. Mend"
        " the rows, or raise the limit."
    )


def _told_pool(job: Job, name: str, part: _Part) -> PoolPart:
    inventory, made_on = part.pool.inventory, part.labels.lines.made_on
    only = made_on[0] if made_on and job.labels[name].deterministic == "strict" else None
    return PoolPart(inventory.uri, part.labels.folder.uri, part.label_set, inventory.format, only)


def _width(name: str, recipe: Recipe, pools: Sequence[OpenPool]) -> int:
    """Numbers in a row, the same in all pools and what the labeler was fitted on. Raises PoolError."""
    widths = {pool.name: pool.width for pool in pools}
    due = {part.record.in_features for part in recipe.parts() if part.record} or {
        widths[pools[0].name]
    }
    if set(widths.values()) != due:
        raise PoolError(
            f"labels.{name}: rows of {' or '.join(map(str, sorted(due)))} numbers are due, but the"
            f" pools have {widths}. Label them by labelers of their own."
        )
    return due.pop()


def _begin(job: Job, name: str, pool: OpenPool, contract: Contract, *, mend: bool) -> _Part:
    labels = label_set(job, name, pool.name, mending=mend)
    if labels.read_contract() is None:
        contract = replace(contract, in_features=pool.width)
    digest = labels.begin(contract, pool.inventory, job.fragment_rows)
    again = labels.lost()
    _warn(f"labels.{name} over {pool.name}: lost the data", again)
    if mend:
        known = {line.fragment for line in again}
        damaged = [line for line in _damaged(labels, pool.name) if line.fragment not in known]
        _warn(f"labels.{name} over {pool.name}: found damage in what is stored", damaged)
        again += damaged
    return _Part(pool, labels, digest, labels.left(pool.inventory, job.fragment_rows, again), again)


def _damaged(labels: LabelSet, pool: str) -> list[ManifestEntry]:
    found = []
    with track(f"check {labels.name} over {pool}", len(labels.lines), "fragments") as bar:
        for line, is_damaged in labels.damaged():
            found += [line] if is_damaged else []
            bar.advance(1)
    return found


def _warn(what: str, lines: Sequence[ManifestEntry]) -> None:
    if lines:
        said = ", ".join(line.fragment for line in lines[:3]) + ("…" if len(lines) > 3 else "")
        log.warning("%s of %d fragments (%s); labelling them anew", what, len(lines), said)


def _label(job: Job, assignment: LabelConfig, parts: Sequence[_Part]) -> None:
    """Label what is left while holding the sets' leases."""
    require_conditional_put(open_storage(job.root_uri))
    with ExitStack() as leases:
        for part in parts:
            leases.enter_context(
                hold_lease(part.labels.folder, f"labels.{assignment.name} over {part.pool.name}")
            )
        _label_left(job, assignment, parts)


def _label_left(job: Job, assignment: LabelConfig, parts: Sequence[_Part]) -> None:
    spec, sets = job.labels[assignment.name], {part.pool.name: part.labels for part in parts}
    kept = sum(
        part.labels.lines.rejected - sum(line.rejected for line in part.again) for part in parts
    )
    policy = FailurePolicy(_allowed(job, assignment.name, parts), kept)
    fragments = sum(len(part.left) for part in parts)
    made_on = {each for part in parts for each in part.labels.lines.made_on}
    try:
        with (
            track(f"label {assignment.name}", sum(part.left.rows for part in parts)) as bar,
            closing(
                map_fragments(
                    LabelWorker, assignment, group_tasks(_tasks(parts)), spec.compute, bar
                )
            ) as answers,
        ):
            for outcome in map(FragmentResult.from_plain, answers):
                if outcome.commit is not None:
                    sets[outcome.pool].add(outcome.commit)
                if policy.decide(outcome) is Decision.STOP:
                    break
                if outcome.commit is not None:
                    bar.advance(
                        outcome.commit.rows,
                        f"{policy.rejected} rejected" if policy.rejected else "",
                    )
                    if spec.deterministic == "strict" and outcome.commit.made_on not in made_on:
                        made_on.add(outcome.commit.made_on)
                        sets[outcome.pool].require_one_origin()
                    _roll_up(sets[outcome.pool])
    finally:
        for labels in sets.values():
            labels.write_manifest()
    if policy.stopped_by_rejects:
        raise _too_many_rejected(job, assignment.name, parts, policy.rejected)
    if policy.failures:
        raise LabelerError(_told(assignment.name, policy, fragments))


def _tasks(parts: Sequence[_Part]) -> Iterator[FragmentTask]:
    """What is left, made as it is handed over."""
    for part in parts:
        for shard, claim, group in part.left:
            yield FragmentTask(part.pool.name, shard.key, claim, group)


def _roll_up(labels: LabelSet) -> None:
    """A manifest segment every so many commits or seconds."""
    fresh, since = labels.unrolled
    if fresh >= SEGMENT_ENTRIES or (fresh and time.monotonic() - since >= _SEGMENT_SECONDS):
        labels.write_manifest()


def _told(name: str, policy: FailurePolicy, tasks: int) -> str:
    first = policy.failures[0]
    wheres = "; ".join(failure.where for failure in policy.failures[:3])
    return (
        f"labels.{name}: {len(policy.failures)} of {tasks} fragments could not be labelled, at"
        f" {wheres}{'…' if len(policy.failures) > 3 else ''}.\n{first.trace}\nWhat was committed"
        " stays. Mend it and run the same command again; only what is missing is labelled."
    )


def _summary(job: Job, name: str, part: _Part) -> LabelSummary:
    part.labels.require_complete(part.pool.inventory)
    lines = part.labels.lines
    if job.labels[name].deterministic == "strict":
        part.labels.require_one_origin()
    return LabelSummary(
        name,
        part.pool.name,
        part.pool.inventory.rows,
        lines.rejected,
        len(lines),
        len(part.left),
        int(lines.column("bytes").sum()),
        part.labels.label_hash,
    )
