"""What an `ngram_bag` costs by its table's size: `python -m tests.benchmarks.ngram_cost [--before FOLDER]`.

    a step    one process, one thread, batches in memory: to tensors, forward, loss, backward, clip,
              AdamW; texts of 5 to 250 n-grams whose frequencies are those of words (Zipf). All ways
              take the same batches and are interleaved, step by step; every pair's ratio counts, in
              CPU time
    a job     the training of a real job (docstrings of Python's library, jobs/topics_text.py, until
              there are enough), its loader, checkpoints and epochs with it, by two workers that meet
              over gloo as two cores of a job are used, and by one. Each run is processes of its own,
              and runs of all ways are interleaved; the first epoch, in which texts are hashed, does
              not count. CPU seconds of a step are the mean of the workers': what a worker waits for
              another is not in them. Rows/s are those of a step in wall time

64 numbers an embedding, nine classes, and in both

    before         distill as it was before tables were moved row by row, from the folder that `--before`
                   names: a checkout of 750c85c (with `.venv` beside it). Left out where none is named
    whole table    every step moves every row, by this revision
    rows           a step moves its texts' rows, `distill.stages.train.table_rows`
    gather and     of a step in memory, the least it can cost: the rows that its texts have and their
    scatter alone  moments are read and written back, and two passes over its n-grams (means, and
                   their gradients) by torch's fastest kernel; nothing is computed, no row moved
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.nn import functional

from distill.engine.protocol import WorkerContext
from distill.models.losses.kl import Kl
from distill.models.network import build_network
from distill.models.networks.ngram_bag import NgramBag
from distill.models.record import HeadPlan, NetworkPlan
from distill.plan.training import TermPlan
from distill.spec.models import Training
from distill.stages.train.combined_loss import CombinedLoss
from distill.stages.train.gradients import WorkerGradients
from distill.stages.train.optimizer import Optimizer, make_optimizer
from distill.stages.train.team import in_order
from tests.benchmarks.tables import markdown, options, paired_ratio, show
from tests.command import REPOSITORY

SMALL, LARGE = 65_536, 1_048_576
HIDDEN, CLASSES, LENGTH, BATCHES = 64, 9, 256, 40
ALONE = WorkerContext(0, 1, "cpu")
TRAINING = Training(learning_rate=5e-3)
PAIRS = {
    "rows over whole table, 65,536 buckets": ("rows, small", "whole table, small"),
    "1,048,576 buckets over 65,536, rows": ("rows, large", "rows, small"),
    "rows over gather and scatter alone, 65,536 buckets": ("rows, small", "least, small"),
    "rows over gather and scatter alone, 1,048,576 buckets": ("rows, large", "least, large"),
}

Step = Callable[[int], None]
RANK = Path(__file__).with_name("ngram_rank.py")
TEXTS = Path(__file__).parents[2] / "jobs" / "topics_text.py"
JOB = """
root = "{root}"
[pools.rows]
path = "{pool}"
features = {{ kind = "text", column = "text" }}
target = "topic"
classes = {classes}
[students.small]
model = {{ kind = "ngram_bag", buckets = {buckets}, hidden = 64 }}
training = {{ epochs = {epochs}, batch_rows = {rows}, learning_rate = 5e-3, checkpoint_epochs = 1000 }}
[[students.small.terms]]
learns = "pools.rows"
loss = {{ kind = "cross_entropy" }}
"""
JOB_WAYS = {
    "before, small": (SMALL, False),
    "whole table, small": (SMALL, True),
    "rows, small": (SMALL, False),
    "rows, large": (LARGE, False),
}
JOB_PAIRS = {
    "65,536 buckets, before over rows": ("before, small", "rows, small"),
    "65,536 buckets, whole table over rows": ("whole table, small", "rows, small"),
    "rows, 1,048,576 buckets over 65,536": ("rows, large", "rows, small"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print Markdown."""
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[32, 64, 256], help="of a batch")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--before", type=Path, help="folder of the revision from before")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 1])
    told = parser.parse_args(arguments)
    if told.quick:
        told.rows, told.steps, told.rounds, told.workers = [32], 60, 1, [2]
    torch.set_num_threads(1)
    alone = {rows: _measured(rows, told.steps) for rows in told.rows}
    jobs = _jobs(told)
    parts = ["## A step, in memory", _table(alone), "## A job", _jobs_table(jobs)]
    show(told, "What an ngram_bag costs", parts, {"alone": alone, "jobs": jobs})


