"""Environments of Python in which nothing lies but some packages and what they need, linked from
the one that runs the tests: what pip would install, without the minute that it takes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

from tests.waiting import LIMIT_SECONDS

_LEFT_OUT = {"..", "__pycache__"}  # scripts, and what Python writes
_BEGIN = """
import os, site, sys
environment, folder, code = sys.argv[1:]
site.addsitedir(environment)
os.chdir(folder)
sys.path.insert(0, folder)
exec(code, {"__name__": "__main__"})
"""


def link_environment(folder: Path, *packages: str) -> Path:
    """Fill a folder with links to these, named as a requirement is, and what their metadata says
    that they need."""
    folder.mkdir()
    for each in _with_needs(packages):
        roots = {Path(file).parts[0] for file in each.files or []}
        for root in roots - _LEFT_OUT:
            link = folder / root
            if not link.exists():  # several packages may share a namespace
                link.symlink_to(Path(str(each.locate_file(root))))
    if (folder / "torchvision").exists():
        _link_torchvision_cpu(folder)
    return folder


def run_in(environment: Path, code: str, folder: Path) -> str:
    """Run `code` in `folder`, in a process that is started cold and finds the environment and the
    standard library alone. Returns what it printed."""
    python = (sys.executable, "-I", "-S", "-W", "ignore", "-c", _BEGIN)
    ended = subprocess.run(
        [*python, environment, folder, code],
        env={"HOME": str(folder), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def _with_needs(packages: tuple[str, ...]) -> Iterator[Distribution]:
    waiting = [(Requirement(each), {""}) for each in packages]
    seen = set()
    while waiting:
        need, extras = waiting.pop()
        is_needed = not need.marker or any(need.marker.evaluate({"extra": each}) for each in extras)
        key = (need.name, frozenset(need.extras))
        if not is_needed or key in seen:
            continue
        seen.add(key)
        found = distribution(need.name)
        yield found
        waiting += [(Requirement(text), {"", *need.extras}) for text in found.requires or []]


def _link_torchvision_cpu(folder: Path) -> None:
    """What makes the torchvision of a machine without CUDA importable (torchvision_cpu.py)."""
    site = Path(str(distribution("torchvision").locate_file("")))
    for file in site.glob("torchvision_cpu.p*"):
        (folder / file.name).symlink_to(file)
