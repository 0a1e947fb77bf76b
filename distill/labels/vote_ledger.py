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
Two claims in two accounts have no order. So an entry says which ones it has counted; a driver that
has written one looks again, and two that did not see each other are refused where both together are
too much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from distill.core.dp.allowance import Allowance, largest_allowance, spent_epsilon
from distill.core.dp.noisy_votes import NoisyVote
from distill.core.errors import LimitError, StorageError
from distill.core.failpoints import reach
from distill.core.schema import seal, unseal
from distill.labels.vote_answers import ANSWERS, journal_name
from distill.storage.base import Storage
from distill.storage.open import open_storage

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
    over: str = ""
    """Pool of the private rows."""


@dataclass(frozen=True)
class LedgerEntry:
    """What one label set was given."""

    name: str
    label_set: str
    allowance: Allowance
    over: str = ""
    """Pool of the private rows; "" of entries from before it was written down."""
    counted: tuple[str, ...] | None = None
    """Label sets of other accounts that its allowance leaves room for; None of entries from before
    they were counted."""
    account: str = ""
    """Fit and digest of its teachers, where it was read among those of several. Not stored."""

    def to_bytes(self) -> bytes:
        """Seal it into one object."""
        body = asdict(self)
        del body["account"]
        return seal(body)

    @classmethod
    def from_bytes(cls, content: bytes, where: str) -> LedgerEntry:
        """Read a sealed entry. Raises StorageError where it is damaged."""
        body = unseal(content, where)
        plain = body["allowance"]
        vote = NoisyVote(**plain["vote"])
        allowance = Allowance(vote, plain["asked"], plain["answered"])
        listed = body.get("counted")
        counted = None if listed is None else tuple(listed)
        return cls(body["name"], body["label_set"], allowance, body.get("over", ""), counted)


@dataclass(frozen=True)
class OtherAccounts:
    """All accounts under a root but one, as far as they are about the same people."""

    root: str
    account: str
    """URI of the one that is left out."""
    pools: frozenset[str]
    """Names of the pool of the private rows."""
    fits: frozenset[str]
    """Fits of that pool: theirs are entries that do not say of which one they are."""

    def read(self) -> list[LedgerEntry]:
        """Read what others were given. Raises StorageError where an entry is lost."""
        found = []
        # the second is where accounts lay before
        for place in ("votes", "fits"):
            folder = open_storage(self.root).folder(place)
            paths = [entry.key.split("/") for entry in folder.walk()]
            accounts = {(path[0], path[1]) for path in paths if path[2:3] == [SPENT]}
            for fit, teachers in sorted(accounts):
                other = folder.folder(fit, teachers)
                if other.uri == self.account:
                    continue
                entries = [
                    replace(each, account=f"{fit}/{teachers}") for each in read_ledger(other)
                ]
                found += [each for each in entries if self._is_of(each, fit)]
        return found

    def _is_of(self, entry: LedgerEntry, fit: str) -> bool:
        return entry.over in self.pools if entry.over else fit in self.fits


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
        entries = read_ledger(account)
        _require_accounted(folder, entries, answered)
        elsewhere = others.read() if others else []
        for number, entry in enumerate(entries):
            if entry.label_set == claim.label_set:
                _require_counted(claim, entries[: number + 1], elsewhere)
                return entry
        allowance = allowance_of(claim, [*elsewhere, *entries])
        counted = tuple(each.label_set for each in elsewhere)
        entry = LedgerEntry(claim.name, claim.label_set, allowance, claim.over, counted)
        won = folder.put_if_absent(_key(len(entries)), entry.to_bytes())
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


def _require_counted(
    claim: VoteClaim, own: Sequence[LedgerEntry], elsewhere: Sequence[LedgerEntry]
) -> None:
    """Refuse an entry, the last of its account's `own`, where another one and it were written at
    once, and are too much together. Raises LimitError."""
    entry = own[-1]
    if entry.counted is None:
        return
    at_once = [
        each
        for each in elsewhere
        if each.label_set not in entry.counted and entry.label_set not in (each.counted or ())
    ]
    if not at_once:
        return
    counted = [each for each in elsewhere if each.label_set in entry.counted]
    before = [*counted, *at_once, *own[:-1]]
    spent = [each.allowance for each in [*before, entry]]
    if spent_epsilon(spent, claim.delta) > claim.epsilon:
        raise _too_little(claim, before)


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


def _key(number: int) -> str:
    return f"{number:06d}.json"
