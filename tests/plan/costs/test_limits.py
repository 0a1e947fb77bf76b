"""A budget is passed where it is reached, and a training is told what is left of it."""

from __future__ import annotations

import math

from distill.plan.costs.ledger import Spent
from distill.plan.costs.limits import Allowance, allowance, passed_limits
from distill.plan.costs.money import WorkerKind
from distill.spec.budget import Budget
from tests.plan.costs.test_ledger import CPU, GPU, priced


def test_each_limit_stands_for_all():
    spent = Spent(hours=2.0, gpu_hours=3.0, money=4.0)
    assert not list(passed_limits(Budget(hours=2.1, gpu_hours=3.1, money=4.1), spent))
    assert [each.split(":")[0] for each in passed_limits(Budget(hours=2.0), spent)] == ["hours"]
    assert [each.split(":")[0] for each in passed_limits(Budget(gpu_hours=3), spent)] == [
        "gpu_hours"
    ]
    assert [each.split(":")[0] for each in passed_limits(Budget(money=4, hours=9), spent)] == [
        "money"
    ]


def test_a_training_spends_more_than_is_left():
    spent = Spent(hours=1.0, gpu_hours=3.0, money=4.0)
    budget = Budget(hours=2.0, gpu_hours=5.0, money=20.0)
    left = allowance(budget, spent, priced(CPU, GPU), WorkerKind(1.0, 1.0))
    assert left == Allowance(1.0, 2.0, 16.0, 1.0, 4.0)
    assert not left.is_spent(1799, 4, "cuda")
    assert left.is_spent(1800, 4, "cuda")  # two hours of GPUs
    assert not left.is_spent(3599, 4, "cpu")
    assert left.is_spent(3600, 4, "cpu")
    assert left.is_spent(1440, 10, "cpu")  # 16 dollars


def test_no_limit_is_one():
    left = allowance(Budget(money=9), Spent(1e9, 1e9, None), None, WorkerKind())
    assert (left.hours, left.gpu_hours) == (math.inf, math.inf)
    assert not left.is_spent(1e12, 64, "cuda")
