"""What pool and root on an object store cost beside a local disk: `python -m
tests.benchmarks.store_cost`.

Three places: a local folder; Ceph on loopback; and Ceph by a line that delivers every answer 50 ms
late (`tests.late_store`), as a store elsewhere does. Two questions, each run in a process of its
own and in turns:

    label   seconds a row of `label_pool` by a labeler of 50 µs a row: the slope between two sizes
            of pool, as in `label_cost`, so that Ray's start and first answers do not count
    feed    seconds and CPU seconds a row of an epoch of the training loader, whose step is a
            computation of `--step-microseconds` a row, under which reading ahead has to hide

Asked of both: at most 1.05 × the local disk's time a row, and at most 1.05 × the near store's where
answers come late. The server computes on the same CPUs, so its CPU time is part of what S3 costs
here; `CPU` is that of the measured session alone. A labelling's requests are counted in a run of one
process, without Ray.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks import feed_cost, label_cost
from tests.benchmarks.child import in_child
from tests.benchmarks.pools import TOP_8, write_job, write_pool
from tests.benchmarks.s3_server import reach, s3_server
from tests.benchmarks.tables import markdown, options, paired_ratio, show
from tests.late_store import late_store

PLACES = ("disk", "s3", "s3, late")
LATE_SECONDS = 0.05


def main(arguments: Sequence[str] | None = None) -> None:
    parser = options(__doc__)
    parser.add_argument("--microseconds", type=float, default=50.0, help="the labeler's, a row")
    parser.add_argument("--step-microseconds", type=float, default=10.0, help="a step's, a row")
    parser.add_argument("--fragment-rows", type=int, default=50_000)
    parser.add_argument("--fragments", type=int, nargs=2, default=[4, 10])
    parser.add_argument("--feed-rows", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--only", choices=("label", "feed"), help="one of the two questions")
    told = parser.parse_args(arguments)
    if told.quick:
        told.fragment_rows, told.fragments, told.rounds = 1_024, [2, 6], 1
        told.feed_rows = 4_000
    with tempfile.TemporaryDirectory(dir=told.folder) as folder, s3_server("costs") as bucket:
        near = os.environ["AWS_ENDPOINT_URL"]
        with late_store(near, LATE_SECONDS) as late:
            places = {"disk": (folder, near), "s3": (bucket, near), "s3, late": (bucket, late)}
            labelled = fed = None
            if told.only != "feed":
                labelled = measure_labels(Path(folder), places, told)
            if told.only != "label":
                fed = measure_feed(places, told)
    parts = [
        f"`fragment_rows` = {told.fragment_rows:,}; pools of {told.fragments} fragments, or of"
        f" {told.feed_rows:,} rows to feed; a labeler of {told.microseconds:g} µs a row, a step of"
        f" {told.step_microseconds:g}; {told.cores} cores; {told.rounds} rounds; late is"
        f" {1e3 * LATE_SECONDS:.0f} ms."
    ]
    requests = []
    if labelled:
        slopes = {place: slopes_of(labelled["runs"], place, told) for place in PLACES}
        parts.append(cost_table("labelling", slopes))
        requests += [
            (name, max(told.fragments), asked) for name, asked in labelled["requests"].items()
        ]
    if fed:
        rows = {place: a_row(runs) for place, runs in fed.items()}
        parts.append(cost_table("feeding", rows))
        fragments = told.feed_rows // min(feed_cost.SHARD_ROWS, told.feed_rows // 2)
        requests.append(("feeding, two epochs", 2 * fragments, fed["s3"][0]))
    parts.append(request_table(requests))
    show(told, "What a store costs beside a disk", parts, {"label": labelled, "feed": fed})


def measure_labels(folder: Path, places: dict[str, tuple[str, str]], told: Any) -> dict[str, Any]:
    """Every labelling, and the requests of one."""
    cpus = list(range(told.cores))
    network = in_child(label_cost.calibrate, cpus[:1], microseconds=told.microseconds)
    jobs = {}
    for size in told.fragments:
        pool = write_pool(folder / f"pool-{size}", size * told.fragment_rows, told.fragment_rows)
        uri = f"{places['s3'][0]}/pool-{size}"
        in_child(upload, folder=str(pool), uri=uri)
        for place, path in (("disk", pool), ("s3", uri), ("s3, late", uri)):
            for actors in (1, told.cores):
                jobs[place, size, actors] = write_job(
                    folder / f"job-{place[:2]}-{size}-{actors}",
                    path,
                    labeler="Network",
                    fragment_rows=told.fragment_rows,
                    actors=actors,
                    encoding=TOP_8,
                    hidden=network["hidden"],
                )
    runs = []
    for number in range(told.rounds):
        order = [(place, size) for place in PLACES for size in told.fragments]
        for place, size in order if number % 2 == 0 else reversed(order):
            base, endpoint = places[place]
            reach(endpoint)
            job = str(jobs[place, size, told.cores])
            root = f"{base}/root-{number}-{PLACES.index(place)}-{size}"
            got = in_child(label_cost.run_distill, cpus, job=job, root=root, cores=told.cores)
            runs.append({"round": number, "place": place, "fragments": size, **got})
            print(runs[-1], flush=True)
    reach(places["s3"][1])
    job = str(jobs["s3", max(told.fragments), 1])
    requests = in_child(count_requests, job=job, root=f"{places['s3'][0]}/counted")
    return {"runs": runs, "requests": requests}


def upload(folder: str, uri: str) -> None:
    from distill.storage.open import open_storage

    files = open_storage(uri)
    for file in Path(folder).iterdir():
        files.put(file.name, file.read_bytes())


def count_requests(job: str, root: str) -> dict[str, int]:
    """What a labelling asks of the store, in this process alone, and a rerun with nothing left."""
    from distill.plan.load import load_job
    from distill.run import label_pool
    from distill.storage.request_counts import requests

    counts = {}
    for name in ("labelling", "rerun"):
        before = requests()
        label_pool(load_job(job, root=root), "teacher", engine="local")
        counts[name] = asdict(requests() - before)
    return counts


def cost_table(name: str, costs: dict[str, tuple[list[float], list[float]]]) -> str:
    """Of seconds and CPU seconds a row, a number a round, by place."""
    rows = []
    for place, (wall, cpu) in costs.items():
        micros = (f"{1e6 * float(np.median(seconds)):.2f}" for seconds in (wall, cpu))
        pairs = (paired_ratio(wall, costs[other][0]) for other in ("disk", "s3"))
        ratios = ("{:.3f} [{:.3f}–{:.3f}]".format(*pair) for pair in pairs)
        rows.append([place, *micros, *ratios])
    heads = ["µs a row", "CPU µs a row", "to disk, paired [95%]", "to s3, paired [95%]"]
    return markdown([name, *heads], rows)


def slopes_of(runs: list[dict[str, Any]], place: str, told: Any) -> tuple[list[float], list[float]]:
    """Seconds and CPU seconds a row, a number a round."""
    small, large = told.fragments
    rows = (large - small) * told.fragment_rows
    by_key = {(run["round"], run["fragments"]): run for run in runs if run["place"] == place}
    pairs = [(by_key[number, small], by_key[number, large]) for number in range(told.rounds)]
    wall = [(after["seconds"] - before["seconds"]) / rows for before, after in pairs]
    cpu = [(after["cpu_seconds"] - before["cpu_seconds"]) / rows for before, after in pairs]
    return wall, cpu


def request_table(counts: Sequence[tuple[str, int, dict[str, int]]]) -> str:
    """Of a name, fragments, and requests by kind."""
    kinds = ("get", "put", "list", "delete")
    rows = [
        [
            f"{name}, {fragments} fragments",
            *(f"{asked[kind]} ({asked[kind] / fragments:.1f})" for kind in kinds),
        ]
        for name, fragments, asked in counts
    ]
    return markdown(["requests (a fragment)", *kinds], rows)


def a_row(runs: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """Seconds and CPU seconds a row, a number a round."""
    wall, cpu = ([run[kind] / run["rows"] for run in runs] for kind in ("seconds", "cpu_seconds"))
    return wall, cpu


def measure_feed(places: dict[str, tuple[str, str]], told: Any) -> dict[str, list[dict[str, Any]]]:
    """Every epoch."""
    for place in ("disk", "s3"):
        base, endpoint = places[place]
        reach(endpoint)
        in_child(feed_cost.write_sets, folder=f"{base}/feed", rows=told.feed_rows)
    found: dict[str, list[dict[str, Any]]] = {place: [] for place in PLACES}
    for number in range(told.rounds):
        for place in PLACES if number % 2 == 0 else reversed(PLACES):
            base, endpoint = places[place]
            reach(endpoint)
            seconds = 1e-6 * told.step_microseconds
            run = in_child(feed_an_epoch, folder=f"{base}/feed", step_seconds=seconds)
            assert run["rows"] == told.feed_rows, run
            found[place].append(run)
            print(place, run, flush=True)
    return found


def feed_an_epoch(folder: str, step_seconds: float) -> dict[str, float]:
    """The second of two epochs, each of whose batches is computed on; the requests of both, since
    the second's are made ahead."""
    from distill.storage.request_counts import requests

    before = requests()
    loader, sampler = feed_cost.open_loader(folder)
    batches = loader.batches()

    def epoch() -> int:
        rows = 0
        for _ in range(sampler.steps_per_epoch):
            batch = next(batches)["row"]
            until = time.thread_time() + step_seconds * len(batch)
            while time.thread_time() < until:
                pass
            rows += int((batch >= 0).sum())
        return rows

    with closing(loader):
        epoch()
        began, used = time.perf_counter(), time.process_time()
        rows = epoch()
        return {
            "rows": rows,
            "seconds": time.perf_counter() - began,
            "cpu_seconds": time.process_time() - used,
            **asdict(requests() - before),
        }


if __name__ == "__main__":
    main()
