from __future__ import annotations

import os
import sys
import time
from collections import Counter
from pathlib import Path

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


def test_a_worker_of_two_cpus_has_other_threads_than_ray_gives_it(ray):
    assert all(each["threads"] == {2} for each in told_by(ray, 1, num_cpus=2))


def test_variables_that_a_process_reads_when_it_starts_are_not_heard(ray):
    variables = {"env_vars": {"PYTHONHASHSEED": "7"}}
    asked = ray.remote(runtime_env=variables)(lambda: hash("a")).remote()
    again = ray.remote(runtime_env={"env_vars": {"PYTHONHASHSEED": "7", "A": "1"}})(
        lambda: hash("a")
    )
    assert ray.get(asked) == ray.get(again.remote())
