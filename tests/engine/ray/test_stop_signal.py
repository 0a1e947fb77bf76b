from __future__ import annotations

import pickle

import pytest

from distill.engine.ray.stop_signal import StopSignal

pytestmark = pytest.mark.ray


def test_a_worker_hears_something_else_than_the_driver_said(ray):
    brake = StopSignal()
    there = pickle.loads(pickle.dumps(brake))
    assert (there.is_pulled(), there.lets_out(0), there.lets_out(1)) == (False, True, None)
    brake.hear(5)
    assert (there.lets_out(5), there.lets_out(6)) == (True, None)
    brake.pull()
    assert (there.is_pulled(), there.lets_out(6), there.lets_out(0)) == (True, False, False)


def test_a_pulled_brake_is_released_by_a_late_answer(ray):
    brake = StopSignal()
    brake.pull()
    brake.hear(7)
    assert brake.is_pulled()


def test_a_brake_that_nobody_needs_stays_for_ever(ray):
    from ray.experimental import internal_kv

    brake = StopSignal()
    brake.hear(1)
    brake.forget()
    assert internal_kv._internal_kv_get(brake.name, namespace=b"distill") is None
