"""Rows on which the labeler's process dies are found and rejected, and a labelling ends, whichever
rows they are. A process is an exception here, and the journal a dictionary."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.core.errors import LabelerError
from distill.engine.journal import current_journal, journaling
from distill.stages.label.deadly_rows import DeadlyRows, deadly_rows, without_rows

BATCH = 8


class Died(BaseException):
    """The end of a process."""


class Notes(dict):
    """A journal."""

    read = dict.get
    write = dict.__setitem__

    def delete(self, task):
        self.pop(task, None)


def label(journal, rows, dies, batch=BATCH):
    """One process: offsets of the rejected rows of each batch. Raises Died."""

    def ask(features):
        if dies(features):
            raise Died

    found = DeadlyRows(current_journal(), "fragment", 100)
    rejected = []
    for start in range(0, len(rows), batch):
        features = rows[start : start + batch]
        offsets = found.find(features, start, ask)
        ask(without_rows(features, offsets))
        rejected += [start + offset for offset in offsets]
        found.elsewhere()
    found.over()
    return rejected, found.rejected


def label_to_its_end(rows, dies, most_deaths=60, batch=BATCH):
    journal = Notes()
    with journaling(journal):
        for deaths in range(most_deaths):
            try:
                rejected, told = label(journal, rows, dies, batch)
            except Died:
                continue
            assert not journal
            return rejected, told, deaths
    raise AssertionError("it never ends")


@given(st.sets(st.integers(1, 31), max_size=6))
def test_another_row_than_those_it_dies_on_is_rejected_or_it_never_ends(deadly):
    rows = np.arange(32, dtype=np.float32)[:, None]
    rejected, told, deaths = label_to_its_end(rows, lambda some: bool(deadly & set(some[:, 0])))
    assert set(rejected) == deadly
    assert told == [f"row {100 + row}" for row in sorted(deadly)]
    assert deaths <= 5 * len(deadly)


@settings(deadline=None, max_examples=40)
@given(st.data(), st.sampled_from([1, 2, 15, 16, 17, 100, 256, 1_000, 4_096]))
def test_a_row_of_a_large_batch_costs_as_many_processes_as_it_has_rows(data, batch):
    deadly = data.draw(st.integers(0, batch - 1))
    rows = np.arange(batch, dtype=np.float32)[:, None] + 1
    asks = []

    def dies(some):
        asks.append(len(some))
        return deadly + 1 in some[:, 0]

    rejected, told, deaths = label_to_its_end(rows, dies, batch=batch)
    assert (rejected, told) == ([deadly], [f"row {100 + deadly}"])
    assert deaths <= 4 + max(1, math.log2(batch) / 3)
    assert len(asks) <= 60 * deaths


def test_several_rows_of_a_large_batch_are_not_all_found():
    deadly = {1, 2, 700, 4_000}
    rows = np.arange(4_096, dtype=np.float32)[:, None]
    rejected, _, deaths = label_to_its_end(
        rows, lambda some: bool(deadly & set(some[:, 0])), batch=4_096
    )
    assert set(rejected) == deadly
    assert deaths <= 20


def test_rows_that_kill_only_together_are_taken_for_ones_that_kill_alone():
    rows = np.arange(16, dtype=np.float32)[:, None]
    rejected, told, _ = label_to_its_end(rows, lambda some: {9, 12} <= set(some[:, 0]))
    assert rejected == list(range(8, 16))
    assert told == ["rows 108 to 115"]


def test_texts_are_left_in_place_of_those_that_kill():
    texts = np.array(["a", "bad", "c"], object)
    rejected, _, _ = label_to_its_end(texts, lambda some: "bad" in some)
    assert rejected == [1]
    assert without_rows(texts, [1]).tolist() == ["a", "", "c"]


def test_a_labeler_that_always_dies_is_made_anew_without_end():
    rows = np.zeros((8, 1), np.float32)
    with pytest.raises(LabelerError, match="on rows 100 to 107, and on zeros in their place"):
        label_to_its_end(rows, lambda _some: True)


def test_a_process_that_dies_elsewhere_is_made_anew_without_end():
    journal = Notes()
    for _ in range(3):
        DeadlyRows(journal, "fragment")
    with pytest.raises(LabelerError, match="died 3 times while rows were read"):
        DeadlyRows(journal, "fragment")


def test_rows_are_looked_for_where_no_process_died():
    assert current_journal() is None
    with deadly_rows("fragment", 100) as deadly:
        assert deadly is None


def test_what_is_raised_is_taken_for_a_death():
    """Two processes died on the batch, and its row 5 raises whenever it is asked about."""
    rows = np.arange(8, dtype=np.float32)[:, None]
    journal = Notes({"fragment": {"at": "0+8", "deaths": {"0+8": 1}}})

    def ask(some):
        if 5 in some[:, 0]:
            raise ValueError("row 5")

    def label():
        with journaling(journal), deadly_rows("fragment", 100) as deadly:
            assert deadly.find(rows, 0, ask) == []
            ask(rows)

    with pytest.raises(ValueError, match="row 5"):
        label()
    assert not journal, "the next process would take it for a death"


@given(st.sets(st.integers(0, 4), max_size=4))
def test_a_process_that_is_taken_away_convicts_a_row(taken):
    """Deaths of other causes, at the asks of these numbers times 30: never twice at one row."""
    rows = np.arange(16, dtype=np.float32)[:, None]
    asks = iter(range(10_000))
    rejected, _, _ = label_to_its_end(
        rows, lambda some: next(asks) / 30 in taken or 3 in some[:, 0]
    )
    assert 3 in rejected
    assert len(rejected) == 1
