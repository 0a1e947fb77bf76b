from __future__ import annotations

import os
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.forkserver import SHARED
from tests.waiting import LIMIT_SECONDS


def tell():
    import numpy as np
    import torch
    from ray._raylet import UniqueID
    from threadpoolctl import threadpool_info

    parent = Path(f"/proc/{os.getppid()}/cmdline").read_bytes()
    return {
        "warm": "ray.train" in sys.modules,
        "of_raylet": b"raylet" in parent,
        "drawn": (UniqueID.from_random().hex(), float(np.random.random())),
        "pid": os.getpid(),
        "threads": {torch.get_num_threads(), *(each["num_threads"] for each in threadpool_info())},
    }


def told_by(ray, processes, **needs):
    """What so many processes tell."""
    found = {}
    until = time.monotonic() + LIMIT_SECONDS
    while len(found) < processes and time.monotonic() < until:
        # each is busy while the others are asked
        asked = [ray.remote(**needs)(tell).remote() for _ in range(4)]
        for told in ray.get(asked):
            found.setdefault(told["pid"], []).append(told)
    assert len(found) >= processes
    return [told for each in found.values() for told in each]


def test_workers_start_cold_or_share_ids_and_numbers(ray):
    told = told_by(ray, 3, num_cpus=1)
    for each in told:
        assert each["warm"] == (SHARED in os.environ)
        assert each["of_raylet"] != each["warm"]
    for drawn in zip(*(each["drawn"] for each in told), strict=True):
        assert max(Counter(drawn).values()) == 1


@pytest.mark.parametrize("cpus", [1, 2])
def test_a_worker_has_other_threads_than_ray_gives_it(ray, cpus):
    assert all(each["threads"] == {cpus} for each in told_by(ray, 1, num_cpus=cpus))


def test_variables_that_a_process_reads_when_it_starts_are_not_heard(ray):
    asked = []
    for more in ({}, {"A": "1"}):  # by which the second is another process
        variables = {"env_vars": {"PYTHONHASHSEED": "7", **more}}
        asked.append(ray.remote(runtime_env=variables)(lambda: hash("a")).remote())
    first, second = ray.get(asked)
    assert first == second
