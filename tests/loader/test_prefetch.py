from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from distill.core import plugins
from distill.loader.prefetch import CallingThread, prefetch, reading_threads


@pytest.fixture
def thread():
    with ThreadPoolExecutor(1) as made:
        yield made


@pytest.mark.parametrize("items", [[], [None], [3, 1, 2]])
def test_items_are_lost_or_come_in_another_order(thread, items):
    assert list(prefetch(iter(items), thread)) == items


def test_the_next_item_is_made_only_when_it_is_asked_for(thread):
    made = []
    items = prefetch((made.append(number) or number for number in range(3)), thread)
    assert next(items) == 0
    thread.submit(int).result()
    assert made == [0, 1]


def test_an_error_of_the_thread_is_swallowed(thread):
    items = prefetch((1 // number for number in (1, 0)), thread)
    assert next(items) == 1
    with pytest.raises(ZeroDivisionError):
        next(items)


def test_a_plugins_format_is_read_in_a_thread_where_it_shall_be_debuggable(monkeypatch):
    for loaded, debuggable, calling in (
        ({}, True, False),
        ({"sha": None}, True, True),
        ({"sha": None}, False, False),
    ):
        monkeypatch.setattr(plugins, "_loaded", loaded)
        with reading_threads(2, debuggable=debuggable) as executor:
            thread = executor.submit(threading.current_thread).result()
        assert (thread is threading.current_thread()) == calling


def test_a_call_in_this_thread_raises_before_its_result_is_asked_for():
    future = CallingThread().submit(divmod, 1, 0)
    with pytest.raises(ZeroDivisionError):
        future.result()
