"""How groups of tasks are handed to Ray Data: packed, and let out some hundreds of tasks ahead of
their results.

Hundreds of thousands of fragments are given to Ray as one small table of packed text, and a task
that needs no CPU lets them out again, a block a group.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from distill.engine.protocol import Plain
from distill.engine.ray.stop_signal import POLL_SECONDS, StopSignal

_PACK_GROUPS = 128
# tasks let out ahead of the results; a stop waits for them to pass by, at some 4 ms each
_MOST_AHEAD = 512
_AHEAD_OF_ACTOR = 8


def group_blocks(
    groups: Iterable[list[Plain]], stop_signal: StopSignal, most_actors: int
) -> tuple[Any, int]:
    """Return the groups as a Ray dataset of one column `group`, a block of one row each, and how
    many there are."""
    from ray import data as ray_data

    remaining = iter(groups)
    first_pack = list(islice(remaining, _PACK_GROUPS))
    next_group = next(remaining, None)
    if next_group is None:
        # as they are, which saves the start of a process
        source = ray_data.from_blocks([_block(group) for group in first_pack])
        _one_row_a_block(source)
        return source, len(first_pack)
    # Ray Data keeps every block that it knows in the driver: 20,000 of one row were 7.6 s and 87 MB
    packs, count = _packed(chain(first_pack, [next_group], remaining))
    source = ray_data.from_blocks([packs])
    _one_row_a_block(source)
    ahead = max(_MOST_AHEAD, _AHEAD_OF_ACTOR * most_actors)
    released = source.map_batches(
        _release,
        fn_kwargs={"stop_signal": stop_signal, "ahead": ahead},
        batch_size=1,
        batch_format="pyarrow",
        num_cpus=0,
    )
    return released, count


def _one_row_a_block(source: Any) -> None:
    """So each group is a call of its own, and each result is sent as soon as it is there."""
    source.context.target_max_block_size = 1


def _block(group: list[Plain]) -> Any:
    import pyarrow as pa

    return pa.table({"group": [json.dumps(group)]})


def _packed(groups: Iterable[list[Plain]]) -> tuple[Any, int]:
    """Return groups as rows of compressed text, `_PACK_GROUPS` in one, each with the number of
    tasks before it; and the number of groups."""
    import pyarrow as pa

    packs: list[bytes] = []
    firsts: list[int] = []
    tasks = 0
    count = 0
    remaining = iter(groups)
    while pack := list(islice(remaining, _PACK_GROUPS)):
        text = json.dumps(pack)
        packs.append(zlib.compress(text.encode(), 1))
        firsts.append(tasks)
        tasks += sum(map(len, pack))
        count += len(pack)
    columns = {"pack": pa.array(packs, pa.binary()), "first": pa.array(firsts, pa.int64())}
    return pa.table(columns), count


def _release(batch: Any, stop_signal: StopSignal, ahead: int) -> Iterator[Any]:
    """Yield the groups of one pack, a row each, when all but `ahead` of the tasks before it have
    results; none once the stop signal is set."""
    import pyarrow as pa

    first = batch["first"][0].as_py()
    allowed = _allows(stop_signal, first - ahead)
    while allowed is None:
        time.sleep(POLL_SECONDS)
        allowed = _allows(stop_signal, first - ahead)
    groups = []
    if allowed:
        text = zlib.decompress(batch["pack"][0].as_py())
        groups = json.loads(text)
    yield pa.table({"group": pa.array(map(json.dumps, groups), pa.string())})


def _allows(stop_signal: StopSignal, results: int) -> bool | None:
    import ray

    try:
        return stop_signal.allows(results)
    except ray.exceptions.RayError:
        return None  # a head node that does not answer is asked again
