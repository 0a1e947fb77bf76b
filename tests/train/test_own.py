"""Networks of the user's own through the real training: the same weights for any number of workers and after kills; then judged, exported, predicted with,
and teaching the next student."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from distill.errors import JobError, LabelerError, PoolError
from distill.evaluate.candidates import find_candidates
from distill.evaluate.judge import TARGET, Judge
from distill.evaluate.tally import measures
from distill.export import export_students
from distill.feed import Source, TargetColumn
from distill.job import load_job, pool_outputs
from distill.job.own import student_code
from distill.labelers import build_labeler
from distill.labelers.network import load_network
from distill.labelers.prepare import prepare_labels
from distill.labels import decode
from distill.models import NetworkPlan
from distill.models.identity import find_student, label_set
from distill.models.network import build_network
from distill.pool import open_pool
from distill.predict import predict_files
from distill.train.lesson import student_lesson
from tests.command import distill
from tests.making import label_by_worker
from tests.tiny import write_job, write_pool
from tests.train.ranks import train
from tests.train.test_gradients import JOB, LANES, MINE, weights

TRUNK = '''
import torch
from torch import nn


class Trunk(nn.Module):
    """A residual block, and a layer that stays as it was drawn."""

    revision = "1"

    def __init__(self, in_features, hidden, dropout=0.0):
        super().__init__()
        self.first = nn.Linear(in_features, hidden)
        self.drawn = nn.Linear(hidden, hidden).requires_grad_(False)
        self.norm = nn.LayerNorm(hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        hidden = torch.tanh(self.first(x))
        return self.dropout(self.norm(hidden + torch.tanh(self.drawn(hidden))))


class Wide(nn.Sequential):
    revision = "one"

    def __init__(self, in_features, hidden):
        super().__init__(nn.Linear(in_features, hidden), nn.GELU())
'''
OWN = '{ kind = "custom", file = "trunk.py", options = { hidden = 12, dropout = 0.2 } }'
HEADS = '[students.small.heads.main]\n    model = { kind = "custom", file = "trunk.py", name = "Wide", options = { hidden = 6 } }'
HARD = '[[students.small.terms]]\n    learns = "pools.known"\n    head = "hard"'
JUDGED = '\n    [pools.test]\n    path = "test"\n    target = "kind"\n    classes = ["a", "b", "c"]\n    [evaluate]\n    on = "test"\n'


def job_text(gradients):
    """The main head has a network of its own; the head `hard` sits on the trunk."""
    text = JOB.replace("GRADIENTS", gradients).replace('{ kind = "mlp", hidden = [16], dropout = 0.2 }', OWN)
    text = text.replace("[[students.small.terms]]", f"{HEADS}\n    [[students.small.terms]]", 1)
    return text.replace('[[students.small.terms]]\n    learns = "pools.known"', HARD) + JUDGED


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    for name, shards in {"rows": [150, 90], "known": [50], "test": [40]}.items():
        write_pool(folder / name, shards)
    (folder / "mine.py").write_text(MINE, "utf-8")
    (folder / "trunk.py").write_text(TRUNK, "utf-8")
    label_by_worker(load_job(write_job(folder, job_text(LANES))), "teacher")
    return folder


def copied(labelled, folder, gradients=LANES):
    shutil.copytree(labelled, folder)
    return write_job(folder, job_text(gradients))


@pytest.fixture(scope="module")
def trained(labelled, tmp_path_factory):
    """The job file of a student that one worker taught to the end."""
    folder = tmp_path_factory.mktemp("trained") / "job"
    job = copied(labelled, folder)
    train(job, 1, folder / "log")
    return job


def loaded(job_file):
    """The student's record and network, from storage and from the source beside the job."""
    job = load_job(job_file)
    folder, record = find_student(job, job.variants[0])
    return record, load_network(folder.uri, record, code_of(job))


def code_of(job):
    return student_code(job, job.variants[0].spec, "students.small")


def pixels(*files):
    tables = [pq.read_table(file)["pixels"].combine_chunks() for file in files]
    return np.concatenate([table.flatten().to_numpy().reshape(len(table), -1) for table in tables])


def answered(job_file, rows):
    """What each head of the student says of rows."""
    with torch.inference_mode():
        return loaded(job_file)[1](torch.from_numpy(rows))


def names(logits):
    return [("a", "b", "c")[best] for best in logits.argmax(dim=1)]


def test_two_workers_or_a_kill_give_other_weights(labelled, trained, tmp_path):
    job = copied(labelled, tmp_path / "job")
    for number, dies_at in enumerate((13, -1)):
        train(job, 2, tmp_path / f"log{number}", dies_at=dies_at)
    assert weights(job)[1] == weights(trained)[1]


def test_data_parallel_workers_cannot_train_it(labelled, tmp_path):
    job = copied(labelled, tmp_path / "job", "")
    train(job, 2, tmp_path / "log")
    losses = [each["loss"] for each in weights(job)[0].details["history"]]
    assert losses[-1] < losses[0]


