"""`distill train`, once started, over a bare DistributedDataParallel loop, and how long each takes to start: `python -m tests.benchmarks.ddp_cost`.

An MLP of 256 → 256 → C = 100, batches of 4,096 rows, stored dense labels, kl at T = 2, AdamW; two processes of one thread that meet over gloo.

    distill      the command: Ray, two workers, rows and labels from files, shuffled anew each epoch, its checkpoints and its export. Rows a second of its
                 epochs after the first, by the history of done.json
    alone        what those workers run, in two plain processes without Ray
    bare         two plain processes: the same network and optimiser, the loss by torch's own kl_div, the rows in memory as tensors, of which each step takes
                 its batch by index, as a loop that shuffles does: the batches of distill's first epoch, over and over; nothing read, logged or kept. Its
                 epochs after the first as well
    ready        the same with the batches themselves ready in memory: what no training that shuffles anew can have
    ray train    the bare loop as that of a TorchTrainer of two workers. Ray's daemons and Ray Train's own actors take some 12% of a core where nothing
                 happens, and of two ranks on two cores each waits for the one they disturb; `--workers 1` leaves them a core.
                 And its start: from its process's start, Ray's included, to the first line of the loop

What starting costs stands by itself: from the command to the first batch asked for, and what the first epoch takes beyond another one, in which rows and
labels are read and decoded, and one worker waits for the other, which began later.

Each in processes of its own, interleaved; every round's ratio counts.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks import rays
from tests.benchmarks.child import Child, in_child
from tests.benchmarks.tables import markdown, options, paired_ratio, show
from tests.command import distill

FEATURES, CLASSES, TEMPERATURE = 256, 100, 2.0
PAIRS = [
    ("distill", "bare"),
    ("alone", "bare"),
    ("distill", "bare, in Ray Train"),
    ("distill", "ready"),
]
JOB = """
    root = "root"
    [pools.rows]
    path = "rows"
    features = {{ kind = "vector", columns = ["pixels"] }}
    [labels.teacher]
    labeler = {{ kind = "custom", file = "teacher.py" }}
    over = ["rows"]
    [students.small]
    model = {{ kind = "mlp", hidden = [256] }}
    training = {{ epochs = {epochs}, batch_rows = {batch_rows}, lanes = 8, workers = {workers}, gpus = 0, checkpoint_epochs = {epochs} }}
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = {{ kind = "kl", temperature = 2 }}
"""
TEACHER = f"""
import numpy as np


