from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import numpy as np
import pytest

from distill.core.dp.allowance import spent_epsilon
from distill.core.dp.noisy_votes import NoisyVote
from distill.core.errors import LimitError, StorageError
from distill.labels import vote_entries, vote_ledger
from distill.labels.vote_answers import AnswerJournal, VoteAnswers
from distill.labels.vote_entries import LedgerEntry, OtherAccounts, decide, read_ledger
from distill.labels.vote_ledger import VoteClaim, allowance_of, claim_votes
from distill.storage.open import open_storage
from distill.storage.request_counts import requests

CLAIM = VoteClaim("votes", "a" * 64, NoisyVote("gnmax", 20.0), 5.0, 1e-5, 10**6, limited=False)
ALLOWANCE = allowance_of(replace(CLAIM, asked=10), [])


@pytest.fixture
def account(tmp_path):
    return open_storage(str(tmp_path))


def test_a_driver_that_claimed_and_died_claims_again(account):
    first = claim_votes(account, CLAIM)
    assert claim_votes(account, CLAIM) == first
    assert read_ledger(account) == [first]


def test_two_label_sets_of_the_same_teachers_have_a_budget_each(account):
    small = replace(CLAIM, epsilon=3.0)
    first = claim_votes(account, small)
    second = claim_votes(account, replace(CLAIM, label_set="b" * 64))
    spent = spent_epsilon([first.allowance, second.allowance], 1e-5)
    assert 4.9 < spent <= 5
    with pytest.raises(LimitError, match="after what labels votes, votes have spent"):
        claim_votes(account, replace(CLAIM, label_set="c" * 64))


def test_a_claim_that_lost_its_number_takes_what_the_winner_was_given(account, monkeypatch):
    """Both read an empty ledger; the other's entry is there when this one's is put."""
    other = replace(CLAIM, label_set="b" * 64, epsilon=3.0)
    read = vote_ledger.read_written
    looks = []

    def read_then_lose(folder):
        entries = read(folder)
        looks.append(len(entries))
        if len(looks) == 1:
            monkeypatch.setattr(vote_ledger, "read_written", read)
            claim_votes(account, other)
        return entries

    monkeypatch.setattr(vote_ledger, "read_written", read_then_lose)
    mine = claim_votes(account, CLAIM)
    entries = read(account)
    assert [entry.label_set[0] for entry in entries] == ["b", "a"]
    assert entries[1] == mine
    assert spent_epsilon([entry.allowance for entry in entries], 1e-5) <= 5


def test_a_lost_entry_is_taken_for_a_budget_that_is_left(account):
    claim_votes(account, replace(CLAIM, epsilon=3.0))
    claim_votes(account, replace(CLAIM, label_set="b" * 64))
    account.folder("spent").delete("000000.json")
    with pytest.raises(StorageError, match="would be spent again"):
        claim_votes(account, replace(CLAIM, label_set="c" * 64))


def test_the_newest_entry_is_lost_and_nobody_sees_it(account):
    entry = claim_votes(account, CLAIM)
    answers = VoteAnswers(np.zeros(1, np.int32), entry.allowance.curve)
    AnswerJournal(account, CLAIM.label_set).keep("0-0", answers)
    assert read_ledger(account) == [entry]
    account.folder("spent").delete("000000.json")
    with pytest.raises(StorageError, match="would be spent again"):
        claim_votes(account, replace(CLAIM, label_set="b" * 64))


def test_a_lost_entry_that_was_decided_is_forgotten_since_nothing_was_answered(account):
    mine = account.folder("votes", "one", "a")
    claim_votes(mine, replace(CLAIM, over="private"), others=others_of(account, mine))
    assert [each.key for each in mine.folder("decided").walk()] == ["000000.json"]
    mine.folder("spent").delete("000000.json")
    with pytest.raises(StorageError, match=r"of which \['000000.json'\] are decided"):
        read_ledger(mine)


