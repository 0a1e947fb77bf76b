"""A student with networks of the user's own once it is trained: exported, predicted with, and
teaching the next. Code that lies in storage is never run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from distill.core.errors import ExportError, LabelerError, PoolError
from distill.labelers.registry import build_labeler
from distill.models.record import ModelRecord
from distill.plan.load import load_job
from distill.spec.outputs import Outputs
from distill.stages.export.onnx_file import onnx_file
from distill.stages.predict import predict_files
from tests.alone import run_alone
from tests.command import distill
from tests.making import label_by_worker, stored_outputs, train_here
from tests.resolved import export_students, find_student, label_set, prepare_labels
from tests.stages.train.own_job import JOB, TRUNK, answered, labelled, names, pixels, trained
from tests.tiny import write_job

__all__ = ["labelled", "trained"]

ALONE = """
import sys
import torch
from model import load
assert sys.modules.get("distill") is None
from safetensors.torch import load_file, save_file
with torch.inference_mode():
    save_file(load()(load_file("seen.safetensors")["x"]), "said.safetensors")
"""


@pytest.fixture(scope="module")
def exported(trained):
    (made,) = export_students(load_job(trained), None, ())
    return Path(made.uri)


def test_the_export_answers_otherwise_where_only_torch_is(trained, exported, tmp_path):
    shutil.copytree(exported, tmp_path / "export")
    seen = pixels(trained.parent / "test" / "part-00000.parquet")
    safetensors.numpy.save_file({"x": seen}, tmp_path / "export" / "seen.safetensors")
    run_alone(ALONE, tmp_path / "export")
    said = safetensors.torch.load_file(tmp_path / "export" / "said.safetensors")
    for head, values in answered(trained, seen).items():
        torch.testing.assert_close(said[head], values.clone())
    assert (exported / "own.py").read_text("utf-8") == TRUNK
    assert "--source FILE" in (exported / "README.md").read_text("utf-8")


def test_a_network_of_the_users_own_is_another_in_onnx(trained):
    (made,) = export_students(load_job(trained), None, (), onnx=True)
    session = onnxruntime.InferenceSession(Path(made.uri, "model.onnx").read_bytes())
    seen = pixels(trained.parent / "test" / "part-00000.parquet")
    due = answered(trained, seen)
    for head, said in zip(due, session.run(list(due), {"features": seen}), strict=True):
        np.testing.assert_allclose(said, due[head].numpy(), rtol=1e-5, atol=1e-6)
    export_students(load_job(trained), None, ())


def test_what_no_exporter_can_translate_breaks_off_with_torchs_own_error():
    class Untold(torch.nn.Module):
        tokens = None

        def forward(self, x):
            return {"main": x * float(x.sum()) if x.sum() > 0 else x}

    record = ModelRecord(
        name="s", digest="d", form="network", in_features=4, heads={"main": Outputs("value")}, widths={"main": 4}, sha256="s", parameters=0
    )  # fmt: skip
    with pytest.raises(ExportError, match=r"students\.mine: torch's exporter cannot translate it"):
        onnx_file("students.mine", record, Untold(), torch.ones(2, 4))


def test_code_that_lies_in_an_export_is_run(trained, exported, tmp_path):
    mark = tmp_path / "it-ran"
    poisoned = tmp_path / "export"
    shutil.copytree(exported, poisoned)
    (poisoned / "own.py").write_text(f"open({str(mark)!r}, 'w')\n{TRUNK}", "utf-8")
    rows, out = str(trained.parent / "test"), str(tmp_path / "out")
    with pytest.raises(
        PoolError,
        match=r"own\.py: the student has .* whose sha256 is [0-9a-f]{64}: --source FILE\.$",
    ):
        predict_files(str(poisoned), rows, out)
    with pytest.raises(PoolError, match="lies in the export, whose code is never run"):
        predict_files(str(poisoned), rows, out, [poisoned / "own.py"])
    other = tmp_path / "other.py"
    other.write_text(TRUNK + "# another text\n", "utf-8")
    with pytest.raises(PoolError, match=r"--source FILE\. The given ones have [0-9a-f]{64}\.$"):
        predict_files(str(poisoned), rows, out, [other])
    predict_files(str(poisoned), rows, out, [trained.parent / "trunk.py"])
    assert not mark.exists()


def test_the_command_predicts_otherwise_than_the_student(trained, exported, tmp_path):
    ended = distill(
        "predict",
        exported,
        trained.parent / "test",
        tmp_path / "out",
        "--source",
        trained.parent / "trunk.py",
    )
    assert ended.code == 0, ended.output
    made = pq.read_table(tmp_path / "out" / "part-00000.parquet")
    for head, said in answered(
        trained, pixels(trained.parent / "test" / "part-00000.parquet")
    ).items():
        assert made[f"predicted_{head}"].to_pylist() == names(said)
    refused = distill("predict", exported, trained.parent / "test", tmp_path / "out2")
    assert refused.code == 2
    assert "never run" in refused.output


NEXT = """
    [labels.next]
    labeler = { kind = "student", model = "FOLDER", head = "hard", classes = ["a", "b", "c"], file = "trunk.py" }
    over = ["rows"]
    [labels.layer]
    labeler = { kind = "student", model = "FOLDER", layer = "trunk.norm", width = 12, file = "trunk.py" }
    over = ["rows"]
