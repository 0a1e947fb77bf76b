"""Processes that a labeler makes within an actor end, and none stays behind. Each test is about a
process of its own, with a handler of SIGTERM as Ray's worker has one."""

from __future__ import annotations

import subprocess
import sys

from tests.waiting import LIMIT_SECONDS

_POOLS = """
import multiprocessing, signal, threading
from distill.engine.ray.process_hygiene import let_forks_be_ended

signal.signal(signal.SIGTERM, lambda *_: print("the worker's own handler", flush=True))
let_forks_be_ended()

def work():
    for _ in range(60):
        with multiprocessing.get_context("fork").Pool(2) as pool:
            pool.map(abs, [1, 2])

threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
signal.raise_signal(signal.SIGTERM)
"""
_STAYS = """
import os, sys, threading, time
from distill.engine.ray import process_hygiene

process_hygiene._PARENT_SECONDS = 0.05
knows, tell = os.pipe()
if os.fork():
    os.read(knows, 1)
    os._exit(0)
process_hygiene.end_with_parent()
os.write(tell, b"x")
threading.Thread(target=time.sleep, args=(1000,)).start()
"""
_CHILDREN = """
import multiprocessing, os, signal, time
from distill.engine.ray import process_hygiene

process_hygiene._PARENT_SECONDS = 0.05
process_hygiene.let_forks_be_ended()
pool = multiprocessing.get_context("fork").Pool(2)
pool.map(abs, [1, 2])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_pools_of_processes_hang_or_take_the_handler_away():
    ended = subprocess.run(
        [sys.executable, "-c", _POOLS],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=True,
    )
    assert ended.stdout == "the worker's own handler\n"


def test_a_pool_outlives_its_owner():
    ended = subprocess.run(
        [sys.executable, "-c", _CHILDREN], capture_output=True, timeout=LIMIT_SECONDS, check=False
    )
    assert ended.returncode == -9


def test_a_process_outlives_the_one_that_began_it():
    # the pipe is closed when the last process has ended
    subprocess.run(
        [sys.executable, "-c", _STAYS], capture_output=True, timeout=LIMIT_SECONDS, check=True
    )
