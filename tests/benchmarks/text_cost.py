"""What students of text cost: texts a second and core of a static student, and a step of an encoder
beside Hugging Face's Trainer.

    python -m tests.benchmarks.text_cost [--quick] [--folder FOLDER] [--out FILE] [--table FILE]

Two tables, each way interleaved with the others in one process on one thread, in CPU time, which
other work on the machine changes little:

    static     short texts (8 words) through a static student of wordllama's table: tokens alone, the
               network alone, and both, as `distill predict` has them; beside model2vec's own encode
               of the exported folder
    encoder    steps (forward, backward, clip, AdamW) of all-MiniLM-L6-v2 with its classifier: ours,
               as a training worker takes them, and those of `transformers.Trainer` with its
               defaults, over the same texts; texts of one length, and of mixed lengths

`--quick` has tiny models of random weights and few texts: every way runs, and no figure counts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from distill.engine.protocol import WorkerContext
from distill.labelers.network import as_input
from distill.labelers.runtime import computing
from distill.loader.shuffle import like_length
from distill.models.losses.cross_entropy import CrossEntropy
from distill.models.network import as_tensor
from distill.models.text_tokens import padded
from distill.plan.training import TermPlan
from distill.spec.models import Training
from distill.stages.train.combined_loss import CombinedLoss
from distill.stages.train.gradients import WorkerGradients
from distill.stages.train.optimizer import Optimizer
from distill.stages.train.token_budget import TokenBudget
from tests.labelers.asking import as_features
from tests.text_students import built, encoder, static

BATCH, CLASSES, MOST_TOKENS = 32, 3, 128
SHORT, LONG = 8, 100
"""Words of a short text, and of a long one."""


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the figures and the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=Path("text_cost.json"))
    parser.add_argument("--table", type=Path, default=Path("text_cost.md"))
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # rates are a core's
    with tempfile.TemporaryDirectory(dir=asked.folder) as scratch:
        models = Models(Path(scratch), quick=asked.quick)
        found = {
            "rows": BATCH * models.steps,
            "static": static_rates(models),
            "encoder": encoder_steps(models),
        }
    asked.out.write_text(json.dumps(found, indent=1), "utf-8")
    asked.table.write_text(table_of(found), "utf-8")


class Models:
    """Where the models lie, and texts that they know."""

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.rounds = 2 if quick else 7
        self.texts = 64 if quick else 8_192
        self.steps = 1 if quick else 8
        self.scratch = folder
        if quick:
            from tests.tiny_models import WORDS, save_classifier, save_word_vectors

            self.words = WORDS
            self.table = save_word_vectors(folder / "table")
            self.encoder = save_classifier(folder / "encoder", ["x", "y"])
            return
        from jobs.topics_text import minilm, unlabelled, wordllama

        tables = list(unlabelled())
        self.words = " ".join(text for each in tables for text in each["text"].to_pylist()).split()
        for name, make in (("table", wordllama), ("encoder", minilm)):
            (folder / name).mkdir()
            make(folder / name)
        self.table = folder / "table"
        self.encoder = folder / "encoder"

    def some(self, rows: int, words: int | tuple[int, int]) -> list[str]:
        """Texts of so many words, or of a number between two."""
        draw = np.random.default_rng(0)
        low, high = words if isinstance(words, tuple) else (words, words)
        lengths = draw.integers(low, high + 1, rows)
        starts = draw.integers(0, max(1, len(self.words) - high), rows)
        return [
            " ".join(self.words[start : start + length])
            for start, length in zip(starts, lengths, strict=True)
        ]


def static_rates(models: Models) -> dict[str, list[float]]:
    """Texts a second by way, a round each."""
    network = built(static(models.table), outputs=16)
    texts = models.some(models.texts, SHORT)
    features = as_features(texts)
    ids = as_tensor(padded(network.tokens.encode(texts)), "cpu")
    theirs = _model2vec(models, network)

    def whole() -> None:
        with computing("cpu", "float32"):
            network(as_tensor(as_input(network, features), "cpu"))

    def alone() -> None:
        with computing("cpu", "float32"):
            network(ids)

    ways: dict[str, Callable[[], object]] = {
        "tokens": lambda: network.tokens.encode(texts),
        "network": alone,
        "student": whole,
        "model2vec": lambda: theirs.encode(texts, use_multiprocessing=False),
    }
    seconds = interleaved(ways, models.rounds)
    return {way: [len(texts) / each for each in times] for way, times in seconds.items()}


def _model2vec(models: Models, network: torch.nn.Module) -> object:
    from model2vec import StaticModel
    from tokenizers import Tokenizer

    vectors = network.trunk.vectors.detach().numpy()
    tokenizer = Tokenizer.from_str(network.trunk.text_files.tokenizer)
    return StaticModel(vectors, tokenizer)


def encoder_steps(models: Models) -> dict[str, dict[str, list[float]]]:
    """CPU seconds of some steps by texts and way, a round each."""
    low = max(2, LONG // 10)
    rows = BATCH * models.steps
    found = {}
    for name, words in {"one length": LONG, "mixed": (low, LONG)}.items():
        texts = models.some(rows, words)
        ways = {"distill": _our_steps(models, texts), "Trainer": _trainer_steps(models, texts)}
        found[name] = interleaved(ways, models.rounds)
    return found


def _our_steps(models: Models, texts: list[str]) -> Callable[[], None]:
    """What a training worker does with its batches: texts cut ahead and once, each batch of texts
    of like length as the loader's windows give them, in parts of so many tokens."""
    model = encoder(models.encoder, pooling="cls", max_tokens=MOST_TOKENS)
    network = built(model, outputs=CLASSES).train()
    training = Training(learning_rate=2e-5, batch_rows=BATCH)
    context = WorkerContext(0, 1, "cpu")
    term = TermPlan("labels", "0", 0, "main", CrossEntropy(kind="cross_entropy"), 1.0, True, None)
    budget = TokenBudget(BATCH * MOST_TOKENS, 1, padding=-1)
    optimizer = Optimizer(training, network, 1_000)
    loss = CombinedLoss([term], "cpu")
    gradients = WorkerGradients(network, loss, context, lambda module: module, budget=budget)
    ids = padded(network.tokens.encode(texts), network.tokens.most)
    batches = _like_length(ids)

    def steps() -> None:
        for number, batch in enumerate(batches):
            gradients.backward(0, number, [batch])
            torch.nn.utils.clip_grad_norm_(gradients.parameters, 1.0)
            optimizer.step(number)

    return steps


