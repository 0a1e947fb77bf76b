"""The course of a run is kept, whatever ends it, and costs a finished run nothing."""

from __future__ import annotations

import pytest

from distill.core import events
from distill.core.errors import LabelerError, StorageError
from distill.core.events import Event, tell
from distill.plan.timelines import read_records
from distill.run import label_pools
from distill.run.recording import WRITE_SECONDS, Recorder
from distill.storage.local import LocalStorage
from distill.storage.open import open_storage
from tests.engine.here import without_ray
from tests.tiny import DOUBLING, tiny_job, write_pool

JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
"""
RAISES = """
class Labeler:
    revision = "1"
    classes = ("a", "b", "c")

    def label(self, features):
        raise KeyError("pixels")
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.setattr(events, "_observers", ())


@pytest.fixture
def label(tmp_path):
    """`label(text of the labeler)`: label a pool of 130 rows here."""
    write_pool(tmp_path / "rows", [100, 30])

    def run(text=DOUBLING):
        (tmp_path / "mine.py").write_text(text, "utf-8")
        with without_ray():
            return list(label_pools(tiny_job(tmp_path, JOB), "teacher", engine="local"))

    return run


def records(tmp_path):
    return read_records(open_storage(str(tmp_path / "root")), "job")


def test_a_run_leaves_no_course_or_a_finished_one_leaves_another(label, tmp_path):
    label()
    label()
    (got,) = records(tmp_path)
    assert (got.last.rows, got.last.commits, got.most_workers) == (130, 3, 1)
    assert got.is_over
    assert got.last.workers == 0


def test_a_run_that_failed_leaves_no_course(label, tmp_path):
    with pytest.raises(LabelerError):
        label(RAISES)
    (got,) = records(tmp_path)
    assert (got.last.rows, got.is_over) == (0, True)


def test_a_course_that_cannot_be_written_ends_the_run(label, monkeypatch, caplog):
    put = LocalStorage.put

    def refuse(self, key, content):
        if "timeline" in self.uri:
            raise StorageError("no space left")
        put(self, key, content)

    monkeypatch.setattr(LocalStorage, "put", refuse)
    (summary,) = label()
    assert summary.labelled == 130
    assert caplog.text.count("the run's timeline is kept no further: no space left") == 1


class Clock:
    """Seconds of events."""

    def __init__(self, monkeypatch):
        self.now = 1_000_000.0
        monkeypatch.setattr(events.time, "time", lambda: self.now)

    def commit(self, seconds):
        self.now += seconds
        tell("committed", step="labels.teacher", rows=1, bytes=1, rejected=0, busy_seconds=0.0)


def test_objects_are_written_at_each_commit_or_none_until_the_end(tmp_path, monkeypatch):
    root = open_storage(str(tmp_path / "root"))
    clock = Clock(monkeypatch)
    recorder = Recorder(lambda: root, "job", None)
    with recorder.recording():
        tell("workers", workers=1)
        for _ in range(600):
            clock.commit(1)
        within = len(root.list_objects())
        assert 600 / WRITE_SECONDS - 2 <= within <= 600 / WRITE_SECONDS
        (killed_now,) = read_records(root, "job")
        assert not killed_now.is_over
        assert killed_now.last.rows >= 600 - WRITE_SECONDS
    assert len(root.list_objects()) == within + 1


def test_a_day_is_a_thousand_objects(tmp_path, monkeypatch):
    root = open_storage(str(tmp_path / "root"))
    clock = Clock(monkeypatch)
    recorder = Recorder(lambda: root, "job", None, lambda _cpus, _gpus: 2.0)
    recorder.account.begin("labels.teacher")
    events.observe(recorder.account)
    with recorder.recording():
        tell("workers", workers=10)
        for _ in range(8_640):
            clock.commit(10)
    objects = root.list_objects()
    assert len(objects) < 300
    assert max(each.size_bytes for each in objects) < 20_000
    (got,) = read_records(root, "job")
    assert got.last.dollars == pytest.approx(480, rel=0.01)
    assert got.last.dollars == pytest.approx(recorder.account.totals().dollars, abs=1e-3)


def test_a_failed_store_is_asked_for_the_course_too(tmp_path):
    root = open_storage(str(tmp_path / "root"))
    recorder = Recorder(lambda: root, "job", None)

    def fail():
        with recorder.recording():
            tell("workers", workers=1)
            raise StorageError("it is gone")

    with pytest.raises(StorageError, match="it is gone"):
        fail()
    assert root.list_objects() == []
    recorder(Event("workers", 0.0, figures={"workers": 0}))
