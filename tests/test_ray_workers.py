from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.forkserver import SHARED


def tell():
    from ray._raylet import UniqueID

    parent = Path(f"/proc/{os.getppid()}/cmdline").read_bytes()
    return "torch" in sys.modules, b"raylet" in parent, UniqueID.from_random().hex(), os.getpid()


def test_workers_start_cold_or_share_ids(ray):
    told = ray.remote(num_cpus=1)(tell)
    found = {}
    while len(found) < 3:  # processes that live at once
        for is_warm, is_of_raylet, drawn, pid in ray.get([told.remote() for _ in range(4)]):
            assert is_warm == (SHARED in os.environ)
            assert is_of_raylet != is_warm
            found[pid] = drawn
    assert len(set(found.values())) == len(found)
