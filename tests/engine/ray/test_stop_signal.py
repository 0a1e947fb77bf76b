from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from distill.engine.ray.stop_signal import StopLooks, StopSignal

pytestmark = pytest.mark.ray


def test_a_worker_reads_something_else_than_the_driver_wrote(ray):
    signal = StopSignal()
    there = pickle.loads(pickle.dumps(signal))
    assert (there.is_set(), there.allows(0), there.allows(1)) == (False, True, None)
    signal.count(5)
    assert (there.allows(5), there.allows(6)) == (True, None)
    signal.set()
    assert (there.is_set(), there.allows(6), there.allows(0)) == (True, False, False)


def test_a_stop_is_undone_by_a_late_result(ray):
    signal = StopSignal()
    signal.set()
    signal.count(7)
    assert signal.is_set()


def test_a_signal_that_nobody_needs_stays_for_ever(ray):
    from ray.experimental import internal_kv

    signal = StopSignal()
    signal.count(1)
    signal.delete()
    assert internal_kv._internal_kv_get(signal.key, namespace=b"distill") is None


class SlowSignal(StopSignal):
    """Answers no sooner than it is let."""

    def __init__(self):
        super().__init__()
        self.asked = threading.Event()
        self.may_answer = threading.Event()

    def is_set(self):
        self.asked.set()
        assert self.may_answer.wait(60)
        return super().is_set()


def test_a_thread_begins_tasks_while_another_hears_of_the_stop(ray):
    signal = SlowSignal()
    signal.set()
    looks = StopLooks(signal)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(looks.look)
        assert signal.asked.wait(60)
        second = pool.submit(looks.look)
        assert wait({second}, 0.2).not_done
        signal.may_answer.set()
        assert first.result(60)
        assert second.result(60)
