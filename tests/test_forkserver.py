"""A forked process is as one that was started: this file is also what is forked."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.command import start_code
from tests.forkserver import REPOSITORY, fork_module, forked_cpu_seconds
from tests.waiting import LIMIT_SECONDS


def forked(what, **more):
    return fork_module("tests.test_forkserver", what, **more)


def test_a_forked_process_is_told_something_else_than_was_asked_or_keeps_what_was_the_forkservers():
    process = forked("tell", environment={"ONE": "1", "HOME": "/"}, own_session=True)
    output, _ = process.communicate(timeout=LIMIT_SECONDS)
    told = json.loads(output)
    assert told.pop("files") == [0, 1, 2]
    assert told == {
        "arguments": ["tell"],
        "environment": {"ONE": "1", "HOME": "/"},
        "folder": str(REPOSITORY),
        "name": "__main__",
        "pid": process.pid,
        "session": process.pid,
        "interrupt": "default_int_handler",
        "ray": False,
        "cores": len(os.sched_getaffinity(0)),
    }


def test_a_cold_start_would_have_ended_otherwise():
    for what in ("exit", "raise", "die", "at exit", "thread"):
        cold = subprocess.run(
            [sys.executable, "-m", "tests.test_forkserver", what],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        process = forked(what)
        output, _ = process.communicate(timeout=LIMIT_SECONDS)
        assert process.returncode == process.poll() == process.wait() == cold.returncode
        assert output.splitlines()[-1:] == cold.stdout.splitlines()[-1:]


def test_a_timeout_loses_what_was_said_or_a_signal_does_not_arrive():
    process = forked("wait")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.1)
    assert process.stdout.readline() == "waits\n"
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "interrupted\n"
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=0.1)
    process.kill()
    output, _ = process.communicate(timeout=LIMIT_SECONDS)
    assert (process.returncode, output) == (-signal.SIGKILL, "goes on\n")
    assert process.communicate() == (output, None)


def test_forked_processes_draw_the_same_random_numbers():
    drawn = {forked("draw").communicate(timeout=LIMIT_SECONDS)[0] for _ in range(2)}
    assert len(drawn) == 2


def test_what_forked_processes_take_of_the_cpu_is_not_counted():
    before = forked_cpu_seconds()
    start_code("import time\nwhile time.process_time() < 0.3:\n    pass").wait(LIMIT_SECONDS)
    assert forked_cpu_seconds() - before >= 0.3


def _tell():
    told = {
        "arguments": sys.argv[1:],
        "environment": {
            name: value for name, value in os.environ.items() if name not in ("LC_CTYPE",)
        },
        "folder": os.getcwd(),
        "name": __name__,
        "pid": os.getpid(),
        "session": os.getsid(0),
        "interrupt": signal.getsignal(signal.SIGINT).__name__,
        "ray": "ray" in sys.modules,
        "cores": sys.modules["torch"].get_num_threads(),
    }
    listed = [int(name) for name in os.listdir("/proc/self/fd")]
    told["files"] = sorted(number for number in listed if os.path.exists(f"/proc/self/fd/{number}"))
    print(json.dumps(told))


def _wait():
    said = b"interrupted\ngoes on\n"
    # not by print, which may be interrupted while it flushes, and cannot be entered again then
    signal.signal(signal.SIGINT, lambda *_: os.write(1, said))
    print("waits", flush=True)
    while True:
        time.sleep(60)


def _end(what):
    import atexit
    import threading

    print("begins")
    if what == "exit":
        sys.exit(3)
    if what == "raise":
        raise KeyError("lost")
    if what == "die":
        os.kill(os.getpid(), signal.SIGTERM)
    if what == "at exit":
        atexit.register(print, "last")
    threading.Thread(target=lambda: time.sleep(0.2) or print("the thread's")).start()


if __name__ == "__main__":
    if sys.argv[1] == "tell":
        _tell()
    elif sys.argv[1] == "wait":
        _wait()
    elif sys.argv[1] == "draw":
        print(random.random())
    else:
        _end(sys.argv[1])
