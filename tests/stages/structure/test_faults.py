"""Fits that are killed, for real: a SIGKILL at named places, then the same command."""

from __future__ import annotations

import numpy as np
import pytest

from distill.plan.load import load_job
from distill.run import fit_structures
from tests.command import distill, kill_session, start
from tests.stages.structure.conftest import arrays, sha256_of
from tests.waiting import wait_until


@pytest.mark.parametrize(
    ("place", "number", "passes"),
    [
        ("structure.chunk", 3, 0),
        ("structure.after_pass", 1, 1),
        ("structure.chunk", 8, 1),
        ("structure.after_pass", 2, 2),
    ],
)
def test_a_kill_comes_to_another_structure(structure_job, tmp_path, place, number, passes):
    """Five chunks a pass, two passes."""
    job, _ = structure_job()
    marker = tmp_path / "reached"
    point = f"{place}:{number}:{marker}"
    process = start("structure", job.path, "--local", DISTILL_FAILPOINT=point)
    wait_until(marker.exists, process)
    kill_session(process.pid)
    process.communicate()
    records = tmp_path.glob("runs/structures/centre/*/passes/*.json")
    assert len(list(records)) == passes
    resumed = distill("structure", job.path, "--local")
    assert resumed.code == 0, resumed.output
    assert "structure.centre: 8 parameters, trained now, 2 unusable rows" in resumed.output
    other = load_job(job.path, root=str(tmp_path / "whole"))
    fit_structures(other, engine="local")
    assert sha256_of(job, "centre") == sha256_of(other, "centre")


CHAIN = """
    [structure.axes]
    of = "pools.rows"
    model = { kind = "pca", components = 3 }
    [structure.groups]
    of = "structure.axes"
    model = { kind = "kmeans", k = 4 }
    [structure.map]
    of = "pools.rows"
    model = { kind = "som", rows = 2, columns = 3, passes = 3 }
"""


@pytest.mark.ray
def test_two_workers_of_ray_find_another_structure_than_one_process(
    structure_job, joining, tmp_path
):
    job, _ = structure_job(CHAIN)
    on_ray = distill("structure", job.path, *joining.options, **joining.environment)
    assert on_ray.code == 0, on_ray.output
    other = load_job(job.path, root=str(tmp_path / "here"))
    fit_structures(other, engine="local")
    for structure in job.structure:
        due = arrays(other, structure)
        for name, values in arrays(job, structure).items():
            np.testing.assert_allclose(values, due[name], rtol=1e-6, atol=1e-6, err_msg=name)
