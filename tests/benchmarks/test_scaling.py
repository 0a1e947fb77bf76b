"""The rate of workers from when their commits came, without a Ray."""

from __future__ import annotations

import pytest

from tests.benchmarks.scaling import ratios, steady


def paired(workers, seconds, fragments=24):
    """Commits as two calls of each worker make them: two at once."""
    times = [(1 + number // 2) * 2 * seconds for number in range(fragments)]
    return {f"host:{worker}": [100.0 + time for time in times] for worker in range(workers)}


def test_commits_that_come_in_pairs_count_as_more():
    assert steady(paired(1, 0.5))["rate"] == pytest.approx(2.0, rel=0.02)
    assert steady(paired(2, 0.5)) == {"working": 2, "rate": pytest.approx(4.0, rel=0.02)}


def test_a_late_start_is_slow_work():
    commits = paired(1, 0.5)
    commits["host:0"][0] -= 60
    assert steady(commits)["rate"] == pytest.approx(2.0, rel=0.02)


def test_a_worker_that_did_nothing_hides():
    assert steady({"host:0": [1.0, 2.0, 3.0, 4.0], "host:1": [2.0]})["working"] == 1


def test_the_ratio_is_of_other_rounds():
    runs = [
        {"round": number, "workers": workers, "rate": speed * workers * share}
        for number, speed in enumerate((1.0, 2.0, 0.5))
        for workers, share in ((1, 1.0), (2, 0.9))
    ]
    mean, low, high = ratios(runs)
    assert mean == pytest.approx(0.9)
    assert low == pytest.approx(high)
