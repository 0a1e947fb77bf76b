"""One label step under way: fragments through the engine, their commits into the manifest, and the
decision what a failure means. A driver that works alone calls it once; one of several parts calls
it for its own part and for each takeover, and failures and rejects count over all calls."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from distill.core.errors import LabelerError
from distill.core.progress import Bar, track
from distill.engine.protocol import Engine
from distill.labels.label_set import LabelSet
from distill.labels.manifest import ManifestEntry, parsed_code
from distill.labels.pending import PendingFragments
from distill.labels.writer import LabelWriter
from distill.plan.steps import LabelPart, LabelStep
from distill.pools.fragments import fragment_id
from distill.pools.open_pool import OpenPool
from distill.stages.label.events import LabellingEvents
from distill.stages.label.failure_policy import Decision, FailurePolicy
from distill.stages.label.messages import FragmentResult, FragmentTask, LabelConfig, group_tasks
from distill.stages.label.rejects import too_many_rejected
from distill.stages.label.repeated import rows_to_ask_again
from distill.stages.label.worker import LabelWorker

log = logging.getLogger(__name__)

# Commits for which a driver of a part writes a segment when a call ends; whoever writes the manifest
# for all reads fewer from their commits. 64 drivers that all write one at once want the same number.
FEWEST_OF_A_PART = 100


@dataclass
class PoolLabels:
    """The labels of one pool while they are made."""

    resolved: LabelPart
    labels: LabelWriter
    before: LabelSet  # as it was when this run began
    label_set: str
    left: PendingFragments
    again: list[ManifestEntry]  # committed fragments that are labelled again
    # codes of fragments that a killed run may have written without committing them
    written: frozenset[int] = frozenset()

    @property
    def pool(self) -> OpenPool:
        """The pool."""
        return self.resolved.pool


class Labelling:
    """Labels fragments of one step over its pools."""

    def __init__(
        self,
        step: LabelStep,
        config: LabelConfig,
        pools: Sequence[PoolLabels],
        engine: Engine,
        *,
        is_part: bool = False,
        companions: Mapping[tuple[str, str], LabelWriter] | None = None,
    ) -> None:
        """`companions` write what workers commit along, by label set and pool."""
        self.step = step
        self.config = config
        self.pools = {each.pool.name: each for each in pools}
        self.engine = engine
        self._companions = companions or {}
        # pool and code of fragments that could not be labelled here
        self.failed: set[tuple[str, int]] = set()
        self.computed: Counter[str] = Counter()  # fragments labelled by this driver, by pool
        self._written = 0  # fragments that an earlier attempt wrote and this driver committed
        self._fewest = FEWEST_OF_A_PART if is_part else 1
        self._policy = FailurePolicy(allowed_rejects(step), sum(map(_rejected_before, pools)))
        self._made_on = {each for pool in pools for each in pool.before.entries.made_on}
        self._notes: set[str] = set()
        rows = sum(each.pool.inventory.rows for each in pools)
        self._ask_again = rows_to_ask_again(rows, step.contract.batch_rows)
        self._events = LabellingEvents(step.name)
        self._fragments = 0

    def label(
        self, left: Mapping[str, PendingFragments], title: str, *, taken_over: bool = False
    ) -> None:
        """Label those fragments, by pool; what is `taken_over` another driver may have written
        without committing it. Raises RejectedError over the job's budget of bad rows, LabelerError
        after the same mistake on some fragments."""
        rows = sum(each.rows for each in left.values())
        fragments = sum(map(len, left.values()))
        self._fragments += fragments
        groups = group_tasks(self._tasks(left, taken_over=taken_over))
        self._events.begin(fragments, rows, self._policy.rejected, allowed_rejects(self.step))
        try:
            with (
                track(title, rows) as bar,
                closing(
                    self.engine.map(LabelWorker, self.config, groups, self.step.compute, bar)
                ) as answers,
            ):
                for result in map(FragmentResult.from_plain, answers):
                    if self._take(result, bar) is Decision.STOP:
                        break
        finally:
            self._events.end()
            # else the next run would read each of these commits by itself
            for each in self.pools.values():
                each.labels.write_manifest(self._fewest)
            for writer in self._companions.values():
                writer.write_manifest(self._fewest)
        if self._written:
            log.info(
                "labels.%s: %d fragments were written by a run that was killed before it committed"
                " them: committed now, and the labeler is not asked about them again",
                self.step.name,
                self._written,
            )
            self._written = 0
        if self._policy.stopped_by_rejects:
            raise too_many_rejected(self.step, self._policy.rejected)
        if self._policy.stopped_by_failures:
            self.require_none_failed()

    def require_none_failed(self) -> None:
        """Raise LabelerError where a fragment could not be labelled."""
        if self._policy.failures:
            raise LabelerError(_failure_text(self.step.name, self._policy, self._fragments))

    def _tasks(
        self, left: Mapping[str, PendingFragments], *, taken_over: bool
    ) -> Iterator[FragmentTask]:
        """What is to be labelled, made as it is handed over."""
        first_pool = next(iter(self.pools))
        for pool, fragments in left.items():
            written = self.pools[pool].written
            first = _first_fragment(fragments) if pool == first_pool else None
            for shard, intent, group in fragments:
                is_first = intent.fragment == first and intent.generation == 0
                ask_again = self._ask_again if is_first else 0
                may_be_written = taken_over or parsed_code(intent.fragment) in written
                yield FragmentTask(pool, shard.key, intent, group, ask_again, may_be_written)

    def _take(self, result: FragmentResult, bar: Bar) -> Decision:
        self._tell(result)
        pool = self.pools[result.pool]
        # before the decision: it is stored, whatever is decided
        labels = pool.labels
        if result.commit is not None:
            labels.add(result.commit)
        for name, commit in result.companions.items():
            self._companions[name, result.pool].add(commit)
        self._events.result(result)
        decision = self._policy.decide(result)
        if result.commit is None:
            self.failed.add((result.pool, parsed_code(result.fragment)))
            return decision
        if decision is Decision.STOP:
            return decision
        self.computed[result.pool] += not result.was_there
        self._written += result.was_written
        rejected = self._policy.rejected
        note = f"{rejected} rejected" if rejected else ""
        rows = result.commit.rows
        bar.advance(rows, note)
        if self.step.strict and result.commit.made_on not in self._made_on:
            self._made_on.add(result.commit.made_on)
            labels.snapshot().require_one_origin()
        if labels.manifest_due:
            labels.write_manifest()
        return decision

    def _tell(self, result: FragmentResult) -> None:
        """Tell once what the actors found of the labeler."""
        # each actor finds the same
        for note in result.notes:
            if note not in self._notes:
                log.warning("labels.%s: %s", self.step.name, note)
                self._notes.add(note)


def allowed_rejects(step: LabelStep) -> float:
    """Return how many rows may be rejected, over all pools together."""
    return step.max_rejected_fraction * sum(part.pool.inventory.rows for part in step.parts)


def clipped(names: Sequence[str], joint: str) -> str:
    """Join the first names of many."""
    return joint.join(names[:3]) + ("…" if len(names) > 3 else "")


def _rejected_before(pool: PoolLabels) -> int:
    """Rejected rows of fragments that are not labelled again."""
    return pool.before.entries.rejected - sum(entry.rejected for entry in pool.again)


def _first_fragment(fragments: PendingFragments) -> str | None:
    """The fragment that a label set over the pool begins with, whether it is left or not."""
    # whether it is left or not, so that all drivers agree on it
    cut = fragments.cut
    if not len(cut):
        return None
    return fragment_id(int(cut.shard[0]), int(cut.number[0]))


def _failure_text(name: str, policy: FailurePolicy, fragments: int) -> str:
    wheres = clipped([failure.where for failure in policy.failures], "; ")
    return (
        f"labels.{name}: {len(policy.failures)} of {fragments} fragments could not be labelled, at"
        f" {wheres}.\n{policy.failures[0].trace}\nWhat was committed stays. Mend it and run the"
        " same command again; only what is missing is labelled."
    )
