"""Peak memory of a training with texts of 512 tokens: `python -m tests.benchmarks.train_memory`.

An encoder of BERT's kind (6 layers, 384 numbers, 12 heads, random weights) under a head, AdamW, one
process, one thread; each way is a process of its own, and its peak is the kernel's (VmHWM), less
what it was before the first step. Lengths are drawn from 8 to 512, half of the texts at most 64.

    whole batch       all rows at once, padded to 512
    tokens            `tokens`: in parts of like length within a budget
    … activations     and layers computed again on the way back, `activation_checkpoints`
    lanes             `gradients = "lanes"`: a lane at a time
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.child import in_child
from tests.benchmarks.tables import markdown, options, show

LENGTH, VOCABULARY, CLASSES, LANES = 512, 30_000, 9, 8
WAYS = {
    "whole batch": {},
    "tokens = 1,024": {"tokens": 1_024},
    "tokens = 1,024, activations": {"tokens": 1_024, "again": True},
    "lanes": {"by_lanes": True},
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print Markdown."""
    parser = options(__doc__)
    # 64 took more than 13 GB at once
    parser.add_argument("--rows", type=int, default=32, help="rows of a batch")
    parser.add_argument("--steps", type=int, default=2)
    told = parser.parse_args(arguments)
    layers, width = 6, 384
    if told.quick:
        told.rows, told.steps, layers, width = 8, 1, 2, 48
    measured = {
        name: in_child(train, rows=told.rows, steps=told.steps, layers=layers, width=width, **way)
        for name, way in WAYS.items()
    }
    size = f"{told.rows} texts a batch, {layers} layers of {width} numbers."
    parts = [size, _table(measured)]
    show(told, "Peak memory of a training with 512-token texts", parts, measured)


def train(
    rows: int,
    steps: int,
    layers: int,
    width: int,
    tokens: int | None = None,
    again: bool = False,
    by_lanes: bool = False,
) -> dict[str, Any]:
    """Take some steps; megabytes at their peak, and CPU seconds a step."""
    import torch
    import transformers

    from distill.engine.protocol import WorkerContext
    from distill.models.activations import compute_again
    from distill.models.losses.kl import Kl
    from distill.plan.training import TermPlan
    from distill.spec.models import Training
    from distill.stages.train.combined_loss import CombinedLoss
    from distill.stages.train.gradients import LaneGradients, WorkerGradients
    from distill.stages.train.optimizer import Optimizer
    from distill.stages.train.token_budget import TokenBudget, part_padding

    torch.set_num_threads(1)
    torch.manual_seed(0)

    class Student(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            config = transformers.BertConfig(
                vocab_size=VOCABULARY,
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=12,
                intermediate_size=4 * width,
            )
            self.encoder = transformers.BertModel(config, add_pooling_layer=False)
            self.head = torch.nn.Linear(width, CLASSES)

        def forward(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
            mask = (ids >= 0).float()
            seen = self.encoder(input_ids=ids.clamp_min(0).long(), attention_mask=mask)
            hidden = seen.last_hidden_state * mask[:, :, None]
            mean = hidden.sum(1) / mask.sum(1, keepdim=True).clamp_min(1)
            return {"main": self.head(mean)}

    network = Student().train()
    if again:
        compute_again(network)
    optimizer = Optimizer(Training(), network, steps)
    term = TermPlan("said", "0", 0, "main", Kl(kind="kl", temperature=2.0), 1.0, False, None)
    most_padding = part_padding(network, "cpu")
    budget = None if tokens is None else TokenBudget(tokens, LANES, -1, most_padding)
    told = (network, CombinedLoss([term], "cpu"), WorkerContext(0, 1, "cpu"), lambda model: model)
    if by_lanes:
        gradients: Any = LaneGradients(*told, LANES)
    else:
        if budget is not None:
            # one worker has all lanes; memory holds the budget of one
            budget = TokenBudget(tokens // LANES, LANES, -1, most_padding)
        gradients = WorkerGradients(*told, budget=budget)
    batches = [_batch(rows, step) for step in range(steps)]
    before = _peak_megabytes()
    began = time.process_time()
    for step, batch in enumerate(batches):
        gradients.backward(0, step, [batch])
        optimizer.step(step)
    seconds = (time.process_time() - began) / steps
    return {"before": before, "peak": _peak_megabytes(), "seconds": seconds}


def _batch(rows: int, seed: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    short = draw.integers(8, 65, size=rows)
    lengths = np.where(draw.random(rows) < 0.5, short, draw.integers(65, LENGTH + 1, size=rows))
    lengths[0] = LENGTH
    ids = draw.integers(VOCABULARY, size=(rows, LENGTH)).astype(np.int32)
    ids[np.arange(LENGTH) >= lengths[:, None]] = -1
    return {
        "features": ids,
        "row": np.arange(rows),
        "0.outputs": draw.normal(size=(rows, CLASSES)).astype(np.float32),
        "0.weight": np.ones(rows, np.float32),
    }


def _peak_megabytes() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (line for line in lines if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024


def _table(measured: dict[str, dict[str, float]]) -> str:
    lines = [
        [
            name,
            f"{each['peak']:,.0f}",
            f"{each['peak'] - each['before']:,.0f}",
            f"{each['seconds']:.2f}",
        ]
        for name, each in measured.items()
    ]
    return markdown(
        ["way", "MB at the peak", "of them since the first step", "CPU s a step"], lines
    )


if __name__ == "__main__":
    main()
