"""What students of text cost: texts a second and core of a static student, and a step of an encoder
beside Hugging Face's Trainer.

    python -m tests.benchmarks.text_cost [--quick] [--only static] [--rounds 7] [--folder FOLDER]
        [--out FILE] [--table FILE]

Two tables (`--only` makes one: static takes half a minute, encoder a quarter of an hour), each way interleaved with the others in one process on one thread, in CPU time, which
other work on the machine changes little:

    static     short texts (8 words) through a static student of wordllama's table: tokens alone, the
               network alone, and both, as `distill predict` has them; beside model2vec's own encode
               of the exported folder
    encoder    training steps of all-MiniLM-L6-v2 with its classifier over the same texts, 32 a step,
               of one length, and of mixed lengths: forward, backward, clip, AdamW, and whatever comes
               between two steps, the next batch too. Epochs after the first count
                   distill    `run_trainings` of a job's student, from Parquet
                   Trainer    `transformers.Trainer.train` with its defaults and its collator, over
                              tokens in memory. It needs accelerate, and is left out where that is
                              not installed, which is told
                   loop       the same steps written out: rows in any order, each batch padded to its
                              longest, loss of the model's own, clipped, fused AdamW

`--quick` has tiny models of random weights and few texts: every way runs, and no figure counts.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from distill.engine.protocol import WorkerContext
from distill.labelers.network import as_input
from distill.labelers.runtime import computing
from distill.models.network import as_tensor
from distill.models.text_tokens import padded
from distill.plan.load import load_job
from distill.stages.train.gradients import WorkerGradients
from distill.stages.train.loop import run_trainings
from tests.benchmarks.tables import machine
from tests.labelers.asking import as_features
from tests.resolved import plan_student
from tests.text_students import built, static

BATCH, CLASSES, MOST_TOKENS, EPOCHS = 32, 3, 128, 2
JOB = """
root = "{folder}/root-{number}"
seed = {number}
[pools.rows]
path = "{folder}/rows"
features = {{ kind = "text", column = "text" }}
target = "topic"
classes = {classes}
[students.small]
model = {{ kind = "encoder", model = "{encoder}", pooling = "cls", max_tokens = {most} }}
[students.small.training]
workers = 1
epochs = {epochs}
batch_rows = {batch}
lanes = 1
tokens = {tokens}
learning_rate = 2e-5
clip_norm = 1.0
checkpoint_epochs = 1000
[[students.small.terms]]
learns = "pools.rows"
loss = {{ kind = "cross_entropy" }}
"""
SHORT, LONG = 8, 100
"""Words of a short text, and of a long one."""


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the figures and the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=tuple(PARTS), default=None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=Path("text_cost.json"))
    parser.add_argument("--table", type=Path, default=Path("text_cost.md"))
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # rates are a core's
    with tempfile.TemporaryDirectory(dir=asked.folder) as scratch:
        rounds = 2 if asked.quick else asked.rounds
        models = Models(Path(scratch), rounds, quick=asked.quick)
        parts = [asked.only] if asked.only else list(PARTS)
        found = {part: PARTS[part](models) for part in parts}
    asked.out.write_text(json.dumps(found, indent=1), "utf-8")
    asked.table.write_text(table_of(found), "utf-8")


class Models:
    """Where the models lie, and texts that they know."""

    def __init__(self, folder: Path, rounds: int, *, quick: bool) -> None:
        self.rounds = rounds
        self.texts = 64 if quick else 8_192
        self.steps = 2 if quick else 8
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


Steps = Callable[[int], list[float]]
"""CPU seconds of each step of a training, by the number of the round."""


def encoder_steps(models: Models) -> dict[str, dict[str, list[float]]]:
    """CPU seconds of a step by texts and way: the mean of a round, a round each."""
    low = max(2, LONG // 10)
    rows = BATCH * models.steps
    found: dict[str, dict[str, list[float]]] = {}
    for name, words in {"one length": LONG, "mixed": (low, LONG)}.items():
        texts = models.some(rows, words)
        ways = {"distill": _our_steps(models, name, texts), "loop": _loop_steps(models, texts)}
        if importlib.util.find_spec("accelerate") is None:
            print("accelerate is not installed: transformers.Trainer is left out")
        else:
            ways["Trainer"] = _trainer_steps(models, texts)
        found[name] = {way: [] for way in ways}
        for number in range(models.rounds):
            for way in ways if number % 2 else reversed(ways):
                seconds = ways[way](number)
                # the first epoch cuts texts, and loads what is loaded once
                found[name][way].append(statistics.mean(seconds[models.steps :]))
    return found


def _our_steps(models: Models, name: str, texts: list[str]) -> Steps:
    """A job's student, trained as a worker trains it."""
    folder = models.scratch / name.replace(" ", "_")
    (folder / "rows").mkdir(parents=True)
    kinds = [str(row % CLASSES) for row in range(len(texts))]
    table = pa.table({"text": texts, "topic": kinds})
    pq.write_table(table, folder / "rows" / "rows.parquet")

    def steps(number: int) -> list[float]:
        file = folder / f"{number}.toml"
        text = JOB.format(
            folder=folder,
            number=number,
            classes=json.dumps([str(each) for each in range(CLASSES)]),
            encoder=models.encoder,
            most=MOST_TOKENS,
            tokens=BATCH * MOST_TOKENS,
            epochs=EPOCHS,
            batch=BATCH,
        )
        file.write_text(text, "utf-8")
        job = load_job(file)
        plan = plan_student(job, job.variants[0])
        with _watched_steps() as clocks:
            run_trainings([plan], WorkerContext(0, 1, "cpu"))
        return np.diff(clocks).tolist()

    return steps


