from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from distill.stages.label.prefetch import prefetch
from tests.waiting import LIMIT_SECONDS


def test_items_come_in_another_order_or_not_at_all():
    for count in (1, 2, 5):
        assert list(prefetch(iter(range(100)), count)) == list(range(100))
        assert list(prefetch(iter(()), count)) == []


def test_more_is_made_than_may_wait():
    made = []
    items = prefetch((made.append(n) or n for n in range(100)), 3)
    for n in range(50):
        assert next(items) == n
        assert len(made) <= n + 1 + 3
    items.close()


def test_an_error_comes_before_what_was_made_before_it():
    def broken():
        yield from (0, 1)
        raise ValueError("third")

    items = prefetch(broken(), 4)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(ValueError, match="third"):
        next(items)


def test_who_leaves_early_closes_a_generator_that_still_runs():
    begun, go, closed = threading.Event(), threading.Event(), []

    def slow():
        try:
            yield 0
            begun.set()
            go.wait(10)
            yield 1
            yield 2
        finally:
            closed.append(True)

    source = slow()
    items = prefetch(source, 1)
    assert next(items) == 0
    assert begun.wait(LIMIT_SECONDS)
    threading.Timer(0.2, go.set).start()
    items.close()
    source.close()  # raises ValueError where it still runs
    assert closed == [True]


def test_one_callers_thread_reads_for_another():
    names = []

    def name(_):
        return [next(prefetch(iter(threading.get_ident, None), 1)) for _ in range(3)]

    with ThreadPoolExecutor(2) as callers:
        barrier = threading.Barrier(2)
        names = list(callers.map(lambda n: (barrier.wait(), name(n))[1], range(2)))
    assert [len(set(each)) for each in names] == [1, 1]
    assert names[0][0] != names[1][0]


def test_with_nothing_to_make_ahead_a_thread_makes_it():
    items = prefetch(iter(threading.get_ident, None), 0)
    assert [next(items) for _ in range(3)] == [threading.get_ident()] * 3
    items.close()


def test_without_a_thread_an_item_is_made_before_it_is_asked_for():
    made = []
    items = prefetch((made.append(n) or n for n in range(100)), 0)
    for n in range(10):
        assert next(items) == n
        assert made == list(range(n + 1))
    assert list(prefetch(iter(range(3)), 0)) == [0, 1, 2]
