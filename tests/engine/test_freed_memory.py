"""What a batch computes in is had from the kernel once, and given back when the work ends. Each test
has a process, and its heap, of its own."""

from __future__ import annotations

import json
import resource
import threading

import pytest
import torch

from distill.engine.freed_memory import freed_memory_kept, keep_freed_memory
from tests.alone import run_alone

SIDES = (24, 30, 7, 31)
"""MiB of the blocks of a batch."""
PAGES = sum(SIDES) << 8


def work_through_batch() -> int:
    """Write to every page of a batch's blocks, and free them. Returns the pages that the kernel
    had to find."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(side << 20, dtype=torch.uint8) for side in SIDES]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident_pages() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1])


def later_batches() -> list[int]:
    """What was to be found by batches after the first, and what is held after them."""
    with freed_memory_kept():
        return [work_through_batch() for _ in range(4)][1:]


def batches_in_thread() -> list[int]:
    """Those of a thread, whose heap is another."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.extend(later_batches()))
    thread.start()
    thread.join()
    return found


def held_and_left() -> list[int]:
    """The pages that are held while the block runs, and when it has ended."""
    before = resident_pages()
    with freed_memory_kept():
        work_through_batch()
        held = resident_pages() - before
    return [held, resident_pages() - before]


def most_held(keep: bool) -> int:
    if keep:
        keep_freed_memory("cpu")
    for _ in range(5):
        work_through_batch()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 2


def alone(call: str):
    """What a call of this module returns in a new process."""
    lines = f"import json\nfrom {__name__} import *\nprint('said', json.dumps({call}))"
    return json.loads(run_alone(lines, "/", ()).rpartition("said ")[2])


@pytest.mark.parametrize("batches", [later_batches, batches_in_thread])
def test_each_batch_asks_the_kernel_for_its_pages_again(batches):
    assert max(alone(f"{batches.__name__}()")) < PAGES / 2


def test_what_was_kept_is_not_given_back():
    held, left = alone("held_and_left()")
    assert held > PAGES / 4
    assert left < PAGES / 10


def test_a_process_that_keeps_it_needs_more_at_once():
    assert alone("most_held(True)") - alone("most_held(False)") < PAGES / 2
