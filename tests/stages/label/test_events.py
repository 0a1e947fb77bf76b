"""A labelling is told fragment by fragment, whichever way it ends."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from distill.core import events
from distill.core.errors import LabelerError
from distill.run import label_pools
from distill.stages.label.events import LabellingEvents
from distill.stages.label.messages import FragmentResult
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
    batch_rows = 16
    max_rejected_fraction = 0.5
"""
RAISES = """
class Labeler:
    revision = "1"
    classes = ("a", "b", "c")

    def label(self, features):
        raise KeyError("pixels")
"""


@pytest.fixture
def told(tmp_path, monkeypatch):
    """`told(text of the labeler)`: the events of a labelling of three fragments."""
    monkeypatch.setattr(events, "_observers", ())

    def label(text):
        write_pool(tmp_path / "rows", [100, 30])
        (tmp_path / "mine.py").write_text(text, "utf-8")
        job = tiny_job(tmp_path, JOB)
        seen = []
        events.observe(seen.append)
        with without_ray():
            try:
                list(label_pools(job, "teacher", engine="local"))
            except LabelerError:
                seen.append(None)
        return seen

    return label


def test_rows_left_and_rows_committed_do_not_add_up(told):
    seen = told(DOUBLING)
    (begun,) = [each for each in seen if each.name == "labelling"]
    committed = [each for each in seen if each.name == "committed"]
    assert {each.step for each in (begun, *committed)} == {"labels.teacher"}
    assert begun.figures["fragments_left"] == len(committed) == 3
    assert begun.figures["rows_left"] == sum(each.figures["rows"] for each in committed) == 130
    assert begun.figures["rejects_allowed"] == 65
    assert {each.worker for each in committed} == {events.this_worker()}
    assert all(each.figures["busy_seconds"] > 0 for each in committed)
    assert [each.name for each in seen].count("labelled") == 1


def test_a_labeler_that_raises_is_not_told_or_its_end_is_not(told):
    seen = told(RAISES)
    failed = [each for each in seen[:-1] if each.name == "failed"]
    assert len(failed) == 3
    assert "row 0" in failed[0].figures["where"]
    assert seen[-1] is None
    assert [each.name for each in seen[:-1]].count("labelled") == 1


@pytest.mark.parametrize(("was_there", "name"), [(False, "committed"), (True, "found")])
def test_what_another_part_has_committed_counts_twice(monkeypatch, was_there, name):
    """The events of all drivers together have each row once, as their counters do."""
    monkeypatch.setattr(events, "_observers", ())
    seen = []
    events.observe(seen.append)
    commit = SimpleNamespace(rows=64, rejected=0, bytes=100, device="cpu", work={})
    LabellingEvents("teacher").result(
        FragmentResult("rows", "000000-000000", commit, was_there=was_there)
    )
    assert [each.name for each in seen] == [name]
