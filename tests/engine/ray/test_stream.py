from __future__ import annotations

import os
import signal
import time
from contextlib import closing

import numpy as np
import pytest

from distill.core.errors import PoolError
from distill.engine.ray.map import map_fragments
from distill.engine.ray.stream import RemoteStream
from distill.spec.labels import Compute
from tests.command import is_alive
from tests.engine.here import require_free
from tests.engine.working import Bar, counting, streaming
from tests.waiting import wait_until

pytestmark = pytest.mark.ray

stream = RemoteStream()


def test_items_are_lost_or_changed_on_their_way(ray, tmp_path):
    items = list(stream(counting, 5, str(tmp_path / "mark")))
    assert [item["number"] for item in items] == list(range(5))
    for item in items:
        np.testing.assert_array_equal(item["values"], np.full(70_000, item["number"], np.float32))
    assert len({item["pid"] for item in items} - {os.getpid()}) == 1


def test_it_runs_far_ahead_of_who_asks(ray, tmp_path):
    mark = tmp_path / "mark"
    with closing(stream(counting, 50, str(mark))) as items:
        next(items)
        time.sleep(1)
        assert len(mark.read_text()) <= 3


def test_a_killed_process_loses_or_doubles_items(ray, tmp_path):
    seen, killed = [], False
    for item in stream(counting, 6, str(tmp_path / "mark")):
        seen.append(item["number"])
        if item["number"] == 2 and not killed:
            os.kill(item["pid"], signal.SIGKILL)
            killed = True
    assert seen == list(range(6))


def test_an_error_comes_as_another(ray):
    def broken():
        yield 1
        raise PoolError("part-7 is no readable Parquet file")

    items = stream(broken)
    assert next(items) == 1
    with pytest.raises(PoolError, match="part-7 is no readable"):
        next(items)


def test_what_is_stopped_early_goes_on_or_keeps_its_cpu(ray, tmp_path):
    for number in range(3):
        with closing(
            RemoteStream(cpus=2)(counting, 10_000, str(tmp_path / f"mark{number}"))
        ) as items:
            pid = next(items)["pid"]
        wait_until(lambda pid=pid: not is_alive(pid))
    require_free(ray)


def test_a_killed_actor_leaves_its_stream_running(ray, tmp_path):
    compute = Compute(prepare_on="cluster", prepare_cpus=0.5, cpus=0.5)
    config = {"mark": str(tmp_path / "mark"), "fatal": 2}
    answers = list(
        map_fragments(
            streaming, config, [[{"number": number}] for number in range(4)], compute, Bar()
        )
    )
    assert sorted(answer["sum"] for answer in answers) == [0, 3, 6, 9]
    assert all(answer["elsewhere"] for answer in answers)
    wait_until(lambda: not is_alive(int((tmp_path / "mark").read_text())))
