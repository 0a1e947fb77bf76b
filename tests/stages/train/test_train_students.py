"""Trainings that another driver ended after they were planned."""

from __future__ import annotations

from distill.engine.local import LocalEngine
from distill.plan.load import load_job
from distill.plan.plan import Plan
from distill.run import prepare_inputs
from distill.stages.train.train_students import train_networks
from tests.tiny import write_job, write_pool

JOB = """
    root = "root"
    [pools.rows]
    path = "rows"
    target = "kind"
    classes = ["a", "b", "c"]
    features = { kind = "vector", columns = ["pixels"] }
    [fit.large]
    model = { kind = "linear" }
    on = "rows"
    training = { epochs = 1, batch_rows = 64 }
"""


def test_a_driver_that_planned_before_another_one_ended_trains_anew(tmp_path):
    write_pool(tmp_path / "rows", [128])
    job = load_job(write_job(tmp_path, JOB))
    prepare_inputs(job, engine="local")
    steps = Plan(job).trained_fits(None)
    engine = LocalEngine()
    (first,) = train_networks(steps, engine)
    (second,) = train_networks(steps, engine)
    assert first.now
    assert not second.now
    assert second.record == first.record
