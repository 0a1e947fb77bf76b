"""What a step of an `ngram_bag` costs by its table's size: `python -m tests.benchmarks.ngram_cost`.

One process, one thread, batches in memory; texts of 5 to 250 n-grams whose frequencies are those of
words (Zipf), 64 numbers an embedding, nine classes. A step is what a worker of `distill train` does
with a batch: to tensors, forward, loss, backward, clip, AdamW. All ways take the same batches and are
interleaved, step by step; every pair's ratio counts, in CPU time.

Then the same by two workers that meet over gloo, as two cores of a job are used: half a batch each,
both ways step by step in the same two processes, in wall time.

    whole table      every step moves every row, as before tables were moved row by row
    rows             a step moves its texts' rows, `distill.stages.train.table_rows`
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.distributed as dist

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
from tests.benchmarks.child import Child
from tests.benchmarks.tables import markdown, options, paired_ratio, show

SMALL, LARGE = 65_536, 1_048_576
HIDDEN, CLASSES, LENGTH, BATCHES = 64, 9, 256, 40
ALONE = WorkerContext(0, 1, "cpu")
TRAINING = Training(learning_rate=5e-3)
PAIRS = {
    "rows over whole table, 65,536 buckets": ("rows, small", "whole table, small"),
    "1,048,576 buckets over 65,536, rows": ("rows, large", "rows, small"),
}

Step = Callable[[int], None]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print Markdown."""
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[32, 256], help="rows of a batch")
    parser.add_argument("--steps", type=int, default=400)
    told = parser.parse_args(arguments)
    if told.quick:
        told.rows, told.steps = [32], 60
    torch.set_num_threads(1)
    alone = {rows: _measured(rows, told.steps) for rows in told.rows}
    pairs = {rows: _by_two(rows, told.steps) for rows in told.rows}
    parts = [_table(alone, "rows/s of a core"), "By two workers:", _table(pairs, "rows/s of two")]
    show(told, "What a step of an ngram_bag costs", parts, {"alone": alone, "by two": pairs})


def _by_two(rows: int, count: int) -> Mapping[str, list[float]]:
    """Wall seconds of each step of each way, by two workers."""
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"{folder}/meeting"
        told = {"meeting": meeting, "rows": rows, "count": count}
        ranks = [Child(work, [rank], rank=rank, **told) for rank in range(2)]
        answers = [rank.answer() for rank in ranks]
    return answers[0]


def work(rank: int, meeting: str, rows: int, count: int) -> Mapping[str, list[float]]:
    """Take all ways' steps as one of two workers."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    here = WorkerContext(rank, 2, "cpu")
    return _measured(rows // 2, count, here, time.perf_counter)


def _measured(
    rows: int,
    count: int,
    here: WorkerContext = ALONE,
    clock: Callable[[], float] = time.process_time,
) -> Mapping[str, list[float]]:
    """Seconds of each step of each way, the first quarter left out."""
    steps = {
        "whole table, small": _whole(SMALL, here),
        "rows, small": _by_rows(SMALL, count, here),
        "rows, large": _by_rows(LARGE, count, here),
    }
    batches = {
        name: _batches(rows, LARGE if "large" in name else SMALL, here.rank) for name in steps
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(count):
        names = list(steps) if number % 2 else list(reversed(steps))
        for name in names:
            batch = batches[name][number % BATCHES]
            began = clock()
            steps[name](number, batch)
            seconds[name].append(clock() - began)
    warm = count // 4
    return {name: each[warm:] for name, each in seconds.items()}


def _batches(rows: int, buckets: int, seed: int) -> list[dict[str, np.ndarray]]:
    draw = np.random.default_rng(seed)
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


def _whole(buckets: int, here: WorkerContext) -> Step:
    network = _network(buckets)
    optimizer = make_optimizer(TRAINING, network)
    gradients = _gradients(network, here)

    def step(_: int, batch: Mapping[str, np.ndarray]) -> None:
        gradients.backward(0, 0, [batch])
        optimizer.step()

    return step


def _by_rows(buckets: int, count: int, here: WorkerContext) -> Step:
    network = _network(buckets)
    optimizer = Optimizer(TRAINING, network, count)
    gradients = _gradients(network, here)

    def step(number: int, batch: Mapping[str, np.ndarray]) -> None:
        gradients.backward(0, number, [batch])
        optimizer.step(number)

    return step


def _gradients(network: torch.nn.Module, here: WorkerContext) -> WorkerGradients:
    term = TermPlan("said", "0", 0, "main", Kl(kind="kl", temperature=2.0), 1.0, False, None)
    loss = CombinedLoss([term], "cpu")
    return WorkerGradients(network, loss, here, lambda model: model)


def _table(measured: Mapping[int, Mapping[str, list[float]]], pace: str) -> str:
    lines = []
    for rows, seconds in measured.items():
        for name, (ours, theirs) in PAIRS.items():
            ratio, low, high = paired_ratio(seconds[ours], seconds[theirs])
            medians = [float(np.median(seconds[each])) for each in (ours, theirs)]
            paces = [f"{rows / median:,.0f}" for median in medians]
            lines.append([rows, name, f"{ratio:.3f}", f"{low:.3f}–{high:.3f}", *paces])
    return markdown(
        [
            "rows a batch",
            "step over step",
            "ratio",
            "95% interval",
            pace,
            "of the second",
        ],
        lines,
    )


if __name__ == "__main__":
    main()
