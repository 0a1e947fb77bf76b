"""The job of images, on a few that are small and made here."""

from __future__ import annotations

import pytest

from tests.command import REPOSITORY, distill
from tests.jobs.test_structure import images  # noqa: F401  a fixture


@pytest.mark.slow
def test_the_fashion_job_ends_in_a_report(tmp_path, images):  # noqa: F811
    job = (REPOSITORY / "jobs" / "fashion.toml").read_text("utf-8")
    smaller = job.replace("rows = 2_000", "rows = 60").replace("epochs = 20", "epochs = 2")
    smaller = smaller.replace("epochs = 30", "epochs = 2").replace("epochs = 3\n", "epochs = 1\n")
    smaller = smaller.replace("channels = [32, 64, 128, 256]", "channels = [32, 32, 32, 32]")
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "fashion.toml").write_text(smaller, "utf-8")
    pools = (REPOSITORY / "jobs" / "fashion_pools.py").read_text("utf-8")
    (folder / "fashion_pools.py").write_text(pools, "utf-8")
    root = tmp_path / "runs"
    run = ("run", folder / "fashion.toml", "--root", root, "--local")
    ended = distill(*run, FASHION_MNIST=str(images))
    assert ended.code == 0, ended.output
    assert "labels.large over train: 900 rows in = 900 labelled + 0 rejected" in ended.output
    (report,) = root.glob("reports/fashion/*/report.html")
    page = report.read_text("utf-8")
    for part in ("labels_only", "distilled", "consistent", "large"):
        assert part in page
    again = distill(*run)
    assert again.code == 0, again.output
    assert "Nothing was left to do" in again.output
