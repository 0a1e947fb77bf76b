from __future__ import annotations

import time

import numpy as np
import pytest

from distill.engine.ray.fold import call_remotely, fold

pytestmark = pytest.mark.ray


def third(item):
    return np.float64(item) / 3


def test_sums_are_the_same_to_the_last_bit_as_in_one_process(ray):
    items = list(range(1, 1001))
    groups = [items[start : start + 4] for start in range(0, len(items), 4)]
    expected = 0.0
    for number, group in enumerate(groups):
        total = third(group[0])
        for item in group[1:]:
            total += third(item)
        expected = total if number == 0 else expected + total
    assert fold("sum", third, items, lambda first, second: first + second) == expected


def test_every_state_is_held_until_the_last_task_is_done(ray, tmp_path):
    merged = tmp_path / "merged"

    def state(item):
        begun = time.monotonic()
        while item == 3 and not merged.exists():
            if time.monotonic() - begun > 600:
                raise TimeoutError("nothing was merged before the last task")
            time.sleep(0.01)
        return [item]

    def merge(first, second):
        merged.touch()
        return first + second

    assert fold("sum", state, [0, 1, 2, 3], merge) == [0, 1, 2, 3]


def test_an_error_in_a_task_comes_back_as_itself(ray):
    def fail(item):
        raise ValueError(f"bad item {item}")

    with pytest.raises(ValueError, match="bad item 7"):
        fold("sum", fail, [7], lambda first, _: first)


def test_a_function_runs_elsewhere(ray):
    import os

    assert call_remotely(os.getpid) != os.getpid()
