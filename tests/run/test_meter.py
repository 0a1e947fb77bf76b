"""A budget stops a run where it is passed, with everything committed, and a larger one goes on."""

from __future__ import annotations

from itertools import count

import pytest

from distill.core import events
from distill.core.account import RunSpent, StepSpent
from distill.core.errors import BudgetError, JobError, LabelerError, StorageError, TrainingError
from distill.core.fleet import fleets
from distill.core.schema import unseal
from distill.engine.stop import stop_requested
from distill.plan.costs.ledger import read_spent, step_totals, sum_spent, write_spent
from distill.plan.load import load_job
from distill.plan.timelines import read_records
from distill.run import label_pool, run_job, status
from distill.stages.train import budget as train_budget
from distill.storage.local import LocalStorage
from distill.storage.open import open_storage
from distill.storage.request_counts import requests
from tests.command import distill
from tests.engine.here import without_ray
from tests.run.declared import clock, declared_job, write_rows
from tests.tiny import DOUBLING, tiny_job, write_job, write_pool

__all__ = ["clock"]

PRICES = """
[prices]
on = 2026-11-29
[[prices.instances]]
instance = "m7.large"
dollars = 3.6
cpus = 1
"""
TRAINING = """
    root = "root"
    [pools.rows]
    path = "rows"
    target = "kind"
    classes = ["a", "b", "c"]
    features = { kind = "vector", columns = ["pixels"] }
    [students.small]
    model = { kind = "linear" }
    training = { epochs = 6, batch_rows = 64, checkpoint_epochs = 100 }
    [[students.small.terms]]
    learns = "pools.rows"
    loss = { kind = "cross_entropy" }
"""


ALL_KINDS = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [structure.axes]
    of = "pools.rows"
    model = { kind = "kmeans", k = 3 }
    [select.few]
    of = "pools.rows"
    rows = 128
    by = { kind = "random" }
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["select.few"]
    [students.small]
    model = { kind = "linear" }
    training = { epochs = 2, batch_rows = 64 }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl" }
"""
LABELER_THAT_RAISES = """
class Labeler:
    revision = "1"
    classes = ("a", "b")

    def label(self, features):
        raise KeyError("seconds")
"""


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def budget(**limits: float) -> str:
    return "[budget]\n" + "\n".join(f"{name} = {limit}" for name, limit in limits.items())


def committed(job) -> int:
    return sum(line.done for line in status(job) if line.name.startswith("labels."))


def stopped(job, work=None) -> str:
    with without_ray(), pytest.raises(BudgetError) as told:
        (work or (lambda: label_pool(job, "teacher", engine="local")))()
    return str(told.value)


def test_a_tenth_of_the_money_is_passed_or_is_not_enough_to_go_on(tmp_path, clock):
    """20 fragments of 64 dollars each, at a dollar a thousand seconds."""
    write_rows(tmp_path / "rows", [64 * 20], [1000.0])
    tenth = declared_job(tmp_path, fragment_rows=64, more=PRICES + budget(money=2 * 64.0))
    said = stopped(tenth)
    # whose second fragment passes it; 13 of its rows are asked about twice
    assert committed(tenth) == 2
    assert "the budget is spent (money: $141.00 of $128.00" in said
    assert "labels.teacher over rows, 18 of 20 fragments" in said
    assert "Raise it in [budget] and run the same command again" in said
    assert str(tenth.path) in said
    before = clock.now
    assert "18 of 20 fragments" in stopped(tenth)  # what former runs spent counts
    assert clock.now == before
    raised = declared_job(tmp_path, fragment_rows=64, more=PRICES + budget(money=20_000))
    with without_ray():
        (summary,) = label_pool(raised, "teacher", engine="local")
    assert summary.labelled_now == 18
    assert not stop_requested()


def test_a_finished_job_is_refused_because_its_budget_is_spent(tmp_path, clock):
    write_rows(tmp_path / "rows", [128], [1000.0])
    job = declared_job(tmp_path, fragment_rows=64)
    with without_ray():
        label_pool(job, "teacher", engine="local")
        spent = declared_job(tmp_path, fragment_rows=64, more=PRICES + budget(money=1))
        (summary,) = label_pool(spent, "teacher", engine="local")
    assert summary.labelled_now == 0


def test_gpu_hours_count_where_no_gpu_is(tmp_path, clock):
    write_rows(tmp_path / "rows", [64 * 4], [1000.0])
    job = declared_job(tmp_path, fragment_rows=64, more=budget(gpu_hours=0.001))
    with without_ray():
        (summary,) = label_pool(job, "teacher", engine="local")
    assert summary.labelled_now == 4


def test_hours_of_former_runs_are_forgotten(tmp_path, clock):
    write_rows(tmp_path / "rows", [64 * 4], [0.0])
    job = declared_job(tmp_path, fragment_rows=64, more=budget(hours=2))
    former = RunSpent("1", "other", 0.0, 2.5 * 3600, {"labels.other": StepSpent()})
    write_spent(open_storage(job.root_uri), former)
    said = stopped(job)
    assert "hours: 2.5 of 2" in said
    assert committed(job) == 0


def weights_of(folder) -> str:
    (done,) = (folder / "root" / "students" / "small").glob("*/done.json")
    return unseal(done.read_bytes(), str(done))["sha256"]


def test_a_training_does_not_stop_or_begins_anew(tmp_path, monkeypatch):
    write_pool(tmp_path / "rows", [640])
    whole = tiny_job(tmp_path / "whole", TRAINING.replace('"rows"\n', '"../rows"\n'))
    with without_ray():
        run_job(whole, lambda _line: None, engine="local")
    hours = count(0, 40)
    monkeypatch.setattr(train_budget, "monotonic", lambda: 3600.0 * next(hours))
    job = tiny_job(tmp_path, TRAINING + "[budget]\nhours = 100\n")
    said = stopped(job, lambda: run_job(job, lambda _line: None, engine="local"))
    assert "students.small, 1 of 1 model" in said
    (folder,) = (tmp_path / "root" / "students" / "small").iterdir()
    # at the third look two epochs of eleven steps were taken, and no checkpoint was due by itself
    assert [each.stem for each in folder.glob("checkpoints/*.json")] == ["step_000000022"]
    monkeypatch.undo()
    with without_ray():
        run_job(tiny_job(tmp_path, TRAINING), lambda _line: None, engine="local")
    assert weights_of(tmp_path) == weights_of(tmp_path / "whole")


RAISES = """
from torch.nn.functional import cross_entropy

