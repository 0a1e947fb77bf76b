"""A ready labeler through the label stage's worker: what is stored is what the library says, under
a contract that knows the model."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression

from distill.core.errors import ContractError, JobError, MissingExtraError
from distill.models import files
from distill.plan.load import load_job
from distill.run import label_pool, preview_labels
from tests.labelers.asking import log_softmax
from tests.late import Late
from tests.making import label_by_worker, stored_outputs
from tests.resolved import label_set, prepare_labels
from tests.tiny import pixels, write_job, write_pool

SKOPS = Late("skops.io")

JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [labels.teacher]
    labeler = { kind = "sklearn", model = "model.skops", classes = ["a", "b", "c"] }
    over = ["rows"]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(files.CACHE, str(tmp_path / "cache"))
    table = write_pool(tmp_path / "rows", [100, 30])
    keep(tmp_path, table, "kind")
    write_job(tmp_path, JOB)
    return tmp_path


def keep(folder, table, column, **options):
    fitted = LogisticRegression(**options).fit(pixels(table), table[column].to_pylist())
    SKOPS.dump(fitted, folder / "model.skops")
    return fitted


def test_what_is_stored_is_not_what_the_library_says(folder):
    table = write_pool(folder / "rows", [100, 30])
    fitted = keep(folder, table, "kind")
    job = load_job(folder / "job.toml")
    label_by_worker(job, "teacher")
    labels = label_set(job, "teacher", "rows")
    stored = stored_outputs(labels)
    np.testing.assert_allclose(
        np.exp(log_softmax(stored)), fitted.predict_proba(pixels(table)), atol=1e-6
    )
    assert {"scikit-learn", "skops"} <= labels.contract.versions.keys()
    shown = preview_labels(job, "teacher", 5)
    np.testing.assert_allclose(shown.outputs, stored[:5], atol=1e-6)


def test_another_model_goes_on_with_the_first_ones_labels(folder):
    job = load_job(folder / "job.toml")
    label_by_worker(job, "teacher")
    keep(
        folder,
        pa.concat_tables(map(pq.read_table, sorted((folder / "rows").iterdir()))),
        "kind",
        C=0.01,
    )
    with pytest.raises(ContractError, match=r"revision: .*other weights.*version = 2"):
        label_by_worker(load_job(folder / "job.toml"), "teacher")


def test_a_model_that_was_moved_is_refused(folder):
    _, before = prepare_labels(load_job(folder / "job.toml"), "teacher")
    shutil.move(folder / "model.skops", folder / "moved.skops")
    write_job(folder, JOB.replace("model.skops", "moved.skops"))
    _, after = prepare_labels(load_job(folder / "job.toml"), "teacher")
    assert after.digest == before.digest


def test_another_meaning_of_the_same_weights_passes(folder):
    (folder / "model").mkdir()
    (folder / "model" / "model.safetensors").write_bytes(b"")
    write_job(folder, TEXT)
    _, before = prepare_labels(load_job(folder / "job.toml"), "teacher")
    write_job(folder, TEXT.replace("about", "all about"))
    _, after = prepare_labels(load_job(folder / "job.toml"), "teacher")
    assert after.digest != before.digest


TEXT = """
    root = "root"
    [pools.rows]
    path = "rows"
    features = { kind = "text", column = "email" }
    [labels.teacher]
    labeler = { kind = "nli", model = "model", classes = ["x", "y"], hypothesis = "It is about {}." }
    over = ["rows"]
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'kind = "vector", columns = ["pixels"]',
            'kind = "text", column = "email"',
            "it reads numbers, but pools.rows has features of kind 'text'",
        ),
        ('"model.skops"', '"hf://owner/name"', "Write hf://ORGANISATION/NAME@REVISION"),
        ('"model.skops"', '"s3://key:secret@host/x"', "carries credentials"),
        (
            'over = ["rows"]',
            'over = ["rows"]\n    precision = "bfloat16"',
            "a sklearn labeler chooses its own precision",
        ),
        ('["a", "b", "c"]', '["a", "a"]', "classes must be distinct"),
        ('"model.skops"', '"model.skops", trust = ["x"]', "Did you mean 'trusted'"),
    ],
)
def test_a_wrong_ready_labeler_is_found_out_by_an_actor(folder, old, new, said):
    with pytest.raises(JobError) as caught:
        load_job(write_job(folder, JOB.replace(old, new)))
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_missing_library_is_found_out_by_an_actor_or_keeps_labels_from_being_read(
    folder, monkeypatch
):
    label_by_worker(load_job(folder / "job.toml"), "teacher")
    monkeypatch.setitem(sys.modules, "skops", None)
    (whole,) = label_pool(load_job(folder / "job.toml"), "teacher")
    assert whole.labelled == 130
    shutil.rmtree(folder / "root" / "labels")
    with pytest.raises(
        MissingExtraError, match=r"needs skops, which .* Run: pip install 'distill\[sklearn\]'"
    ):
        label_pool(load_job(folder / "job.toml"), "teacher")
