"""SkyPilot tasks, by the keys that it knows."""

from __future__ import annotations

import os
import subprocess

import jsonschema
import pytest

from tests.cluster import files
from tests.cluster.skypilot import TASK
from tests.waiting import LIMIT_SECONDS


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


RAY = """#!/bin/bash
echo "$@" >> {folder}/ray
if [ "$1" = start ]; then
    trap 'echo ended >> {folder}/ray; exit 0' TERM
    case "$*" in *--head*) while true; do sleep 0.05; done ;; esac
    exit 1
fi
"""


@pytest.mark.parametrize(("rank", "code"), [("0", 7), ("1", 0)])
def test_a_node_outlives_the_job_or_the_jobs_exit_code_is_lost(tmp_path, rank, code):
    commands = tmp_path / "distill" / "bin"
    commands.mkdir(parents=True)
    scripts = {"ray": RAY, "distill": '#!/bin/bash\necho "$@" > {folder}/asked\nexit 7\n'}
    for name, text in scripts.items():
        (commands / name).write_text(text.format(folder=tmp_path), "utf-8")
        (commands / name).chmod(0o755)
    task = files.document("skypilot-cluster.yaml")
    environment = {
        **os.environ,
        **task["envs"],
        "HOME": str(tmp_path),
        "SKYPILOT_NODE_RANK": rank,
        "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2",
    }
    ended = subprocess.run(["bash", "-c", task["run"]], env=environment, timeout=LIMIT_SECONDS)
    assert ended.returncode == code
    asked = (tmp_path / "ray").read_text("utf-8")
    if rank == "0":
        assert "--ray 10.0.0.1:6380" in (tmp_path / "asked").read_text("utf-8")
    else:
        assert "start --address 10.0.0.1:6380 --block" in asked
