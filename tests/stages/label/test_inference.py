"""Batches that go together as a run."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import numpy as np
import pytest

from distill.engine.protocol import StreamHere
from distill.stages.label.inference import joined
from distill.stages.label.messages import FragmentResult
from distill.stages.label.row_reader import read_chunks
from distill.stages.label.worker import LabelWorker
from tests.waiting import LIMIT_SECONDS

COUNTING = """
import numpy as np
from distill.labelers.base import Predictions
class Mine:
    revision, classes = "1", ("a", "b", "c")
    calls, answer, apart = 0, np.zeros((10, 3), np.float32), np.zeros(10, np.float32)
    def label(self, features):
        self.calls += 1
        self.answer[:] = self.apart[:] = self.calls
        rows = len(features)
        return Predictions(self.answer[:rows], KNOWN)
"""


@pytest.fixture
def together(monkeypatch):
    """All batches of a chunk but the first go together."""
    monkeypatch.setattr("distill.stages.label.inference._RUN_SECONDS", 1e6)


def predicted(tried, *, threads=True):
    """The runs of the first fragment, 64 rows in batches of 10."""
    worker = LabelWorker(tried.assignment, "cpu", StreamHere(threads=threads))
    return list(worker.inference.predict(read_chunks(worker._request(tried.tasks[0]))))


@pytest.mark.parametrize("threads", [True, False])
def test_an_array_that_the_labeler_reuses_says_of_a_run_what_its_last_batch_has(
    tried, together, threads
):
    mine = tried(COUNTING.replace("KNOWN", "self.apart[:rows]"))
    runs = predicted(mine, threads=threads)
    assert len(runs) < 7
    answers = [joined(run)[1] for run in runs]
    due = np.repeat(np.arange(1, 8), 10)[:64]
    for found in (
        np.concatenate([each.outputs[:, 2] for each in answers]),
        np.concatenate([each.disagreement for each in answers]),
    ):
        np.testing.assert_array_equal(found, due)


def test_a_disagreement_of_some_batches_moves_to_rows_of_others(tried, together):
    mine = tried(COUNTING.replace("KNOWN", "self.apart[:rows] if self.calls % 2 else None"))
    runs = predicted(mine, threads=False)
    assert [len(run) for run in runs] == [1, 6]
    assert [joined(run)[1].disagreement is None for run in runs] == [False, True]


@pytest.mark.parametrize(("most_bytes", "due"), [(4 * 3 * 10 * 4, [1, 4, 2]), (1, [1] * 7)])
def test_a_run_holds_more_answers_than_its_bytes_allow(
    tried, together, monkeypatch, most_bytes, due
):
    monkeypatch.setattr("distill.stages.label.inference._RUN_BYTES", most_bytes)
    runs = predicted(tried(), threads=False)
    assert [len(run) for run in runs] == due


@pytest.mark.parametrize(("tick_seconds", "due"), [(1e-5, [1, 6]), (2e-3, [1] * 7)])
def test_a_labeler_that_takes_longer_than_locks_do_is_asked_about_runs(
    tried, monkeypatch, tick_seconds, due
):
    ticks = (tick_seconds * n for n in count())
    monkeypatch.setattr("distill.stages.label.inference.perf_counter", lambda: next(ticks))
    assert [len(run) for run in predicted(tried(), threads=False)] == due


NOTING = """
import threading, time
seen, both, busy = set(), threading.Event(), []
class Mine:
    revision, classes = "1", ("a", "b", "c")
    def prepare(self, features):
        PREPARE
        return features
    def label(self, features):
        LABEL
        return features
    def finish(self, answered):
        FINISH
        return 2 * answered[:, :3]
"""


def noting(tried, **noted):
    """A worker whose labeler does this too at each of its steps, and the globals of its file."""
    text = NOTING
    for step in ("PREPARE", "LABEL", "FINISH"):
        text = text.replace(step, noted.get(step, "pass"))
    mine = tried(text)
    worker = LabelWorker(mine.assignment, "cpu", StreamHere(threads=noted.get("threads", True)))
    return mine, worker, worker.inference.labeler.labeler.label.__func__.__globals__


def test_a_run_keeps_the_device_while_its_answers_are_finished(tried):
    mine, worker, known = noting(
        tried,
        LABEL="seen.add(threading.get_ident()); both.set() if len(seen) == 2 else None",
        FINISH="WAIT()",
    )
    first, *others = [task.to_plain() for task in mine.tasks[:3]]
    known["WAIT"] = lambda: time.sleep(0.005)
    assert FragmentResult.from_plain(worker(first)).failure is None
    known["seen"].clear()

    def wait_for_another_fragment():
        assert known["both"].wait(LIMIT_SECONDS)

    known["WAIT"] = wait_for_another_fragment
    with ThreadPoolExecutor(2) as threads:
        made = list(threads.map(worker, others))
    assert [FragmentResult.from_plain(plain).failure for plain in made] == [None, None]


def test_without_threads_preparing_counts_as_the_labelers_work(tried):
    noted = "busy.append(clock._inside)"
    mine, worker, known = noting(tried, PREPARE=noted, LABEL=noted, FINISH=noted, threads=False)
    known["clock"] = worker.inference.busy
    assert FragmentResult.from_plain(worker(mine.tasks[1].to_plain())).failure is None
    assert known["busy"] == [0, 1, 1] * 4
