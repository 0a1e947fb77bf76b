"""Every job against every cluster file: what a job asks for is there."""

from __future__ import annotations

import pytest

from distill.job.load import read_job
from tests.cluster import files
from tests.cluster.offers import Nodes, lacking, offered
from tests.command import REPOSITORY
from tests.tiny import write_job

CLUSTERS = [
    *files.LAUNCHER,
    "kuberay-cluster.yaml",
    "kuberay-job.yaml",
    "kubernetes-parts.yaml",
    *files.SKYPILOT,
    *files.SLURM,
]
JOBS = sorted((REPOSITORY / "jobs").glob("*.toml"))


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.stem)
def test_a_job_asks_for_what_the_cluster_does_not_offer(job, cluster):
    assert lacking(read_job(job), offered(cluster)) == []


@pytest.mark.parametrize(
    ("compute", "asks"),
    [
        ("gpus = 2", "1 × 1 CPU and 2 GPU, and there is room for 0"),
        ("cpus = 64", "1 × 64 CPU"),
        ("gpus = 1, min = 19", "19 × 1 CPU and 1 GPU, and there is room for 18"),
    ],
)
def test_what_no_node_has_is_named(tmp_path, compute, asks):
    job = read_job(
        write_job(
            tmp_path,
            f"""
            root = "root"
            [pools.rows]
            path = "rows"
            features = {{ kind = "vector", columns = ["pixels"] }}
            [labels.teacher]
            labeler = {{ kind = "custom", file = "teacher.py" }}
            over = ["rows"]
            compute = {{ {compute}, max = 20 }}
            """,
        )
    )
    (sentence,) = lacking(job, offered("aws.yaml"))
    assert sentence.startswith(f"labels.teacher.compute asks for {asks}")


def test_parts_of_nodes_are_added_up():
    job = read_job(REPOSITORY / "jobs" / "digits.toml")
    assert lacking(job, [Nodes(4, 0.5)]) != []


def test_every_file_has_a_row_that_says_what_it_costs_and_how_it_goes():
    rows = {}
    for line in files.path("README.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            rows[cells[0].strip("`")] = cells[1:]
    there = {each.name for each in files.FOLDER.iterdir()} - {"README.md"}
    assert set(rows) == there
    assert all(len(cells) == 3 and all(cells) for cells in rows.values())
    checked = {*files.LAUNCHER, *files.KUBERNETES, *files.SKYPILOT, *files.SLURM}
    assert checked == there
