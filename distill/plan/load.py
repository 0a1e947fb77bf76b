"""From a job file to a checked job: every problem that it alone shows is told before any work."""

from __future__ import annotations

from pathlib import Path

from distill.core.errors import JobError
from distill.job.job import Job
from distill.job.load import read_job
from distill.plan.checks.static import check_job
from distill.plan.tables import JobTables
from distill.storage.settings import use_settings


def load_job(path: str | Path, *, root: str | None = None) -> Job:
    """Read, resolve and check the job file at `path`. `root` replaces the file's own.

    From now on this process reaches stores by the job's `[storage]`. Raises JobError, with every
    problem found."""
    job = read_job(path, root=root)
    options = job.storage.options()
    use_settings(options)
    problems = list(check_job(JobTables(job)))
    if problems:
        raise JobError("\n".join(f"{job.path}: {problem}" for problem in problems))
    return job
