"""Parts: many drivers on one label set that share nothing but its folder.

A driver takes its own part of the fragments first (`part_of_fragments`), then what nobody has
committed (`takeover`). Who works on what is told by leases alone (`part_leases`) and correctness
rests on none of them: where two label one fragment, the first commit wins.

The split is a pure function of the inventory and of the number of parts, so drivers need not speak
to each other:

- Each inventory segment is cut by itself into that many runs of about equal rows. So growth, which
  is a new segment, moves no fragment that was there, and drivers that have listed the pool at
  different times agree on what both know. Segments of few files begin with a part each of their
  own, so that files that came one by one do not all fall to one driver.
- A file goes to one driver where it is less than `1 / _SMALL` of a part's rows; else a row group
  does. So none is decoded by two, and parts are even to about that share.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from distill.core.errors import JobError
from distill.core.plain_arrow import to_numbers
from distill.labels.manifest import Integers
from distill.pools.fragments import WHOLE, FragmentTable
from distill.pools.inventory import Inventory

# A file of less than a quarter of a part is never shared: another driver would read its footer, and
# more than that makes parts uneven.
_SMALL = 4
# Multiples of it spread evenly over the unit interval, however many there are.
_GOLDEN = (5**0.5 - 1) / 2
_GIVEN = re.compile(r"(\d{1,9}|auto)/(\d{1,9})")
# variables that number a driver and count them. Kubernetes does not tell a count. SkyPilot's
# nodes stand last, since it sets them for every task.
_ENVIRONMENT = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"),
    ("SKYPILOT_JOB_RANK", "SKYPILOT_NUM_JOBS"),
    ("JOB_COMPLETION_INDEX", ""),
    ("SKYPILOT_NODE_RANK", "SKYPILOT_NUM_NODES"),
)


@dataclass(frozen=True)
class Part:
    """The share of one driver: `number` (from 0) of `count`. Raises JobError for another."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.count:
            raise JobError(_wrong(str(self)))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def is_first(self) -> bool:
        """Whether it does what only one driver is to do."""
        return self.number == 0


def parse_part(text: str, environment: Mapping[str, str] = os.environ) -> Part:
    """Read `3/64`, `auto` (number and count are the scheduler's) or `auto/64` (the number is).

    Raises JobError."""
    if text == "auto":
        return _from_environment(text, None, environment)
    match = _GIVEN.fullmatch(text)
    if match is None:
        raise JobError(_wrong(text))
    number, count = match.groups()
    if number == "auto":
        parts = int(count)
        return _from_environment(text, parts, environment)
    return Part(int(number), int(count))


def _wrong(text: str) -> str:
    return (
        f"--part {text}: no part. Write NUMBER/COUNT, numbers from 0, as --part 0/64 to --part"
        " 63/64 for 64 drivers, or --part auto where a scheduler numbers them."
    )


def _from_environment(text: str, count: int | None, environment: Mapping[str, str]) -> Part:
    for number_name, count_name in _ENVIRONMENT:
        if number_name not in environment:
            continue
        number = _number(text, number_name, environment)
        if number_name.startswith("SLURM"):
            number = _slurm_position(text, number, environment)
        if count is None:
            count = _count(text, number_name, count_name, environment)
        if number >= count:
            raise JobError(
                f"--part {text}: {number_name} makes this number {number}, counted from 0, of"
                f" {count} drivers. Number them without gaps, or write --part NUMBER/COUNT."
            )
        return Part(number, count)
    names = ", ".join(number_name for number_name, _ in _ENVIRONMENT)
    raise JobError(
        f"--part {text}: no scheduler numbers this driver; none of {names} is set. Write --part"
        " NUMBER/COUNT, numbers from 0."
    )


def _slurm_position(text: str, number: int, environment: Mapping[str, str]) -> int:
    """The position in a job array."""
    # an array may begin anywhere and go by steps
    first = _number(text, "SLURM_ARRAY_TASK_MIN", environment, "0")
    step = _number(text, "SLURM_ARRAY_TASK_STEP", environment, "1")
    stride = max(step, 1)
    return (number - first) // stride


def _count(text: str, number_name: str, name: str, environment: Mapping[str, str]) -> int:
    if name in environment:
        return _number(text, name, environment)
    raise JobError(
        f"--part {text}: {number_name} numbers this driver, and nothing says how many there are."
        " Write --part auto/COUNT."
    )


def _number(text: str, name: str, environment: Mapping[str, str], usual: str = "") -> int:
    value = environment.get(name, usual)
    if not value.isdecimal():
        message = f"--part {text}: {name} = {value!r} is no number. Write --part NUMBER/COUNT."
        raise JobError(message)
    return int(value)


def part_of_fragments(inventory: Inventory, cut: FragmentTable, count: int) -> Integers:
    """Return the number of the part that each fragment of `cut` belongs to, of `count`."""
    # retired shards count too: else a changed file would move the fragments behind it
    shard_rows = to_numbers(inventory.table["rows"])
    shard_start = np.concatenate([[0], np.cumsum(shard_rows)])
    segment_shard = np.append(inventory.segment_starts, len(shard_rows))
    segment_start = shard_start[segment_shard]
    segment_rows = np.diff(segment_start)
    segment = np.searchsorted(segment_shard, cut.shard, side="right") - 1
    rows = segment_rows[segment]
    start, size = _units(cut)
    is_small = shard_rows[cut.shard] * count * _SMALL < rows
    start = np.where(is_small, 0, start)
    size = np.where(is_small, shard_rows[cut.shard], size)
    middle = 2 * (shard_start[cut.shard] + start - segment_start[segment]) + size
    run = middle * count // (2 * rows)
    turns = np.arange(len(segment_rows)) * _GOLDEN % 1
    first_part = (turns * count).astype(np.int64)
    part: Integers = (run + first_part[segment]) % count
    return part


def _units(cut: FragmentTable) -> tuple[Integers, Integers]:
    """Start in its shard and rows of what each fragment is a part of: one large row group, or the
    fragment itself."""
    same_shard = cut.shard[1:] == cut.shard[:-1]
    same_group = (cut.group[1:] == cut.group[:-1]) & (cut.group[1:] != WHOLE)
    begins = np.ones(len(cut), np.bool_)
    begins[1:] = ~(same_shard & same_group)
    heads = np.flatnonzero(begins)
    numbers = np.cumsum(begins)
    unit = numbers - 1
    if not len(cut):
        return cut.start, cut.rows
    rows = np.add.reduceat(cut.rows, heads)
    return cut.start[heads][unit], rows[unit]
