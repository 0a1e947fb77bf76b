"""Rounds of a selection are read in the order in which they were chosen."""

from __future__ import annotations

from distill.pools import chosen
from distill.pools.chosen import ChosenRound, put_round, read_rounds
from distill.storage.open import open_storage


def test_a_round_is_missed_once_numbers_have_another_digit(tmp_path, monkeypatch):
    monkeypatch.setattr(chosen, "_round_key", lambda number: f"{number:01d}.json")
    folder = open_storage(str(tmp_path))
    for number in range(12):
        record = ChosenRound(
            number=number,
            asked=str(number),
            method={"kind": "cascade"},
            seed=0,
            rows=1,
            files=(f"{number}.selection",),
            pins={},
            counts={},
        )
        assert put_round(folder, record) == record
    assert [each.number for each in read_rounds(folder)] == list(range(12))
