"""What runs spent is added up once, and read as it was written."""

from __future__ import annotations

from datetime import date

import pytest

from distill.plan.costs.ledger import (
    RunSpent,
    StepSpent,
    read_spent,
    step_totals,
    sum_spent,
    write_spent,
)
from distill.spec.prices import InstancePrice, Prices
from distill.storage.open import open_storage


def priced(*instances: InstancePrice) -> Prices:
    return Prices(on=date(2026, 11, 29), instances=instances)


CPU = InstancePrice(instance="cpu", dollars=1.0, cpus=4)
GPU = InstancePrice(instance="gpu", dollars=8.0, cpus=8, gpus=2)


def run(name: str, began: float, ended: float, **steps: StepSpent) -> RunSpent:
    return RunSpent(name, "job", began, ended, steps)


def test_drivers_at_one_time_count_their_hours_twice():
    runs = [run("a", 0, 3600), run("b", 1800, 7200), run("c", 2000, 3000), run("d", 9000, 9900)]
    assert sum_spent(runs, None).hours == pytest.approx(2.25)


def test_a_gpu_is_counted_as_a_cpu():
    runs = [
        run("a", 0, 1, fit=StepSpent(1.0, 0.0, 3600.0)),
        run("b", 0, 1, labels=StepSpent(1.0, 1.0, 7200.0)),
    ]
    spent = sum_spent(runs, priced(CPU, GPU))
    assert spent.gpu_hours == pytest.approx(2)
    # an hour at the dearest that has room for one CPU, an eighth of the other; two of a GPU
    assert spent.money == pytest.approx(1.0 + 2 * 4.0)


def test_what_has_no_price_is_free():
    runs = [run("a", 0, 1, labels=StepSpent(1.0, 1.0, 7200.0))]
    assert sum_spent(runs, priced(CPU)).money is None
    assert sum_spent(runs, None).money is None


def test_wall_time_changes_what_a_worker_is():
    both = StepSpent(2.0, 1.0, 10.0).plus(StepSpent(wall_seconds=5.0))
    assert both == StepSpent(2.0, 1.0, 10.0, 5.0)


def test_a_run_is_lost_or_written_twice(tmp_path):
    root = open_storage(str(tmp_path))
    assert read_spent(root) == []
    first = run("1", 0.5, 2.5, **{"labels.teacher": StepSpent(1.0, 0.0, 2.0, 2.0, 10, 1, 99)})
    write_spent(root, first)
    more = first.with_step("labels.teacher", StepSpent(1.0, 0.0, 1.0))
    write_spent(root, more)
    other = run("2", 4.0, 5.0)
    write_spent(root, other)
    assert read_spent(root) == [more, other]
    assert step_totals([more, other])["labels.teacher"].worker_seconds == 3.0
