"""What distill's labelling costs over a plain loop: fixed seconds, and time a row.

The plain loop is one process: read a row group with pyarrow, call the same labeler on the same
batches, encode by distill's own `encode`, write the same data file and a small commit beside it
with the fsyncs of the store. It checks nothing, hashes nothing and can not be resumed. Bare Ray
Data is `read_parquet` ► `map_batches` with an actor pool ► `write_parquet` of the same encoded
columns.

All run on the same CPUs (`--cores`, by CPU affinity: Ray's daemons, the driver and its actors share
them too, which on a single core is most of what labelling costs: some 8% of one core for each Ray,
whatever it does), each run in a fresh process with a Ray of its own, so that no idle Ray slows the
plain loop and every run starts as a user's does. Ray's start is timed apart. The labeler is a
network calibrated to so many µs a row in batches of 256 on one thread.

Each round runs everything at both pool sizes, plain loop first and last, every second round in
reverse order. Time a row is the slope between the two sizes within a round, fixed cost the
intercept; ratios are paired by round, against the mean of the round's two plain runs, whose own
ratio in the same table is the noise floor. CPU time a row (driver, daemons and actors together) is
the same slope over the CPU seconds of the whole process session, which a busy neighbour disturbs
less.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.benchmarks.child import in_child, session_cpu_seconds
from tests.benchmarks.pools import TOP_8, write_job, write_pool
from tests.benchmarks.rays import start_bare_ray, start_ray
from tests.benchmarks.tables import markdown, options, paired_ratio, show

BATCH_ROWS = 256
WAYS = ("plain", "distill", "bare", "plain again")
LIMIT_RATIO, LIMIT_FIXED_SECONDS = 1.05, 5.0


def main(arguments: list[str] | None = None) -> None:
    parser = options(__doc__)
    parser.add_argument(
        "--microseconds",
        type=float,
        nargs="+",
        default=[15.0, 50.0],
        help="the labeler's time a row",
    )
    parser.add_argument("--fragment-rows", type=int, default=50_000)
    parser.add_argument(
        "--fragments", type=int, nargs=2, default=[6, 20], help="of the smaller and the larger pool"
    )
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument(
        "--cores",
        type=int,
        default=2,
        help="CPUs for either side: actors here, threads of the plain loop there",
    )
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    told = parser.parse_args(arguments)
    if told.quick:
        told.fragment_rows, told.fragments, told.rounds, told.microseconds = 1_024, [2, 6], 1, [5.0]
        told.cores = 1
    folder = Path(tempfile.mkdtemp(prefix="label-cost-", dir=told.folder))
    try:
        measured = measure(folder, told)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(
        told, "Cost of labelling over a plain loop", [_said(told), _table(measured, told)], measured
    )


def measure(folder: Path, told: Any) -> list[dict[str, Any]]:
    """Every single run."""
    cpus = list(range(told.cores))
    pools = {
        size: write_pool(folder / f"pool-{size}", size * told.fragment_rows, told.fragment_rows)
        for size in told.fragments
    }
    runs = []
    for micros in told.microseconds:
        network = in_child(calibrate, cpus[:1], microseconds=micros)
        jobs = {
            size: write_job(
                folder / f"job-{micros:g}-{size}",
                pool,
                labeler="Network",
                fragment_rows=told.fragment_rows,
                actors=told.cores,
                encoding=TOP_8,
                hidden=network["hidden"],
            )
            for size, pool in pools.items()
        }
        for number in range(told.rounds):
            order = [(way, size) for way in told.ways for size in told.fragments]
            for way, size in order if number % 2 == 0 else reversed(order):
                root = folder / "root"
                got = in_child(
                    RUNS[way], cpus, job=str(jobs[size]), root=str(root), cores=told.cores
                )
                shutil.rmtree(root)
                runs.append(
                    {
                        "microseconds": micros,
                        "network": network,
                        "round": number,
                        "way": way,
                        "fragments": size,
                        **got,
                    }
                )
                print(
                    f"{micros:g} µs, round {number}, {way}, {size} fragments: {got}",
                    file=sys.stderr,
                    flush=True,
                )
    return runs


def calibrate(microseconds: float) -> dict[str, float]:
    """The hidden width at which a row of a batch costs so many µs on one thread, and what it then
    cost."""
    hidden, cost = 64, 0.0
    for _ in range(6):
        cost = _cost(hidden)
        grown = hidden * (microseconds / cost) ** 0.5
        hidden = max(16, 16 * round(grown / 16))
    return {"hidden": hidden, "cost": _cost(hidden)}


def _cost(hidden: int) -> float:
    import numpy as np
    import torch

    from tests.benchmarks import labelers

    torch.set_num_threads(1)
    labelers.HIDDEN = hidden
    network, batch = (
        labelers.Network(),
        np.random.default_rng(0).normal(size=(BATCH_ROWS, labelers.FEATURES)).astype(np.float32),
    )
    times = []
    for _ in range(40):
        began = time.thread_time()  # a busy neighbour must not make the network small
        network.label(batch)
        times.append(time.thread_time() - began)
    return 1e6 * statistics.median(times) / BATCH_ROWS


def run_plain(job: str, root: str, cores: int) -> dict[str, float]:
    """The loop that a person would write, with the same reading, encoding and writing."""
    import os

    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch

    from distill.labels.encoding import encode
    from distill.plan.load import load_job
    from distill.plan.tables import JobTables
    from distill.storage.open import open_storage
    from tests.resolved import prepare_labels

    loaded = load_job(job, root=root)
    _, contract = prepare_labels(loaded, "teacher")
    began, cpu = time.perf_counter(), session_cpu_seconds(os.getpid())
    torch.set_num_threads(cores)
    labeler, folder, fragment = (
        JobTables(loaded)
        .custom_source(loaded.labels["teacher"].labeler, "labels.teacher.labeler")
        .load("Network")(),
        open_storage(root),
        0,
    )
    for path in sorted(Path(loaded.pool_uri("rows")).iterdir()):
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                column = file.read_row_group(group, columns=["x"], use_threads=False)[
                    "x"
                ].combine_chunks()
                features = column.flatten().to_numpy().reshape(len(column), -1)
                encoded = []
                for start in range(0, len(features), contract.batch_rows):
                    outputs = labeler.label(features[start : start + contract.batch_rows])
                    encoded.append(encode(outputs, np.ones(len(outputs), np.bool_), contract))
                sink = pa.BufferOutputStream()
                with pa.ipc.new_file(
                    sink, encoded[0].schema, options=pa.ipc.IpcWriteOptions(compression="zstd")
                ) as writer:
                    writer.write_table(pa.concat_tables(encoded).combine_chunks())
                folder.put(f"data/{fragment:06d}/labels.arrow", bytes(sink.getvalue()))
                folder.create(
                    f"commits/{fragment:06d}.json", f'{{"rows": {len(features)}}}'.encode()
                )
                fragment += 1
    return _taken(began, cpu)


def run_distill(job: str, root: str, cores: int) -> dict[str, float]:
    """`label_pool`, as the command `distill` calls it."""
    import os

    from distill.plan.load import load_job
    from distill.run import label_pool

    loaded = load_job(job, root=root)
    start = time.perf_counter()
    start_ray()
    began, cpu = time.perf_counter(), session_cpu_seconds(os.getpid())
    label_pool(loaded, "teacher")
    return {**_taken(began, cpu), "ray_seconds": began - start}


def run_bare(job: str, root: str, cores: int) -> dict[str, float]:
    """What its documentation teaches, with Arrow batches (numpy ones copy a whole block)."""
    import os

    from distill.plan.load import load_job
    from distill.plan.tables import JobTables
    from tests.resolved import prepare_labels

    loaded = load_job(job, root=root)
    _, contract = prepare_labels(loaded, "teacher")
    start = time.perf_counter()
    start_bare_ray(cores)
    from ray import data

    began, cpu = time.perf_counter(), session_cpu_seconds(os.getpid())
    dataset = data.read_parquet(loaded.pool_uri("rows"), columns=["x"]).map_batches(
        BareLabeler,
        fn_constructor_args=(
            JobTables(loaded).custom_source(
                loaded.labels["teacher"].labeler, "labels.teacher.labeler"
            ),
            contract,
        ),
        batch_size=contract.batch_rows,
        batch_format="pyarrow",
        compute=data.ActorPoolStrategy(size=cores),
    )
    dataset.write_parquet(root)
    return {**_taken(began, cpu), "ray_seconds": began - start}


class BareLabeler:
    """The actor of bare Ray Data."""

    def __init__(self, source: Any, contract: Any) -> None:
        import torch

        torch.set_num_threads(1)
        self.labeler, self.contract = source.load("Network")(), contract

    def __call__(self, batch: Any) -> Any:
        import numpy as np

        from distill.labels.encoding import encode

        column = batch["x"].combine_chunks()
        outputs = self.labeler.label(column.flatten().to_numpy().reshape(len(column), -1))
        return encode(outputs, np.ones(len(outputs), np.bool_), self.contract)


RUNS = {"plain": run_plain, "distill": run_distill, "bare": run_bare, "plain again": run_plain}


def _taken(began: float, cpu: float) -> dict[str, float]:
    import os

    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": session_cpu_seconds(os.getpid()) - cpu,
    }


def _said(told: Any) -> str:
    small, large = told.fragments
    return (
        f"`fragment_rows` = {told.fragment_rows:,}; pools of {small} and {large} fragments ({small * told.fragment_rows:,} and "
        f"{large * told.fragment_rows:,} rows of 64 float32); top-8 of 100 classes; {told.cores} core(s) for either side; {told.rounds} rounds."
    )


def _table(runs: list[dict[str, Any]], told: Any) -> str:
    heads = [
        "labeler",
        "way",
        "µs a row",
        "to plain, paired [95%]",
        "CPU µs a row",
        "CPU to plain [95%]",
        "fixed s",
        "Ray's start s",
        "aim",
    ]
    rows = []
    for micros in told.microseconds:
        mine = [run for run in runs if run["microseconds"] == micros]
        lines = {way: _Lines(mine, way, told) for way in told.ways}
        plain = [lines[way] for way in ("plain", "plain again") if way in lines]
        for way in told.ways:
            against = plain[:1] if way == "plain again" else plain
            rows.append(
                [
                    f"{mine[0]['network']['cost']:.1f} µs",
                    way,
                    *lines[way].cells(against, is_base=way == "plain"),
                ]
            )
    return markdown(heads, rows)


class _Lines:
    """The straight lines of one way, one a round: seconds over rows."""

    def __init__(self, runs: list[dict[str, Any]], way: str, told: Any) -> None:
        self.way = way
        at = defaultdict(dict)
        for run in runs:
            if run["way"] == way:
                at[run["round"]][run["fragments"]] = run
        small, large = told.fragments
        rows = (large - small) * told.fragment_rows
        slopes = {
            kind: [(pair[large][kind] - pair[small][kind]) / rows for pair in at.values()]
            for kind in ("seconds", "cpu_seconds")
        }
        self.per_row, self.cpu_per_row = slopes["seconds"], slopes["cpu_seconds"]
        self.fixed = [
            pair[small]["seconds"] - slope * small * told.fragment_rows
            for pair, slope in zip(at.values(), self.per_row, strict=True)
        ]
        self.start = [
            run["ray_seconds"]
            for pair in at.values()
            for run in pair.values()
            if "ray_seconds" in run
        ]

    def cells(self, plain: list[_Lines], *, is_base: bool) -> list[str]:
        ratios = (
            ["1", "1"]
            if is_base
            else [
                _interval(self.per_row, [line.per_row for line in plain]),
                _interval(self.cpu_per_row, [line.cpu_per_row for line in plain]),
            ]
        )
        start = f"{statistics.median(self.start):.1f}" if self.start else ""
        fixed = statistics.median(self.fixed)
        return [
            f"{1e6 * statistics.median(self.per_row):.2f}",
            ratios[0],
            f"{1e6 * statistics.median(self.cpu_per_row):.2f}",
            ratios[1],
            f"{fixed:.2f}",
            start,
            f"< {LIMIT_RATIO}, ≤ {LIMIT_FIXED_SECONDS:g} s" if self.way == "distill" else "",
        ]


def _interval(ours: list[float], plain: list[list[float]]) -> str:
    theirs = [statistics.fmean(each) for each in zip(*plain, strict=True)]
    mean, low, high = paired_ratio(ours, theirs)
    return f"{mean:.3f} [{low:.3f}–{high:.3f}]"


if __name__ == "__main__":
    main()
