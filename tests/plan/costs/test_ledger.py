"""What runs spent is added up once, and read as it was written."""

from __future__ import annotations

from datetime import date

import pytest

from distill.core.account import Held, RunSpent, StepSpent
from distill.core.schema import seal
from distill.plan.costs.ledger import (
    SpentBook,
    read_spent,
    step_totals,
    sum_spent,
    write_spent,
    write_together,
)
from distill.spec.prices import InstancePrice, Prices
from distill.storage.open import open_storage
from distill.storage.request_counts import requests


def priced(*instances: InstancePrice) -> Prices:
    return Prices(on=date(2026, 11, 29), instances=instances)


CPU = InstancePrice(instance="cpu", dollars=1.0, cpus=4)
GPU = InstancePrice(instance="gpu", dollars=8.0, cpus=8, gpus=2)


def held(cpus: float, gpus: float, seconds: float, **more: int) -> StepSpent:
    return StepSpent((Held(cpus, gpus, seconds),), **more)


def run(name: str, began: float, ended: float, **steps: StepSpent) -> RunSpent:
    return RunSpent(name, "job", began, ended, steps)


def test_drivers_at_one_time_count_their_hours_twice():
    runs = [run("a", 0, 3600), run("b", 1800, 7200), run("c", 2000, 3000), run("d", 9000, 9900)]
    assert sum_spent(runs, None).hours == pytest.approx(2.25)


def test_a_gpu_is_counted_as_a_cpu():
    runs = [
        run("a", 0, 1, fit=held(1.0, 0.0, 3600.0)),
        run("b", 0, 1, labels=held(1.0, 1.0, 7200.0)),
    ]
    spent = sum_spent(runs, priced(CPU, GPU))
    assert spent.gpu_hours == pytest.approx(2)
    # an hour at the dearest that has room for one CPU, an eighth of the other; two of a GPU
    assert spent.money == pytest.approx(1.0 + 2 * 4.0)


def test_what_has_no_price_is_free():
    runs = [run("a", 0, 1, labels=held(1.0, 1.0, 7200.0))]
    assert sum_spent(runs, priced(CPU)).money is None
    assert sum_spent(runs, None).money is None


def test_workers_of_two_kinds_are_counted_as_of_one():
    both = held(2.0, 1.0, 10.0).plus(held(1.0, 0.0, 5.0)).plus(held(2.0, 1.0, 1.0))
    assert both.held == (Held(2.0, 1.0, 11.0), Held(1.0, 0.0, 5.0))


def test_a_run_is_lost_or_written_twice(tmp_path):
    root = open_storage(str(tmp_path))
    assert read_spent(root) == []
    first = run("1", 0.5, 2.5, **{"labels.teacher": held(1.0, 0.0, 2.0, rows=10, fragments=1)})
    write_spent(root, first)
    more = run("1", 0.5, 3.5, **{"labels.teacher": held(1.0, 0.0, 3.0, rows=10, fragments=1)})
    write_spent(root, more)
    other = run("2", 4.0, 5.0)
    write_spent(root, other)
    assert read_spent(root) == [more, other]
    assert step_totals([more, other])["labels.teacher"].hours == pytest.approx(3 / 3600)


OLD = {
    "cpus": 2.0,
    "gpus": 1.0,
    "worker_seconds": 7200.0,
    "wall_seconds": 3600.0,
    "rows": 5,
    "fragments": 1,
    "bytes": 9,
}
"""A step as distill kept it that counted the work of one kind of worker."""


def test_what_an_older_distill_has_spent_is_unreadable_or_free(tmp_path):
    root = open_storage(str(tmp_path))
    steps = {"labels.teacher": OLD, "evaluate": {**OLD, "worker_seconds": 0.0}}
    body = {"run": "1", "job": "job", "began": 0.0, "ended": 9.0, "steps": steps}
    root.folder("spent").put("1.json", seal(body))
    totals = step_totals(read_spent(root))
    assert totals["labels.teacher"] == held(2.0, 1.0, 7200.0, rows=5, fragments=1, bytes=9)
    assert totals["evaluate"].hours == 1.0


def reads_of(book: SpentBook) -> int:
    before = requests()
    book.runs()
    return (requests() - before).get


def test_all_that_was_ever_spent_is_read_at_each_step(tmp_path):
    root = open_storage(str(tmp_path))
    for number in range(5):
        write_spent(root, run(str(number), 0, number))
    book = SpentBook(root)
    first = reads_of(book)
    assert first >= 5
    assert reads_of(book) == 0
    write_spent(root, run("3", 0, 30))
    assert reads_of(book) * 5 == first, "what changed is read again, and nothing else"
    assert {each.run: each.ended for each in book.runs()}["3"] == 30


def test_what_is_rolled_up_counts_twice_or_not_at_all(tmp_path):
    root = open_storage(str(tmp_path))
    for number in range(4):
        write_spent(root, run(str(number), 0, number, fit=held(1.0, 0.0, 3600.0)))
    before = sum_spent(read_spent(root), None)
    runs, singles = SpentBook(root).over(3.0)
    assert [key for key, _ in singles] == [f"spent/{number}.json" for number in range(3)]
    write_together(root, runs)
    assert sum_spent(read_spent(root), None) == before, "they are still there"
    for key, size in singles:
        assert size > 0
        root.delete(key)
    assert len(root.folder("spent").list_objects()) == 2
    assert sum_spent(read_spent(root), None) == before
    assert len(read_spent(root)) == 4
    assert SpentBook(root).over(3.0) == ([], [])
