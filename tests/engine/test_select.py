from __future__ import annotations

import pytest

from tests.command import run_code

_LOADED = """
import sys
from distill.engine.select import engine_of
engine_of({name!r})
print(sorted({{"ray", "torch", "numpy", "pyarrow"}} & set(sys.modules)))
"""


@pytest.mark.parametrize("name", ["ray", "local"])
def test_choosing_an_engine_loads_heavy_libraries_before_there_is_work(name):
    ended = run_code(_LOADED.format(name=name))
    assert (ended.stdout, ended.stderr) == ("[]\n", "")
