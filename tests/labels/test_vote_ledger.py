from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from distill.core.dp.allowance import spent_epsilon
from distill.core.dp.noisy_votes import NoisyVote
from distill.core.errors import LimitError, StorageError
from distill.labels import vote_ledger
from distill.labels.vote_answers import AnswerJournal, VoteAnswers
from distill.labels.vote_ledger import OtherAccounts, VoteClaim, claim_votes, read_ledger
from distill.storage.open import open_storage

CLAIM = VoteClaim("votes", "a" * 64, NoisyVote("gnmax", 20.0), 5.0, 1e-5, 10**6, limited=False)


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
    read = vote_ledger.read_ledger
    looks = []

    def read_then_lose(folder):
        entries = read(folder)
        looks.append(len(entries))
        if len(looks) == 1:
            monkeypatch.setattr(vote_ledger, "read_ledger", read)
            claim_votes(account, other)
        return entries

    monkeypatch.setattr(vote_ledger, "read_ledger", read_then_lose)
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