"""


def test_it_teaches_the_next_by_another_head_or_without_the_jobs_file(trained, tmp_path):
    shutil.copytree(trained.parent, tmp_path / "job")
    job = load_job(trained)
    text = JOB + NEXT.replace("FOLDER", find_student(job, job.variants[0])[0].uri)
    made = load_job(write_job(tmp_path / "job", text))
    outcomes = [label_by_worker(made, name) for name in ("next", "layer")]
    assert not [each.failure for some in outcomes for each in some["rows"] if each.failure]
    stored = stored_outputs(label_set(made, "next", "rows"))
    rows = pixels(*sorted((trained.parent / "rows").iterdir()))
    np.testing.assert_allclose(stored, answered(trained, rows)["hard"], atol=1e-5)

    comment = (tmp_path / "job" / "trunk.py").read_text("utf-8") + "# a comment\n"
    for changed, changed_text, said in (
        (
            comment,
            text.replace(', file = "trunk.py" }\n    over', " }\n    over"),
            "is never taken from storage",
        ),
        (
            comment.replace('"1"', '"2"'),
            text,
            r"revision '1' of its model, but .* is of revision '2'",
        ),
    ):
        (tmp_path / "job" / "trunk.py").write_text(changed, "utf-8")
        with pytest.raises(LabelerError, match=said):
            build_labeler(
                prepare_labels(load_job(write_job(tmp_path / "job", changed_text)), "next")[0]
            )


def test_a_class_that_changed_under_one_revision_is_loaded_with_the_old_weights(trained, tmp_path):
    shutil.copytree(trained.parent, tmp_path / "job")
    (tmp_path / "job" / "trunk.py").write_text(TRUNK.replace("self.norm", "self.scaled"), "utf-8")
    job = load_job(tmp_path / "job" / "job.toml")
    with pytest.raises(
        LabelerError, match=r"(?s)do not fit Trunk in .*change its `revision`, and train anew"
    ):
        export_students(job, None, ())


WORDS = """
from torch import nn


class Trunk(nn.Module):
    revision = "1"

    def __init__(self, most, buckets, hidden):
        super().__init__()
        self.words = nn.Embedding(buckets + 1, hidden, padding_idx=0)
        self.mix = nn.Linear(most * hidden, hidden)

    def forward(self, places):
        return self.mix(self.words(places).flatten(1))
"""
TEXT_JOB = """
    root = "root"
    fragment_rows = 64
    [pools.texts]
    path = "texts"
    features = { kind = "text", column = "said" }
    [labels.teacher]
    labeler = { kind = "custom", file = "reads.py" }
    over = ["texts"]
    [students.small]
    model = { kind = "custom", file = "words.py", options = { buckets = 30, hidden = 4 }, text = { buckets = 30, ngrams = 1, most = 5 } }
    training = { epochs = 30, batch_rows = 32, workers = 1, learning_rate = 0.02 }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl" }
"""
READS = """
import numpy as np

class Labeler:
    revision = "1"
    classes = ("first", "second")
    def label(self, features):
        first = np.array([text.startswith("red") for text in features], np.float32)
        return np.stack([4 * first, 4 - 4 * first], axis=1)
"""


def test_a_network_of_ones_own_sees_words_in_another_order(tmp_path):
    """Which word comes first decides, which no bag of words can tell."""
    texts = ["red then blue", "blue then red"] * 60
    (tmp_path / "texts").mkdir()
    pq.write_table(pa.table({"said": texts}), tmp_path / "texts" / "part-0.parquet")
    (tmp_path / "words.py").write_text(WORDS, "utf-8")
    (tmp_path / "reads.py").write_text(READS, "utf-8")
    job = load_job(write_job(tmp_path, TEXT_JOB))
    label_by_worker(job, "teacher")
    train_here(job)
    (exported,) = export_students(job, None, ())
    (done,) = predict_files(
        exported.uri, str(tmp_path / "texts"), str(tmp_path / "out"), [tmp_path / "words.py"]
    )
    assert pq.read_table(done.url)["predicted_main"].to_pylist() == ["first", "second"] * 60
