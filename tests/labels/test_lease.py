from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from distill.core.errors import BusyError
from distill.core.schema import seal, unseal
from distill.labels import lease
from distill.labels.lease import go_first_or_wait, hold_lease, make_once, wait_while_busy
from distill.storage.open import open_storage
from tests.waiting import LIMIT_SECONDS, wait_until

HOLD = """
import sys
from distill.labels.lease import go_first_or_wait, hold_lease, make_once, wait_while_busy
from distill.storage.open import open_storage

with hold_lease(open_storage(sys.argv[1]), "labels.teacher over rows"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """A process that holds the lease until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process


def test_a_second_driver_works_beside_the_first(tmp_path, other):
    folder = open_storage(str(tmp_path))
    told = (
        rf"labels\.teacher over rows: process {other.pid} on .* is at work.*Wait for it or end it"
    )
    with (
        pytest.raises(
            BusyError,
            match=told,
        ),
        hold_lease(folder, "labels.teacher over rows"),
    ):
        pytest.fail("two drivers hold one lease")
    other.stdin.close()
    other.wait(LIMIT_SECONDS)
    with hold_lease(folder, "labels.teacher over rows"):
        assert unseal(folder.read(lease.LEASE), "")["pid"] == os.getpid()
    assert folder.read_or_none(lease.LEASE) is None


def test_a_killed_driver_keeps_its_lease(tmp_path, other, monkeypatch):
    other.kill()
    other.wait(LIMIT_SECONDS)
    monkeypatch.setattr(lease.time, "sleep", lambda _: pytest.fail("it is watched for beats"))
    with hold_lease(open_storage(str(tmp_path)), "labels.teacher over rows"):
        pass


def foreign(beat: int) -> bytes:
    return seal(
        {
            "holder": "h",
            "host": "far",
            "machine": "another",
            "pid": 1,
            "started": "1",
            "since": "today",
            "beat": beat,
        }
    )


def test_a_driver_on_another_machine_that_beats_is_robbed(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "_LOOK_SECONDS", 0.05)
    folder = open_storage(str(tmp_path))
    folder.put(lease.LEASE, foreign(1))
    beats = iter(range(2, 100))
    monkeypatch.setattr(
        lease.time, "sleep", lambda _: folder.put(lease.LEASE, foreign(next(beats)))
    )
    with (
        pytest.raises(BusyError, match="process 1 on far is at work"),
        hold_lease(folder, "labels.teacher"),
    ):
        pytest.fail("robbed")


def test_a_driver_on_another_machine_that_died_blocks_for_ever(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(lease, "WATCH_SECONDS", 0.3)
    monkeypatch.setattr(lease, "_LOOK_SECONDS", 0.05)
    folder = open_storage(str(tmp_path))
    folder.put(lease.LEASE, foreign(1))
    with hold_lease(folder, "labels.teacher"):
        assert "process 1 on far is at work" in caplog.text


def test_a_damaged_lease_binds_somebody(tmp_path):
    folder = open_storage(str(tmp_path))
    folder.put(lease.LEASE, b"not sealed")
    with hold_lease(folder, "labels.teacher"):
        pass


def test_the_holder_stops_beating(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.05)
    folder = open_storage(str(tmp_path))
    with hold_lease(folder, "labels.teacher"):
        wait_until(lambda: unseal(folder.read(lease.LEASE), "")["beat"] >= 3)


def test_a_holder_that_was_robbed_takes_the_lease_away_from_the_robber(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.05)
    folder = open_storage(str(tmp_path))
    with hold_lease(folder, "labels.teacher"):
        folder.put(lease.LEASE, foreign(7))
        wait_until(lambda: "another driver took the lease over" in caplog.text)
    assert folder.read(lease.LEASE) == foreign(7)


def test_each_of_many_drivers_makes_what_one_makes_for_all(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(lease, "_FIRST_PAUSE_SECONDS", 0.02)
    caplog.set_level("INFO", "distill")
    folder = open_storage(str(tmp_path))
    begun = threading.Event()
    release = threading.Event()
    made = []

    def find():
        return made[-1] if made else None

    def make():
        begun.set()
        release.wait(LIMIT_SECONDS)
        made.append(len(made))
        return made[-1]

    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(make_once, folder, "the fit", find, make)
        assert begun.wait(LIMIT_SECONDS)
        others = [threads.submit(make_once, folder, "the fit", find, make) for _ in range(3)]
        wait_until(lambda: caplog.text.count("waiting: the fit: process") == 3)
        release.set()
        assert [each.result() for each in (first, *others)] == [0] * 4
    assert made == [0]


def test_a_driver_waits_for_one_that_is_dead(tmp_path, other, monkeypatch):
    monkeypatch.setattr(lease, "_FIRST_PAUSE_SECONDS", 0.02)
    folder = open_storage(str(tmp_path))
    done = []
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(go_first_or_wait, folder, "the pools", lambda: done.append(1))
        assert not done
        other.kill()
        other.wait(LIMIT_SECONDS)
        waiting.result()
    assert done == [1]


def test_what_another_driver_is_at_work_on_is_an_error(monkeypatch):
    monkeypatch.setattr(lease, "_FIRST_PAUSE_SECONDS", 0.02)
    tries = []

    def train():
        tries.append(1)
        if len(tries) < 4:
            raise BusyError("training fit.large: process 1 on far is at work on it")
        return "trained"

    assert wait_while_busy(train) == "trained"
