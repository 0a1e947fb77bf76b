"""SkyPilot tasks, by the keys that it knows."""

from __future__ import annotations

import jsonschema
import pytest

from tests.cluster import files
from tests.cluster.skypilot import TASK


@pytest.mark.parametrize("name", files.SKYPILOT)
def test_a_task_is_not_what_skypilot_reads(name):
    jsonschema.validate(files.document(name), TASK)


@pytest.mark.parametrize("name", files.SKYPILOT)
@pytest.mark.parametrize(
    "broken",
    [
        lambda task: task.update(runs="distill"),
        lambda task: task["resources"].update(spot=True),
        lambda task: task["resources"].update(cpus="many"),
        lambda task: task.update(pool={"max": 3}),
    ],
)
def test_a_broken_key_passes(name, broken):
    task = files.document(name)
    broken(task)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(task, TASK)


def test_a_part_does_not_fit_the_machines_of_its_pool():
    pool = files.document("skypilot-pool.yaml")
    part = files.document("skypilot-part.yaml")
    assert "run" not in pool
    assert "pool" not in part
    for key in ("accelerators", "cpus", "memory", "use_spot"):
        assert pool["resources"][key] == part["resources"][key]
    assert "--part auto " in part["run"], "its rank and their number are SkyPilot's to tell"


def test_a_token_is_written_into_the_file():
    secrets = files.document("skypilot-cluster.yaml")["secrets"]
    assert secrets == {"RAY_AUTH_TOKEN": None}
