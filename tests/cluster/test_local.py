"""The same job on a cluster: two raylets from cluster/local.yaml, one training rank each,
everything kept on S3."""

from __future__ import annotations

import re

import pytest

from distill.plan.load import load_job
from distill.run import verify_labels
from distill.storage.open import open_storage
from tests.command import REPOSITORY, distill
from tests.raylets import two_raylets

pytestmark = [pytest.mark.ray, pytest.mark.s3]

JOB = REPOSITORY / "jobs" / "digits.toml"


@pytest.fixture
def shorter(tmp_path):
    """The main job with an eighth of its epochs."""
    for name in ("digits_pools.py", "digit_attributes.csv"):
        (tmp_path / name).write_bytes((JOB.parent / name).read_bytes())
    text = re.sub(
        r"epochs = (\d+)", lambda found: f"epochs = {int(found[1]) // 8}", JOB.read_text("utf-8")
    )
    file = tmp_path / JOB.name
    file.write_text(text, "utf-8")
    return file


@pytest.mark.slow
def test_main_job_runs_unchanged_but_for_root_and_epochs_on_two_raylets_and_s3(
    s3_root, s3_server, shorter
):
    with two_raylets(**s3_server) as raylets:
        command = ("run", shorter, "--root", s3_root, "--ray", raylets.address)
        ended = distill(*command, **raylets.environment)
    assert ended.code == 0, ended.output
    assert f"joining the Ray at {raylets.address}" in ended.output
    assert re.search(rf"Report: {s3_root}/reports/digits/\w+/report.html", ended.output)
    job = load_job(shorter, root=s3_root)
    assert not [
        problem
        for name in job.labels
        for each in verify_labels(job, name)
        for problem in each.problems
    ]
    kept = {
        entry.key.rsplit("/", 1)[1]
        for entry in open_storage(s3_root).folder("students", "combined").list_objects()
    }
    assert "done.json" in kept
    assert any(name.startswith("step_") for name in kept)
    again = distill("run", shorter, "--root", s3_root, **s3_server)
    assert "Nothing was left to do: no Ray was started" in again.output


def test_no_ray_at_the_address_is_told_and_not_waited_for(s3_root, s3_server):
    ended = distill("run", JOB, "--root", s3_root, "--ray", "127.0.0.1:1", **s3_server)
    assert ended.code == 2
    assert "no Ray answers at 127.0.0.1:1" in ended.output
    assert "Traceback" not in ended.output
