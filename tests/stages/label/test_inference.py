"""Batches that go together as a run."""

from __future__ import annotations

import numpy as np
import pytest

from distill.engine.protocol import StreamHere
from distill.stages.label.inference import joined
from distill.stages.label.row_reader import read_chunks
from distill.stages.label.worker import LabelWorker

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
