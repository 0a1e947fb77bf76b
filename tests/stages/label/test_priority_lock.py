from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from distill.stages.label.priority_lock import PriorityLock
from tests.waiting import LIMIT_SECONDS, wait_until


def test_a_younger_fragment_takes_the_device_before_an_older_one_that_waits():
    lock, order = PriorityLock(), []

    def come(number):
        with lock.hold(number):
            order.append(number)

    with ThreadPoolExecutor(4) as threads, lock.hold(9):
        for number in (3, 1, 2):
            threads.submit(come, number)
        wait_until(lambda: len(lock._waiting) == 3)
        assert order == []
    assert order == [1, 2, 3]


def test_two_hold_it_at_once_or_one_never_gets_it():
    lock, inside, most, done = PriorityLock(), [], [], []

    def work(number):
        for _ in range(200):
            with lock.hold(number):
                inside.append(number)
                time.sleep(0.0001)  # whoever else is let in comes now
                most.append(len(inside))
                inside.remove(number)
        done.append(number)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(work, (0, 1, 1)))
    assert max(most) == 1
    assert sorted(done) == [0, 1, 1]


def test_who_raises_keeps_it():
    lock = PriorityLock()
    with pytest.raises(ValueError, match="mine"), lock.hold(0):
        raise ValueError("mine")
    other = threading.Thread(target=lambda: lock.hold(1).__enter__(), daemon=True)
    other.start()
    other.join(LIMIT_SECONDS)
    assert not other.is_alive()