@contextmanager
def _watched_steps() -> Iterator[list[float]]:
    """The CPU time at the beginning of each step."""
    clocks: list[float] = []
    backward = WorkerGradients.backward

    def watched(*arguments: Any) -> Any:
        clocks.append(time.process_time())
        return backward(*arguments)

    WorkerGradients.backward = watched
    try:
        yield clocks
    finally:
        WorkerGradients.backward = backward


class _Beginning:
    """What Trainer and the loop begin from: the model, and the texts' tokens."""

    def __init__(self, models: Models, texts: list[str]) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(models.encoder)
        longest = min(MOST_TOKENS, self.tokenizer.model_max_length)
        cut = self.tokenizer(texts, truncation=True, max_length=longest)
        self.rows = [
            {**{key: cut[key][row] for key in cut}, "labels": row % CLASSES}
            for row in range(len(texts))
        ]
        self.model = AutoModelForSequenceClassification.from_pretrained(
            models.encoder, num_labels=CLASSES, ignore_mismatched_sizes=True
        ).train()


def _trainer_steps(models: Models, texts: list[str]) -> Steps:
    """Hugging Face's Trainer with its defaults."""
    from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments

    clocks: list[float] = []

    class Watch(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            clocks.append(time.process_time())

    begun = _Beginning(models, texts)
    arguments = TrainingArguments(
        output_dir=str(models.scratch / "trainer"),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=BATCH,
        learning_rate=2e-5,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )

    def steps(_: int) -> list[float]:
        clocks.clear()
        trainer = Trainer(
            begun.model,
            arguments,
            DataCollatorWithPadding(begun.tokenizer),
            begun.rows,
            callbacks=[Watch()],
        )
        trainer.train()
        return np.diff(clocks).tolist()

    return steps


def _loop_steps(models: Models, texts: list[str]) -> Steps:
    """The same steps, written out."""
    begun = _Beginning(models, texts)
    optimizer = torch.optim.AdamW(begun.model.parameters(), 2e-5, fused=True)

    def steps(_: int) -> list[float]:
        clocks = []
        for start in [*range(0, len(begun.rows), BATCH)] * EPOCHS:
            clocks.append(time.process_time())
            inputs = begun.tokenizer.pad(begun.rows[start : start + BATCH], return_tensors="pt")
            optimizer.zero_grad()
            begun.model(**inputs).loss.backward()
            torch.nn.utils.clip_grad_norm_(begun.model.parameters(), 1.0)  # its default
            optimizer.step()
        return np.diff(clocks).tolist()

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


PARTS = {"static": static_rates, "encoder": encoder_steps}


def table_of(found: dict[str, dict]) -> str:
    """Medians, as tables."""
    title = ["# What students of text cost", "", machine(), ""]
    static = _static_table(found["static"]) if "static" in found else []
    encoder = _encoder_table(found["encoder"]) if "encoder" in found else []
    return "\n".join([*title, *static, *encoder]) + "\n"


def _static_table(ways: dict[str, list[float]]) -> list[str]:
    rows = [f"| {way} | {statistics.median(rates):,.0f} |" for way, rates in ways.items()]
    return ["| static, one core | texts a second |", "| --- | --- |", *rows, ""]


def _encoder_table(found: dict[str, dict]) -> list[str]:
    lines = [
        "| encoder, 32 texts a step | texts/s of a core | distill's over it | of each round |",
        "| --- | --- | --- | --- |",
    ]
    for name, ways in found.items():
        for way, seconds in ways.items():
            pace = BATCH / statistics.median(seconds)
            ratios = [theirs / ours for ours, theirs in zip(ways["distill"], seconds, strict=True)]
            each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            ratio = statistics.median(ratios)
            lines.append(f"| {name}, {way} | {pace:,.1f} | {ratio:.2f} | {each} |")
    return lines


if __name__ == "__main__":
    main()
