"""The entries of PATE's budget as they are stored, and what was decided of each. What they are for,
and in which order they come: `labels.vote_ledger`.

    votes/<fit>/<digest>/spent/<n>.json         by conditional put, one number after the other
    votes/<fit>/<digest>/decided/<n>.json       {"stands": true}, or false of one that is withdrawn

Neither is ever written a second time, so a process reads each once; after that a listing says what
there is beside them. A root may have thousands, and each claim looks at all of them twice.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
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
_READ_THREADS = 32

Tokens = Mapping[str, str]
"""What a listing says of an account: keys within it, and a token by which each object is known."""


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
        # the second is where accounts lay before
        folders = [open_storage(self.root).folder(place) for place in ("votes", "fits")]
        accounts = [each for folder in folders for each in _listed_accounts(folder)]
        others = [each for each in accounts if each.folder.uri != self.account]
        with ThreadPoolExecutor(_READ_THREADS) as threads:
            return [entry for found in threads.map(self._entries, others) for entry in found]

    def _entries(self, account: _ListedAccount) -> list[LedgerEntry]:
        def is_of(entry: LedgerEntry) -> bool:
            return entry.over in self.pools if entry.over else account.fit in self.fits

        try:
            entries = _written(account.folder, account.tokens, is_of)
        except StorageError:  # or it was listed while it was written to
            entries = _written(account.folder, _tokens(account.folder), is_of)
        name = f"{account.fit}/{account.teachers}"
        return [replace(each, account=name) for each in entries if each.stands is not False]


@dataclass(frozen=True)
class _ListedAccount:
    """One account as a listing of several has it."""

    folder: Storage
    fit: str
    teachers: str
    tokens: Tokens


def _listed_accounts(folder: Storage) -> Iterator[_ListedAccount]:
    found: dict[tuple[str, str], dict[str, str]] = {}
    for each in folder.walk():
        fit, _, below = each.key.partition("/")
        teachers, _, key = below.partition("/")
        if key.partition("/")[0] in (ANSWERS, _DECIDED, SPENT):
            found.setdefault((fit, teachers), {})[key] = each.token
    for (fit, teachers), tokens in sorted(found.items()):
        yield _ListedAccount(folder.folder(fit, teachers), fit, teachers, tokens)


def _tokens(account: Storage) -> Tokens:
    # answers first: the entry of each is older
    return {
        f"{name}/{each.key}": each.token
        for name in (ANSWERS, _DECIDED, SPENT)
        for each in account.folder(name).walk()
    }


def read_ledger(account: Storage) -> list[LedgerEntry]:
    """Read all entries of a fit's teachers, in order, but those that are withdrawn. Raises
    StorageError where one is lost or damaged: what it spent would be spent again."""
    return [entry for entry in read_written(account) if entry.stands is not False]


def read_written(account: Storage) -> list[LedgerEntry]:
    """Read the same, those that are withdrawn included."""
    return _written(account, _tokens(account))


def _written(
    account: Storage, tokens: Tokens, is_wanted: Callable[[LedgerEntry], bool] = lambda _: True
) -> list[LedgerEntry]:
    """The entries of an account that are wanted, and what was decided of them."""
    answered = {key.partition("/")[0] for key in _below(ANSWERS, tokens)}
    folder = account.folder(SPENT)
    listed = _below(SPENT, tokens)
    due = [entry_key(number) for number in range(len(listed))]
    undue = set(_below(_DECIDED, tokens)).difference(due)
    if listed != due or undue:
        raise StorageError(
            f"{folder.uri} has {listed}, and not every entry from {entry_key(0)} on"
            f"{f', of which {sorted(undue)} are decided' if undue else ''}. Restore it from a"
            " copy: without an entry its privacy would be spent again."
        )
    found = [_entry(account.uri, key, tokens[f"{SPENT}/{key}"]) for key in listed]
    lost = answered.difference(journal_name(entry.label_set) for entry in found)
    if lost:
        raise StorageError(
            f"{folder.uri} has no entry of {sorted(lost)}, whose answers lie in {ANSWERS}/ beside it."
            " Restore it from a copy: without an entry its privacy would be spent again."
        )
    entries = []
    for number, entry in enumerate(found):
        if not is_wanted(entry):
            continue
        stands = _decision(account, entry, number, tokens.get(f"{_DECIDED}/{entry_key(number)}"))
        # the decision is lost, and answers say what it was
        if stands is None and journal_name(entry.label_set) in answered:
            stands = True
        entries.append(replace(entry, folder=account.uri, number=number, stands=stands))
    return entries


def _below(place: str, tokens: Tokens) -> list[str]:
    """The keys of a folder of the account, sorted."""
    return sorted(key.removeprefix(f"{place}/") for key in tokens if key.startswith(f"{place}/"))


@functools.cache
def _entry(account: str, key: str, token: str) -> LedgerEntry:  # noqa: ARG001
    folder = open_storage(account).folder(SPENT)
    return LedgerEntry.from_bytes(folder.read(key), folder.url(key))


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


def _decision(
    account: Storage, entry: LedgerEntry, number: int, token: str | None = None
) -> bool | None:
    if entry.tries is None:  # nobody could withdraw it
        return None
    if token is not None:
        return _stored_decision(account.uri, number, token)
    folder = account.folder(_DECIDED)  # not listed, and maybe there since
    key = entry_key(number)
    content = folder.read_or_none(key)
    return None if content is None else _stands(content, folder.url(key))


@functools.cache
def _stored_decision(account: str, number: int, token: str) -> bool:  # noqa: ARG001
    folder = open_storage(account).folder(_DECIDED)
    key = entry_key(number)
    return _stands(folder.read(key), folder.url(key))


def _stands(content: bytes, where: str) -> bool:
    return bool(unseal(content, where)["stands"])


def entry_key(number: int) -> str:
    """Return the key of an entry by its number."""
    return f"{number:06d}.json"
