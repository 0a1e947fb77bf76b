"""Labels over a selection, killed between two batches of a fragment: what was said is written, and
no row is asked about again."""

from __future__ import annotations

import base64
import os
from collections import Counter
from itertools import chain, count
from pathlib import Path

import pyarrow as pa
import pytest

from distill.core.errors import LabelerError, StorageError
from distill.engine.journal import journaling
from distill.labels.encryption import is_encrypted
from distill.run import label_pool, select_pool_rows, verify_labels
from distill.stages.label import fragment_rows
from distill.stages.label.fragment_rows import FragmentRows
from distill.stages.label.messages import FragmentResult
from distill.stages.label.worker import LabelWorker
from distill.storage.open import open_storage
from tests.making import assignment, fragment_tasks
from tests.resolved import delete_garbage
from tests.stages.label.test_deadly_rows import Notes
from tests.stages.select.conftest import BATCH_ROWS, Selecting
from tests.waiting import LIMIT_SECONDS

TEACHER = """
import numpy as np

class Labeler:
    revision = {revision!r}
    classes = ("a", "b", "c")

    def label(self, features):
        if {raising!r} and len(features) != 128:
            raise ConnectionError("too many requests")
        with open({calls!r}, "a") as file:
            file.write("".join(f"{{row.tobytes().hex()}}\\n" for row in features))
        answer = 2 * features[:, :3]
        answer[features[:, 3] > 3] = np.nan
        return answer
"""
SELECTION = """
    [select.first]
    of = "pools.rows"
    by = { kind = "random" }
    rows = 300
"""
MORE = "max_rejected_fraction = 0.9\n"
ENCRYPTED = 'format = "parquet"\nencryption = { key = "env:LABELS_KEY" }\n'
ROWS = 300
ASKED_TWICE = 8
"""Rows of the first batch."""


class Killed(BaseException):
    pass


class Buying(Selecting):
    """A teacher that says which rows it is asked about."""

    def __init__(self, folder: Path, more: str = "") -> None:
        super().__init__(folder)
        self.more = MORE + more
        self.calls = folder / "calls"
        self.teacher("1")
        list(select_pool_rows(self.open(), engine="local"))

    def teacher(self, revision: str, *, raising: bool = False) -> None:
        source = TEACHER.format(revision=revision, calls=str(self.calls), raising=raising)
        (self.folder / "teacher.py").write_text(source, "utf-8")

    def open(self):
        return self.job(SELECTION, more=self.more)

    def label(self):
        (summary,) = label_pool(self.open(), "teacher", engine="local")
        return summary

    def killed(self, monkeypatch, batches: int) -> None:
        """Label so many batches of the one fragment, and die."""
        left = iter(range(batches - 1))

        def die(_):
            if next(left, None) is None:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(fragment_rows, "_AHEAD_SECONDS", 0.0)
            patch.setattr(fragment_rows, "reach", die)
            with pytest.raises(Killed):
                self.label()

    @property
    def asked(self) -> Counter[str]:
        """How often it was asked about each row."""
        return Counter(self.calls.read_text("utf-8").split())

    def files(self, kind: str) -> list[Path]:
        return sorted(self.folder.glob(f"root/labels/teacher/v1/*/{kind}/*/*"))


@pytest.fixture(params=["", 'format = "parquet"\n', ENCRYPTED])
def buying(request, tmp_path, monkeypatch):
    monkeypatch.setenv("LABELS_KEY", base64.b64encode(os.urandom(32)).decode())
    return Buying(tmp_path, request.param)


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_a_killed_fragment_buys_its_batches_again(buying, monkeypatch, caplog, batches):
    buying.killed(monkeypatch, batches)
    assert buying.asked.total() == min(batches * BATCH_ROWS, ROWS) + ASKED_TWICE
    assert len(buying.files("data")) == batches
    for file in [*buying.files("data"), *buying.files("rejects")]:
        assert is_encrypted(file.read_bytes()) == ("encryption" in buying.more)
    summary = buying.label()
    assert buying.asked.total() == ROWS + ASKED_TWICE
    told = f"wrote {batches * BATCH_ROWS} of {ROWS} rows" in caplog.text
    assert told == (batches < 3)  # a whole one is counted, not named
    (verified,) = verify_labels(buying.open(), "teacher")
    assert not verified.problems
    assert 0 < verified.rejected == summary.rejected
    deleted = delete_garbage(buying.open(), "teacher")
    assert sum(len(each.keys) for each in deleted) > batches
    assert len(buying.files("data")) == 1
    # what nobody disturbed says the same, row for row
    (buying.folder / "root").rename(buying.folder / "disturbed")
    asked = buying.asked
    buying.calls.unlink()
    list(select_pool_rows(buying.open(), engine="local"))
    undisturbed = buying.label()
    if "encryption" not in buying.more:  # whose digests have a key of their own
        assert undisturbed.label_hash == summary.label_hash
    assert undisturbed.rejected == summary.rejected
    assert buying.asked == asked


def test_a_fragment_that_dies_again_and_again_buys_a_batch_each_time(tmp_path, monkeypatch):
    buying = Buying(tmp_path)
    for _ in range(3):
        buying.killed(monkeypatch, 1)
    buying.label()
    assert buying.asked.total() == ROWS + ASKED_TWICE


