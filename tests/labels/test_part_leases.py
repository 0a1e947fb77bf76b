from __future__ import annotations

import subprocess
import sys

import pytest

from distill.core.errors import BusyError
from distill.core.schema import seal
from distill.labels import lease, part_leases
from distill.labels.lease import LEASE, hold_lease
from distill.labels.part_leases import (
    PartLease,
    PartWatch,
    hold_label_set,
    hold_part,
    hold_takeover,
    parts_at_work,
)
from distill.labels.parts import Part
from distill.storage.open import open_storage
from distill.storage.request_counts import requests
from tests.waiting import LIMIT_SECONDS

SET = "labels.teacher over rows"
HOLD = """
import sys
from distill.labels.part_leases import hold_part
from distill.labels.parts import Part
from distill.storage.open import open_storage

with hold_part(open_storage(sys.argv[1]), "labels.teacher over rows", Part(1, 3)):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path):
    return open_storage(str(tmp_path))


@pytest.fixture
def other(tmp_path):
    """A process that holds part 1/3 until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(lease, "WATCH_SECONDS", 0.3)
    monkeypatch.setattr(lease, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(part_leases, "START_SECONDS", 0.0)
    monkeypatch.setattr(part_leases, "_SUSPECT_SECONDS", 0.1)


def foreign(beat: int = 1) -> bytes:
    who = {"holder": "h", "host": "far", "machine": "another", "pid": 1, "started": "1"}
    return seal({**who, "since": "today", "beat": beat})


def test_two_drivers_hold_one_part(folder):
    with hold_part(folder, SET, Part(1, 3)):
        with hold_part(folder, SET, Part(2, 3)), hold_part(folder, SET, Part(1, 4)):
            assert parts_at_work(folder)[0].startswith("1/3 on ")
        with (
            pytest.raises(BusyError, match=r"over rows, part 1/3: process \d+ on .* is at work"),
            hold_part(folder, SET, Part(1, 3)),
        ):
            pytest.fail("held twice")
    assert parts_at_work(folder) == []


def test_a_whole_set_and_a_part_are_held_together(folder):
    with (
        hold_part(folder, SET, Part(1, 3)),
        pytest.raises(BusyError, match=r"over rows: process \d+ on .*1-of-3\.json"),
        hold_label_set(folder, SET),
    ):
        pytest.fail("the set is held beside a part")
    with (
        hold_label_set(folder, SET),
        pytest.raises(BusyError, match=r"over rows: process \d+ on .*lease\.json"),
        hold_part(folder, SET, Part(1, 3)),
    ):
        pytest.fail("a part is held beside the set")
    # as a driver from before there were parts holds it
    with (
        hold_lease(folder, SET),
        pytest.raises(BusyError, match="is at work on it"),
        hold_part(folder, SET, Part(1, 3)),
    ):
        pytest.fail("a part is held beside an old driver's set")
    assert folder.list_objects() == []


def test_what_was_left_by_the_dead_keeps_the_living_out(folder, other, quick):
    other.kill()
    other.wait(LIMIT_SECONDS)
    folder.put("parts/2-of-3.json", foreign())
    folder.put("parts/2-of-3.000000-000001_000000-000000.json", foreign())
    with hold_part(folder, SET, Part(1, 3)):
        pass
    with hold_label_set(folder, SET):
        assert folder.folder("parts").list_objects() == []
    folder.put(LEASE, foreign())
    with hold_part(folder, SET, Part(0, 3)):
        assert folder.read_or_none(LEASE) is None


def test_a_look_asks_for_each_part_or_misses_one(folder):
    watch = PartWatch(folder, Part(0, 3))
    with (
        hold_part(folder, SET, Part(0, 3)),
        hold_part(folder, SET, Part(1, 3)),
        hold_takeover(folder, Part(1, 3), "000001-000007", "000001-000002") as taken,
    ):
        before = requests()
        found = watch.look()
        spent = requests() - before
    assert (spent.list, spent.get, spent.put) == (1, 0, 0)
    assert taken == PartLease(Part(1, 3), (1 << 24) + 7, (1 << 24) + 2)
    # 2/3 is not there yet, and is taken to be about to begin
    assert set(found) == {PartLease(Part(1, 3)), taken, PartLease(Part(2, 3))}


def test_a_part_that_ended_is_taken_for_one_that_is_about_to_begin(folder):
    watch = PartWatch(folder, Part(0, 2))
    with hold_part(folder, SET, Part(1, 2)):
        assert watch.look() == [PartLease(Part(1, 2))]
    assert watch.look() == []


def test_a_part_that_never_began_keeps_its_fragments(folder, quick):
    assert PartWatch(folder, Part(0, 3)).look() == []


def test_a_killed_part_of_this_machine_lives_for_a_minute(folder, other, quick, monkeypatch):
    monkeypatch.setattr(lease, "WATCH_SECONDS", 600.0)
    watch = PartWatch(folder, Part(0, 3))
    assert watch.look() == [PartLease(Part(1, 3))]
    other.kill()
    other.wait(LIMIT_SECONDS)
    monkeypatch.setattr(part_leases, "_SUSPECT_SECONDS", 0.0)
    assert watch.look() == []
    watch.forget_dead()
    assert folder.folder("parts").list_objects() == []


def test_a_part_of_another_machine_lives_without_a_beat_or_dies_with_one(folder, quick):
    clock = [100.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part_leases.time, "monotonic", lambda: clock[0])
        watch = PartWatch(folder, Part(0, 3))
        for beat in range(4):
            folder.put("parts/1-of-3.json", foreign(beat))
            clock[0] += 0.2
            assert watch.look() == [PartLease(Part(1, 3))]
        clock[0] += 0.2
        assert watch.look() == [PartLease(Part(1, 3))]
        clock[0] += 0.2
        assert watch.look() == []


def test_objects_of_others_are_parts(folder):
    folder.put("parts/notes.txt", b"mine")
    folder.put("parts/manifest.json", foreign())
    assert PartWatch(folder, Part(0, 1)).look() == []
    assert parts_at_work(folder) == []
