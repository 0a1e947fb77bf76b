"""The main job, run once as a person runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command import REPOSITORY, Ended, distill


@dataclass
class MainJob:
    """Where the main job ran, and what it printed."""

    file: Path
    root: Path
    ended: Ended


@pytest.fixture(scope="session")
def main_job(tmp_path_factory) -> MainJob:
    """`distill run jobs/digits.toml` on a Ray of its own, from a cold start; its root elsewhere."""
    root = tmp_path_factory.mktemp("digits")
    file = REPOSITORY / "jobs" / "digits.toml"
    return MainJob(file, root, distill("run", file, "--root", root, cold=True))
