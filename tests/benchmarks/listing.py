"""Very many new Parquet shards on Ceph, their listing beside s3fs's and their inventory: `python -m
tests.benchmarks.listing`.

Listings are by turns in one process; asked is at most 1.1 × s3fs's time. Inventories are measured each in a process of its own: a first inventory; one that is killed when half of its
footers are stored, and the one that goes on from there; and the next, which has nothing to do.
Requests are those that the process made; a footer that was read is one of its `get`s. Memory is the
largest resident size, less what was resident before the inventory.
"""

from __future__ import annotations

import io
import resource
import statistics
import time
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.benchmarks.child import Child, in_child
from tests.benchmarks.s3_server import s3_server
from tests.benchmarks.tables import markdown, options, paired_ratio, show

COLUMNS, ROWS, WRITERS = 8, 64, 32


def main(arguments: Sequence[str] | None = None) -> None:
    parser = options(__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=9, help="of the listings")
    told = parser.parse_args(arguments)
    if told.quick:
        told.files, told.rounds = 1_000, 2
    with s3_server("listing") as bucket:
        write(f"{bucket}/pool", told.files)
        listed = in_child(list_by_turns, pool=f"{bucket}/pool", rounds=told.rounds)
        found = {
            "first": in_child(take, root=f"{bucket}/whole", pool=f"{bucket}/pool"),
            "killed half-way": kill_half_way(f"{bucket}/cut", f"{bucket}/pool", told.files),
            "gone on": in_child(take, root=f"{bucket}/cut", pool=f"{bucket}/pool"),
            "nothing new": in_child(take, root=f"{bucket}/cut", pool=f"{bucket}/pool"),
        }
        assert segments(f"{bucket}/whole") == segments(f"{bucket}/cut")
    heads = ["inventory", "seconds", "CPU s", "MiB more", "GET", "LIST", "PUT", "MB read"]
    rows = [[name, *cells(each)] for name, each in found.items()]
    words = f"{told.files:,} Parquet files of {COLUMNS} columns on Ceph RGW on loopback."
    parts = [words, listing_table(listed), markdown(heads, rows)]
    show(told, "The inventory of new files", parts, {"listing": listed, **found})


def write(pool: str, files: int) -> None:
    """So many files of the same content, which the store tells apart by their keys."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from distill.storage.open import open_storage

    draw = np.random.default_rng(0)
    table = pa.table({f"c{column}": draw.random(ROWS) for column in range(COLUMNS)})
    content = io.BytesIO()
    pq.write_table(table, content)
    store = open_storage(pool)
    with ThreadPoolExecutor(WRITERS) as threads:
        keys = [f"part-{number:06d}.parquet" for number in range(files)]
        list(threads.map(lambda key: store.put(key, content.getvalue()), keys))


def list_by_turns(pool: str, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds and CPU seconds a round, and MB of Python objects at the peak, of each way."""
    import s3fs

    from distill.storage.open import open_storage

    theirs = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
    ways = {
        "distill `walk`": lambda: sum(1 for _ in open_storage(pool).walk()),
        "s3fs `find`": lambda: len(theirs.find(pool, detail=True)),
    }
    found: dict[str, dict[str, list[float]]] = {
        name: {"seconds": [], "cpu_seconds": [], "mb": []} for name in ways
    }
    for number in range(-1, rounds):
        for name in ways if number % 2 else reversed(ways):
            began, used = time.perf_counter(), cpu_seconds()
            ways[name]()
            if number >= 0:  # the first round opens lines
                found[name]["seconds"].append(time.perf_counter() - began)
                found[name]["cpu_seconds"].append(cpu_seconds() - used)
    for name, way in ways.items():
        tracemalloc.start()
        way()
        found[name]["mb"].append(tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.stop()
    return found


def listing_table(found: dict[str, dict[str, list[float]]]) -> str:
    theirs = found["s3fs `find`"]["seconds"]
    rows = []
    for name, kinds in found.items():
        numbers = (f"{statistics.median(values):.2f}" for values in kinds.values())
        ratio = "{:.3f} [{:.3f}–{:.3f}]".format(*paired_ratio(kinds["seconds"], theirs))
        rows.append([name, *numbers, ratio])
    heads = ["listing", "seconds", "CPU s", "MB at the peak", "to s3fs, paired [95%]"]
    return markdown(heads, rows)


def take(root: str, pool: str) -> dict[str, Any]:
    """One inventory in this process."""
    from distill.pools.scan import take_inventory
    from distill.storage.open import open_storage
    from distill.storage.request_counts import requests

    before = requests()
    memory = memory_mib("VmRSS")
    used = cpu_seconds()
    began = time.perf_counter()
    inventory = take_inventory(open_storage(root), "rows", open_storage(pool))
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds() - used,
        "mib": memory_mib("VmHWM") - memory,
        "rows": inventory.rows,
        **asdict(requests() - before),
    }


def kill_half_way(root: str, pool: str, files: int) -> dict[str, Any]:
    """Kill an inventory once half of its footers are stored; how long it had, and what it left."""
    from distill.pools.file_stats import _SAVED_FILES
    from distill.storage.open import open_storage

    stored = open_storage(root).folder("footers")
    began = time.perf_counter()
    child = Child(take, root=root, pool=pool)
    while len(stored.list_objects()) < files // 2 // _SAVED_FILES:
        assert child.running, child.said()
        time.sleep(0.05)
    child.kill_all()
    return {"seconds": time.perf_counter() - began, "stored": len(stored.list_objects())}


def segments(root: str) -> list[bytes]:
    from distill.storage.open import open_storage

    folder = open_storage(root).folder("inventories", "rows")
    return [folder.read(entry.key) for entry in folder.list_objects()]


def cells(run: dict[str, Any]) -> list[str]:
    if "get" not in run:
        return [f"{run['seconds']:.1f}", *[""] * 6]
    numbers = [f"{run['seconds']:.1f}", f"{run['cpu_seconds']:.1f}", f"{run['mib']:.0f}"]
    requests = [f"{run[kind]:,}" for kind in ("get", "list", "put")]
    return [*numbers, *requests, f"{run['bytes_read'] / 1e6:.0f}"]


def memory_mib(field: str) -> float:
    """Of this process: `VmRSS` now, or `VmHWM` at the most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(field))
    return int(line.split()[1]) / 1024


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
