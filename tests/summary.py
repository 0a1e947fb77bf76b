"""What a run of the tests cost: seconds by file, and how many Rays were started, over all
processes of xdist and what they start.

Whoever starts a Ray takes a folder for it from `ray_folder`. The sessions that are found in it at
the end are noted in a file that all processes of the run know by `DISTILL_TEST_SESSIONS`.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path

_VARIABLE = "DISTILL_TEST_SESSIONS"
_LEAST_SECONDS = 1.0
_folders: dict[Path, str] = {}
"""That are not counted yet, and the file whose test took them."""


def current_file() -> str:
    """Return the file of the test that runs, here or in the process that started this one."""
    return os.environ.get("PYTEST_CURRENT_TEST", "no test").partition("::")[0]


def ray_folder() -> Path:
    """Make a folder to be a Ray's RAY_TMPDIR; its path is short, as Unix sockets need it."""
    folder = Path(tempfile.mkdtemp(prefix="dt", dir="/tmp"))
    (folder / "ray").mkdir()
    _folders[folder] = current_file()
    return folder


def forget_ray_folder(folder: Path) -> None:
    """Count the Rays that were started in a folder, and remove it."""
    if folder in _folders:  # not yet, by the end of an interrupted run
        sessions = [each for each in folder.glob("ray/session_2*") if not each.is_symlink()]
        _note(len(sessions), _folders.pop(folder))
        shutil.rmtree(folder, ignore_errors=True)


def _note(sessions: int, file: str) -> None:
    if sessions and _VARIABLE in os.environ:
        with open(os.environ[_VARIABLE], "a", encoding="utf-8") as notes:
            notes.write(f"{sessions}\t{file}\n")


@atexit.register
def _forget_all() -> None:
    for folder in list(_folders):
        forget_ray_folder(folder)


def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        handle, name = tempfile.mkstemp(prefix="distill-sessions-")
        os.close(handle)
        os.environ[_VARIABLE] = name


def pytest_sessionfinish():
    _forget_all()


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        Path(os.environ.pop(_VARIABLE)).unlink()


def pytest_terminal_summary(terminalreporter):
    seconds = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration") and hasattr(report, "nodeid"):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    if len(seconds) > 1:
        _show_seconds(terminalreporter, seconds)
    rays = defaultdict(int)
    for line in Path(os.environ[_VARIABLE]).read_text("utf-8").splitlines():
        count, _, file = line.partition("\t")
        rays[file] += int(count)
    if rays:
        _show_rays(terminalreporter, rays)


def _show_seconds(terminalreporter, seconds):
    terminalreporter.section("seconds by file")
    quick = [each for each in seconds.values() if each < _LEAST_SECONDS]
    for file, each in sorted(seconds.items(), key=lambda item: -item[1]):
        if each >= _LEAST_SECONDS:
            terminalreporter.line(f"{each:8.1f}  {file}")
    terminalreporter.line(f"{sum(quick):8.1f}  in {len(quick)} files of less than a second")
    terminalreporter.line(f"{sum(seconds.values()):8.1f}  in all")


def _show_rays(terminalreporter, rays):
    terminalreporter.section("Rays that were started")
    for file, count in sorted(rays.items(), key=lambda item: -item[1]):
        terminalreporter.line(f"{count:8}  {file}")
    terminalreporter.line(f"{sum(rays.values()):8}  in all")
