from __future__ import annotations

import pytest

from tests.command import run_code

_LOADED = "import sys, {module}; print(*sorted({{'ray', 'torch', 'pandas'}} & set(sys.modules)))"


@pytest.mark.parametrize("module", ["distill", "distill.run", "distill.cli.commands"])
def test_a_wrong_job_is_refused_only_after_ray_or_torch_is_loaded(module):
    ended = run_code(_LOADED.format(module=module))
    assert (ended.stdout, ended.stderr) == ("\n", "")
