"""What it is worth that a worker keeps the memory that it has freed (`engine/freed_memory.py`):
`python -m tests.benchmarks.freed_memory`.

Passes and training steps of all-MiniLM-L6-v2 over 32 texts of 128 tokens, in one process on one
thread, kept and given back in turn. Page faults and CPU time count, and of that what the kernel took.
"""

from __future__ import annotations

import contextlib
import resource
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from distill.engine.freed_memory import freed_memory_kept
from tests.benchmarks.tables import markdown, options, show

ROWS, TOKENS = 32, 128
WAYS = {"given back": contextlib.nullcontext, "kept": freed_memory_kept}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print Markdown."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    told = parser.parse_args(arguments)
    times = 2 if told.quick else 5
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=told.folder) as folder:
        model = _model(Path(folder), quick=told.quick)
    measured = {
        name: _measured(work, 1 if told.quick else told.rounds, times)
        for name, work in {"pass": _pass_of(model), "training step": _step_of(model)}.items()
    }
    lines = []
    for name, ways in measured.items():
        for way, rounds in ways.items():
            faults, seconds, of_kernel = map(statistics.median, zip(*rounds, strict=True))
            lines.append([name, way, f"{faults:,.0f}", f"{seconds:.3f}", f"{of_kernel:.3f}"])
    heads = ["each", "freed memory", "page faults", "CPU s", "of which the kernel"]
    show(told, "What kept memory is worth", [markdown(heads, lines)], measured)


def _model(folder: Path, *, quick: bool) -> PreTrainedModel:
    if quick:
        from tests.tiny_models import save_classifier

        folder = save_classifier(folder / "encoder", ["x", "y"])
    else:
        from jobs.topics_text import minilm

        minilm(folder)
    return AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=3, ignore_mismatched_sizes=True
    ).train()


def _inputs(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    config = model.config
    tokens = min(TOKENS, config.max_position_embeddings)
    ids = torch.randint(1, config.vocab_size, (ROWS, tokens))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _pass_of(model: PreTrainedModel) -> Callable[[], object]:
    inputs = _inputs(model)

    def run() -> None:
        with torch.inference_mode():
            model(**inputs)

    return run


def _step_of(model: PreTrainedModel) -> Callable[[], object]:
    inputs = _inputs(model)
    labels = torch.arange(ROWS) % 3
    optimizer = torch.optim.AdamW(model.parameters(), 2e-5, fused=True)

    def run() -> None:
        optimizer.zero_grad()
        model(**inputs, labels=labels).loss.backward()
        optimizer.step()

    return run


def _measured(
    work: Callable[[], object], rounds: int, times: int
) -> dict[str, list[tuple[float, float, float]]]:
    """Faults, CPU seconds and the kernel's, each time, round by round."""
    found: dict[str, list[tuple[float, float, float]]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, keeping in WAYS.items():
            with keeping():
                work()  # what is had once
                before = resource.getrusage(resource.RUSAGE_SELF)
                for _ in range(times):
                    work()
                after = resource.getrusage(resource.RUSAGE_SELF)
            kernel = (after.ru_stime - before.ru_stime) / times
            own = (after.ru_utime - before.ru_utime) / times
            found[way].append(((after.ru_minflt - before.ru_minflt) / times, own + kernel, kernel))
    return found


if __name__ == "__main__":
    main()
