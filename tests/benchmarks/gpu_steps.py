"""The steps that `gpu_students` times: one student, one precision, compiled or not, in a process of its own.

    plain resident   torch's own cross-entropy to one class, as a loop without distill has it, its batch on the device already
    plain            the same, its batch copied from ordinary memory in every step, as `distill train` copies
    target           distill's step on the same target: what `distill train` runs of a step once its feed has given the batch
    stored top-16    distill's step on stored labels: kl at T = 2 over 16 kept classes and the rest
    stored dense     the same over all logits, stored whole
    online teacher   the same over all logits, which a teacher computes in that very step, in bfloat16

A measurement is a block of steps between two CUDA events, the device idle before it and waited for after it: within the block the host may run
ahead of the device, as in a training. Blocks of the ways alternate, so that a drift of the clocks meets all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, _dynamo
from torch.nn import functional

from distill.engine.protocol import WorkerContext
from distill.models.losses.cross_entropy import CrossEntropy
from distill.models.losses.kl import Kl
from distill.plan.training import TermPlan
from distill.spec.losses import Loss
from distill.spec.models import Training
from distill.stages.train.combined_loss import Batch, CombinedLoss
from distill.stages.train.optimizer import Optimizer
from distill.stages.train.step import TrainingStep, make_gradients
from distill.stages.train.training_setup import TrainingSetup
from tests.benchmarks.gpu_student_cases import (
    HEAD,
    KEPT,
    TEMPERATURE,
    Case,
    find_case,
    flops_of_a_row,
    online_teacher,
    student_network,
    teacher_network,
)

_KL = Kl(kind="kl", temperature=TEMPERATURE)
_TARGET = CrossEntropy(kind="cross_entropy")
_BLOCK_SECONDS = 0.1
_LEAST_ROUNDS, _MOST_ROUNDS = 3, 40
_WARM_STEPS = 3
_STEPS_PER_EPOCH = 1_000_000
"""More than are taken."""

Step = Callable[[], None]


def step_times(
    case: str, quick: bool, precision: str, compiled: bool, seconds: float
) -> dict[str, Any]:
    """Seconds of a step in each way, block by block, for about `seconds` of measuring; and on what."""
    torch.set_num_threads(1)  # as a training worker has it
    if hasattr(_dynamo.config, "fail_on_recompile_limit_hit"):
        _dynamo.config.fail_on_recompile_limit_hit = (
            True  # else it would go on without being compiled
        )
    chosen, device = find_case(case, quick), "cuda" if torch.cuda.is_available() else "cpu"
    training = Training(precision=precision, compile=compiled, batch_rows=chosen.batch_rows)
    steps = _steps(chosen, training, device)
    first = {name: _warmed(step, device) for name, step in steps.items()}
    return {
        "batch_rows": chosen.batch_rows,
        "seconds": _blocks(steps, device, seconds),
        "warm_up_seconds": first,
        "compiled_graphs": _dynamo.utils.counters["stats"]["unique_graphs"],
        "teacher_over_student_flops": _flops_ratio(chosen),
        "tf32": {
            "matmul": torch.get_float32_matmul_precision() != "highest",
            "cudnn": torch.backends.cudnn.allow_tf32,
        },
        "most_bytes": torch.cuda.max_memory_allocated() if device == "cuda" else None,
        **about(device),
    }


def about(device: str) -> dict[str, str | None]:
    """Which device, and what drives it."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else "cpu"
    return {"device": name, "torch": torch.__version__, "cuda": torch.version.cuda}


def block_seconds(step: Step, times: int, device: str) -> float:
    """Seconds of so many steps, the device waited for before and after."""
    if device == "cpu":
        began = time.perf_counter()
        for _ in range(times):
            step()
        return time.perf_counter() - began
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(times):
        step()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1_000


def _warmed(step: Step, device: str) -> float:
    """Seconds of a way's first steps, of which compiling is one."""
    began = time.perf_counter()
    block_seconds(step, _WARM_STEPS, device)
    return time.perf_counter() - began


