"""The trainings of `gpu_students`: the whole loop of `distill train` in a Ray, and a bare loop over
the same batches that are on the device.

The training runs as the command has it: its stage, one worker by Ray Train, its feed over Parquet
and label fragments on a local disk. In the worker a stopwatch stands at two places: at each epoch's
end, where the loop has just waited for the device to read the epoch's loss, and at the feed, for
the time in which the loop waits for a batch. Its steady state is whole epochs, from the end of the
first one; no checkpoint falls into it. It is ended once that took long enough.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill.engine.protocol import WorkerContext
from distill.loader.dataset import Arrays
from distill.loader.loader import Loader
from distill.models.losses.kl import Kl
from distill.models.network import as_tensor, build_network
from distill.models.outcomes import topk_outcomes
from distill.plan.load import load_job
from distill.plan.training import TrainingPlan
from distill.run import train_student
from distill.stages.train import inputs, loop
from distill.stages.train.checkpoint import Position
from tests.benchmarks.child import Child, answer_and_leave
from tests.benchmarks.gpu_steps import about, block_seconds
from tests.benchmarks.gpu_student_cases import HEAD, STUDENT, TEMPERATURE
from tests.benchmarks.gpu_watch import Watch
from tests.benchmarks.rays import start_ray
from tests.resolved import plan_student

_RESIDENT_BATCHES = 8
_ROUNDS = 5
_WARM_STEPS = 3
_LEAST_EPOCHS = 3
"""Of the steady state."""


def resident(job: str, seconds: float) -> dict[str, Any]:
    """Rows a second of a bare loop, in bfloat16 and compiled where the job's is, over the first
    batches of the job's own feed, all on the device."""
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    lesson = _lesson(job)
    step = _bare(lesson, [_on(batch, device) for batch in _first_batches(lesson)], device)
    block_seconds(step, max(_WARM_STEPS, _RESIDENT_BATCHES), device)
    one = block_seconds(step, _WARM_STEPS, device) / _WARM_STEPS
    times = max(1, round(seconds / _ROUNDS / one))
    rows = times * lesson.training.batch_rows
    rates = [rows / block_seconds(step, times, device) for _ in range(_ROUNDS)]
    return {
        "rows_per_second": statistics.median(rates),
        "rounds_rows_per_second": rates,
        **about(device),
    }


def trained(job: Path, *, rows: int, seconds: float, limit_seconds: float) -> dict[str, Any]:
    """One training from nothing, watched from outside: what its steady state gave, about `seconds`
    of it."""
    log = job.with_name("epochs.log")
    log.unlink(missing_ok=True)
    child = Child(train, job=str(job), log=str(log), seconds=seconds)
    with Watch(child.process.pid) as watch:
        answer = child.answer(limit_seconds)
    began, (first, *others) = answer.pop("began"), answer.pop("epochs")
    last = others[-1]
    span = last["at"] - first["at"]
    return {
        **answer,
        "to_first_epoch_end_seconds": first["at"] - began,
        "steady_seconds": span,
        "steady_epochs": len(others),
        "rows_per_second": len(others) * rows / span,
        "epoch_rows_per_second": [
            rows / (later["at"] - sooner["at"])
            for sooner, later in zip([first, *others], others, strict=False)
        ],
        "waits_for_feed_share": (last["waited"] - first["waited"]) / span,
        "gpu_watched_by": watch.source,
        **watch.between(first["at"], last["at"]),
    }


def train(job: str, log: str, seconds: float) -> dict[str, Any]:
    """`train_student` as the command calls it, until its steady state took so long; the process
    ends with the answer."""
    loaded, start = load_job(job), time.time()
    start_ray()
    began = time.time()
    loop.run_trainings = partial(timed_teach_all, log)  # type: ignore[assignment]  # the stage asks the module for it
    said = {"began": began, "ray_start_seconds": began - start}
    threading.Thread(target=_answer_in_time, args=(Path(log), seconds, said), daemon=True).start()
    train_student(loaded, STUDENT)
    raise RuntimeError("the training ended before its steady state was long enough")


