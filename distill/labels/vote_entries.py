"""The entries of PATE's budget as they are stored, and what was decided of each. What they are for,
and in which order they come: `labels.vote_ledger`.

    votes/<fit>/<digest>/spent/<n>.json         by conditional put, one number after the other
    votes/<fit>/<digest>/decided/<n>.json       {"stands": true}, or false of one that is withdrawn
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

from distill.core.dp.allowance import Allowance
from distill.core.dp.noisy_votes import NoisyVote
from distill.core.errors import StorageError
from distill.core.schema import seal, unseal
from distill.labels.vote_answers import ANSWERS, journal_name
from distill.storage.base import Storage
from distill.storage.open import open_storage

SPENT = "spent"
_DECIDED = "decided"


@dataclass(frozen=True)
class LedgerEntry:
    """What one label set was given."""

    name: str
    label_set: str
    allowance: Allowance
    over: str = ""
    """Pool of the private rows; "" of entries from before it was written down."""
    counted: tuple[str, ...] | None = None
    """Marks of entries of other accounts that its allowance leaves room for; None of entries from
    before they were counted."""
    tries: int | None = None
    """Entries of this label set before it, which are withdrawn; None of an entry that needs no
    decision."""
    account: str = ""
    """Fit and digest of its teachers, where it was read among those of several. Not stored."""
    folder: str = field(default="", compare=False)
    """URI of its account. Not stored."""
    number: int = field(default=0, compare=False)
    """Its place there. Not stored."""
    stands: bool | None = field(default=None, compare=False)
    """What was decided of it; None before. Not stored with it."""

    @property
    def mark(self) -> str:
        """What others call it that count it."""
        return f"{self.label_set}-{self.tries}" if self.tries else self.label_set

    def to_bytes(self) -> bytes:
        """Seal it into one object."""
        body = asdict(self)
        for name in ("account", "folder", "number", "stands"):
            del body[name]
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
        over = body.get("over", "")
        tries = body.get("tries")
        return cls(body["name"], body["label_set"], allowance, over, counted, tries)


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
    """Read all entries of a fit's teachers, in order, but those that are withdrawn. Raises
    StorageError where one is lost or damaged: what it spent would be spent again."""
    return [entry for entry in read_written(account) if entry.stands is not False]


def read_written(account: Storage) -> list[LedgerEntry]:
    """Read the same, those that are withdrawn included."""
    # before the entries, which are older than any answer
    answered = {entry.key.partition("/")[0] for entry in account.folder(ANSWERS).walk()}
    folder = account.folder(SPENT)
    listed = sorted(entry.key for entry in folder.list_objects())
    due = [entry_key(number) for number in range(len(listed))]
    if listed != due:
        raise StorageError(
            f"{folder.uri} has {listed}, and not every entry from {entry_key(0)} on. Restore it from a"
            " copy: without an entry its privacy would be spent again."
        )
    found = [LedgerEntry.from_bytes(folder.read(key), folder.url(key)) for key in listed]
    entries = []
    for number, entry in enumerate(found):
        stands = _decision(account, entry, number)
        # the decision is lost, and answers say what it was
        if stands is None and journal_name(entry.label_set) in answered:
            stands = True
        entries.append(replace(entry, folder=account.uri, number=number, stands=stands))
    lost = answered.difference(journal_name(entry.label_set) for entry in entries)
    if lost:
        raise StorageError(
            f"{folder.uri} has no entry of {sorted(lost)}, whose answers lie in {ANSWERS}/ beside it."
            " Restore it from a copy: without an entry its privacy would be spent again."
        )
    return entries


def decide(entry: LedgerEntry, *, stands: bool) -> bool:
    """Decide whether an entry stands, unless that was decided before; return what was."""
    if entry.tries is None:
        return True
    account = open_storage(entry.folder)
    body = seal({"stands": stands})
    account.folder(_DECIDED).put_if_absent(entry_key(entry.number), body)
    decided = _decision(account, entry, entry.number)
    assert decided is not None
    return decided


def _decision(account: Storage, entry: LedgerEntry, number: int) -> bool | None:
    if entry.tries is None:  # nobody could withdraw it
        return None
    folder = account.folder(_DECIDED)
    key = entry_key(number)
    content = folder.read_or_none(key)
    return None if content is None else bool(unseal(content, folder.url(key))["stands"])


def entry_key(number: int) -> str:
    """Return the key of an entry by its number."""
    return f"{number:06d}.json"
