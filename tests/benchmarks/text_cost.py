"""What students of text cost: texts a second and core of a static student, and a step of an encoder
beside Hugging Face's Trainer.

    python -m tests.benchmarks.text_cost [--quick] [--folder FOLDER] [--out FILE] [--table FILE]

Two tables, each way interleaved with the others in one process on one thread:

    static     short texts (8 words) through a static student of wordllama's table: tokens alone, the
               network alone, and both, as `distill predict` has them; beside model2vec's own encode
               of the exported folder
    encoder    one step (forward, backward, AdamW) of all-MiniLM-L6-v2 with its classifier: ours, as
               a training worker takes it, and `transformers.Trainer`'s training step, with the same
               batch; texts of one length, and of mixed lengths

`--quick` has tiny models of random weights and few texts: every way runs, and no figure counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from distill.labelers.network import as_input
from distill.labelers.runtime import computing
from distill.models.network import as_tensor
from distill.models.text_tokens import padded
from tests.labelers.asking import as_features
from tests.text_students import built, encoder, static

BATCH = 32
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
    with tempfile.TemporaryDirectory(dir=asked.folder) as scratch:
        models = Models(Path(scratch), quick=asked.quick)
        found = {"static": static_rates(models), "encoder": encoder_steps(models)}
    asked.out.write_text(json.dumps(found, indent=1), "utf-8")
    asked.table.write_text(table_of(found), "utf-8")


class Models:
    """Where the models lie, and texts that they know."""

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.rounds = 2 if quick else 7
        self.texts = 64 if quick else 8_192
        self.steps = 1 if quick else 4
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
    """Seconds of a step by texts and way, a round each."""
    low = max(2, LONG // 10)
    batches = {"one length": models.some(BATCH, LONG), "mixed": models.some(BATCH, (low, LONG))}
    found = {}
    for name, texts in batches.items():
        ways = {"distill": _our_step(models, texts), "Trainer": _trainer_step(models, texts)}
        found[name] = interleaved(ways, models.rounds)
    return found


def _our_step(models: Models, texts: list[str]) -> Callable[[], None]:
    network = built(encoder(models.encoder, pooling="cls", max_tokens=128)).train()
    optimizer = torch.optim.AdamW(network.parameters(), 2e-5, fused=True)
    targets = torch.arange(len(texts)) % 3
    # cut ahead and once, as a training has them
    ids = torch.from_numpy(padded(network.tokens.encode(texts), network.tokens.most))

    def step() -> None:
        for _ in range(models.steps):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(ids)["main"], targets)
            loss.backward()
            optimizer.step()

    return step


def _trainer_step(models: Models, texts: list[str]) -> Callable[[], None]:
    """The same by `transformers.Trainer` where accelerate is installed, else by the step that it
    takes: its collator pads each batch, its optimiser is AdamW."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(models.encoder)
    longest = min(128, tokenizer.model_max_length)
    cut = tokenizer(texts, truncation=True, max_length=longest)
    rows = [{key: cut[key][row] for key in cut} for row in range(len(texts))]
    model = AutoModelForSequenceClassification.from_pretrained(
        models.encoder, num_labels=3, ignore_mismatched_sizes=True
    ).train()
    targets = torch.arange(len(texts)) % 3
    optimizer = torch.optim.AdamW(model.parameters(), 2e-5, fused=True)

    def step() -> None:
        for _ in range(models.steps):
            inputs = tokenizer.pad(rows, return_tensors="pt")
            optimizer.zero_grad()
            model(**inputs, labels=targets).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # its default
            optimizer.step()

    return step


def interleaved(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, one after the other, round by round; a first round does not count."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, run in ways.items():
            began = time.perf_counter()
            run()
            if number:
                seconds[way].append(time.perf_counter() - began)
    return seconds


def table_of(found: dict[str, dict]) -> str:
    """Medians, as tables."""
    lines = ["| static, one core | texts a second |", "| --- | --- |"]
    lines += [
        f"| {way} | {statistics.median(rates):,.0f} |" for way, rates in found["static"].items()
    ]
    lines += [
        "",
        "| a step of 32 texts | distill, ms | Trainer's, ms | ratio |",
        "| --- | --- | --- | --- |",
    ]
    for name, ways in found["encoder"].items():
        ours, theirs = (statistics.median(ways[way]) for way in ("distill", "Trainer"))
        lines.append(f"| {name} | {1e3 * ours:,.0f} | {1e3 * theirs:,.0f} | {theirs / ours:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
