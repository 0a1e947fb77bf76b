"""The wheel, built and installed where nothing else is."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import pytest

from tests.command import REPOSITORY, environment
from tests.empty_environment import make_environment

_PROBE = """
import sys, distill.cli.commands
from typer.testing import CliRunner
assert CliRunner().invoke(distill.cli.commands.app, ["--help"]).exit_code == 0
assert not {"ray", "torch"} & set(sys.modules), "loads ray or torch"
assert "site-packages" in distill.__file__
"""


def run(*command: object, **options: object) -> str:
    ended = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, **options
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.slow
def test_wheel_installs_into_an_empty_environment_and_brings_distill_alone(tmp_path):
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path, REPOSITORY)
    (wheel,) = tmp_path.glob("*.whl")
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"distill"}
    python = make_environment(tmp_path / "empty", wheel)
    run(python, "-c", _PROBE, cwd=tmp_path, env=environment())
    assert "All stages, in order" in run(
        tmp_path / "empty" / "bin" / "distill", "--help", cwd=tmp_path
    )
