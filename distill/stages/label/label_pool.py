"""The stage `label`: what is left, who labels it, and what came of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pyarrow.compute as pc

from distill.core.errors import ContractError, PoolError
from distill.core.progress import track
from distill.engine.protocol import Engine
from distill.labelers.registry import require_libraries_of
from distill.labels.label_set import LabelSet
from distill.labels.manifest import ManifestEntry
from distill.labels.part_leases import hold_label_set
from distill.labels.parts import Part
from distill.labels.repair import find_lost, find_problems, pending_fragments
from distill.labels.roll_up import finish_manifest
from distill.labels.vote_ledger import claim_votes
from distill.labels.writer import LabelWriter
from distill.plan.steps import LabelPart, LabelStep
from distill.spec.pools import Features
from distill.stages.label.asked_rows import AskedRows, first_rows
from distill.stages.label.label_parts import label_part
from distill.stages.label.labelling import Labelling, PoolLabels, allowed_rejects, clipped
from distill.stages.label.messages import CompanionConfig, LabelConfig, PoolPart
from distill.stages.label.rejects import too_many_rejected
from distill.storage.open import open_storage, require_conditional_put

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelSummary:
    """What one label set is after the stage: rows in = labelled + rejected."""

    labels: LabelSet
    pool: str
    rows: int
    labelled_now: int  # fragments labelled in this run

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


def label_pool(
    step: LabelStep,
    engine: Engine,
    *,
    mend: bool = False,
    begin: Callable[[Collection[str]], None] | None = None,
    part: Part | None = None,
    companions: Callable[[], Sequence[LabelStep]] = tuple,
) -> list[LabelSummary]:
    """Label what is missing of a label set over all its pools.

    With `mend`, all that is stored is read first, and what is damaged is labelled anew in the next
    generation. `begin` is called before any work, with the pools that have some. The driver of a
    `part` of several returns when all of them together are done. `companions` are asked for where
    there is work: other label sets that the labeler's pass answers too.

    Raises ContractError for another contract, BusyError where another driver is at work on it,
    LabelerError where the labeler raises, RejectedError over the job's budget of bad rows."""
    pools = [begin_labels(step, each, mend=mend, part=part) for each in step.parts]
    # a finished set takes no lease, needs no library of its labeler's and no engine
    due = {each.pool.name for each in pools if len(each.left)}
    computed: Mapping[str, int] = {}
    if due:
        for sentence in step.shared_rows:
            log.warning("labels.%s: %s", step.name, sentence)
        if begin is not None:
            begin(due)
        along = list(_due_companions(companions(), part))
        computed = label_left(step, pools, engine, part, along)
    # also where nothing was left: a killed driver may have rolled up less than it committed
    for each in pools:
        if part is None:
            each.labels.write_manifest()
            each.labels.tidy_manifest()
        else:
            where = _where(step, each)
            each.labels = finish_manifest(each.before, each.pool.inventory, where)
    summaries = [_summary(step, each, computed.get(each.pool.name, 0)) for each in pools]
    rejected = sum(summary.rejected for summary in summaries)
    if rejected > allowed_rejects(step):
        raise too_many_rejected(step, rejected)
    return summaries


def _where(step: LabelStep, pool: PoolLabels) -> str:
    return f"labels.{step.name} over {pool.pool.name}"


def begin_labels(
    step: LabelStep, stored: LabelPart, *, mend: bool = False, part: Part | None = None
) -> PoolLabels:
    """Hold what is stored against the contract and the inventory. Raises ContractError."""
    pool = stored.pool
    contract = step.contract
    known = stored.stored.labels
    if known.stored is not None:  # refused before anything of the data is listed
        known.require(contract, pool.inventory, step.fragment_rows)
    state, again = find_lost(stored.stored)
    drivers = 1 if part is None else part.count
    labels = LabelWriter(state, drivers)
    if state.labels.stored is None:
        contract = replace(contract, in_features=stored.width)
    digest = labels.begin(contract, pool.inventory, step.fragment_rows)
    before = labels.snapshot()
    where = f"labels.{step.name} over {pool.name}"
    if contract.encrypted and not labels.digest_key:
        log.warning("%s: %s", where, _PLAIN_DIGESTS)
    _warn(f"{where}: lost the data", again)
    if mend:
        lost = {entry.fragment for entry in again}
        damaged = [entry for entry in _damaged(before, pool.name) if entry.fragment not in lost]
        _warn(f"{where}: found damage in what is stored", damaged)
        again += damaged
    left = pending_fragments(state, pool.inventory, step.fragment_rows, again)
    return PoolLabels(stored, labels, before, digest, left, again, state.written)


_PLAIN_DIGESTS = (
    "is encrypted, but was begun when commits had digests of the plain columns, by which few values"
    " are guessed. `version` with the next number labels it anew."
)


