"""What a run of the tests cost: seconds and CPU-seconds by file, and how many Rays were started,
over all processes of xdist and what they start.

A file's CPU-seconds are those of the tests' process, of what it waited for and of what was forked
for it: not a Ray's, which is nobody's child. Those of the whole machine have them.

Whoever starts a Ray takes a folder for it from `ray_folder`. The sessions that are found in it at
the end are noted in a file that all processes of the run know by `DISTILL_TEST_SESSIONS`.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from collections import defaultdict
from pathlib import Path

# and not pytest, which takes a tenth of a second in each process that starts a command
from pluggy import HookimplMarker

from tests.forkserver import forked_cpu_seconds

_VARIABLE = "DISTILL_TEST_SESSIONS"
_LEAST_SECONDS = 1.0
_CLOCK_TICK = os.sysconf("SC_CLK_TCK")
_clock = {"began": 0.0, "machine": 0.0, "seen": 0.0}
"""When the run began, the machine's CPU-seconds then, and this process's until the last report."""
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


def _cpu_seconds() -> float:
    """Of this process so far, and of what it waited for or had forked."""
    return sum(os.times()[:4]) + forked_cpu_seconds()


def _machine_cpu_seconds() -> float:
    """Since the machine's start, of all its processes."""
    user, nice, system, _idle, _waits, *interrupts = map(
        int, Path("/proc/stat").read_text("ascii").split(maxsplit=8)[1:8]
    )
    return (user + nice + system + sum(interrupts)) / _CLOCK_TICK


def pytest_configure(config):
    _clock.update(began=time.monotonic(), machine=_machine_cpu_seconds())
    if not hasattr(config, "workerinput"):
        handle, name = tempfile.mkstemp(prefix="distill-sessions-")
        os.close(handle)
        os.environ[_VARIABLE] = name


def pytest_sessionfinish():
    _forget_all()


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        Path(os.environ.pop(_VARIABLE)).unlink()


def pytest_collection_finish():
    _clock["seen"] = _cpu_seconds()


@HookimplMarker("pytest")(wrapper=True)
def pytest_runtest_makereport():
    """A phase's report carries what it took of the CPU; xdist hands it on."""
    report = yield
    now = _cpu_seconds()
    report.cpu_seconds = now - _clock["seen"]
    _clock["seen"] = now
    return report


def pytest_terminal_summary(terminalreporter):
    seconds = defaultdict(float)
    cpu_seconds = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration") and hasattr(report, "nodeid"):
                file = report.nodeid.partition("::")[0]
                seconds[file] += report.duration
                cpu_seconds[file] += getattr(report, "cpu_seconds", 0.0)
    if len(seconds) > 1:
        _show_seconds(terminalreporter, seconds, cpu_seconds)
        used = _machine_cpu_seconds() - _clock["machine"]
        had = (time.monotonic() - _clock["began"]) * (os.cpu_count() or 1)
        terminalreporter.line(f"{'':8}  {used:8.1f}  of the {had:.1f} that the machine had")
    rays = defaultdict(int)
    for line in Path(os.environ[_VARIABLE]).read_text("utf-8").splitlines():
        count, _, file = line.partition("\t")
        rays[file] += int(count)
    if rays:
        _show_rays(terminalreporter, rays)


def _show_seconds(terminalreporter, seconds, cpu_seconds):
    def show(files, what):
        all_seconds, cpu = (sum(each[file] for file in files) for each in (seconds, cpu_seconds))
        terminalreporter.line(f"{all_seconds:8.1f}  {cpu:8.1f}  {what}")

    terminalreporter.section("seconds, and CPU-seconds without Ray's, by file")
    long = [file for file, each in seconds.items() if each >= _LEAST_SECONDS]
    for file in sorted(long, key=seconds.get, reverse=True):
        show([file], file)
    quick = seconds.keys() - long
    show(quick, f"in {len(quick)} files of less than a second")
    show(seconds, "in all")


def _show_rays(terminalreporter, rays):
    terminalreporter.section("Rays that were started")
    for file, count in sorted(rays.items(), key=lambda item: -item[1]):
        terminalreporter.line(f"{count:8}  {file}")
    terminalreporter.line(f"{sum(rays.values()):8}  in all")
