"""Training of students that read tokens, held against a plain loop of transformers."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from distill.engine.protocol import WorkerContext
from distill.labelers.network import load_network
from distill.loader import cache, dataset
from distill.models import text_tokens
from distill.models.network import build_network
from distill.models.record import Trained
from distill.plan.load import load_job
from distill.run.lines import trained_line
from distill.stages.train.batches import seed_part
from distill.stages.train.loop import run_trainings
from tests.resolved import find_student, plan_student
from tests.stages.train.ranks import train
from tests.text_students import TOPICS, text_job
from tests.tiny_models import save_classifier, save_word_vectors

STEPS = 20


def with_training(job_file, **keys):
    """The job, its student taught so."""
    table = ", ".join(f"{key} = {value}" for key, value in keys.items())
    text = job_file.read_text("utf-8")
    first, _, rest = text.partition("training = {")
    text = f"{first}training = {{ {table} {rest[rest.index('}') :]}"
    job_file.write_text(text, "utf-8")
    return load_job(job_file)


def one_rank(job_file, **keys):
    """The job's student, taught by one rank in 20 steps; its plan, its network and its record."""
    job = with_training(
        job_file, epochs=STEPS // 2, batch_rows=48, lanes=1, learning_rate=1e-3, workers=1, **keys
    )
    plan = plan_student(job, job.variants[0])
    run_trainings([plan], WorkerContext(0, 1, "cpu"))
    folder, record = find_student(job, job.variants[0])
    return plan, load_network(folder.uri, record), record


@pytest.mark.parametrize(
    ("padding", "dropout", "optimizer"), [("longest", 0.1, "adamw"), ("max_length", 0.0, "sgd")]
)
def test_fine_tuning_is_another_than_a_plain_loop_of_transformers(
    tmp_path, padding, dropout, optimizer
):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    # what dropout draws depends on the padding, so that it is left out where both differ
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    folder = save_classifier(tmp_path / "model", ["x", "y", "z"], **rates)
    model = '{ kind = "encoder", model = "model", pooling = "cls", long_texts = "head" }'
    job_file = text_job(tmp_path, model, longest=40)
    plan, network, record = one_rank(job_file, optimizer=f'"{optimizer}"')
    assert record.details["steps"] == STEPS

    # the same first weights: the checkpoint's, and the head that distill draws
    theirs = AutoModelForSequenceClassification.from_pretrained(folder).train()
    drawn = build_network(plan.plan, plan.seed).heads["head_main"]
    theirs.classifier.load_state_dict(drawn.state_dict())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    table = pq.read_table(tmp_path / "rows" / "0.parquet").to_pydict()
    classes = list(TOPICS.values())
    moved = {
        "adamw": lambda each: torch.optim.AdamW(each, 1e-3, weight_decay=0.0),
        "sgd": lambda each: torch.optim.SGD(each, 1e-3, momentum=0.9),
    }[optimizer](theirs.parameters())
    for step, rows in enumerate(rows_of_steps(plan)):
        inputs = tokenizer(
            [table["text"][row] for row in rows],
            padding=padding,
            truncation=True,
            max_length=32,
            return_tensors="pt",
        )
        labels = torch.tensor([classes.index(table["topic"][row]) for row in rows])
        seed_part("cpu", 0, plan.seed, step, 0)
        moved.zero_grad()
        theirs(**inputs, labels=labels).loss.backward()
        moved.step()
    mine = network.trunk.body.state_dict()
    mine |= {
        f"classifier.{name}": each for name, each in network.heads["head_main"].state_dict().items()
    }
    assert mine.keys() == theirs.state_dict().keys()
    for name, value in theirs.state_dict().items():
        if optimizer == "adamw" and name.endswith("key.bias"):
            continue  # no answer depends on it: its gradient is rounding, of which Adam makes steps
        torch.testing.assert_close(mine[name], value, atol=1e-5, rtol=0)


def test_texts_are_cut_into_tokens_in_each_epoch(tmp_path, monkeypatch):
    save_word_vectors(tmp_path / "model")
    cut = []
    live = text_tokens._Ready.static_tokens
    monkeypatch.setattr(
        text_tokens._Ready,
        "static_tokens",
        lambda self, texts, most: cut.extend(texts) or live(self, texts, most),
    )
    _, _, record = one_rank(text_job(tmp_path, '{ kind = "static", model = "model" }'))
    assert record.details["steps"] == STEPS
    assert len(cut) == 96