@dataclass(frozen=True)
class _BegunCompanion:
    """A label set that is written along, begun."""

    step: LabelStep
    pools: Sequence[PoolLabels]

    @property
    def config(self) -> CompanionConfig:
        """What workers are told of it."""
        step = self.step
        pools = {each.pool.name: _pool_config(step, each) for each in self.pools}
        return CompanionConfig(step.name, step.recipe, step.contract, pools)

    @property
    def writers(self) -> Mapping[tuple[str, str], LabelWriter]:
        """Those that take its commits, by label set and pool."""
        return {(self.step.name, each.pool.name): each.labels for each in self.pools}


def _due_companions(steps: Sequence[LabelStep], part: Part | None) -> Iterator[_BegunCompanion]:
    for step in steps:
        try:
            pools = [begin_labels(step, each, part=part) for each in step.parts]
        except ContractError:
            continue  # said where that label set is asked for, and no matter of this one
        if any(len(each.left) for each in pools):
            yield _BegunCompanion(step, pools)


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
        named = clipped([entry.fragment for entry in entries], ", ")
        log.warning("%s of %d fragments (%s); labelling them anew", what, len(entries), named)


def label_left(
    step: LabelStep,
    pools: Sequence[PoolLabels],
    engine: Engine,
    part: Part | None = None,
    companions: Sequence[_BegunCompanion] = (),
) -> Mapping[str, int]:
    """Label what is left while holding the sets' leases; return the fragments that were labelled
    here, by pool. Of `companions` no lease is held: whoever labels them too, the first commit of a
    fragment wins."""
    writers: dict[tuple[str, str], LabelWriter] = {}
    for companion in companions:
        log.info("labels.%s is written along: one pass answers it too", companion.step.name)
        writers |= companion.writers
    require_libraries_of(step.recipe)
    width = _width(step)
    for each in pools:
        each.before.require_width(width)
    require_conditional_put(open_storage(step.root))
    config = LabelConfig(
        step.name,
        step.recipe,
        step.contract,
        _features(pools[0]),
        width,
        {each.pool.name: _pool_config(step, each) for each in pools},
        step.strict,
        _asked_rows(step, pools),
        tuple(each.config for each in companions),
    )
    is_part = part is not None
    labelling = Labelling(step, config, pools, engine, is_part=is_part, companions=writers)
    if part is not None:
        label_part(labelling, part)
        return labelling.computed
    with ExitStack() as leases:
        for each in pools:
            leases.enter_context(hold_label_set(each.labels.folder, _where(step, each)))
        labelling.label({each.pool.name: each.left for each in pools}, f"label {step.name}")
        labelling.require_none_failed()
    return {each.pool.name: len(each.left) for each in pools}


def _asked_rows(step: LabelStep, pools: Sequence[PoolLabels]) -> AskedRows | None:
    """Claim what noisy votes may ask, before the first is asked; None of any other labeler. Raises
    LimitError where the budget is not enough."""
    if step.votes is None:
        return None
    (pool,) = pools
    inventory = pool.pool.inventory
    rows = int(pc.sum(inventory.table["rows"]).as_py())
    claim = step.votes.claim(step.name, pool.label_set, rows)
    account = step.votes.account
    votes = step.votes
    entry = claim_votes(open_storage(account), claim, votes.answered, votes.others)
    asked = entry.allowance.asked
    return AskedRows(account, pool.label_set, entry.allowance, first_rows(inventory, asked))


def _features(first: PoolLabels) -> Features:
    """What the labeler sees of a row of the pools, which are alike in that."""
    # where it sees another label set's values, no file of a pool is opened to find it out
    if first.resolved.values is not None:
        return first.pool.features
    return first.pool.seen_features


def _width(step: LabelStep) -> int:
    """Numbers in a row, the same in all pools and what the labeler was fitted on. Raises PoolError."""
    widths = {part.pool.name: part.width for part in step.parts}
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


def _pool_config(step: LabelStep, pool: PoolLabels) -> PoolPart:
    inventory = pool.pool.inventory
    made_on = pool.before.entries.made_on
    only = made_on[0] if made_on and step.strict else None
    folder = pool.labels.folder
    return PoolPart(
        inventory.uri,
        folder.uri,
        pool.label_set,
        inventory.format,
        only,
        pool.labels.digest_key,
        pool.resolved.values,
    )


def _summary(step: LabelStep, pool: PoolLabels, computed: int) -> LabelSummary:
    labels = pool.labels.snapshot()
    inventory = pool.pool.inventory
    labels.require_complete(inventory)
    if step.strict:
        labels.require_one_origin()
    return LabelSummary(labels, pool.pool.name, inventory.rows, computed)