def test_more_is_claimed_than_there_are_rows(account):
    entry = claim_votes(account, replace(CLAIM, asked=10))
    assert entry.allowance.asked == entry.allowance.answered == 10


def others_of(root, account):
    return OtherAccounts(root.uri, account.uri, frozenset({"private"}), frozenset())


def test_teachers_of_another_fit_have_a_budget_of_their_own(account):
    one, two = account.folder("votes", "one", "a"), account.folder("votes", "two", "b")
    about = replace(CLAIM, over="private")
    first = claim_votes(one, replace(about, epsilon=3.0), others=others_of(account, one))
    more = replace(about, label_set="b" * 64, name="more")
    second = claim_votes(two, more, others=others_of(account, two))
    assert 4.9 < spent_epsilon([first.allowance, second.allowance], 1e-5) <= 5
    last = replace(about, label_set="c" * 64)
    with pytest.raises(LimitError, match=r"labels votes \(of teachers one/a\), more have spent"):
        claim_votes(two, last, others=others_of(account, two))
    # of other people, and of an account from before that does not say of whom
    claim_votes(
        two, replace(last, over="others"), others=OtherAccounts("x", "", *[frozenset()] * 2)
    )
    (known,) = others_of(account, two).read()
    assert known.label_set == first.label_set
    assert read_ledger(one) == [first]


@pytest.mark.parametrize(("epsilon", "is_enough"), [(5.0, False), (12.0, True)])
def test_two_that_claim_at_once_in_two_accounts_both_spend_all(
    account, monkeypatch, epsilon, is_enough
):
    """Both see no other; its entry is there when this one's has been put."""
    one, two = account.folder("votes", "one", "a"), account.folder("votes", "two", "b")
    other = replace(CLAIM, label_set="b" * 64, name="other", over="private")
    mine = replace(CLAIM, epsilon=epsilon, asked=60, limited=True, over="private")
    read = OtherAccounts.read
    looks = []

    def read_then_lose(accounts):
        entries = read(accounts)
        looks.append(len(entries))
        if len(looks) == 1:
            claim_votes(two, other, others=others_of(account, two))
        return entries

    monkeypatch.setattr(OtherAccounts, "read", read_then_lose)
    for _ in range(2):  # who was refused is refused when he comes again
        if is_enough:
            entry = claim_votes(one, mine, others=others_of(account, one))
            assert entry.counted == ()
        else:
            with pytest.raises(LimitError, match="labels other"):
                claim_votes(one, mine, others=others_of(account, one))


def test_an_entry_of_before_says_of_which_people_it_is(account):
    one = account.folder("votes", "one", "a")
    claim_votes(one, CLAIM)
    accounts = OtherAccounts(account.uri, "", frozenset({"private"}), frozenset())
    assert accounts.read() == []
    (entry,) = replace(accounts, fits=frozenset({"one"})).read()
    assert (entry.account, entry.over) == ("one/a", "")


class KilledError(Exception):
    pass


def put_and_die(claim, account, others, monkeypatch):
    """A driver that has claimed, and neither looked again nor asked."""

    def die(_):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(vote_ledger, "reach", die)
        with pytest.raises(KilledError):
            claim_votes(account, claim, others=others)