def _blocks(steps: Mapping[str, Step], device: str, seconds: float) -> dict[str, list[float]]:
    times = {
        name: max(1, round(_BLOCK_SECONDS / block_seconds(step, 1, device)))
        for name, step in steps.items()
    }
    taken: dict[str, list[float]] = {name: [] for name in steps}
    until = time.monotonic() + seconds
    for number in range(_MOST_ROUNDS):
        if number >= _LEAST_ROUNDS and time.monotonic() > until:
            break
        for name in steps if number % 2 else reversed(list(steps)):
            taken[name].append(block_seconds(steps[name], times[name], device) / times[name])
    return taken


def _steps(case: Case, training: Training, device: str) -> dict[str, Step]:
    draw, rows = np.random.default_rng(0), case.batch_rows
    logits = (4 * draw.standard_normal((rows, case.classes), np.float32)).astype(np.float32)
    log_p, index = torch.from_numpy(logits / TEMPERATURE).log_softmax(1).topk(KEPT)
    batch = {
        "features": draw.random((rows, case.in_features), np.float32),
        "row": np.arange(rows),
        "0.weight": np.ones(rows, np.float32),
    }
    target = {**batch, "0.target": draw.integers(case.classes, size=rows)}
    topk = {**batch, "0.index": index.numpy(), "0.log_probs": log_p.numpy()}
    told = (case, training, device)
    return {
        "plain resident": _plain(target, *told, resident=True),
        "plain": _plain(target, *told),
        "target": _ours(target, _TARGET, *told),
        f"stored top-{KEPT}": _ours(topk, _KL, *told),
        "stored dense": _ours({**batch, "0.outputs": logits}, _KL, *told),
        "online teacher": _ours(batch, _KL, *told, teacher=online_teacher(case, device)),
    }


def _plain(
    batch: Mapping[str, np.ndarray],
    case: Case,
    training: Training,
    device: str,
    resident: bool = False,
) -> Step:
    network = student_network(case).to(device)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
    )
    made = torch.compile(network) if training.compile else network
    x_BF, target_B = torch.from_numpy(batch["features"]), torch.from_numpy(batch["0.target"])
    if resident:
        x_BF, target_B = x_BF.to(device), target_B.to(device)

    def step() -> None:
        x, y = x_BF.to(device), target_B.to(device)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=training.precision == "bfloat16"):
            logits = made(x)[HEAD]
        functional.cross_entropy(logits.float(), y).backward()
        optimizer.step()

    return step


def _ours(
    batch: Mapping[str, np.ndarray],
    loss: Loss,
    case: Case,
    training: Training,
    device: str,
    teacher: Callable[[Tensor], Tensor] | None = None,
) -> Step:
    term = TermPlan("said", "0", 0, HEAD, loss, 1.0, loss is _TARGET, None)
    step = training_step(case, training, term, device)
    if teacher is not None:
        step.gradients.loss = _Online(step.gradients.loss, teacher)
    numbers = count()
    return lambda: _done(step(next(numbers), [dict(batch)]))


def training_step(case: Case, training: Training, term: TermPlan, device: str) -> TrainingStep:
    """The step of `distill train` without its loader and its folder, over its own network,
    optimiser and forward pass."""
    plan: Any = SimpleNamespace(training=training, terms=(term,), seed=0)
    network: Any = student_network(case).to(device)
    optimizer = Optimizer(training, network, training.epochs * _STEPS_PER_EPOCH)
    context = WorkerContext(0, 1, device)
    setup = TrainingSetup(plan, context, network, network, optimizer, (), _STEPS_PER_EPOCH)
    return TrainingStep(setup, make_gradients(setup))


class _Online(CombinedLoss):
    """The loss of a loop whose labels are not stored: its teacher is asked in every step."""

    def __init__(self, loss: CombinedLoss, teacher: Callable[[Tensor], Tensor]) -> None:
        super().__init__(loss.terms, loss.device)
        self.teacher = teacher

    def __call__(
        self, outputs: Sequence[Mapping[str, Tensor]], batches: Sequence[Batch], known: Tensor
    ) -> tuple[Tensor, Tensor]:
        (batch,) = batches
        return super().__call__(
            outputs, [{**batch, "0.outputs": self.teacher(batch["features"])}], known
        )


def _done(_: Tensor) -> None:
    """What a step summed stays where it is."""


def _flops_ratio(case: Case) -> float:
    return flops_of_a_row(teacher_network, case) / flops_of_a_row(student_network, case)
