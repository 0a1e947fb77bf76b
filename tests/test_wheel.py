"""The wheel, built and installed where nothing else is but what it says that it needs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from tests.command import REPOSITORY, environment
from tests.linked_environment import link_environment

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


def install(wheel: Path, folder: Path) -> Path:
    """Install it into an environment of its own, `empty`, whose other packages are links: to unpack
    torch again takes a minute, and a fresh clone's `make` has pip do it. Returns its Python."""
    environment = folder / "empty"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    (info,) = [each for each in zipfile.Path(wheel).iterdir() if each.name.endswith(".dist-info")]
    needs = link_environment(folder / "needs", *PathDistribution(info).requires or ())
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "needs.pth").write_text(f"{needs}\n", "utf-8")
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel)
    run(*pip, "check")
    return python


@pytest.mark.slow
def test_wheel_installs_into_an_empty_environment_and_brings_distill_alone(tmp_path):
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path, REPOSITORY)
    (wheel,) = tmp_path.glob("*.whl")
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"distill"}
    python = install(wheel, tmp_path)
    run(python, "-c", _PROBE, cwd=tmp_path, env=environment())
    assert "All stages, in order" in run(
        tmp_path / "empty" / "bin" / "distill", "--help", cwd=tmp_path
    )
