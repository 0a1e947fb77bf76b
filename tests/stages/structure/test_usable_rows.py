"""Rows without a finite image are counted by a fit, a look or a drift."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distill.engine.select import engine_of
from distill.plan.plan import Plan
from distill.run import fit_structures
from distill.stages.structure.drift import measure_drift
from distill.stages.structure.look import look_at
from tests.tiny import tiny_job

JOB = """
    root = "runs"
    [pools.rows]
    path = "rows/"
    features = { kind = "vector", columns = ["x", "y"] }
    [structure.axis]
    of = "pools.rows"
    model = { kind = "pca", components = 1 }
    [structure.groups]
    of = "structure.axis"
    model = { kind = "kmeans", k = 2 }
    watch = ["rows"]
"""


def test_a_row_that_the_structure_below_makes_infinite_is_counted(tmp_path) -> None:
    values = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    # components turn towards these rows, whose coordinate is the largest number times √2
    values[[7, 8]] = [[3.3e38, 3.3e38], [-3.3e38, -3.3e38]]
    (tmp_path / "rows").mkdir()
    table = pa.table({"x": values[:, 0], "y": values[:, 1]})
    pq.write_table(table, tmp_path / "rows" / "part-0.parquet")
    job = tiny_job(tmp_path, JOB)
    fitted = fit_structures(job, engine="local")[1]
    assert fitted.record.details["left_out"] == 2
    plan = Plan(job)
    (drift,) = [measure_drift(step, engine_of("local")) for step in plan.drifts()]
    assert (drift.rows, drift.left_out, drift.index) == (58, 2, 0)
    look = look_at(plan.looks()[1], engine_of("local"))
    assert look.sample is not None
    assert len(look.sample.x) == 58