class Labeler:
    revision = "1"
    classes = tuple(map(str, range({CLASSES})))

    def label(self, features):
        return features @ np.random.default_rng(0).normal(size=({FEATURES}, {CLASSES})).astype(np.float32) / 4
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print Markdown."""
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, default=204_800)
    parser.add_argument("--batch-rows", type=int, default=4_096)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    told = parser.parse_args(arguments)
    if told.quick:
        told.rows, told.batch_rows, told.epochs, told.rounds = 4_096, 512, 2, 1
    with tempfile.TemporaryDirectory(dir=told.folder) as folder:
        sizes = {"batch_rows": told.batch_rows, "epochs": told.epochs, "workers": told.workers}
        in_child(_write, folder=folder, rows=told.rows, **sizes)
        ways = {
            "distill": _distill,
            "alone": lambda folder: _ranks(_alone_rank, folder, told.workers),
            "bare": lambda folder: _ranks(_bare_rank, folder, told.workers),
            "ray train": lambda folder: _ray_train(folder, told.workers),
        }
        measured: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
        for number in range(told.rounds):
            for name in list(ways) if number % 2 else list(reversed(ways)):
                shutil.rmtree(Path(folder, "root", "students"), ignore_errors=True)
                measured[name].append(ways[name](folder))
    show(
        told, "What a data-parallel training costs", [_rates(measured), _starts(measured)], measured
    )


def _rates(measured: Mapping[str, list[dict[str, float]]]) -> str:
    speed = {
        **{
            way: [run["rows"] / run["seconds"] for run in measured[way]]
            for way in ("distill", "alone")
        },
        **{way: [run["rows"] / run[way] for run in measured["bare"]] for way in ("bare", "ready")},
        "bare, in Ray Train": [run["rows"] / run["bare"] for run in measured["ray train"]],
    }
    lines = []
    for ours, theirs in PAIRS:
        ratio, low, high = paired_ratio(speed[ours], speed[theirs])
        medians = [f"{float(np.median(speed[way])):,.0f}" for way in (ours, theirs)]
        lines.append([f"{ours} over {theirs}", f"{ratio:.3f}", f"{low:.3f}–{high:.3f}", *medians])
    return markdown(
        ["loop over loop", "ratio of rows/s", "95% interval", "median", "of the second"], lines
    )


def _starts(measured: Mapping[str, list[dict[str, float]]]) -> str:
    seconds = {
        name: [run["start_seconds"] for run in measured[name]] for name in ("distill", "ray train")
    }
    ratio, low, high = paired_ratio(seconds["distill"], seconds["ray train"])
    seconds["first epoch"] = [run["first_epoch_more_seconds"] for run in measured["distill"]]
    medians = [f"{float(np.median(each)):.1f}" for each in seconds.values()]
    heads = [
        "command to first batch, s (median)",
        "bare Ray Train to its loop, s",
        "first epoch beyond another, s",
    ]
    return markdown(
        [*heads, "start over bare's", "95% interval"],
        [[*medians, f"{ratio:.2f}", f"{low:.2f}–{high:.2f}"]],
    )


def _write(folder: str, rows: int, **sizes: int) -> None:
    """The pool, the job, and its labels."""
    from distill.plan.load import load_job
    from tests.making import label_by_worker
    from tests.tiny import write_job, write_pool

    root = Path(folder)
    write_pool(root / "rows", [rows // 4] * 4, width=FEATURES, row_group_rows=rows // 4)
    (root / "teacher.py").write_text(TEACHER, "utf-8")
    label_by_worker(load_job(write_job(root, JOB.format(**sizes))), "teacher")


def _distill(folder: str) -> dict[str, float]:
    """The command, and what its record says."""
    began = time.time()
    joining = ("--ray", rays.shared()["address"]) if rays.shared() else ()
    file = Path(folder, "job.toml")
    ended = distill("train", file, *joining, limit_seconds=1_800, **rays.settings())
    assert ended.code == 0, ended.output
    return _recorded(folder, began)


def _recorded(folder: str, began: float) -> dict[str, float]:
    """Of the training that `began` then and has ended."""
    from distill.plan.load import load_job
    from tests.resolved import find_student

    job = load_job(Path(folder, "job.toml"))
    where, record = find_student(job, job.variants[0])
    done = Path(where.uri, "done.json").stat().st_mtime
    first, *others = [epoch["seconds"] for epoch in record.details["history"]]
    steps = record.details["steps"] * len(others) // (len(others) + 1)
    return {
        "rows": steps * job.variants[0].spec.training.batch_rows,
        "seconds": sum(others),
        "start_seconds": done - record.details["seconds"] - began,
        "first_epoch_more_seconds": first - sum(others) / len(others),
    }


def _ranks(work: Callable[..., dict[str, float]], folder: str, workers: int) -> dict[str, float]:
    """As many plain processes; the slowest one counts."""
    with tempfile.TemporaryDirectory() as meeting:
        told = {"folder": folder, "meeting": f"{meeting}/m", "workers": workers}
        ranks = [Child(work, rank=rank, **told) for rank in range(workers)]
        answers = [rank.answer() for rank in ranks]
    return {name: max(answer[name] for answer in answers) for name in answers[0]}


def _alone_rank(folder: str, meeting: str, workers: int, rank: int) -> dict[str, float]:
    import torch.distributed as dist

    from distill.engine.protocol import WorkerContext
    from distill.plan.load import load_job
    from distill.stages.train.loop import run_trainings
    from tests.resolved import plan_student

    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=workers)
    began, job = time.time(), load_job(Path(folder, "job.toml"))
    run_trainings([plan_student(job, job.variants[0])], WorkerContext(rank, workers, "cpu"))
    return _recorded(folder, began)


def _bare_rank(folder: str, meeting: str, workers: int, rank: int) -> dict[str, float]:
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=workers)
    return _bare_loop(folder, rank)


def _bare_loop(folder: str, rank: int) -> dict[str, float]:
    import torch
    import torch.distributed as dist
    from torch.nn import functional
    from torch.nn.parallel import DistributedDataParallel

    from distill.models.network import build_network

    torch.set_num_threads(1)
    lesson, ready = _first_epoch(folder, rank)
    x, taught = (torch.cat(part) for part in zip(*ready, strict=True))
    mixed = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    places = torch.argsort(mixed).split(
        len(ready[0][0])
    )  # where each batch's rows lie among the mixed ones
    x, taught = x[mixed], taught[mixed]
    network = DistributedDataParallel(build_network(lesson.plan, lesson.seed))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.0)

    def step(x: Any, taught: Any) -> None:
        optimizer.zero_grad(set_to_none=True)
        mine = functional.log_softmax(network(x)["main"] / TEMPERATURE, dim=1)
        theirs = functional.log_softmax(taught / TEMPERATURE, dim=1)
        loss = (
            functional.kl_div(mine, theirs, reduction="batchmean", log_target=True) * TEMPERATURE**2
        )
        loss.backward()
        optimizer.step()

    def seconds(batches: Callable[[], Iterable[tuple[Any, Any]]]) -> float:
        for epoch in range(lesson.training.epochs):
            if epoch == 1:
                dist.barrier()
                began = time.monotonic()
            for batch in batches():
                step(*batch)
        dist.barrier()
        return time.monotonic() - began

    by_index = seconds(lambda: ((x[place], taught[place]) for place in places))
    rows = (lesson.training.epochs - 1) * len(ready) * lesson.training.batch_rows
    return {"rows": rows, "bare": by_index, "ready": seconds(lambda: ready)}


def _first_epoch(folder: str, rank: int) -> tuple[Any, list[tuple[Any, Any]]]:
    """What distill's worker of that rank is given, as tensors."""
    import torch

    from distill.loader.loader import Loader
    from distill.plan.load import load_job
    from tests.resolved import plan_student

    job = load_job(Path(folder, "job.toml"))
    lesson = plan_student(job, job.variants[0])
    source = lesson.sources[0]
    order = lesson.order(0)
    feed = Loader(source, order, rank=rank, workers=lesson.training.workers)
    batches = [
        (torch.from_numpy(batch["features"].copy()), torch.from_numpy(batch["0.outputs"].copy()))
        for _, batch in zip(range(order.steps_per_epoch), feed.batches(), strict=False)
    ]
    feed.close()
    return lesson, batches


def _ray_train(folder: str, workers: int) -> dict[str, float]:
    began = time.time()
    answer = in_child(_ray_train_alone, folder=folder, workers=workers)
    return {**answer, "start_seconds": answer["start_seconds"] - began}


def _ray_train_alone(folder: str, workers: int) -> dict[str, float]:
    """The bare loop's answer, and when its first line was reached."""
    rays.start_bare_ray(os.cpu_count() or 2)
    from ray.train import RunConfig, ScalingConfig, get_context
    from ray.train.torch import TorchConfig, TorchTrainer

    def loop() -> dict[str, float]:
        start = time.time()
        return {**_bare_loop(folder, get_context().get_world_rank()), "start_seconds": start}

    trainer = TorchTrainer(
        loop,
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=workers),
        run_config=RunConfig(name="bare", storage_path=str(Path(folder, "bare", str(time.time())))),
    )
    return dict(trainer.fit().return_value)


if __name__ == "__main__":
    main()