@pytest.mark.parametrize(("mine", "theirs"), [("a", "b"), ("b", "a")])
def test_two_that_claim_at_once_are_both_refused_for_ever(account, monkeypatch, mine, theirs):
    """Both entries are there before either driver looks again: the first digest goes on."""
    one, two = account.folder("votes", "one", "a"), account.folder("votes", "two", "b")
    other = replace(CLAIM, label_set=theirs * 64, name="other", over="private")
    claim = replace(CLAIM, label_set=mine * 64, over="private")
    read = OtherAccounts.read

    def read_then_lose(accounts):
        entries = read(accounts)
        monkeypatch.setattr(OtherAccounts, "read", read)
        put_and_die(other, two, others_of(account, two), monkeypatch)
        return entries

    monkeypatch.setattr(OtherAccounts, "read", read_then_lose)
    claims = {mine: (claim, one), theirs: (other, two)}
    for _ in range(2):
        for name in (mine, theirs):
            about, where = claims[name]
            if name == "a":
                claim_votes(where, about, others=others_of(account, where))
            else:
                with pytest.raises(LimitError, match="is not enough for one answer after"):
                    claim_votes(where, about, others=others_of(account, where))
    entries = [*read_ledger(one), *read_ledger(two)]
    assert [entry.label_set[0] for entry in entries] == ["a"]
    assert 4.9 < spent_epsilon([entry.allowance for entry in entries], 1e-5) <= 5
    # who promises more gets what the other left, and finds it again
    about, where = claims["b"]
    for _ in range(2):
        more = claim_votes(where, replace(about, epsilon=6.0), others=others_of(account, where))
    entries = [*read_ledger(one), *read_ledger(two)]
    assert more in entries
    assert 5.9 < spent_epsilon([entry.allowance for entry in entries], 1e-5) <= 6


def test_who_has_gone_on_is_stopped_by_who_comes_later(account, monkeypatch):
    """The other has read before this one's entry was there, and puts its own after it was decided;
    its digest is the smaller one."""
    one, two = account.folder("votes", "one", "a"), account.folder("votes", "two", "b")
    late = replace(CLAIM, label_set="a" * 64, name="late", over="private")
    claim = replace(CLAIM, label_set="b" * 64, over="private")
    read = OtherAccounts.read

    def read_then_lose(accounts):
        entries = read(accounts)
        monkeypatch.setattr(OtherAccounts, "read", read)
        claim_votes(one, claim, others=others_of(account, one))
        return entries

    monkeypatch.setattr(OtherAccounts, "read", read_then_lose)
    with pytest.raises(LimitError, match="labels votes"):
        claim_votes(two, late, others=others_of(account, two))
    mine = claim_votes(one, claim, others=others_of(account, one))
    assert [*read_ledger(one), *read_ledger(two)] == [mine]


def test_many_claim_at_once_and_together_spend_more(account):
    folders = [account.folder("votes", f"fit{number}", "t") for number in range(4)]
    start = Barrier(4)

    def claim(number):
        folder = folders[number]
        about = replace(CLAIM, label_set=f"{number:064d}", over="private")
        start.wait()
        try:
            return claim_votes(folder, about, others=others_of(account, folder))
        except LimitError:
            return None

    with ThreadPoolExecutor(4) as threads:
        given = [entry for entry in threads.map(claim, range(4)) if entry is not None]
    assert given
    assert spent_epsilon([entry.allowance for entry in given], 1e-5) <= 5


def test_an_entry_from_before_decisions_is_withdrawn(account):
    """It may have been asked by."""
    one, two = account.folder("votes", "one", "a"), account.folder("votes", "two", "b")
    claim = replace(CLAIM, label_set="b" * 64, over="private")
    allowance = vote_ledger.allowance_of(claim, [])
    before = LedgerEntry("old", "z" * 64, allowance, "private", counted=())
    fresh = LedgerEntry("votes", claim.label_set, allowance, "private", counted=(), tries=0)
    two.folder("spent").put_if_absent("000000.json", before.to_bytes())
    one.folder("spent").put_if_absent("000000.json", fresh.to_bytes())
    with pytest.raises(LimitError, match="labels old"):
        claim_votes(one, claim, others=others_of(account, one))
    assert read_ledger(one) == []
    again = claim_votes(two, replace(claim, label_set="z" * 64), others=others_of(account, two))
    assert again.name == "old"


