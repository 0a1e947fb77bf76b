"""After a command on a store nothing of it is left: no line, no thread but sleeping ones that end
with the process."""

import json
import subprocess
import sys
import time

import pytest

from distill.storage.open import open_storage
from tests.command import environment
from tests.tiny import DOUBLING, write_job, write_pool
from tests.waiting import LIMIT_SECONDS, slowness

COMMAND = """
import gc, json, os, sys, threading, time
from distill.cli.commands import app
from distill.cli.ending import run_to_end
from distill.storage.request_counts import requests

def lines():
    sockets = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            sockets.add(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            pass  # that of the folder itself
    tcp = [line.split() for line in open("/proc/self/net/tcp").readlines()[1:]]
    return [fields[2] for fields in tcp if f"socket:[{fields[9]}]" in sockets]

code = run_to_end(app)
threads = [thread.name for thread in threading.enumerate()]
print("\\n" + json.dumps([code, requests().get, lines(), threads]))
"""
SLEEPING = {"MainThread", "fsspecIO", "asyncio_0", "Prefetcher"}
"""fsspec's loop and its resolver of names, and Ray Data's."""
JOB = """
    root = "{root}/root"
    fragment_rows = 64
    [pools.rows]
    path = "{root}/rows"
    features = {{ kind = "vector", columns = ["pixels"] }}
    [labels.teacher]
    labeler = {{ kind = "custom", file = "mine.py" }}
    over = ["rows"]
"""


@pytest.fixture
def job(s3_root, tmp_path):
    write_pool(tmp_path / "rows", [300, 200])
    for file in (tmp_path / "rows").iterdir():
        open_storage(s3_root).put(f"rows/{file.name}", file.read_bytes())
    (tmp_path / "mine.py").write_text(DOUBLING, "utf-8")
    return write_job(tmp_path, JOB.format(root=s3_root))


# a Ray of its own: one that is shared may have started without the store's keys
@pytest.mark.parametrize(
    "command", [["run", "--local"], ["status"], pytest.param(["run"], marks=pytest.mark.ray)]
)
def test_a_command_leaves_lines_threads_or_itself_behind(job, command):
    name, *options = command
    arguments = [sys.executable, "-c", COMMAND, name, job, *options]
    process = subprocess.Popen(arguments, env=environment(), stdout=subprocess.PIPE, text=True)
    *said, last = iter(process.stdout.readline, "")
    ended = time.monotonic()
    code, asked, lines, threads = json.loads(last)
    assert code == 0, said
    assert asked, "no store was asked, so this test shows nothing"
    assert lines == []
    assert set(threads) <= SLEEPING
    assert process.wait(LIMIT_SECONDS) == 0
    assert time.monotonic() - ended < 5 * slowness()
