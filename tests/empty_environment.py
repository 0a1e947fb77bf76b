"""Environments of Python in which nothing lies but what a test installs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.command import REPOSITORY


def make_environment(folder: Path, *packages: object) -> Path:
    """Make an environment with these and what they need, at the versions of constraints.txt.
    Returns its Python.

    It has no pip of its own, and nothing is compiled before it is imported: to compile all of torch
    takes longer than to install it.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile")
    install = (*pip, "--constraint", REPOSITORY / "constraints.txt", *packages)
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        [*map(str, install)], env=surroundings, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return python
