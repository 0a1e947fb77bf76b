from __future__ import annotations

import subprocess
import sys

import pytest

from tests.command import environment

_LOADED = "import sys, {module}; print(*sorted({{'ray', 'torch', 'pandas'}} & set(sys.modules)))"


@pytest.mark.parametrize("module", ["distill", "distill.run", "distill.cli.commands"])
def test_a_wrong_job_is_refused_only_after_ray_or_torch_is_loaded(module):
    ended = subprocess.run(
        [sys.executable, "-c", _LOADED.format(module=module)],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert (ended.stdout, ended.stderr) == ("\n", "")
