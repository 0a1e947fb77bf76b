"""Ray in the test's own process."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from distill.engine.ray.session import connect, disconnect
from tests.command import NOT_NICE


@contextmanager
def ray_here() -> Iterator[Any]:
    """Ray, connected from this process and ended afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="de", dir="/tmp"))
    (folder / "ray").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            patch.delenv(name)
        for name, value in {**NOT_NICE, "RAY_TMPDIR": str(folder)}.items():
            patch.setenv(name, value)
        connect(None)
        import ray

        yield ray
        disconnect()
    shutil.rmtree(folder, ignore_errors=True)
