from __future__ import annotations

import logging
import sys
from types import ModuleType

import pytest

from distill.engine.ray.session import _as_ascii, is_connected
from tests.command import run_code

_NO_RAY = """
from distill.engine.ray.fold import fold
from distill.core.errors import ResourceError
try:
    fold("sum", int, [1], max)
except ResourceError as error:
    print(error)
import ray
assert not ray.is_initialized()
"""
_FAILS = """
import ray
from distill.engine.ray.session import connect
from distill.core.errors import ResourceError
def init(**_):
    raise Exception("The current node timed out during startup.")
ray.init = init
for address in (None, "auto"):
    try:
        connect(address)
    except ResourceError as error:
        print(error)
"""


def test_a_stage_does_not_start_a_cluster_behind_the_callers_back():
    ended = run_code(_NO_RAY)
    assert ended.returncode == 0, ended.stderr
    assert "call ray.init() first" in ended.stdout


@pytest.mark.ray
def test_a_local_ray_is_on_loopback(ray):
    """`connect` has started it. That it is silent: tests/jobs/test_digits.py."""
    assert ray.get_runtime_context().gcs_address.startswith("127.0.0.1:")


def test_a_ray_that_does_not_start_is_a_traceback():
    """Ray raises a plain Exception where its node takes too long."""
    here, there = run_code(_FAILS).stdout.splitlines()
    assert here.startswith(
        "no Ray could be started on this machine: The current node timed out during startup."
    )
    assert "Run the same command again" in here
    assert there.startswith("no Ray answers at auto: ")


_TOO_BUSY = """
import shutil, subprocess, sys
import ray, psutil
from distill.engine.ray.patience import TOO_SLOW, start_patiently
import inspect
import ray._private.node
assert TOO_SLOW in inspect.getsource(ray._private.node), "Ray says it otherwise"
tries = []
def init():
    tries.append(subprocess.Popen(["/ray/raylet", "60"], executable=shutil.which("sleep")))
    if len(tries) < int(sys.argv[1]):
        raise Exception("The current node timed out during startup.")
try:
    start_patiently(init)
except Exception as error:
    print(error)
print(len(tries), [psutil.pid_exists(each.pid) for each in tries])
for each in tries:
    each.kill()
"""


@pytest.mark.parametrize(
    ("comes_at", "last"), [(3, "3 [False, False, True]"), (4, "3 [False, False, False]")]
)
def test_a_busy_machine_ends_a_command_by_the_30_s_that_ray_waits(comes_at, last):
    """What a start that came too late has left is ended before the next one."""
    printed = run_code(_TOO_BUSY, str(comes_at)).stdout.splitlines()
    assert printed[-1] == last
    assert len(printed) == (1 if comes_at == 3 else 2), printed


def test_a_sign_that_a_log_file_cannot_hold_is_a_traceback_at_the_terminal():
    record = logging.LogRecord("ray.data", logging.INFO, "", 0, "%s Dataset – done", ("✔",), None)
    assert _as_ascii(record)
    assert record.getMessage() == r"\u2714 Dataset \u2013 done"


def test_an_observer_fails_while_another_thread_imports_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    assert not is_connected()
