"""The run's figures at a real Ray's metrics port, and how they are counted."""

from __future__ import annotations

import importlib.util
import re
import time
import urllib.request

import pytest

from distill.core import events
from distill.core.events import Event
from distill.engine.ray.metrics import RayMetrics
from distill.run import label_pools
from tests.tiny import DOUBLING, tiny_job, write_pool
from tests.waiting import LIMIT_SECONDS, wait_until

JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [labels.metered]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
"""
FIGURE = re.compile(r"^ray_(distill_\w+)\{(.*)\} (\S+)$", re.MULTILINE)


def scraped(port):
    """Metric → value, of the label set of this test."""
    with urllib.request.urlopen(
        f"http://127.0.0.1:{port}/metrics", timeout=LIMIT_SECONDS
    ) as answer:
        text = answer.read().decode()
    return {
        name: float(value)
        for name, labels, value in FIGURE.findall(text)
        if 'step="labels.metered"' in labels and 'job_name="metered"' in labels
    }


@pytest.mark.ray
@pytest.mark.skipif(
    importlib.util.find_spec("prometheus_client") is None,
    reason="needs distill[cluster]: a Ray without ray[default] has no metrics port",
)
def test_prometheus_reads_something_else_than_what_was_labelled(ray, tmp_path, monkeypatch):
    write_pool(tmp_path / "rows", [100, 30])
    (tmp_path / "mine.py").write_text(DOUBLING, "utf-8")
    monkeypatch.setattr(events, "_job", "metered")
    list(label_pools(tiny_job(tmp_path, JOB), "metered", engine="ray"))
    (node,) = [node for node in ray.nodes() if node["Alive"]]
    figures = wait_until(lambda: _whole(scraped(node["MetricsExportPort"])))
    assert figures["distill_rows_total"] == 130
    assert figures["distill_fragments_total"] == 3
    assert figures["distill_fragments_left"] == figures["distill_rows_left"] == 0
    assert figures["distill_rejected_rows"] == 0
    assert figures["distill_rejected_rows_allowed"] == pytest.approx(1.3)
    assert 0 < figures["distill_busy_seconds_total"] < 60
    assert 0 <= time.time() - figures["distill_last_commit_seconds"] < 600


def _whole(figures):
    done = figures.get("distill_fragments_total") == 3
    return figures if done and figures.get("distill_fragments_left") == 0 else None


@pytest.fixture
def counted():
    """A `RayMetrics` without a Ray, and what it says: (metric, tags but job and step) → value."""
    ours = RayMetrics(lambda: False)

    class Values:
        def __getitem__(self, key):
            return self.all()[key]

        def all(self):
            waiting = {**ours._amounts, **ours._values}
            return {
                (name, *(tag for _, tag in tags[2:])): each
                for (name, tags), each in waiting.items()
            }

    return ours, Values()


def event(name, at=0.0, worker="", **figures):
    return Event(name, at, "job", "labels.teacher", "", worker, figures)


def begin(**figures):
    usual = {"fragments_left": 10, "rows_left": 640, "rejected": 2, "rejects_allowed": 6.4}
    return event("labelling", **{**usual, **figures})


def workers(at, count):
    return event("workers", at, workers=count)


def commit(at, worker, rejected=0):
    return event("committed", at, worker, rows=64, rejected=rejected, busy_seconds=0.5)


def test_what_is_left_is_not_what_there_was_less_what_came(counted):
    ours, values = counted
    for each in (begin(), commit(5, "a:1"), commit(6, "b:1", rejected=3)):
        ours(each)
    assert values[("distill_fragments_left",)] == 8
    assert values[("distill_rows_left",)] == 512
    assert values[("distill_rejected_rows",)] == 5
    assert values[("distill_rows",)] == 128
    assert values[("distill_busy_seconds",)] == 1.0
    assert values[("distill_last_commit_seconds",)] == 6


def test_what_another_part_has_committed_counts_as_this_runs(counted):
    ours, values = counted
    found = event("found", 6, "a:1", rows=64, rejected=0, busy_seconds=0.0)
    for each in (begin(), commit(5, "a:1"), found):
        ours(each)
    assert values[("distill_rows_left",)] == 512
    assert values[("distill_rows",)] == 64
    assert values[("distill_fragments",)] == 1
    assert values[("distill_last_commit_seconds",)] == 5


def test_a_worker_that_is_gone_counts_for_ever(counted):
    ours, values = counted
    for each in (begin(), workers(1, 2), commit(2, "a:1"), commit(3, "b:1"), workers(4, 1)):
        ours(each)
    assert values[("distill_workers",)] == 1


def cost(at, **figures):
    return event("cost", at, "", **{"worker_hours": 2.5, "gpu_hours": 5.0, **figures})


def test_another_cost_is_shown_than_the_run_has(counted):
    ours, values = counted
    ours(cost(1, dollars=7.5))
    assert values[("distill_worker_hours",)] == 2.5
    assert values[("distill_gpu_hours",)] == 5.0
    assert values[("distill_cost_dollars",)] == 7.5


def test_a_price_is_shown_that_nobody_gave(counted):
    ours, values = counted
    ours(cost(1, dollars=""))
    assert ("distill_cost_dollars",) not in values.all()


def test_a_run_that_ended_is_waited_for_by_an_alert(counted):
    ours, values = counted
    for each in (begin(), workers(1, 1), commit(5, "a:1"), event("labelled", 9)):
        ours(each)
    assert values[("distill_fragments_left",)] == 0
    assert values[("distill_workers",)] == 0


def test_losses_are_not_counted_by_their_kind(counted):
    ours, values = counted
    for each in (
        event("worker_restarted", worker="a:1"),
        event("workers_lost", workers=2),
        event("node_lost", market="spot", why="preempted"),
        event("node_lost", market="spot", why="preempted"),
        event("failed", where="row 3"),
        event("something new"),
    ):
        ours(each)
    assert values.all() == {
        ("distill_retries", "worker"): 1,
        ("distill_retries", "training group"): 1,
        ("distill_nodes_lost", "spot", "preempted"): 2,
        ("distill_failed_fragments",): 1,
    }


def test_what_was_told_before_there_was_a_ray_is_lost_or_given_twice(monkeypatch):
    given = []

    class Metric:
        def __init__(self, name, _description, tag_keys):
            self.name = name
            assert tag_keys == ("job_name", "step")

        def inc(self, amount, tags):
            given.append((self.name, amount, tags["step"]))

        set = inc

    monkeypatch.setattr("ray.util.metrics.Counter", Metric)
    monkeypatch.setattr("ray.util.metrics.Gauge", Metric)
    connected = []
    ours = RayMetrics(lambda: bool(connected))
    ours(begin())
    ours(commit(5, "a:1"))
    assert given == []
    connected.append(True)
    ours(commit(6, "a:1"))
    ours(event("labelled", 9))
    assert given.count(("distill_rows", 128.0, "labels.teacher")) == 1
    assert ("distill_fragments_left", 8.0, "labels.teacher") in given
    assert ("distill_rejected_rows_allowed", 6.4, "labels.teacher") in given
    assert given[-1][1] == 0


def test_a_commit_of_a_labelling_that_was_not_told_ends_the_run(counted):
    ours, values = counted
    ours(commit(5, "a:1"))
    assert values[("distill_rows",)] == 64
