"""Which label sets may ask the teachers of a fit, and how often: the budget of PATE, as a log.

    votes/<fit>/<digest>/spent/<n>.json

Beside the fits and not among them: teachers that are deleted and fitted again are the same ones,
and what they have told is told. Where the account is gone too, labels that they made show it.

An entry is written before the first question of its label set, by conditional put under the next
number: of two drivers that claim it one wins, and the other reads what is then left. So entries
are in one order for all, each counts those before it, and no budget is given out twice. A driver
that dies after its claim finds it again by the label set's digest. Nothing is ever given back: what
was claimed and not asked is spent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from distill.core.dp.allowance import Allowance, largest_allowance
from distill.core.dp.noisy_votes import NoisyVote
from distill.core.errors import LimitError, StorageError
from distill.core.failpoints import reach
from distill.core.schema import seal, unseal
from distill.labels.vote_answers import ANSWERS, journal_name
from distill.storage.base import Storage

SPENT = "spent"
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


@dataclass(frozen=True)
class LedgerEntry:
    """What one label set was given."""

    name: str
    label_set: str
    allowance: Allowance

    def to_bytes(self) -> bytes:
        """Seal it into one object."""
        return seal(asdict(self))

    @classmethod
    def from_bytes(cls, content: bytes, where: str) -> LedgerEntry:
        """Read a sealed entry. Raises StorageError where it is damaged."""
        body = unseal(content, where)
        plain = body["allowance"]
        vote = NoisyVote(**plain["vote"])
        allowance = Allowance(vote, plain["asked"], plain["answered"])
        return cls(body["name"], body["label_set"], allowance)


def read_ledger(account: Storage) -> list[LedgerEntry]:
    """Read all entries of a fit's teachers, in order. Raises StorageError where one is lost or
    damaged: what it spent would be spent again."""
    # before the entries, which are older than any answer
    answered = {entry.key.partition("/")[0] for entry in account.folder(ANSWERS).walk()}
    folder = account.folder(SPENT)
    listed = sorted(entry.key for entry in folder.list_objects())
    due = [_key(number) for number in range(len(listed))]
    if listed != due:
        raise StorageError(
            f"{folder.uri} has {listed}, and not every entry from {_key(0)} on. Restore it from a"
            " copy: without an entry its privacy would be spent again."
        )
    entries = [LedgerEntry.from_bytes(folder.read(key), folder.url(key)) for key in listed]
    lost = answered.difference(journal_name(entry.label_set) for entry in entries)
    if lost:
        raise StorageError(
            f"{folder.uri} has no entry of {sorted(lost)}, whose answers lie in {ANSWERS}/ beside it."
            " Restore it from a copy: without an entry its privacy would be spent again."
        )
    return entries


def claim_votes(
    account: Storage, claim: VoteClaim, answered: Mapping[str, str] = _NONE
) -> LedgerEntry:
    """Return what a label set was given; write it down where it has nothing yet. `answered` are the
    label sets that these teachers have made, by digest. Raises LimitError where the budget is not
    enough for one answer, StorageError where the account lacks what was answered."""
    folder = account.folder(SPENT)
    while True:
        entries = read_ledger(account)
        _require_accounted(folder, entries, answered)
        for entry in entries:
            if entry.label_set == claim.label_set:
                return entry
        allowance = _allowance(claim, entries)
        entry = LedgerEntry(claim.name, claim.label_set, allowance)
        key = _key(len(entries))
        won = folder.put_if_absent(key, entry.to_bytes())
        reach("pate.after_claim")
        if won:
            return entry


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


def _allowance(claim: VoteClaim, entries: Sequence[LedgerEntry]) -> Allowance:
    before = [entry.allowance for entry in entries]
    allowance = largest_allowance(
        claim.vote,
        claim.epsilon,
        claim.delta,
        asked=claim.asked if claim.limited else None,
        before=before,
    )
    asked = min(allowance.asked, claim.asked)
    if asked:
        return Allowance(claim.vote, asked, min(allowance.answered, asked))
    spent_by = ", ".join(entry.name for entry in entries)
    after = f" after what labels {spent_by} have spent" if entries else ""
    raise LimitError(
        f"labels.{claim.name}: epsilon = {claim.epsilon:g} at delta = {claim.delta:g} is not enough"
        f" for one answer{after}. Raise epsilon or scale, or take more teachers."
    )


def _key(number: int) -> str:
    return f"{number:06d}.json"
