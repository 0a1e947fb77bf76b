"""The job's settings of stores, put where fsspec looks for them, here and on Ray's workers."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

_of_job: dict[str, str] = {}


def use_settings(environment: Mapping[str, str]) -> None:
    """Let this process's stores take these `FSSPEC_*` variables, those of a job before it
    forgotten."""
    for name in _of_job:
        os.environ.pop(name, None)
    _of_job.clear()
    _of_job.update(environment)
    os.environ.update(environment)
    # a local job never loads it
    remote = sys.modules.get("distill.storage.remote")
    if remote is not None:
        remote.forget_filesystems()


def settings_in_use() -> dict[str, str]:
    """Return the variables that the workers of a joined cluster have to be given."""
    return dict(_of_job)
