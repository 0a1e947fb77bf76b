"""What structures of distill's own give, as label sets: of each row, what the structure says of it
in one piece."""

from __future__ import annotations

import numpy as np
import pytest

from distill.labelers.structure.labeler import read_structure
from distill.plan.structure_identity import find_structure
from distill.plan.workspace import Workspace
from distill.run import run_job, status, verify_labels
from tests.making import stored_outputs
from tests.resolved import label_set

TABLES = """
    [structure.axes]
    of = "pools.rows"
    model = { kind = "pca", components = 2 }
    [structure.groups]
    of = "structure.axes"
    model = { kind = "kmeans", k = 3 }
    [structure.map]
    of = "pools.rows"
    model = { kind = "som", rows = 2, columns = 3, passes = 3 }
"""
GIVEN = {
    "coordinates": "axes",
    "cluster": "groups",
    "soft": "groups",
    "distances": "groups",
    "unit": "map",
    "position": "map",
}
LABELS = """
    [labels.{gives}]
    labeler = {{ kind = "structure", structure = "{structure}", gives = "{gives}" }}
    over = ["rows"]
"""


def fitted(job, name):
    return read_structure(*find_structure(Workspace(job), name))


@pytest.fixture
def labelled(structure_job):
    """The job, run, and all usable rows."""
    labels = [LABELS.format(gives=gives, structure=name) for gives, name in GIVEN.items()]
    job, values = structure_job(TABLES + "".join(labels))
    run_job(job, lambda _: None, engine="local")
    return job, values[np.isfinite(values).all(axis=1)]


def test_a_label_set_says_something_else_than_its_structure(labelled):
    job, values = labelled
    axes = fitted(job, "axes").transform(values, "coordinates")
    seen = {"axes": values, "groups": axes, "map": values}
    for gives, name in GIVEN.items():
        labels = label_set(job, gives, "rows")
        assert labels.entries.rejected == 2
        due = fitted(job, name).transform(seen[name], gives)
        stored = stored_outputs(labels)
        known = np.ones(len(stored), bool)
        known[[3, 70]] = False
        assert stored.shape[1] == due.shape[1]
        np.testing.assert_allclose(stored[known], due, rtol=1e-4, atol=1e-4, err_msg=gives)
    soft = label_set(job, "soft", "rows").contract
    assert (soft.kind, soft.classes) == ("logits", ("0", "1", "2"))
    assert label_set(job, "cluster", "rows").contract.kind == "value"
    assert not [line for line in status(job) if line.left]
    assert not any(each.problems for each in verify_labels(job, canaries=2))


def test_a_finished_job_of_structures_makes_anything_again(labelled):
    job, _ = labelled
    told = []
    run_job(job, told.append, engine="local")
    assert len(told) == 4 + len(GIVEN)
    assert all("done before" in line for line in told)
