"""Reading from a real S3 store: our storage beside s3fs, Arrow's own client and obstore.
`.venv/bin/python -m tests.benchmarks.reads`

Starts Ceph's gateway by `infra/s3-server` (or uses the store of AWS_ENDPOINT_URL), reads the same
objects by turns, and writes medians, CPU and ratios to tests/benchmarks/results/reads.md. The
server shares the machine, so milliseconds do not travel; ratios do.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import statistics
import time
import urllib.parse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import xxhash

from distill.pools.formats.registry import read_rows
from distill.storage.open import open_storage
from tests.benchmarks.s3_server import s3_server

RESULTS = Path(__file__).parent / "results" / "reads.md"
BUCKET, GROUPS, COLUMNS, THREADS = "reads", 4, 4, 16
GROUP_BYTES = 8_000_000
SIZES = {"50 KB": 50_000, "1 MB": 1_000_000, "8 MB": 8_000_000, "20 MB": 20_000_000}


class RustFile(io.RawIOBase):
    """An obstore reader with what pyarrow asks of a file."""

    def __init__(self, reader):
        self.reader = reader

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=0):
        return self.reader.seek(offset, whence)

    def tell(self):
        return self.reader.tell()

    def read(self, size=-1):
        return bytes(self.reader.read(None if size < 0 else size))


def plain_clients() -> tuple:
    """Ours, s3fs, Arrow's and obstore."""
    import s3fs
    from obstore.store import S3Store

    ours = open_storage(f"s3://{BUCKET}")
    theirs = s3fs.S3FileSystem(
        use_listings_cache=False, default_fill_cache=False, skip_instance_cache=True
    )
    address = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
    arrow = pyarrow.fs.S3FileSystem(
        region="us-east-1", endpoint_override=address.netloc, scheme=address.scheme
    )
    rust = S3Store(
        BUCKET, endpoint=os.environ["AWS_ENDPOINT_URL"], client_options={"allow_http": True}
    )
    return ours, theirs, arrow, rust


def clients() -> dict[str, tuple[Callable, Callable]]:
    """Each client as (read a whole object, open one for pyarrow)."""
    import obstore

    ours, theirs, arrow, rust = plain_clients()

    def read_arrow(key):
        with arrow.open_input_file(f"{BUCKET}/{key}") as file:
            return file.read()

    return {
        "distill": (ours.read, lambda key: pa.PythonFile(ours.open(key), "r")),
        "s3fs": (
            lambda key: theirs.cat_file(f"{BUCKET}/{key}"),
            lambda key: pa.PythonFile(theirs.open(f"{BUCKET}/{key}"), "r"),
        ),
        "Arrow": (read_arrow, lambda key: arrow.open_input_file(f"{BUCKET}/{key}")),
        "obstore": (
            lambda key: bytes(rust.get(key).bytes()),
            lambda key: pa.PythonFile(RustFile(obstore.open_reader(rust, key, buffer_size=1)), "r"),
        ),
    }


def cases(
    of: dict[str, tuple[Callable, Callable]],
) -> dict[str, dict[str, Callable[[int], object]]]:
    """What is measured: case → client → one run of it, given the number of the round."""

    def group(opener, pre_buffer):
        def read(number):
            with opener("parquet") as source:
                return pq.ParquetFile(source, pre_buffer=pre_buffer).read_row_group(number % GROUPS)

        return read

    threads = ThreadPoolExecutor(THREADS)
    found = {
        f"object of {name}": {
            client: lambda _, read=read, name=name: read(name) for client, (read, _) in of.items()
        }
        for name in ("50 KB", "1 MB", "8 MB")
    }
    many = {client: read for client, (read, _) in of.items()} | {"distill": labels_reader()}
    found[f"{THREADS} × 1 MB in {THREADS} threads"] = {
        client: lambda _, read=read: list(threads.map(read, ["1 MB"] * THREADS))
        for client, read in many.items()
    }
    found[f"{THREADS} ranges of 1 MB of one file"] = ranges(threads)
    for pre_buffer in (True, False):
        found[f"Parquet, a row group of 8 MB, pre_buffer={pre_buffer}"] = {
            client: group(opener, pre_buffer) for client, (_, opener) in of.items()
        }
    found["Parquet, a row group of 8 MB, as each reads it best"] = {
        client: group(opener, True) for client, (_, opener) in of.items()
    } | {"distill": read_our_group}
    return found


