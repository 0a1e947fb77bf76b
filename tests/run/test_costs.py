"""`plan_costs`: what a run then takes lies within what was said before, and planning opens nothing."""

from __future__ import annotations

import time

import numpy as np
import pytest

from distill.core import events
from distill.core.costs import CostPlan, Range
from distill.core.errors import BudgetError
from distill.plan.costs.ledger import read_spent, step_totals
from distill.plan.costs.stored import estimate_beside_actual, newest_costs
from distill.plan.load import load_job
from distill.plan.timelines import read_records
from distill.plan.workspace import Workspace
from distill.run import fit_structures, label_pool, plan_costs, run_job
from distill.stages import trials
from distill.stages.label import work_clock
from distill.storage.open import open_storage
from tests.command import REPOSITORY
from tests.engine.here import without_ray
from tests.resolved import make_pool
from tests.run.declared import clock, declared_job, write_rows
from tests.tiny import tiny_job, write_pool

__all__ = ["clock"]

PRICES = """
[prices]
on = 2026-11-29
[[prices.instances]]
instance = "m7.xlarge"
dollars = 0.2
cpus = 4
"""


def step_of(plan: CostPlan, name: str):
    (found,) = [step for step in plan.steps if step.step == name]
    return found


def spent_hours(job, name: str) -> float:
    return step_totals(read_spent(open_storage(job.root_uri)))[name].hours