from tests.run import declared

calls = 0


def loss(outputs, target):
    global calls
    calls += 1
    if calls > 20:
        declared.CLOCK.now += 100.0
        raise RuntimeError("out of memory")
    return cross_entropy(outputs, target, reduction="none")
"""


def test_a_training_that_does_not_end_is_free_and_begins_anew_each_time(tmp_path, clock):
    """Each start takes 100 seconds and comes to nothing: two of them are the budget."""
    write_pool(tmp_path / "rows", [640])
    (tmp_path / "mine.py").write_text(RAISES, "utf-8")
    own = 'loss = { kind = "custom", file = "mine.py" }'
    text = TRAINING.replace('loss = { kind = "cross_entropy" }', own)
    job = tiny_job(tmp_path, text + f"[budget]\nhours = {199 / 3600}\n")
    for _ in range(2):
        with without_ray(), pytest.raises(TrainingError, match="out of memory"):
            run_job(job, lambda _line: None, engine="local")
    runs = read_spent(open_storage(job.root_uri))
    assert step_totals(runs)["students.small"].hours == pytest.approx(200 / 3600)
    assert "hours: 0.05" in stopped(job, lambda: run_job(job, lambda _line: None, engine="local"))


def test_budget_timeline_and_metrics_state_different_dollars_or_passes_are_free(tmp_path):
    """A structure, a selection by it, labels and a training, on the clock of the machine."""
    write_pool(tmp_path / "rows", [640])
    (tmp_path / "mine.py").write_text(DOUBLING, "utf-8")
    told = []
    job = tiny_job(tmp_path, ALL_KINDS + indented(PRICES))
    events.observe(told.append)
    try:
        with without_ray():
            run_job(job, lambda _line: None, engine="local")
    finally:
        events.forget(told.append)
    root = open_storage(job.root_uri)
    runs = read_spent(root)
    spent = sum_spent(runs, job.prices)
    (fleet,) = fleets(read_records(root, job.name))
    assert spent.money > 0
    assert fleet.dollars == pytest.approx(spent.money, abs=1e-4)
    hours = sum(each.hours for each in step_totals(runs).values())
    assert fleet.worker_hours == pytest.approx(hours, abs=1e-6)
    (*_, last) = [each for each in told if each.name == "cost"]
    assert last.figures["dollars"] == pytest.approx(spent.money)
    assert {name for name, each in step_totals(runs).items() if each.hours > 0} == {
        "structure.axes",
        "select.few",
        "labels.teacher",
        "students.small",
    }


def test_that_nothing_can_be_kept_hides_why_a_step_ended(tmp_path, monkeypatch, caplog):
    write_rows(tmp_path / "rows", [64], [0.0])
    job = declared_job(tmp_path, fragment_rows=64)
    (tmp_path / "mine.py").write_text(LABELER_THAT_RAISES, "utf-8")
    put = LocalStorage.put

    def refuse(self, key, content):
        if "spent" in self.uri:
            raise StorageError("no space left")
        put(self, key, content)

    monkeypatch.setattr(LocalStorage, "put", refuse)
    with without_ray(), pytest.raises(LabelerError, match="seconds"):
        label_pool(job, "teacher", engine="local")
    assert "what this run spent is not kept: no space left" in caplog.text


def test_a_training_begins_with_nothing_left(tmp_path):
    write_pool(tmp_path / "rows", [64])
    job = tiny_job(tmp_path, TRAINING + "[budget]\nhours = 1\n")
    root = open_storage(job.root_uri)
    write_spent(root, RunSpent("1", "other", 0.0, 3600.0))
    said = stopped(job, lambda: run_job(job, lambda _line: None, engine="local"))
    assert "hours: 1 of 1" in said
    assert not (tmp_path / "root" / "students").exists()


def test_a_job_without_a_budget_reads_what_was_spent(tmp_path, clock):
    """One small object is written when a step ends, and nothing is read."""
    write_rows(tmp_path / "rows", [128], [0.0])
    job = declared_job(tmp_path, fragment_rows=64)
    with without_ray():
        label_pool(job, "teacher", engine="local")
        (run,) = read_spent(open_storage(job.root_uri))
        assert run.steps["labels.teacher"].fragments == 2
        before = requests()
        label_pool(job, "teacher", engine="local")
        again = requests() - before
    assert again.put == 0  # nothing was left, so nothing was spent
    assert read_spent(open_storage(job.root_uri)) == [run]


def test_a_budget_of_money_without_prices_counts_nothing(tmp_path):
    write_pool(tmp_path / "rows", [64])
    with pytest.raises(JobError) as told:
        tiny_job(tmp_path, TRAINING + "[budget]\nmoney = 3\n")
    assert "budget.money = 3: the job has no [prices]" in str(told.value)


SLEEPS = """
import time