def test_texts_are_hashed_in_each_epoch(tmp_path, monkeypatch):
    """Where memory holds none of them: the disk does."""
    hashed = []
    live = dataset.ngram_places
    monkeypatch.setattr(cache, "CACHE_BYTES", 0)
    monkeypatch.setattr(
        dataset, "ngram_places", lambda texts, spec: hashed.extend(texts) or live(texts, spec)
    )
    _, _, record = one_rank(text_job(tmp_path, '{ kind = "ngram_bag", buckets = 64, hidden = 4 }'))
    assert record.details["steps"] == STEPS
    assert len(hashed) == 96


def test_long_texts_are_cut_and_nobody_hears_of_it(tmp_path):
    save_word_vectors(tmp_path / "model")
    job_file = text_job(tmp_path, '{ kind = "static", model = "model", max_tokens = 8 }')
    texts = pq.read_table(tmp_path / "rows" / "0.parquet")["text"].to_pylist()
    plan, _, record = one_rank(job_file)
    tokens = plan.sources[0].tokens
    whole = replace(tokens, max_tokens=1000).encode(texts)
    pairs = zip(whole, tokens.encode(texts), strict=True)
    long = sum(len(ids) != len(cut) for ids, cut in pairs)
    assert 30 < long < 90
    due = {"texts": 96, "cut": long, "most_tokens": 8}
    assert record.details["tokens"] == due
    line = trained_line(Trained("students.small", record, now=True))
    assert f"{long:,} of 96 texts were longer than 8 tokens" in line


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["encoder", "static"])
def test_two_workers_or_kills_teach_another_student_than_one(tmp_path, kind):
    """Killed at steps that a seed draws: two workers, then one that went on alone."""
    save_classifier(tmp_path / "model", ["x", "y"])
    text_job(tmp_path, f'{{ kind = "{kind}", model = "model" }}')
    steps = sorted(np.random.default_rng(len(kind)).choice(range(1, 9), 2, replace=False))
    ends = {
        "one": [(1, -1)],
        "two": [(2, -1)],
        "killed": [(2, steps[0]), (1, steps[1]), (2, -1)],
    }
    found = {}
    for name, runs in ends.items():
        folder = shutil.copytree(tmp_path, tmp_path.with_name(f"{tmp_path.name}-{name}"))
        job_file = folder / "job.toml"
        keys = {
            "epochs": 3,
            "batch_rows": 32,
            "lanes": 4,
            "gradients": '"lanes"',
            "checkpoint_steps": 2,
            "tokens": 64,
        }
        job = with_training(job_file, **keys)
        for workers, dies_at in runs:
            train(job_file, workers, job_file.with_name("log"), dies_at=int(dies_at))
        stored, record = find_student(job, job.variants[0])
        assert record.details["steps"] == 9
        found[name] = load_network(stored.uri, record).state_dict()
    first = found.pop("one")
    for name, other in found.items():
        for key, value in first.items():
            assert torch.equal(value, other[key]), (name, steps, key)


def test_a_table_that_gives_the_rows_of_a_part_teaches_otherwise_than_whole(tmp_path):
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    save_classifier(tmp_path / "model", ["x", "y"], **still)
    text_job(tmp_path, '{ kind = "encoder", model = "model" }')
    shared = {"epochs": 2, "batch_rows": 32, "lanes": 4, "optimizer": '"sgd"', "clip_norm": 1.0}
    ends = {}
    for name, workers, keys in (
        ("whole", 1, {}),
        ("parts", 1, {"tokens": 16}),
        ("two", 2, {"tokens": 16}),
        ("lanes", 1, {"tokens": 16, "gradients": '"lanes"'}),
    ):
        folder = shutil.copytree(tmp_path, tmp_path.with_name(f"{tmp_path.name}-{name}"))
        job = with_training(folder / "job.toml", **shared, **keys)
        train(folder / "job.toml", workers, folder / "log")
        stored, record = find_student(job, job.variants[0])
        ends[name] = load_network(stored.uri, record).state_dict()
    (table,) = [key for key in ends["whole"] if key.endswith("word_embeddings.weight")]
    due = ends.pop("whole")
    begun = load_file(tmp_path / "model" / "model.safetensors")
    assert not torch.equal(due[table], begun["bert.embeddings.word_embeddings.weight"])
    for name, other in ends.items():
        for key, value in due.items():
            torch.testing.assert_close(other[key], value, rtol=1e-4, atol=1e-6, msg=f"{name} {key}")


def rows_of_steps(plan):
    """Which rows each step sees, in their order."""
    from distill.loader.loader import Loader

    (dataset,) = plan.sources
    loader = Loader(dataset, plan.order(0), rank=0, workers=1, ahead=False)
    batches = loader.batches()
    for _ in range(STEPS):
        yield next(batches)["row"].tolist()
    loader.close()
