"""The runs of `gpu_labelers`: the model alone over resident tensors, and the labelling, left alone
or with its actor killed."""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from distill.labels.commit import Commit
from distill.plan.tables import JobTables
from tests.benchmarks.child import Child
from tests.benchmarks.gpu_watch import Log, Watch
from tests.benchmarks.rays import start_ray

_CALLS_AT_ONCE = 2
"""Fragments that an actor has in hand."""
_RESIDENT_BATCHES = 8
_ROUNDS = 5
_KILL_AT_SHARE = 0.4


def resident(job: str, round_seconds: float) -> dict[str, Any]:
    """Rows a second of the labeler's own `compute` over batches of the pool that are on the device;
    and on which."""
    import torch

    torch.set_num_threads(1)  # as in a labeler's actor
    teacher, batches = _loaded(job)
    staged = [teacher.prepare(batch) for batch in batches]

    def once(times: int = 1) -> float:
        began = time.perf_counter()
        for _ in range(times):
            for each in staged:
                teacher.compute(each)
        if teacher.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    once(2)
    times = max(1, round(round_seconds / once()))
    rows = times * sum(map(len, batches))
    rates = [rows / once(times) for _ in range(_ROUNDS)]
    return {
        "rows_per_second": statistics.median(rates),
        "rounds_rows_per_second": rates,
        "parameters": sum(each.numel() for each in teacher.network.parameters()),
        "device": torch.cuda.get_device_name() if teacher.device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
    }


def label(job: str) -> dict[str, Any]:
    """`label_pool` as the command calls it, and what `distill verify` says of the set."""
    from distill.plan.load import load_job
    from distill.run import label_pool, verify_labels

    loaded, start = load_job(job), time.time()
    start_ray()
    began = time.time()
    (summary,) = label_pool(loaded, "teacher")
    ended = time.time()
    (verified,) = verify_labels(loaded, "teacher")
    return {
        "rows": summary.rows,
        "labelled": summary.labelled,
        "rejected": summary.rejected,
        "label_hash": summary.label_hash,
        "problems": verified.problems,
        "began": began,
        "ray_start_seconds": began - start,
        "label_pool_seconds": ended - began,
    }


def labelled(
    job: Path, *, fragments: int, actors: int, limit_seconds: float, kill: bool = False
) -> dict[str, Any]:
    """One labelling from nothing, watched from outside; with `kill`, one of its actors gets SIGKILL
    in the middle."""
    log, root = job.with_name("batches.log"), job.with_name("root")
    log.unlink(missing_ok=True)
    shutil.rmtree(root, ignore_errors=True)
    child = Child(label, job=str(job))
    with Watch(child.process.pid) as watch:
        killed = _kill_in_the_middle(child, log, root, fragments, limit_seconds) if kill else None
        answer = child.answer(limit_seconds)
    commits, batches = _Commits(root), Log(log)
    answer |= {"gpu_watched_by": watch.source, "devices": commits.devices}
    answer["first_batch_after_seconds"] = batches.began.min() - answer.pop("began")
    answer["rows_asked"] = int(batches.rows.sum())
    last = commits.when[-_CALLS_AT_ONCE * actors - 1]  # here the last fragment was begun

    def span(began: float, ended: float) -> dict[str, Any]:
        committed = commits.rows[(commits.when > began) & (commits.when <= ended)].sum() / (
            ended - began
        )
        return {
            **batches.between(began, ended),
            "committed_rows_per_second": float(committed),
            **watch.between(began, ended),
        }

    if killed is None:
        return answer | {"steady": span(commits.when[0], last)}
    return answer | {"kill": _recovery(killed, span, commits, batches, last)}


def _recovery(
    killed: dict[str, Any], span: Any, commits: _Commits, batches: Log, last: float
) -> dict[str, Any]:
    at = killed["at"]
    back = commits.when[commits.when > at][0]
    newcomers = ~np.isin(batches.pid, batches.pid[batches.ended <= at])
    before, after = span(commits.when[0], at), span(back, last)
    return {
        "at_committed_share": float((commits.when <= at).mean()),
        "new_actors": len(set(batches.pid[newcomers])),
        "seconds_to_first_batch": float(batches.began[newcomers].min(initial=np.inf) - at),
        "seconds_to_first_commit": float(back - at),
        "before": before,
        "after": after,
        "after_over_before": after["rows_per_second"] / before["rows_per_second"],
    }


class _Commits:
    """When each fragment was committed, in that order, its rows, and on which devices all were
    labelled."""

    def __init__(self, root: Path) -> None:
        found = [
            (path.stat().st_mtime, Commit.from_bytes(path.read_bytes(), str(path)))
            for path in _commits(root)
        ]
        self.when, self.rows = np.array(sorted((when, commit.rows) for when, commit in found)).T
        self.devices = sorted({commit.device for _, commit in found})


def _commits(root: Path) -> list[Path]:
    return list(root.glob("labels/teacher/v1/rows/commits/*.json"))


def _kill_in_the_middle(
    child: Child, log: Path, root: Path, fragments: int, limit_seconds: float
) -> dict[str, Any]:
    """SIGKILL of the actor that noted the last batch, once so many fragments are committed."""
    until = time.time() + limit_seconds
    while len(_commits(root)) < _KILL_AT_SHARE * fragments:
        if not child.running or time.time() > until:
            raise RuntimeError(
                f"nothing to kill: {len(_commits(root))} commits\n{child.said()[-4_000:]}"
            )
        time.sleep(0.02)
    pid, at = int(log.read_text().splitlines()[-1].split()[0]), time.time()
    os.kill(pid, signal.SIGKILL)
    return {"pid": pid, "at": at}


def _loaded(job: str) -> tuple[Any, list[np.ndarray]]:
    """The job's labeler, and batches of its pool's first rows, as the stage would cut them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from distill.plan.load import load_job
    from distill.pools.features import decode_features

    loaded = load_job(job)
    spec, pool = loaded.labels["teacher"], loaded.pools["rows"]
    first = min(Path(loaded.pool_uri("rows")).iterdir())
    with pq.ParquetFile(first) as file:
        cut = islice(file.iter_batches(spec.batch_rows), _RESIDENT_BATCHES)
        batches = [
            decode_features(pa.Table.from_batches([each]), pool.features, 0).values for each in cut
        ]
    return JobTables(loaded).custom_source(spec.labeler, "labels.teacher.labeler").load(
        spec.labeler.name
    )(), batches