class Labeler:
    revision = "1"
    classes = ("a", "b", "c")

    def label(self, features):
        time.sleep(0.5)
        return features[:, :3]
"""
ON_RAY = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
    compute = { max = 2 }
"""


@pytest.mark.parametrize("where", ["local", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_command_ends_otherwise_than_by_3_or_does_not_go_on(tmp_path, where, request):
    """20 fragments of at least half a second each, at a dollar a second: two dollars are a tenth or
    less, wherever it works."""
    options, more = ("--local",), {}
    if where == "ray":
        joining = request.getfixturevalue("joining")
        options, more = joining.options, joining.environment
    write_pool(tmp_path / "rows", [64] * 20)
    (tmp_path / "mine.py").write_text(SLEEPS, "utf-8")
    prices = PRICES.replace("3.6", "3600")
    limit = budget(money=2)
    text = indented(prices + limit)
    file = write_job(tmp_path, ON_RAY + text)
    ended = distill("run", file, *options, **more)
    assert ended.code == 3, ended.output
    assert "the budget is spent (money: $" in ended.output
    job = load_job(file)
    done = committed(job)
    # those in work when it was passed are committed too: two workers have two each. A Ray's workers
    # are paid for while they start, which takes longer than two seconds where others compute
    assert (where == "local") <= done <= 10
    assert f"labels.teacher over rows, {20 - done} of 20 fragments" in ended.output
    again = distill("run", file, *options, **more)
    assert again.code == 3, again.output
    assert committed(job) == done
    file.write_text(file.read_text("utf-8").replace("money = 2", "money = 20000"), "utf-8")
    (tmp_path / "mine.py").write_text(SLEEPS.replace("0.5", "0"), "utf-8")  # the same labels
    finished = distill("run", file, *options, **more)
    assert finished.code == 0, finished.output
    assert f"20 fragments ({20 - done} labelled now)" in finished.output