def timed_teach_all(log: str, lessons: Sequence[TrainingPlan], context: WorkerContext) -> None:
    """`run_trainings` with a stopwatch, in the worker."""
    waited = [0.0]
    inputs.Loader = partial(_TimedLoader, waited)  # type: ignore[assignment, misc]
    loop.EpochLoop = partial(_Timed, Path(log), waited)  # type: ignore[assignment, misc]
    loop.run_trainings(lessons, context)


class _Timed(loop.EpochLoop):
    """The loop, which says when each epoch ended."""

    def __init__(self, log: Path, waited: list[float], *told: Any) -> None:
        self.log, self.waited = log, waited
        super().__init__(*told)

    def _end_epoch(self, position: Position, step: int, sums: Tensor) -> Position:
        ended = super()._end_epoch(position, step, sums)
        with self.log.open("a") as file:
            said = {
                "at": time.time(),
                "waited": self.waited[0],
                "step": step,
                "device": self.setup.context.device,
            }
            file.write(json.dumps(said) + "\n")
        return ended


class _TimedLoader(Loader):
    """The loader, which adds up how long the loop waits for a batch."""

    def __init__(self, waited: list[float], *told: Any, **more: Any) -> None:
        super().__init__(*told, **more)
        self.waited = waited

    def batches(self, first_step: int = 0) -> Iterator[Arrays]:
        made = super().batches(first_step)
        while True:
            began = time.perf_counter()
            batch = next(made)
            self.waited[0] += time.perf_counter() - began
            yield batch


def _answer_in_time(log: Path, seconds: float, said: dict[str, Any]) -> None:
    while True:
        time.sleep(0.1)
        lines = log.read_text().splitlines(keepends=True) if log.exists() else []
        epochs = [json.loads(line) for line in lines if line.endswith("\n")]
        if len(epochs) > _LEAST_EPOCHS and epochs[-1]["at"] - epochs[0]["at"] >= seconds:
            answer_and_leave({**said, "device": epochs[-1].pop("device"), "epochs": epochs})


def _lesson(job: str) -> TrainingPlan:
    loaded = load_job(job)
    (variant,) = loaded.chosen_variants([STUDENT])
    lesson = plan_student(loaded, variant)
    assert isinstance(lesson, TrainingPlan)
    return lesson


def _first_batches(lesson: TrainingPlan) -> list[Arrays]:
    """As the training's loop is given them."""
    (source,), order = lesson.sources, lesson.order(0)
    feed = Loader(source, order, rank=0, workers=1)
    try:
        batches = islice(feed.batches(), min(_RESIDENT_BATCHES, order.steps_per_epoch))
        return [{name: values.copy() for name, values in batch.items()} for batch in batches]
    finally:
        feed.close()


def _on(batch: Arrays, device: str) -> tuple[Tensor, Tensor, Tensor]:
    index_Bk, log_p_Bk = (
        torch.from_numpy(batch[name]).to(device) for name in ("0.index", "0.log_probs")
    )
    return as_tensor(batch["features"], device), index_Bk, log_p_Bk


def _bare(
    lesson: TrainingPlan, batches: Sequence[tuple[Tensor, Tensor, Tensor]], device: str
) -> Callable[[], None]:
    """A loop as one writes it: the same network, the same KL to the kept classes, and nothing else."""
    network = build_network(lesson.plan, lesson.seed).to(device)
    training = lesson.training
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
    )
    made, coming = torch.compile(network) if training.compile else network, cycle(batches)
    kl = Kl(kind="kl", temperature=TEMPERATURE)

    def step() -> None:
        x_BF, index_Bk, log_p_Bk = next(coming)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16):
            logits_BC = made(x_BF)[HEAD]
        outcomes = topk_outcomes(logits_BC.float(), index_Bk, log_p_Bk, TEMPERATURE)
        kl.compare(outcomes).mean().backward()
        optimizer.step()

    return step
