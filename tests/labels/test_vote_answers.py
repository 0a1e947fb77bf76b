from __future__ import annotations

import numpy as np
import pytest

from distill.core.dp.renyi import no_cost
from distill.core.errors import StorageError
from distill.labels.vote_answers import AnswerJournal, VoteAnswers
from distill.storage.open import open_storage


def _answers(*codes: int) -> VoteAnswers:
    return VoteAnswers(np.array(codes, np.int32), no_cost() + len(codes))


def test_a_second_answer_about_a_fragment_is_ever_seen(tmp_path):
    journal = AnswerJournal(open_storage(str(tmp_path)), "a" * 64)
    assert journal.read("000000-000000") is None
    first = journal.keep("000000-000000", _answers(3, -2, 1))
    second = journal.keep("000000-000000", _answers(0, 0, 0))
    assert first.codes.tolist() == second.codes.tolist() == [3, -2, 1]
    assert len(journal.spent_by_votes()) == 1


def test_damaged_answers_are_asked_again(tmp_path):
    journal = AnswerJournal(open_storage(str(tmp_path)), "a" * 64)
    journal.keep("000000-000000", _answers(1))
    content = journal.folder.read("000000-000000.json")
    journal.folder.put("000000-000000.json", content[:-3])
    with pytest.raises(StorageError, match="damaged"):
        journal.read("000000-000000")