def shards_of(seed: int, shards: int, rows: int) -> tuple[list[int], list[float]]:
    """Shards of different sizes, each of its own speed: they differ by half, lognormally."""
    draw = np.random.default_rng(seed)
    sizes = draw.integers(rows // 2, 3 * rows // 2, size=shards)
    seconds = 0.01 * draw.lognormal(0, 0.5, size=shards)
    return sizes.tolist(), seconds.tolist()


def run_held(folder, seed: int, *, shards: int, rows: int, fragment_rows: int):
    """Whether hours and bytes of a run lie within what was planned, and how wide that was."""
    sizes, seconds = shards_of(seed, shards, rows)
    write_rows(folder / "rows", sizes, seconds)
    job = declared_job(folder, seed, fragment_rows=fragment_rows)
    with without_ray():
        plan = plan_costs(job, engine="local")
        planned = step_of(plan, "labels.teacher")
        (summary,) = label_pool(job, "teacher", engine="local")
    true_hours = sum(size * each for size, each in zip(sizes, seconds, strict=True)) / 3600
    spent = spent_hours(job, "labels.teacher")
    # a labeler is asked twice about its first batch
    assert true_hours <= spent <= 1.05 * true_hours
    hours = planned.whole_worker_hours
    in_hours = hours.holds(spent)
    return in_hours, planned.whole_bytes.holds(summary.bytes), hours.high / hours.low


def test_a_run_takes_what_was_not_planned(tmp_path, clock):
    in_hours, in_bytes, width = run_held(tmp_path, 0, shards=24, rows=240, fragment_rows=80)
    assert in_hours
    assert in_bytes
    assert width < 3


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_hours_or_bytes_of_two_million_rows_lie_outside_of_what_was_planned(tmp_path, clock):
    found = [
        run_held(tmp_path / str(seed), seed, shards=40, rows=50_000, fragment_rows=20_000)
        for seed in range(20)
    ]
    in_hours, in_bytes, widths = zip(*found, strict=True)
    assert sum(in_hours) >= 18, in_hours
    assert sum(in_bytes) >= 18, in_bytes
    assert np.median(widths) < 3


def test_a_pilot_is_paid_for_twice_or_is_not_kept(tmp_path, clock):
    sizes, seconds = shards_of(1, 12, 800)
    write_rows(tmp_path / "rows", sizes, seconds)
    job = declared_job(tmp_path, fragment_rows=64)
    with without_ray():
        first = plan_costs(job, engine="local")
        before = clock.now
        again = plan_costs(job, engine="local")
        assert clock.now == before
        (summary,) = label_pool(job, "teacher", engine="local")
    assert first.pilot == 16
    assert again.pilot == 0
    planned = step_of(first, "labels.teacher")
    assert step_of(again, "labels.teacher") == planned
    assert summary.labelled_now == summary.fragments - 16
    with without_ray():
        done = plan_costs(job, engine="local")
    assert step_of(done, "labels.teacher").rows_left == 0
    assert step_of(done, "labels.teacher").worker_hours.high == 0


def test_a_plan_without_a_pilot_labels_or_knows_nothing_of_what_is_committed(tmp_path, clock):
    sizes, seconds = shards_of(2, 12, 800)
    write_rows(tmp_path / "rows", sizes, seconds)
    job = declared_job(tmp_path, fragment_rows=64)
    with without_ray():
        plan = plan_costs(job, pilot=False, engine="local")
        cost = step_of(plan, "labels.teacher")
        assert clock.now == 0
        assert cost.worker_hours is None
        assert cost.rows == cost.rows_left == sum(sizes)
        assert "a pilot says" in cost.note
        plan_costs(job, engine="local")
        before = clock.now
        plan = plan_costs(job, pilot=False, engine="local")
    assert clock.now == before
    assert step_of(plan, "labels.teacher").worker_hours.high > 0


def test_money_is_guessed_without_prices_or_is_not_that_of_the_hours(tmp_path, clock):
    write_rows(tmp_path / "rows", [640, 640], [0.01, 0.01])
    bare = declared_job(tmp_path, fragment_rows=64)
    with without_ray():
        plan = plan_costs(bare, engine="local")
        assert plan.prices_on == ""
        assert step_of(plan, "labels.teacher").dollars == {}
        priced = plan_costs(declared_job(tmp_path, fragment_rows=64, more=PRICES), engine="local")
    cost = step_of(priced, "labels.teacher")
    assert priced.prices_on == "2026-11-29"
    # four workers of one CPU share a machine
    expected = cost.worker_hours.times(0.05)
    found = cost.dollars["m7.xlarge on-demand"]
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    (teacher,) = priced.a_million_rows
    seconds = teacher.seconds_a_million
    assert seconds.low <= 0.01 * 1e6 <= seconds.high
    a_million = teacher.dollars_a_million["m7.xlarge on-demand"]
    assert a_million.low == pytest.approx(seconds.low / 3600 * 0.05)


def test_hours_of_more_workers_are_not_fewer(tmp_path, clock):
    sizes, seconds = shards_of(3, 12, 800)
    write_rows(tmp_path / "rows", sizes, [1000 * each for each in seconds])
    job = declared_job(tmp_path, fragment_rows=64)
    with without_ray():
        plan = plan_costs(job, workers=[1, 8], engine="local")
    cost = step_of(plan, "labels.teacher")
    assert set(cost.hours) == {"1", "8"}
    assert cost.hours["8"].low == pytest.approx(cost.hours["1"].low / 8)
    assert cost.hours["1"].high / 8 < cost.hours["8"].high < cost.hours["1"].high / 4


def test_the_report_has_another_plan_or_another_cost(tmp_path, clock):
    sizes, seconds = shards_of(4, 12, 800)
    write_rows(tmp_path / "rows", sizes, seconds)
    job = declared_job(tmp_path, fragment_rows=64)
    with without_ray():
        assert estimate_beside_actual(Workspace(job)) == ()
        plan = plan_costs(job, engine="local")
        label_pool(job, "teacher", engine="local")
    assert newest_costs(open_storage(job.root_uri), job.name) == plan
    (beside,) = estimate_beside_actual(Workspace(job))
    assert beside.step == "labels.teacher"
    assert beside.worker_hours == step_of(plan, "labels.teacher").whole_worker_hours
    assert beside.spent_worker_hours == pytest.approx(clock.now / 3600, rel=1e-3)
    assert beside.bytes.holds(beside.spent_bytes)


TWO_TEACHERS = """
[labels.second]
labeler = { kind = "custom", file = "mine.py" }
over = ["rows"]
"""


def test_a_plan_in_the_middle_forgets_what_was_planned_of_steps_that_are_done(tmp_path, clock):
    sizes, seconds = shards_of(5, 12, 800)
    write_rows(tmp_path / "rows", sizes, seconds)
    job = declared_job(tmp_path, fragment_rows=64, more=TWO_TEACHERS)
    with without_ray():
        first = step_of(plan_costs(job, engine="local"), "labels.teacher")
        label_pool(job, "teacher", engine="local")
        for _ in range(2):
            done = step_of(plan_costs(job, engine="local"), "labels.teacher")
        label_pool(job, "second", engine="local")
        after_all = plan_costs(job, engine="local")
    assert not done.rows_left
    assert done.planned_worker_hours == first.whole_worker_hours
    assert done.planned_bytes == first.whole_bytes
    assert done.planned_worker_hours.holds(done.spent_worker_hours)
    assert step_of(after_all, "labels.second").planned_worker_hours is not None
    teacher, second = estimate_beside_actual(Workspace(job))
    assert teacher.worker_hours == first.whole_worker_hours
    assert second.worker_hours.low < second.worker_hours.high


def test_a_plan_of_a_finished_job_is_the_estimate_of_the_report(tmp_path, clock):
    write_rows(tmp_path / "rows", [640], [0.01])
    job = declared_job(tmp_path, fragment_rows=64)
    with without_ray():
        plan = plan_costs(job, engine="local")
        label_pool(job, "teacher", engine="local")
        plan_costs(job, engine="local")
    assert newest_costs(open_storage(job.root_uri), job.name) == plan


def test_a_pilot_is_no_part_of_the_runs_or_one_that_labels_nothing_is(tmp_path, clock):
    write_rows(tmp_path / "rows", [640], [0.01])
    job = declared_job(tmp_path, fragment_rows=64, more=PRICES)
    with without_ray():
        plan = plan_costs(job, engine="local")
        plan_costs(job, engine="local")
    (run,) = read_records(open_storage(job.root_uri), job.name)
    assert run.last.commits == plan.pilot == 2
    assert run.priced


OF_A_STRUCTURE = """
[structure.axes]
of = "pools.rows"
model = { kind = "pca", components = 1 }
[labels.axes]
labeler = { kind = "structure", structure = "axes", gives = "coordinates" }
over = ["rows"]
[budget]
hours = 1e-9
"""


def test_a_spent_budget_is_told_as_something_that_is_not_there_yet(tmp_path):
    write_pool(tmp_path / "rows", [200])
    text = f"""
root = "root"
fragment_rows = 64
[pools.rows]
path = "rows"
features = {{ kind = "vector", columns = ["pixels"] }}
{OF_A_STRUCTURE}"""
    job = tiny_job(tmp_path, text)
    with without_ray():
        fit_structures(job, engine="local")
        with pytest.raises(BudgetError, match="hours"):
            plan_costs(job, engine="local")


DIGITS = """
    root = "root"
    fragment_rows = 64
    seed = {seed}
    [pools.unlabelled]
    path = "{pools}/unlabelled"
    features = {{ kind = "vector", columns = ["pixels"], scale = 0.0625 }}
    [pools.test]
    path = "{pools}/test"
    target = "digit"
    classes = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
    [labels.teacher]
    labeler = {{ kind = "custom", file = "mine.py" }}
    over = ["unlabelled", "test"]
    batch_rows = 64
"""
OF_VARYING_SPEED = """
import numpy as np

from tests.run import declared


class Labeler:
    revision = "SEED"
    classes = tuple("0123456789")

    def label(self, features):
        rows = int(1000 * features.sum())
        speed = np.random.default_rng([SEED, rows]).lognormal(0, 0.5)
        declared.CLOCK.now += 0.01 * speed * len(features)
        return features[:, :10]
"""


def digits_held(folder, pools, seed: int) -> tuple[bool, bool]:
    """Whether hours and bytes of labels over the digits lie within what was planned."""
    folder.mkdir()
    (folder / "mine.py").write_text(OF_VARYING_SPEED.replace("SEED", str(seed)), "utf-8")
    job = tiny_job(folder, DIGITS.format(seed=seed, pools=pools))
    with without_ray():
        planned = step_of(plan_costs(job, engine="local"), "labels.teacher")
        summaries = label_pool(job, "teacher", engine="local")
    stored = sum(summary.bytes for summary in summaries)
    spent = spent_hours(job, "labels.teacher")
    return planned.whole_worker_hours.holds(spent), planned.whole_bytes.holds(stored)


@pytest.fixture
def of_cpu(monkeypatch):
    """All that is timed counts by the time of this process's CPU, so that what else the machine
    does is no part of it. It is the one worker."""
    monkeypatch.setattr(events, "now", lambda: 1.8e9 + time.process_time())
    monkeypatch.setattr(work_clock, "monotonic", time.process_time)
    monkeypatch.setattr(trials.time, "perf_counter", time.process_time)


CHEAPER = 2
"""By how much a run may be cheaper than its pilot, which has the first, cold calls: by an eighth it
was. What it may cost more, the plan itself says."""


@pytest.mark.slow
def test_the_main_job_takes_what_was_not_planned(tmp_path, of_cpu):
    """All of it: fits, labels, students, evaluation, as jobs/digits.toml has them."""
    job = load_job(REPOSITORY / "jobs" / "digits.toml", root=str(tmp_path / "digits"))
    with without_ray():
        plan = plan_costs(job, engine="local")
        run_job(job, lambda _line: None, engine="local")
    besides = estimate_beside_actual(Workspace(job))
    assert {each.step for each in besides} == {each.step for each in plan.steps}
    for each in besides:
        print(each)
        assert each.spent_worker_hours > 0, each.step
        expected = Range(each.worker_hours.low / CHEAPER, each.worker_hours.high)
        assert expected.holds(each.spent_worker_hours), each
        if each.step.startswith("labels."):
            assert each.bytes.holds(each.spent_bytes), each


@pytest.mark.slow
def test_hours_or_bytes_of_the_digits_lie_outside_of_what_was_planned(tmp_path, clock):
    job = load_job(REPOSITORY / "jobs" / "digits.toml", root=str(tmp_path / "digits"))
    for name in ("unlabelled", "test"):
        make_pool(job, name)
    pools = tmp_path / "digits" / "pools"
    found = [digits_held(tmp_path / str(seed), pools, seed) for seed in range(20)]
    in_hours, in_bytes = zip(*found, strict=True)
    assert sum(in_hours) >= 18, in_hours
    assert sum(in_bytes) >= 18, in_bytes
