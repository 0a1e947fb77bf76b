"""From a job file to a checked job: every problem that the file alone shows is told before anything
is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distill.core.errors import JobError
from distill.job.job import Job
from distill.job.load import parse_job, read_job
from distill.plan.checks.static import check_job
from distill.plan.tables import JobTables


def load_job(path: str | Path, *, root: str | None = None) -> Job:
    """Read, resolve and check the job file at `path`. `root` replaces the file's own.

    Raises JobError, with every problem found.
    """
    return _checked(read_job(path, root=root))


def build_job(tables: dict[str, Any], file: Path, text: str = "") -> Job:
    """Build a checked job from tables as TOML gives them. Raises JobError."""
    return _checked(parse_job(tables, file, text))


def _checked(job: Job) -> Job:
    problems = list(check_job(JobTables(job)))
    if problems:
        raise JobError("\n".join(f"{job.path}: {problem}" for problem in problems))
    return job