def test_a_lost_decision_lets_what_was_answered_be_withdrawn(account):
    one, two = account.folder("votes", "one", "a"), account.folder("votes", "two", "b")
    claim = replace(CLAIM, label_set="b" * 64, over="private")
    asked = claim_votes(one, claim, others=others_of(account, one))
    AnswerJournal(one, claim.label_set).keep(
        "0-0", VoteAnswers(np.zeros(1, np.int32), asked.allowance.curve)
    )
    one.folder("decided").delete("000000.json")
    smaller = replace(claim, label_set="a" * 64)
    at_once = LedgerEntry("late", smaller.label_set, asked.allowance, "private", (), tries=0)
    two.folder("spent").put_if_absent("000000.json", at_once.to_bytes())
    with pytest.raises(LimitError, match="labels votes"):
        claim_votes(two, smaller, others=others_of(account, two))
    assert read_ledger(one) == [asked]


def add_entry(root, number, over):
    """An account with one entry that stands, as a claim leaves it."""
    account = root.folder("votes", f"fit{number:03d}", "t")
    claim = replace(CLAIM, label_set=f"{number:064d}", over=over)
    entry = LedgerEntry("votes", claim.label_set, ALLOWANCE, over, (), tries=0)
    account.folder("spent").put_if_absent("000000.json", entry.to_bytes())
    assert decide(replace(entry, folder=account.uri), stands=True)
    return account


def test_a_claim_reads_all_entries_of_a_root_again(account):
    for number in range(40):
        add_entry(account, number, "private" if number % 4 else "others")
    others = OtherAccounts(account.uri, "", frozenset({"private"}), frozenset())

    def asked():
        before = requests()
        found = others.read()
        spent = requests() - before
        return len(found), (spent.list, spent.get)

    # one look at each folder, each entry, and what was decided of those about these people
    assert asked() == (30, (2, 40 + 30))
    assert asked() == (30, (2, 0))
    add_entry(account, 40, "private")
    assert asked() == (31, (2, 2))


def test_what_is_decided_or_undecided_is_remembered_as_it_was(account):
    one = add_entry(account, 1, "private")
    others = OtherAccounts(account.uri, "", frozenset({"private"}), frozenset())
    (stood,) = others.read()
    assert stood.stands
    late = LedgerEntry("late", "b" * 64, ALLOWANCE, "private", (), tries=0)
    one.folder("spent").put_if_absent("000001.json", late.to_bytes())
    assert [each.stands for each in others.read()] == [True, None]
    decide(others.read()[1], stands=False)
    assert [each.name for each in others.read()] == ["votes"]
    # a file in its place is another one
    one.folder("decided").delete("000000.json")
    assert [each.stands for each in others.read()] == [None]
    one.folder("spent").delete("000000.json")
    with pytest.raises(StorageError, match="would be spent again"):
        others.read()


def test_an_entry_that_is_written_while_others_are_listed_is_taken_for_lost(account, monkeypatch):
    """A folder of answers is listed, by a disk, after that of the entries."""
    one = add_entry(account, 1, "private")
    others = OtherAccounts(account.uri, "", frozenset({"private"}), frozenset())
    listed = vote_entries._listed_accounts

    def written_to(folder):
        for each in listed(folder):
            add = LedgerEntry("late", "b" * 64, ALLOWANCE, "private", (), tries=0)
            one.folder("spent").put_if_absent("000001.json", add.to_bytes())
            answers = VoteAnswers(np.zeros(1, np.int32), ALLOWANCE.curve)
            AnswerJournal(one, add.label_set).keep("0-0", answers)
            key = f"answers/{add.label_set[:16]}/0-0.json"
            yield replace(each, tokens={**each.tokens, key: "1"})

    monkeypatch.setattr(vote_entries, "_listed_accounts", written_to)
    assert [each.name for each in others.read()] == ["votes", "late"]


def test_an_account_whose_entries_are_all_gone_has_spent_nothing(account):
    one = add_entry(account, 1, "private")
    answers = VoteAnswers(np.zeros(1, np.int32), ALLOWANCE.curve)
    AnswerJournal(one, f"{1:064d}").keep("0-0", answers)
    one.folder("spent").delete("000000.json")
    others = OtherAccounts(account.uri, "", frozenset({"private"}), frozenset())
    with pytest.raises(StorageError, match="would be spent again"):
        others.read()
