"""Failpoints stop a process where a test says, and nowhere else."""

import os
import signal
import subprocess
import sys
import time

from distill.core import failpoints
from tests.waiting import LIMIT_SECONDS, slowness, wait_until

ARRIVALS = """
from distill.core.failpoints import reach
for number in range(5):
    reach("label.before_data")
    reach("label.after_data")
    print(number, flush=True)
"""


def run(asked):
    environment = {
        name: value for name, value in os.environ.items() if name != "DISTILL_FAILPOINT"
    } | asked
    return subprocess.Popen(
        [sys.executable, "-c", ARRIVALS], env=environment, stdout=subprocess.PIPE, text=True
    )


def test_the_third_arrival_stops_and_says_who_waits(tmp_path):
    marker = tmp_path / "reached"
    with run({"DISTILL_FAILPOINT": f"label.after_data:3:{marker}"}) as process:
        assert [process.stdout.readline() for _ in range(2)] == ["0\n", "1\n"]
        wait_until(lambda: marker.exists() and marker.read_text("utf-8"))
        assert int(marker.read_text("utf-8")) == process.pid
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        assert process.stdout.read() == "", "it went on behind the failpoint"


def test_it_goes_on_when_the_file_is_gone(tmp_path):
    marker = tmp_path / "reached"
    with run({"DISTILL_FAILPOINT": f"label.after_data:3:{marker}"}) as process:
        assert [process.stdout.readline() for _ in range(2)] == ["0\n", "1\n"]
        wait_until(marker.exists)
        marker.unlink()
        assert process.communicate(timeout=LIMIT_SECONDS)[0].split() == list("234")


def test_a_failpoint_elsewhere_stops_nothing(tmp_path):
    with run({"DISTILL_FAILPOINT": f"another.place:1:{tmp_path / 'reached'}"}) as process:
        assert process.communicate(timeout=LIMIT_SECONDS)[0].split() == list("01234")
    assert not (tmp_path / "reached").exists()


def test_without_the_variable_nothing_stops(monkeypatch):
    monkeypatch.delenv("DISTILL_FAILPOINT", raising=False)
    began = time.monotonic()
    for _ in range(1000):
        failpoints.reach("label.after_data")
    assert time.monotonic() - began < 5 * slowness()
