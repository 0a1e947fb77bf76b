from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from distill.core.dp.allowance import spent_epsilon
from distill.core.dp.noisy_votes import NoisyVote
from distill.core.errors import LimitError, StorageError
from distill.labels import vote_ledger
from distill.labels.vote_answers import AnswerJournal, VoteAnswers
from distill.labels.vote_ledger import VoteClaim, claim_votes, read_ledger
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
