from __future__ import annotations

import subprocess
import sys

import pytest

from tests.command import environment
from tests.waiting import LIMIT_SECONDS

_LOADED = """
import sys
from distill.engine.select import engine_of
engine_of({name!r})
print(sorted({{"ray", "torch", "numpy", "pyarrow"}} & set(sys.modules)))
"""


@pytest.mark.parametrize("name", ["ray", "local"])
def test_choosing_an_engine_loads_heavy_libraries_before_there_is_work(name):
    ended = subprocess.run(
        [sys.executable, "-c", _LOADED.format(name=name)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    assert (ended.stdout, ended.stderr) == ("[]\n", "")
