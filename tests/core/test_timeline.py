from __future__ import annotations

import json
from itertools import pairwise

import pytest

from distill.core.timeline import MOST_POINTS, RunRecord
from tests.core.runs import commit, event, lost_node, record, workers


def test_workers_that_left_cost_on_or_those_that_came_cost_nothing():
    seen = (workers(0, 1), workers(3600, 3), workers(7200, 0), commit(9000))
    got = record(*seen, until=10_000, dollars=2.0)
    assert got.last.worker_hours == pytest.approx(4.0)
    assert got.last.dollars == pytest.approx(8.0)
    assert got.priced
    assert got.most_workers == 3


def test_an_event_out_of_order_counts_hours_twice():
    got = record(workers(0, 1), commit(3600), commit(1800), commit(7200), until=7200)
    assert got.last.worker_hours == pytest.approx(2.0)


def test_a_price_is_told_that_nobody_gave():
    assert not record(workers(0, 1), until=10).priced


def test_workers_without_a_price_cost_what_those_before_them_did():
    labelling = (workers(0, 1), workers(3600, 0))
    training = workers(3600, 4, gpus=1.0)
    before = record(*labelling, until=3600, dollars=2.0)
    assert before.priced
    assert before.last.dollars == pytest.approx(2.0)
    got = record(*labelling, training, until=7200, dollars=2.0)
    assert not got.priced
    assert got.last.gpu_hours == pytest.approx(4.0)


def test_a_record_grows_with_the_run_or_forgets_its_sums():
    commits = [commit(0.5 * number) for number in range(20_000)]
    got = record(workers(0, 2), *commits, until=10_000)
    assert len(got.points) <= MOST_POINTS + 1
    assert (got.last.rows, got.last.commits) == (64 * 20_000, 20_000)
    seconds = [point.seconds for point in got.points]
    assert seconds == sorted(seconds)
    gaps = [after - before for before, after in pairwise(seconds)]
    assert max(gaps) < 10_000 / MOST_POINTS * 2.5
    assert len(json.dumps(got.to_plain())) < 16_000, "some KB"


def test_a_loss_has_no_time_of_its_own_or_is_not_counted_by_its_kind():
    again = event("worker_restarted", 30.123, "host-b:7")
    got = record(workers(0, 2), lost_node(20), again, commit(40), until=50)
    assert [(mark.seconds, mark.kind, mark.what) for mark in got.marks] == [
        (20.0, "node", "host-a, preempted, spot"),
        (30.12, "worker", "host-b:7"),
    ]
    assert got.losses == "1 node (1 preempted, spot), 1 labelling worker"
    assert got.last.lost == 2


def test_a_thousand_losses_make_a_record_large():
    losses = [lost_node(number, f"host-{number}") for number in range(1_000)]
    got = record(workers(0, 2), *losses, until=2_000)
    assert len(got.marks) < 100
    assert got.lost == {"node": 1_000}


def test_a_record_is_another_after_json():
    got = record(workers(0, 2), lost_node(20), commit(40), until=50)
    plain = json.loads(json.dumps(got.to_plain()))
    assert RunRecord.from_plain(plain) == got