def _like_length(ids: np.ndarray) -> list[dict[str, np.ndarray]]:
    """The texts in batches as the loader makes them of a window."""
    draw = np.random.default_rng(0)
    lengths = (ids >= 0).sum(axis=1)
    order = like_length(np.arange(len(ids)), lengths, 0, BATCH, draw.permutation)
    return [
        {
            "features": ids[rows],
            "row": rows,
            "0.target": rows % CLASSES,
            "0.weight": np.ones(len(rows), np.float32),
        }
        for rows in order.reshape(-1, BATCH)
    ]


def _trainer_steps(models: Models, texts: list[str]) -> Callable[[], None]:
    """The steps that `transformers.Trainer` takes with its defaults, by a plain loop, since it
    itself needs accelerate: rows in any order, its collator pads each batch to the longest, loss of
    the model's own, clipped, AdamW."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(models.encoder)
    longest = min(MOST_TOKENS, tokenizer.model_max_length)
    cut = tokenizer(texts, truncation=True, max_length=longest)
    rows = [{key: cut[key][row] for key in cut} for row in range(len(texts))]
    model = AutoModelForSequenceClassification.from_pretrained(
        models.encoder, num_labels=CLASSES, ignore_mismatched_sizes=True
    ).train()
    optimizer = torch.optim.AdamW(model.parameters(), 2e-5, fused=True)

    def steps() -> None:
        for start in range(0, len(rows), BATCH):
            inputs = tokenizer.pad(rows[start : start + BATCH], return_tensors="pt")
            targets = torch.arange(start, start + BATCH) % CLASSES
            optimizer.zero_grad()
            model(**inputs, labels=targets).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # its default
            optimizer.step()

    return steps


def interleaved(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each way, one after the other, round by round; a first round does not count."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, run in ways.items():
            began = time.process_time()
            run()
            if number:
                seconds[way].append(time.process_time() - began)
    return seconds


def table_of(found: dict[str, dict]) -> str:
    """Medians, as tables."""
    lines = ["| static, one core | texts a second |", "| --- | --- |"]
    lines += [
        f"| {way} | {statistics.median(rates):,.0f} |" for way, rates in found["static"].items()
    ]
    lines += [
        "",
        "| texts, 32 a step | distill, texts/s of a core | Trainer's | ratio |",
        "| --- | --- | --- | --- |",
    ]
    for name, ways in found["encoder"].items():
        ours, theirs = (statistics.median(ways[way]) for way in ("distill", "Trainer"))
        paces = [f"{found['rows'] / each:,.1f}" for each in (ours, theirs)]
        lines.append(f"| {name} | {paces[0]} | {paces[1]} | {theirs / ours:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
