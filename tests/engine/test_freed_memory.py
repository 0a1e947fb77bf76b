"""What a batch computes in is had from the kernel once, and given back when the work ends."""

from __future__ import annotations

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


def in_thread(work):
    """What a work returns in a thread of its own, whose heap is another."""
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def batches() -> list[int]:
    return [work_through_batch() for _ in range(4)]


@pytest.mark.parametrize("run", [lambda work: work(), in_thread])
def test_each_batch_asks_the_kernel_for_its_pages_again(run):
    with freed_memory_kept():
        _, *others = run(batches)
    assert max(others) < PAGES / 2


def test_what_was_kept_is_not_given_back():
    before = resident_pages()
    with freed_memory_kept():
        batches()
        held = resident_pages()
    assert held - before > PAGES / 4
    assert resident_pages() - before < PAGES / 10


def test_a_process_that_keeps_it_needs_more_at_once():
    lines = """
from tests.engine.test_freed_memory import *
import resource
{keep}
for _ in range(5):
    work_through_batch()
print("said", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""
    peaks = [
        int(run_alone(lines.format(keep=keep), "/", ()).rpartition("said ")[2])
        for keep in ("", keep_freed_memory.__name__ + "()")
    ]
    assert peaks[1] - peaks[0] < sum(SIDES)
