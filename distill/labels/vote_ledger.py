"""Which label sets may ask the teachers of a fit, and how often: the budget of PATE, as a log.

    votes/<fit>/<digest>/spent/<n>.json

Beside the fits and not among them: teachers that are deleted and fitted again are the same ones,
and what they have told is told. Where the account is gone too, labels that they made show it.

An entry is written before the first question of its label set, by conditional put under the next
number: of two drivers that claim it one wins, and the other reads what is then left. So entries
are in one order for all, each counts those before it, and no budget is given out twice. A driver
that dies after its claim finds it again by the label set's digest. Nothing is ever given back: what
was claimed and not asked is spent.

Teachers of other settings, of rows that changed, or of another fit have accounts of their own. Where
their rows are the same people's, all accounts spend one budget: a claim is given what theirs leave.
Two claims in two accounts have no order. So an entry says which ones it has counted, and nobody asks
by it before it is decided, once and for all, by conditional put:

    votes/<fit>/<digest>/decided/<n>.json       {"stands": true}, or false of one that is withdrawn

A driver that has written an entry looks again. Where others that it has not counted, and that have
not counted it, are too much together, it withdraws those of a greater digest that are undecided, and
its own where that is not enough; then its own stands. Of all that stand, the one that was written
last has seen all others before it stood: their sum is never above its budget. Who was withdrawn
claims anew what is left. Entries from before there were decisions stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distill.core.dp.allowance import Allowance, largest_allowance, spent_epsilon
from distill.core.dp.noisy_votes import NoisyVote
from distill.core.errors import LimitError, StorageError
from distill.core.failpoints import reach
from distill.labels.vote_entries import (
    SPENT,
    LedgerEntry,
    OtherAccounts,
    decide,
    entry_key,
    read_written,
)
from distill.storage.base import Storage

_NONE: Mapping[str, str] = {}


@dataclass(frozen=True)
class VoteClaim:
    """What one label set asks for."""

    name: str
    label_set: str
    """Its digest."""
    vote: NoisyVote
    epsilon: float
    delta: float
    asked: int
    """Rows that there are to ask about."""
    limited: bool
    """Whether the job says how many those are: then answers may be fewer than questions."""
    over: str = ""
    """Pool of the private rows."""


def claim_votes(
    account: Storage,
    claim: VoteClaim,
    answered: Mapping[str, str] = _NONE,
    others: OtherAccounts | None = None,
) -> LedgerEntry:
    """Return what a label set was given; write it down where it has nothing yet. `answered` are the
    label sets that these teachers have made, by digest; `others` the accounts that the same budget
    is for. Raises LimitError where the budget is not enough for one answer, StorageError where the
    account lacks what was answered."""
    folder = account.folder(SPENT)
    while True:
        written = read_written(account)
        entries = [each for each in written if each.stands is not False]
        _require_accounted(folder, entries, answered)
        elsewhere = others.read() if others else []
        mine = [each for each in entries if each.label_set == claim.label_set]
        if mine:
            if _stands(claim, mine[-1], entries, elsewhere):
                return mine[-1]
            continue
        allowance = allowance_of(claim, [*elsewhere, *entries])
        entry = LedgerEntry(
            claim.name,
            claim.label_set,
            allowance,
            claim.over,
            counted=tuple(each.mark for each in elsewhere),
            tries=None if others is None else _tries(written, claim),
        )
        won = folder.put_if_absent(entry_key(len(written)), entry.to_bytes())
        reach("pate.after_claim")
        # if won, the next look finds it, and who has claimed elsewhere meanwhile
        if won and others is None:
            return entry


def allowance_of(claim: VoteClaim, before: Sequence[LedgerEntry]) -> Allowance:
    """Return what entries before it leave for a claim. Raises LimitError where that is not enough
    for one answer."""
    allowance = largest_allowance(
        claim.vote,
        claim.epsilon,
        claim.delta,
        asked=claim.asked if claim.limited else None,
        before=[entry.allowance for entry in before],
    )
    asked = min(allowance.asked, claim.asked)
    if not asked:
        raise _too_little(claim, before)
    return Allowance(claim.vote, asked, min(allowance.answered, asked))


def _too_little(claim: VoteClaim, before: Sequence[LedgerEntry]) -> LimitError:
    start = (
        f"labels.{claim.name}: epsilon = {claim.epsilon:g} at delta = {claim.delta:g} is not enough"
        " for one answer"
    )
    if not before:
        return LimitError(f"{start}. Raise epsilon or scale, or take more teachers.")
    names = ", ".join(
        f"{each.name} (of teachers {each.account})" if each.account else each.name
        for each in before
    )
    spent = spent_epsilon([entry.allowance for entry in before], claim.delta)
    about = f" about the rows of pools.{claim.over}" if claim.over else ""
    return LimitError(
        f"{start} after what labels {names} have spent{about}, epsilon = {spent:.3g} together. Raise"
        " epsilon to what those people are promised in all, raise scale, or take more teachers. Rows"
        " of other people need a pool of another name."
    )


def _tries(written: Sequence[LedgerEntry], claim: VoteClaim) -> int:
    return sum(each.label_set == claim.label_set for each in written)


def _stands(
    claim: VoteClaim,
    entry: LedgerEntry,
    own: Sequence[LedgerEntry],
    elsewhere: Sequence[LedgerEntry],
) -> bool:
    """Decide on an entry of the account `own`, and on those of others that were written at once;
    False where it is withdrawn. Raises LimitError of an entry from before there were decisions,
    where it and another one are too much."""
    if entry.stands or entry.counted is None:
        return True
    at_once = [
        each
        for each in elsewhere
        if each.mark not in entry.counted and entry.mark not in (each.counted or ())
    ]
    counted = [each for each in elsewhere if each.mark in entry.counted]
    before = [*counted, *(each for each in own if each.number < entry.number)]
    needs_decision = entry.tries is not None
    if _is_too_much(claim, [*before, *at_once, entry]):
        weaker = [
            each
            for each in at_once
            if not each.stands and (not needs_decision or each.mark > entry.mark)
        ]
        gone = {each.mark for each in weaker if not decide(each, stands=False)}
        at_once = [each for each in at_once if each.mark not in gone]
        if _is_too_much(claim, [*before, *at_once, entry]):
            if not needs_decision:
                raise _too_little(claim, [*before, *at_once])
            return decide(entry, stands=False)
    return not needs_decision or decide(entry, stands=True)


def _is_too_much(claim: VoteClaim, entries: Sequence[LedgerEntry]) -> bool:
    return spent_epsilon([each.allowance for each in entries], claim.delta) > claim.epsilon


def _require_accounted(
    folder: Storage, entries: Sequence[LedgerEntry], answered: Mapping[str, str]
) -> None:
    known = {entry.label_set for entry in entries}
    lost = [name for label_set, name in answered.items() if label_set not in known]
    if lost:
        raise StorageError(
            f"{folder.uri} has no entry of labels.{', labels.'.join(lost)}, which these teachers"
            " have answered. Restore it from a copy: without an entry its privacy would be spent"
            " again."
        )
