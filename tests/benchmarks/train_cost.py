"""What a training step costs with stored labels, and what summing lane by lane costs: `python -m
tests.benchmarks.train_cost`.

One process, one thread, batches in memory; the same network (an MLP of 1,024 → 1,024 → C = 1,000)
and optimiser in every way. A step is what a worker of `distill train` does with a batch: to
tensors, forward, loss, backward, AdamW. Pairs are interleaved and every pair's ratio counts.

    plain            torch's own cross-entropy to one class, as a loop without distill has it
    target           distill's step on the same target
    stored top-16    distill's step on stored labels: kl at T = 2 over 16 kept classes and the rest
    stored dense     the same over all 1,000 logits
    … by lanes       the same steps with `gradients = "lanes"`, 8 lanes
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch.nn import functional

from distill.engine.protocol import WorkerContext
from distill.models.losses.cross_entropy import CrossEntropy
from distill.models.losses.kl import Kl
from distill.models.network import build_network
from distill.models.networks.mlp import Mlp
from distill.models.record import HeadPlan, NetworkPlan
from distill.plan.training import TermPlan
from distill.spec.losses import Loss
from distill.stages.train.combined_loss import CombinedLoss
from distill.stages.train.gradients import LaneGradients, WorkerGradients
from tests.benchmarks.tables import markdown, options, paired_ratio, show

FEATURES, HIDDEN, CLASSES, KEPT, LANES = 1_024, 1_024, 1_000, 16, 8
KL = Kl(kind="kl", temperature=2.0)
HARD = CrossEntropy(kind="cross_entropy")
PAIRS = {
    "target over plain": ("target", "plain"),
    "stored top-16 over plain": ("stored top-16", "plain"),
    "stored top-16 over target": ("stored top-16", "target"),
    "stored dense over plain": ("stored dense", "plain"),
    "stored dense over target": ("stored dense", "target"),
    "stored top-16, lanes over workers": ("stored top-16 by lanes", "stored top-16"),
}

Step = Callable[[], None]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print Markdown."""
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[4_096, 512], help="rows of a batch")
    parser.add_argument("--rounds", type=int, default=25)
    told = parser.parse_args(arguments)
    if told.quick:
        told.rows, told.rounds = [64], 2
    torch.set_num_threads(1)
    measured = {rows: _measured(rows, told.rounds) for rows in told.rows}
    show(told, "What a training step costs", [_table(measured)], measured)


def _measured(rows: int, rounds: int) -> Mapping[str, list[float]]:
    """CPU seconds of each step, round by round."""
    steps = _steps(rows)
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds):
        names = list(steps) if number % 2 else list(reversed(steps))
        for name in names:
            began = time.process_time()
            steps[name]()
            seconds[name].append(time.process_time() - began)
    return seconds


def _steps(rows: int) -> dict[str, Step]:
    draw = np.random.default_rng(0)
    logits = (4 * draw.normal(size=(rows, CLASSES))).astype(np.float32)
    log_p, index = torch.from_numpy(logits / 2).log_softmax(1).topk(KEPT)
    batch = {
        "features": draw.normal(size=(rows, FEATURES)).astype(np.float32),
        "row": np.arange(rows),
        "0.weight": np.ones(rows, np.float32),
    }
    target = {**batch, "0.target": draw.integers(CLASSES, size=rows)}
    topk = {**batch, "0.index": index.numpy(), "0.log_probs": log_p.numpy()}
    return {
        "plain": _plain(target),
        "target": _ours(target, HARD, target=True),
        "stored top-16": _ours(topk, KL),
        "stored dense": _ours({**batch, "0.outputs": logits}, KL),
        "stored top-16 by lanes": _ours(topk, KL, lanes=LANES),
    }


def _network() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    network = build_network(
        NetworkPlan(FEATURES, Mlp(kind="mlp", hidden=(HIDDEN,)), {"main": HeadPlan(CLASSES)})
    )
    return network, torch.optim.AdamW(network.parameters(), lr=1e-3)


def _plain(batch: Mapping[str, np.ndarray]) -> Step:
    network, optimizer = _network()

    def step() -> None:
        x, y = torch.from_numpy(batch["features"]), torch.from_numpy(batch["0.target"])
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(network(x)["main"], y).backward()
        optimizer.step()

    return step


def _ours(
    batch: Mapping[str, np.ndarray], loss: Loss, *, target: bool = False, lanes: int = 0
) -> Step:
    network, optimizer = _network()
    term = TermPlan("said", "0", 0, "main", loss, 1.0, target, None)
    told = (network, CombinedLoss([term], "cpu"), WorkerContext(0, 1, "cpu"), lambda model: model)
    gradients = LaneGradients(*told, lanes) if lanes else WorkerGradients(*told)

    def step() -> None:
        gradients.backward(0, 0, [dict(batch)])
        optimizer.step()

    return step


def _table(measured: Mapping[int, Mapping[str, list[float]]]) -> str:
    lines = []
    for rows, seconds in measured.items():
        for name, (ours, theirs) in PAIRS.items():
            ratio, low, high = paired_ratio(seconds[ours], seconds[theirs])
            milliseconds = (
                f"{1000 * float(np.median(seconds[ours])):.1f}",
                f"{1000 * float(np.median(seconds[theirs])):.1f}",
            )
            lines.append([rows, name, f"{ratio:.3f}", f"{low:.3f}–{high:.3f}", *milliseconds])
    return markdown(
        ["rows a batch", "step over step", "ratio", "95% interval", "median ms", "of the second"],
        lines,
    )


if __name__ == "__main__":
    main()
