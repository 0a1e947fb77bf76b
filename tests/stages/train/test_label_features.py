"""Embed once, teach many: students and fits that see a label set's values learn what they would
learn of a pool that holds the same numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy

from distill.core.errors import JobError
from distill.models.record import read_record, read_weights
from distill.run import export_students, run_job, verify_labels
from distill.storage.open import open_storage
from tests.making import stored_outputs
from tests.resolved import label_set
from tests.tiny import tiny_job

EMBEDDING = """
import pathlib

import numpy as np

class Labeler:
    revision = "1"
    kind = "value"
    width = 3

    def label(self, features):
        with pathlib.Path("{counts}").open("a") as file:
            file.write(f"{{len(features)}}\\n")
        return features[:, :3] ** 2
"""
JOB = """
    root = "{root}"
    fragment_rows = 64
    [pools.labelled]
    path = "labelled/"
    features = {{ kind = "vector", columns = ["{column}"] }}
    target = "kind"
    classes = ["a", "b"]
    [pools.validation]
    path = "validation/"
    target = "kind"
    classes = ["a", "b"]
    [pools.rows]
    path = "rows/"
    [pools.test]
    path = "test/"
    target = "kind"
    classes = ["a", "b"]
    {embedding}
    [fit.large]
    model = {{ kind = "mlp", hidden = [8] }}
    on = "labelled"
    {features}
    training = {{ epochs = 12, learning_rate = 0.03, batch_rows = 32, gradients = "lanes", workers = 1 }}
    [labels.teacher]
    labeler = {{ kind = "fitted", fit = "large" }}
    over = ["rows", "test"]
    calibrate_on = "validation"
    [students.small]
    model = {{ kind = "linear" }}
    {features}
    on = ["rows"]
    early_stop = {{ learns = "pools.validation", patience = 1 }}
    training = {{ epochs = 4, gradients = "lanes", workers = 1 }}
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = {{ kind = "kl", temperature = 2 }}
    [[students.small.terms]]
    learns = "pools.labelled"
    loss = {{ kind = "cross_entropy" }}
    [sweep.weights]
    student = "small"
    "terms.1.weight" = [0.1, 0.5, 1.0]
    [evaluate]
    on = "test"
"""
EMBEDDED = """
    [labels.embedding]
    labeler = { kind = "custom", file = "embedding.py" }
    over = ["labelled", "validation", "rows", "test"]
"""
SIZES = {"labelled": 100, "rows": 300, "test": 80, "validation": 60}
FEATURES = 'features = { kind = "labels", of = "labels.embedding" }'


@pytest.fixture
def folder(tmp_path):
    for number, (name, rows) in enumerate(SIZES.items()):
        draw = np.random.default_rng(number)
        raw = draw.normal(size=(rows, 4)).astype(np.float32)
        is_far = raw[:, 0] ** 2 + raw[:, 1] ** 2 > 1.4
        # some at random, so that a temperature fits
        is_far ^= draw.random(rows) < 0.15
        kind = np.where(is_far, "a", "b")
        embedded = raw[:, :3] ** 2
        columns = {"raw": lists(raw), "embedded": lists(embedded), "kind": pa.array(kind)}
        (tmp_path / name).mkdir()
        pq.write_table(pa.table(columns), tmp_path / name / "part.parquet", row_group_size=50)
    text = EMBEDDING.format(counts=tmp_path / "counts")
    (tmp_path / "embedding.py").write_text(text, "utf-8")
    return tmp_path


def lists(values):
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def stored_job(folder, features=FEATURES):
    text = JOB.format(root="stored", column="raw", embedding=EMBEDDED, features=features)
    return tiny_job(folder, text)


def weights(job):
    """Of all models, by name and what is changed."""
    found = {}
    root = job.folder / job.root
    for done in (*root.glob("fits/*/*/done.json"), *root.glob("students/*/*/done.json")):
        folder = open_storage(str(done.parent))
        record = read_record(folder)
        tensors = safetensors.numpy.load(read_weights(folder, record))
        found[record.name] = np.concatenate([tensors[key].ravel() for key in sorted(tensors)])
    return found


def test_students_of_stored_embeddings_differ_from_those_of_live_ones(folder):
    stored = stored_job(folder)
    finished = run_job(stored, engine="local")
    live_text = JOB.format(root="live", column="embedded", embedding="", features="")
    live = tiny_job(folder, live_text)
    other = run_job(live, engine="local")
    found, due = weights(stored), weights(live)
    assert len(found) == 4
    assert found.keys() == due.keys()
    for name, values in due.items():
        np.testing.assert_allclose(found[name], values, atol=1e-6, err_msg=name)
    for pool in ("rows", "test"):
        np.testing.assert_allclose(
            stored_outputs(label_set(stored, "teacher", pool)),
            stored_outputs(label_set(live, "teacher", pool)),
            atol=1e-5,
        )
    assert label_set(stored, "teacher", "rows").contract.calibration != 1
    for one, two in zip(finished.evaluation.methods, other.evaluation.methods, strict=True):
        assert one.measures == pytest.approx(two.measures, abs=1e-5)
    assert not any(each.problems for each in verify_labels(stored, canaries=2))
    # each row once for all of it, the first batches twice, and the canaries
    counts = list(map(int, (folder / "counts").read_text().split()))
    assert sum(counts[: -2 * 4]) <= sum(SIZES.values()) + 2 * 4 * 64
    again = []
    run_job(stored, again.append, engine="local")
    assert all("done before" in line for line in again)
    with pytest.raises(JobError, match=r"sees labels\.embedding, and not what its pool has"):
        export_students(stored, engine="local")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("labels.embedding", "labels.embeddings", "features.of = 'embeddings': there is no such"),
        ("labels.embedding", "pools.rows", "'pools.rows' is not 'labels.NAME'"),
        ("labels.embedding", "labels.teacher", "which needs fit.large: none of them can be"),
        (FEATURES, "features = 3", "must be a table"),
    ],
)
def test_wrong_features_are_found_out_in_training(folder, old, new, said):
    with pytest.raises(JobError) as told:
        stored_job(folder, FEATURES.replace(old, new))
    assert said in str(told.value)


@pytest.mark.parametrize(
    ("over", "said"),
    [
        (
            ["rows", "test", "validation"],
            "fit.large.features.of = 'labels.embedding': it does not cover ['label",
        ),
        (["labelled", "rows", "validation"], "it does not cover ['test']"),
        (["labelled", "test", "validation"], "it does not cover ['rows']"),
        (["labelled", "test", "rows"], "it does not cover ['validation']"),
    ],
)
def test_a_pool_without_embeddings_is_found_out_after_the_others_are_paid_for(folder, over, said):
    embedded = EMBEDDED.replace(
        '["labelled", "validation", "rows", "test"]', str(over).replace("'", '"')
    )
    text = JOB.format(root="stored", column="raw", embedding=embedded, features=FEATURES)
    with pytest.raises(JobError) as told:
        tiny_job(folder, text)
    assert said in str(told.value)