def _jobs(told: argparse.Namespace) -> dict[str, list[list[float]]]:
    """Wall and CPU seconds of a step by workers, rows and way, a round each."""
    found: dict[str, list[list[float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory(dir=told.folder) as folder:
        classes = _write_texts(Path(folder, "pool"), 2_000 if told.quick else 16_000)
        for number in range(told.rounds):
            for workers in told.workers:
                for rows in told.rows:
                    for way in JOB_WAYS if number % 2 else reversed(JOB_WAYS):
                        if way.startswith("before") and told.before is None:
                            continue
                        name = f"{workers} workers, {rows} rows, {way}"
                        seconds = _run_job(Path(folder), classes, told, workers, rows, way)
                        found[name].append(seconds)
    return found


def _write_texts(pool: Path, rows: int) -> list[str]:
    made = runpy.run_path(str(TEXTS))
    texts, topics, _ = made["_rows"]()
    pool.mkdir()
    repeated = [number % len(texts) for number in range(rows)]
    table = {
        "text": [texts[number] for number in repeated],
        "topic": [topics[number] for number in repeated],
    }
    pq.write_table(pa.table(table), pool / "rows.parquet", row_group_size=rows // 4)
    return sorted(set(topics))


def _run_job(
    folder: Path, classes: list[str], told: argparse.Namespace, workers: int, rows: int, way: str
) -> list[float]:
    """Wall and CPU seconds of a step of one training: medians over those after its first epoch."""
    buckets, is_whole = JOB_WAYS[way]
    revision = told.before.absolute() if way.startswith("before") else REPOSITORY
    with tempfile.TemporaryDirectory(dir=folder) as root:
        job = Path(root, "job.toml")
        names = {"root": f"{root}/root", "pool": folder / "pool", "classes": json.dumps(classes)}
        text = JOB.format(**names, buckets=buckets, rows=rows, epochs=2)
        job.write_text(text, "utf-8")
        ranks = [
            subprocess.Popen(
                [sys.executable, RANK, job, str(rank), str(workers), f"{root}/m", str(+is_whole)],
                cwd=revision,
                env={**os.environ, "PYTHONPATH": str(revision)},
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(workers)
        ]
        answers = [rank.communicate(timeout=1_800)[0] for rank in ranks]
    steps = np.array([json.loads(answer.splitlines()[-1]) for answer in answers])
    later = steps[:, steps.shape[1] // 2 :]
    wall, cpu = np.median(later, axis=1).mean(axis=0).tolist()
    return [wall, cpu]


def _jobs_table(found: Mapping[str, list[list[float]]]) -> str:
    lines = []
    for one in sorted({name.rpartition(" rows, ")[0] for name in found}):
        workers, _, rows = one.partition(" workers, ")
        for title, (ours, theirs) in JOB_PAIRS.items():
            both = [found.get(f"{one} rows, {way}", []) for way in (ours, theirs)]
            if not all(both):
                continue
            cpu = [[seconds[1] for seconds in each] for each in both]
            ratio, low, high = paired_ratio(*cpu)
            paces = [int(rows) / float(np.median([each[0] for each in way])) for way in both]
            spread = f"{low:.2f}–{high:.2f}"
            line = [workers, rows, title, f"{ratio:.2f}", spread]
            line += [f"{1e3 * float(np.median(each)):.2f}" for each in cpu]
            lines.append(line + [f"{pace:,.0f}" for pace in paces])
    heads = ["workers", "rows a batch", "step over step", "CPU time, ratio", "95% interval"]
    heads += ["CPU ms a step", "of the second", "rows/s", "of the second"]
    return markdown(heads, lines)


def _measured(rows: int, count: int) -> Mapping[str, list[float]]:
    """CPU seconds of each step of each way, the first quarter left out."""
    steps = {
        "whole table, small": _whole(SMALL),
        "rows, small": _by_rows(SMALL, count),
        "rows, large": _by_rows(LARGE, count),
        "least, small": _least(SMALL),
        "least, large": _least(LARGE),
    }
    batches = {name: _batches(rows, LARGE if "large" in name else SMALL) for name in steps}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(count):
        names = list(steps) if number % 2 else list(reversed(steps))
        for name in names:
            batch = batches[name][number % BATCHES]
            began = time.process_time()
            steps[name](number, batch)
            seconds[name].append(time.process_time() - began)
    warm = count // 4
    return {name: each[warm:] for name, each in seconds.items()}


def _batches(rows: int, buckets: int) -> list[dict[str, np.ndarray]]:
    draw = np.random.default_rng(0)
    made = []
    for _ in range(BATCHES):
        lengths = draw.integers(5, 251, size=rows)
        words = draw.zipf(1.15, size=(rows, LENGTH)).astype(np.uint64)
        places = 1 + (words * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(20)) % np.uint64(buckets)
        places[np.arange(LENGTH) >= lengths[:, None]] = 0
        batch = {
            "features": places.astype(np.int32),
            "row": np.arange(rows),
            "0.outputs": draw.normal(size=(rows, CLASSES)).astype(np.float32),
            "0.weight": np.ones(rows, np.float32),
        }
        made.append(batch)
    return made


def _network(buckets: int) -> torch.nn.Module:
    model = NgramBag(kind="ngram_bag", buckets=buckets, hidden=HIDDEN, most=LENGTH)
    return build_network(NetworkPlan(LENGTH, model, {"main": HeadPlan(CLASSES)}))


def _whole(buckets: int) -> Step:
    network = _network(buckets)
    optimizer = make_optimizer(TRAINING, network)
    gradients = _gradients(network)

    def step(_: int, batch: Mapping[str, np.ndarray]) -> None:
        gradients.backward(0, 0, [batch])
        optimizer.step()

    return step


def _by_rows(buckets: int, count: int) -> Step:
    network = _network(buckets)
    optimizer = Optimizer(TRAINING, network, count)
    gradients = _gradients(network)

    def step(number: int, batch: Mapping[str, np.ndarray]) -> None:
        gradients.backward(0, number, [batch])
        optimizer.step(number)

    return step


def _least(buckets: int) -> Step:
    table = np.zeros((buckets + 1, 3 * HIDDEN), np.float32)
    runs = table.view(f"V{table[0].nbytes}")[:, 0]
    number_of = np.zeros(buckets + 1, np.int64)

    def step(_: int, batch: Mapping[str, np.ndarray]) -> None:
        places = batch["features"]
        is_place = places != 0
        counts = is_place.sum(axis=1)
        starts = torch.from_numpy(np.cumsum(counts) - counts)
        taken = places[is_place]
        rows = in_order(torch.from_numpy(taken)).numpy()
        number_of[rows] = np.arange(len(rows))
        numbers = number_of[taken]
        fetched = table.take(rows, 0)
        weights = torch.from_numpy(fetched[:, :HIDDEN].copy())
        for _ in range(2):
            functional.embedding_bag(torch.from_numpy(numbers), weights, starts, mode="sum")
        runs[rows] = fetched.view(runs.dtype)[:, 0]

    return step


def _gradients(network: torch.nn.Module) -> WorkerGradients:
    term = TermPlan("said", "0", 0, "main", Kl(kind="kl", temperature=2.0), 1.0, False, None)
    loss = CombinedLoss([term], "cpu")
    return WorkerGradients(network, loss, ALONE, lambda model: model)


def _table(measured: Mapping[int, Mapping[str, list[float]]]) -> str:
    lines = []
    for rows, seconds in measured.items():
        for name, (ours, theirs) in PAIRS.items():
            ratio, low, high = paired_ratio(seconds[ours], seconds[theirs])
            medians = [float(np.median(seconds[each])) for each in (ours, theirs)]
            paces = [f"{rows / median:,.0f}" for median in medians]
            lines.append([rows, name, f"{ratio:.3f}", f"{low:.3f}–{high:.3f}", *paces])
    heads = ["rows a batch", "step over step", "ratio", "95% interval", "rows/s of a core"]
    return markdown([*heads, "of the second"], lines)


if __name__ == "__main__":
    main()