def test_a_frozen_layer_moves_or_the_record_says_other_code(trained):
    (record, network), job = loaded(trained), load_job(trained)
    before = build_network(NetworkPlan.from_plain(record.plan, code_of(job)), job.seed)
    assert torch.equal(network.trunk.drawn.weight, before.trunk.drawn.weight)
    assert not torch.equal(network.trunk.first.weight, before.trunk.first.weight)
    kept = {key: each["revision"] for key, each in record.plan["code"].items()}
    assert kept == {"model": "1", "heads.main.model": "one"}
    assert record.head_parameters == {
        "main": (4 * 6 + 6) + (6 * 3 + 3),
        "hard": 4 * 12 + 12 + 12 * 13 + 24 + 12 * 3 + 3,
    }
    stored = [file for file in (trained.parent / "root").rglob("*") if file.is_file() and "export" not in file.parts]
    assert not [file for file in stored if b"residual block" in file.read_bytes()]


def test_its_heads_are_judged_by_other_answers(trained):
    job = load_job(trained)
    pool, truth = open_pool(job, "test"), pool_outputs(job, "test")
    candidates = find_candidates(job, pool)
    assert [each.name for each in candidates] == ["small · main", "small · hard"]
    source = Source((pool.inventory,), pool.features, pool.width, {TARGET: TargetColumn("kind", truth)})
    judge = Judge(source, truth, tuple(each.method for each in candidates), None)
    (chunk,) = source.chunks(1000)
    tallies = judge(chunk)
    file = trained.parent / "test" / "part-00000.parquet"
    said, kinds = answered(trained, pixels(file)), pq.read_table(file)["kind"].to_pylist()
    for each in candidates:
        due = np.mean([mine == kind for mine, kind in zip(names(said[each.method.head]), kinds, strict=True)])
        assert measures(tallies[each.method.key], [True] * 3)["accuracy"] == pytest.approx(due)


ALONE = """
import sys
import torch
from model import load
assert not [name for name in sys.modules if name.partition(".")[0] == "distill"]
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
    ended = subprocess.run(
        [sys.executable, "-c", ALONE], cwd=tmp_path / "export", capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    said = safetensors.torch.load_file(tmp_path / "export" / "said.safetensors")
    for head, values in answered(trained, seen).items():
        torch.testing.assert_close(said[head], values.clone())
    assert (exported / "own.py").read_text("utf-8") == TRUNK
    assert "--source FILE" in (exported / "README.md").read_text("utf-8")


def test_code_that_lies_in_an_export_is_run(trained, exported, tmp_path):
    mark = tmp_path / "it-ran"
    poisoned = tmp_path / "export"
    shutil.copytree(exported, poisoned)
    (poisoned / "own.py").write_text(f"open({str(mark)!r}, 'w')\n{TRUNK}", "utf-8")
    rows, out = str(trained.parent / "test"), str(tmp_path / "out")
    with pytest.raises(PoolError, match=r"own\.py: the student has .* whose sha256 is [0-9a-f]{64}: --source FILE\.$"):
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
        "predict", exported, trained.parent / "test", tmp_path / "out", "--source", trained.parent / "trunk.py"
    )
    assert ended.code == 0, ended.output
    made = pq.read_table(tmp_path / "out" / "part-00000.parquet")
    for head, said in answered(trained, pixels(trained.parent / "test" / "part-00000.parquet")).items():
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
    text = job_text(LANES) + NEXT.replace("FOLDER", find_student(job, job.variants[0])[0].uri)
    made = load_job(write_job(tmp_path / "job", text))
    outcomes = [label_by_worker(made, name) for name in ("next", "layer")]
    assert not [each.failure for some in outcomes for each in some["rows"] if each.failure]
    labels = label_set(made, "next", "rows")
    stored = np.concatenate([decode(labels.read(line), labels.read_contract()).outputs for line in labels.lines])
    rows = pixels(*sorted((trained.parent / "rows").iterdir()))
    np.testing.assert_allclose(stored, answered(trained, rows)["hard"], atol=1e-5)

    comment = (tmp_path / "job" / "trunk.py").read_text("utf-8") + "# a comment\n"
    for changed, changed_text, said in (
        (comment, text.replace(', file = "trunk.py" }\n    over', " }\n    over"), "is never taken from storage"),
        (comment.replace('"1"', '"2"'), text, r"revision '1' of its model, but .* is of revision '2'"),
    ):
        (tmp_path / "job" / "trunk.py").write_text(changed, "utf-8")
        with pytest.raises(LabelerError, match=said):
            build_labeler(prepare_labels(load_job(write_job(tmp_path / "job", changed_text)), "next")[0])


def test_a_class_that_changed_under_one_revision_is_loaded_with_the_old_weights(trained, tmp_path):
    shutil.copytree(trained.parent, tmp_path / "job")
    (tmp_path / "job" / "trunk.py").write_text(TRUNK.replace("self.norm", "self.scaled"), "utf-8")
    job = load_job(tmp_path / "job" / "job.toml")
    with pytest.raises(LabelerError, match=r"(?s)do not fit Trunk in .*change its `revision`, and train anew"):
        export_students(job, None, ())


def test_a_module_that_cannot_be_trained_is_found_out_by_a_worker(labelled, tmp_path):
    job = copied(labelled, tmp_path / "job")
    (tmp_path / "job" / "trunk.py").write_text(TRUNK.replace("nn.LayerNorm", "nn.BatchNorm1d"), "utf-8")
    changed = load_job(job)
    with pytest.raises(
        JobError, match=r"students\.small\.model: the buffers norm\.running_mean, .*LayerNorm or GroupNorm"
    ):
        student_lesson(changed, changed.variants[0])