def test_deaths_on_a_batch_are_forgotten_where_others_were_bought(tmp_path, monkeypatch):
    """Batches are known by their place in the fragment, wherever the asking begins."""
    buying = Buying(tmp_path)
    buying.killed(monkeypatch, 2)
    told = assignment(buying.open(), "teacher")
    (task,) = fragment_tasks(buying.open(), "select.first")
    last = ROWS - 2 * BATCH_ROWS
    at = f"{2 * BATCH_ROWS}+{last}"
    notes = Notes({f"select.first/{task.intent.fragment}": {"at": at, "deaths": {at: 1}}})
    with journaling(notes):
        result = FragmentResult.from_plain(LabelWorker(told, "cpu")(task.to_plain()))
    assert result.failure is None
    assert result.commit.rows == ROWS
    # part by part first, none of which is deadly; the other batches not at all
    assert buying.asked.total() == ROWS + ASKED_TWICE + last


def test_a_teacher_that_raises_has_said_nothing_before(tmp_path):
    buying = Buying(tmp_path)
    buying.teacher("1", raising=True)
    with pytest.raises(LabelerError, match="too many requests"):
        buying.label()
    said = buying.asked.total()
    assert said >= 2 * BATCH_ROWS
    buying.teacher("1")
    buying.label()
    assert buying.asked.total() == said + ROWS - 2 * BATCH_ROWS


def test_answers_of_another_teacher_or_of_damaged_bytes_are_taken(tmp_path, monkeypatch):
    buying = Buying(tmp_path)
    buying.killed(monkeypatch, 2)
    _, second = sorted(buying.files("data"), key=lambda file: file.stat().st_mtime_ns)
    second.write_bytes(second.read_bytes()[:-100])
    buying.label()
    assert buying.asked.total() == ROWS + ASKED_TWICE + BATCH_ROWS
    buying.more += "version = 2\n"
    buying.teacher("2")
    buying.label()
    assert buying.asked.total() == 2 * (ROWS + ASKED_TWICE) + BATCH_ROWS


def test_a_fast_teacher_or_one_over_a_pool_costs_an_object_a_batch(tmp_path, monkeypatch):
    # on a machine that others use, no teacher is fast
    monkeypatch.setattr(fragment_rows, "_AHEAD_SECONDS", LIMIT_SECONDS)
    buying = Buying(tmp_path)
    assert buying.label().fragments == 1
    assert len(buying.files("data")) == len(buying.files("rejects")) == 1
    (verified,) = verify_labels(buying.open(), "teacher")
    assert not verified.problems
    job = buying.job(SELECTION, over='["test"]', more=MORE)
    (summary,) = label_pool(job, "teacher", engine="local")
    assert summary.fragments == 1
    assert len(buying.files("data")) == 1 + 1


def test_rows_are_written_one_by_one_or_not_before_the_next_are_asked_about(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(fragment_rows, "monotonic", lambda: now[0])
    written = []
    rows = FragmentRows(write=lambda *each: written.append(each))

    def add(seconds, rejected):
        now[0] += seconds
        rows.add(pa.table({"n": range(rows.count, rows.count + 2)}), rejected)

    add(0.4, {1: ("null", "a")})
    add(0.4, {})
    assert not written
    add(0.4, {0: ("null", "b")})
    ((span, labels, rejected),) = written
    assert (span, labels["n"].to_pylist()) == (range(6), list(range(6)))
    assert rejected == {1: ("null", "a"), 4: ("null", "b")}
    add(5.0, {1: ("null", "c")})
    assert written[1][0] == range(6, 8)
    assert written[1][2] == {7: ("null", "c")}
    rows.write_ahead()
    whole, rejected = rows.whole()
    assert len(written) == 2
    assert whole["n"].to_pylist() == list(range(8))
    assert set(rejected) == {1, 4, 7}
    add(0.1, {})
    rows.write_ahead()
    assert written[2][0] == range(8, 10)


def test_a_slow_teacher_costs_an_object_a_second(monkeypatch):
    seconds = count()
    monkeypatch.setattr(fragment_rows, "monotonic", lambda: 2.0 * next(seconds))
    written = []
    rows = FragmentRows(write=lambda span, *_: written.append(span))
    with rows:
        for _ in range(5_000):
            rows.add(pa.table({"n": [0]}), {})
    assert len(written) < 5_000 // 10
    assert list(chain(*written)) == list(range(5_000))
    assert all(len(span) <= max(1, 0.02 * span.stop) for span in written)


def store_that_fails(folder):
    (folder / "data").write_text("a file, where a folder is to be", "utf-8")
    tried = []

    def write(rows, labels, rejected):
        tried.append(rows)
        open_storage(str(folder)).put("data/rows", b"rows")

    return write, tried


def test_a_store_that_fails_hides_what_the_labeler_raised(tmp_path, caplog):
    write, tried = store_that_fails(tmp_path)
    rows = FragmentRows(write=write)
    rows.add(pa.table({"n": [0]}), {})
    with pytest.raises(LabelerError), rows:
        raise LabelerError("too many requests")
    assert tried == [range(1)]
    assert "answers are lost" in caplog.text


@pytest.mark.parametrize("wait_seconds", [0.0, 1.0])
def test_a_put_that_failed_is_tried_again_or_told_as_done(tmp_path, monkeypatch, wait_seconds):
    monkeypatch.setattr(fragment_rows, "_AHEAD_SECONDS", wait_seconds)
    write, tried = store_that_fails(tmp_path)
    rows = FragmentRows(write=write)
    with pytest.raises(StorageError), rows:
        rows.add(pa.table({"n": [0]}), {})
    assert tried == [range(1)]