def labels_reader() -> Callable[[str], bytes]:
    """Ours, of objects whose digest is known, as commits know it of label data."""
    store = open_storage(f"s3://{BUCKET}")
    digests = {"1 MB": xxhash.xxh3_128_hexdigest(store.read("1 MB"))}

    def read(key):
        def is_right(content):
            return xxhash.xxh3_128_hexdigest(content) == digests[key]

        return store.read(key, is_right)

    return read


def ranges(threads: ThreadPoolExecutor) -> dict[str, Callable[[int], object]]:
    """Ranges that are known beforehand, each client as it reads many at once."""
    # with gaps, as between the pages of wanted columns: no client reads two of them at once
    starts = [number * 1_200_000 for number in range(THREADS)]
    stops = [start + SIZES["1 MB"] for start in starts]
    ours, theirs, arrow, rust = plain_clients()

    def read_ours(_):
        with ours.open("20 MB") as file:
            file.prefetch(list(zip(starts, stops, strict=True)))

    def read_arrow(_):
        with arrow.open_input_file(f"{BUCKET}/20 MB") as file:
            return list(threads.map(lambda start: file.read_at(SIZES["1 MB"], start), starts))

    import obstore

    paths = [f"{BUCKET}/20 MB"] * THREADS
    return {
        "distill": read_ours,
        "s3fs": lambda _: theirs.cat_ranges(paths, starts, stops, max_gap=None),
        "Arrow": read_arrow,
        "obstore": lambda _: obstore.get_ranges(
            rust, "20 MB", starts=starts, ends=stops, coalesce=0
        ),
    }


def read_our_group(number: int) -> object:
    """A row group as labelling and training read it."""
    rows = GROUP_BYTES // (8 * COLUMNS)
    start = number % GROUPS * rows
    columns = [f"c{column}" for column in range(COLUMNS)]
    store = open_storage(f"s3://{BUCKET}")
    return read_rows(store, "parquet", range(start, start + rows), columns, format="parquet")


def measure(
    runs: dict[str, Callable[[int], object]], rounds: int
) -> dict[str, tuple[float, float]]:
    """Medians in ms of wall and CPU time, the clients taking turns."""
    wall: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(-1, rounds):  # the first round opens lines and is not counted
        for name, run in runs.items():
            began, spent = time.perf_counter(), _cpu_seconds()
            run(number)
            if number >= 0:
                wall[name].append(time.perf_counter() - began)
                cpu[name].append(_cpu_seconds() - spent)
    return {
        name: (1e3 * statistics.median(wall[name]), 1e3 * statistics.median(cpu[name]))
        for name in runs
    }


def fill() -> None:
    store = open_storage(f"s3://{BUCKET}")
    for name, size in SIZES.items():
        store.put(name, os.urandom(size))
    rows = GROUP_BYTES // (8 * COLUMNS)
    table = pa.table(
        {
            f"c{number}": np.random.default_rng(number).random(rows * GROUPS)
            for number in range(COLUMNS)
        }
    )
    whole = io.BytesIO()
    pq.write_table(table, whole, row_group_size=rows, compression="none", use_dictionary=False)
    store.put("parquet", whole.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.reads")
    parser.add_argument("--rounds", type=int, default=25)
    asked = parser.parse_args()
    with s3_server(BUCKET):
        fill()
        lines = [
            "# Reading from S3",
            "",
            f"`python -m tests.benchmarks.reads --rounds {asked.rounds}`, {os.cpu_count()} cores, load "
            f"{os.getloadavg()[0]:.0f}, Ceph RGW on loopback. Medians; × is the other's time over ours.",
            "",
            "Whole objects are held against their digest by distill alone: one by one against the MD5 that the store says",
            "(up to 1 MiB, 1.3 ms of CPU a MB), the 16 against xxh3, as label data are, whose digest a commit names.",
            "",
            "| case | distill ms (CPU) | s3fs ms (CPU) | × | Arrow ms (CPU) | × | obstore ms (CPU) | × |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for case, runs in cases(clients()).items():
            found = measure(runs, asked.rounds)
            ours = found["distill"][0]
            shown = {name: f"{wall:.1f} ({cpu:.1f})" for name, (wall, cpu) in found.items()}
            peers = [
                f"{shown[name]} | {found[name][0] / ours:.2f}"
                for name in ("s3fs", "Arrow", "obstore")
            ]
            lines.append(f"| {case} | {shown['distill']} | {' | '.join(peers)} |")
            print(lines[-1], flush=True)
    RESULTS.write_text("\n".join(lines) + "\n", "utf-8")
    print("\n".join(lines))


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
