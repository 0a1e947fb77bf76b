"""Students of stored embeddings: taught by one pass of the encoder, exported with it as one model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from distill import run
from distill.core.errors import ExportError, JobError
from distill.core.schema import unseal
from distill.labelers.encoder import Encoder
from distill.labelers.network import load_network
from distill.plan.load import load_job
from distill.stages.predict import predict_files
from tests.resolved import find_student
from tests.text_students import JOB, some_texts, write_texts
from tests.tiny import write_job
from tests.tiny_models import save_encoder, save_word_vectors

STORED = """
[labels.embedding]
labeler = { kind = "embedding", model = "encoder", width = 16, normalize = true }
over = ["rows", "test"]
"""
MLP = '{ kind = "mlp", hidden = [8] }'


def stored_job(folder: Path, model: str = MLP, *, more: str = "") -> Path:
    """A job whose student sees an encoder's stored embeddings."""
    write_texts(folder / "rows", 96)
    write_texts(folder / "test", 32, seed=1)
    save_encoder(folder / "encoder")
    file = write_job(folder, JOB.replace("MODEL", model))
    text = file.read_text("utf-8") + STORED + more
    seen = '[students.small]\nfeatures = { kind = "labels", of = "labels.embedding" }'
    file.write_text(text.replace("[students.small]", seen), "utf-8")
    return file


def trained(file: Path):
    job = load_job(file)
    run.label_pool(job, "embedding", engine="local")
    run.train_students(job, engine="local")
    return job


@pytest.mark.parametrize("model", [MLP, '{ kind = "linear" }'])
def test_a_student_of_stored_embeddings_leaves_without_its_encoder(tmp_path, model):
    job = trained(stored_job(tmp_path, model))
    (exported,) = run.export_students(job, engine="local")
    from sentence_transformers import SentenceTransformer

    texts = some_texts(30, seed=5)
    folder, record = find_student(job, job.variants[0])
    embeddings = SentenceTransformer(str(tmp_path / "encoder"), device="cpu").encode(
        texts, normalize_embeddings=True
    )
    with torch.inference_mode():
        due = load_network(folder.uri, record)(torch.from_numpy(embeddings))["main"].numpy()
    whole = SentenceTransformer(f"{exported.uri}/sentence_transformers", device="cpu")
    np.testing.assert_allclose(whole.encode(texts), due, atol=1e-5)
    predict_files(exported.uri, str(tmp_path / "test"), str(tmp_path / "out"))
    predicted = pq.read_table(tmp_path / "out" / "0.parquet")["predicted_main"].to_pylist()
    judged = pq.read_table(tmp_path / "test" / "0.parquet")["topic"].to_pylist()
    accuracy = np.mean([one == other for one, other in zip(predicted, judged, strict=True)])
    (method,) = (
        each
        for each in run.evaluate_students(job, engine="local").methods
        if each.student == "small"
    )
    assert accuracy == pytest.approx(method.measures["accuracy"])
    said = unseal((Path(exported.uri) / "model.json").read_bytes(), "model.json")
    assert said["record"]["parameters"] > record.parameters + 1000


def test_a_student_is_joined_to_what_another_encoder_makes(tmp_path, monkeypatch):
    job = trained(stored_job(tmp_path))
    live = Encoder.embeddings
    monkeypatch.setattr(
        Encoder, "embeddings", lambda self, *texts, **keys: live(self, *texts, **keys)[::-1].copy()
    )
    with pytest.raises(ExportError, match=r"answers by up to .* otherwise than on what"):
        run.export_students(job, engine="local")
    assert not list(tmp_path.rglob("export/*"))


def test_what_cannot_be_joined_is_exported_without_its_encoder(tmp_path):
    file = stored_job(tmp_path)
    save_word_vectors(tmp_path / "table")
    file.write_text(file.read_text("utf-8").replace('"encoder", width', '"table", width'), "utf-8")
    job = trained(file)
    with pytest.raises(JobError, match=r"a transformer and a pooling; it is StaticEmbedding"):
        run.export_students(job, engine="local")
    shape = '{ kind = "rnn", shape = [4, 4], hidden = 4 }'
    other = trained(stored_job(tmp_path / "other", shape))
    with pytest.raises(JobError, match=r"not a network of kind 'rnn'"):
        run.export_students(other, engine="local")


def test_a_sweep_of_heads_passes_through_the_encoder_once_each(tmp_path, monkeypatch):
    seeds = list(range(10))
    more = f"[sweep.heads]\nstudent = 'small'\nseed = {seeds}\n'training.learning_rate' = [1e-3, 1e-2]\n"
    job = load_job(stored_job(tmp_path, more=more))
    passes = []
    live = Encoder.embeddings
    monkeypatch.setattr(
        Encoder,
        "embeddings",
        lambda self, texts, **keys: passes.extend(texts) or live(self, texts, **keys),
    )
    run.label_pool(job, "embedding", engine="local")
    # a labelling asks about some rows again, to see that the answers are the same
    once = len(passes)
    assert 96 + 32 <= once < 2 * (96 + 32)
    assert len(run.train_students(job, engine="local")) == 20
    assert len(passes) == once


def test_heads_on_stored_embeddings_learn_otherwise_than_on_live_ones(tmp_path):
    job = trained(stored_job(tmp_path, '{ kind = "linear" }'))
    live_model = (
        '{ kind = "encoder", model = "encoder", freeze = "all", normalize = true,'
        ' long_texts = "head" }'
    )
    text = (tmp_path / "job.toml").read_text("utf-8")
    text = text.replace('\nfeatures = { kind = "labels", of = "labels.embedding" }', "")
    text = text.replace(STORED, "")
    live_file = tmp_path / "live.toml"
    live_file.write_text(text.replace('{ kind = "linear" }', live_model), "utf-8")
    live = load_job(live_file)
    run.train_students(live, engine="local")
    stored_head, live_head = (
        load_network(
            find_student(each, each.variants[0])[0].uri, find_student(each, each.variants[0])[1]
        ).heads
        for each in (job, live)
    )
    # drawn one after the other by one seed, but the encoder's pooler draws nothing
    for one, other in zip(stored_head.parameters(), live_head.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
