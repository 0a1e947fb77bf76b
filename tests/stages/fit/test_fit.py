"""A base model through the stages, on a real Ray: what is fitted by tasks is the closed form, and
unseen classes are said."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy

from distill.labelers.eszsl.attributes import class_attributes
from distill.models import files
from distill.models.record import read_weights
from distill.plan.load import load_job
from distill.plan.tables import JobTables
from distill.run import label_pool
from tests.making import stored_outputs
from tests.resolved import find_fit, fit_folder, fit_labeler, label_set
from tests.tiny import tiny_job, write_job
from tests.tiny_models import save_encoder

pytestmark = pytest.mark.ray

JOB = """
    root = "{root}"
    fragment_rows = 64
    [pools.labelled]
    path = "labelled"
    features = {{ kind = "vector", columns = ["x"] }}
    target = "kind"
    classes = [{classes}]
    [pools.unlabelled]
    path = "unlabelled"
    [fit.base]
    model = {{ kind = "eszsl", descriptions = "classes.csv", {more} }}
    on = "labelled"
    [labels.zero_shot]
    labeler = {{ kind = "fitted", fit = "base" }}
    over = ["unlabelled"]
    compute = {{ gpus = 0, min = 1, max = 2 }}
"""
PARTS = itertools.product(["team", "market", "film", "game"], ["good", "bad", "wins"])
TEXTS = {f"{first}-{second}": f"{first} {second} {second} {first}" for first, second in PARTS}
UNSEEN = ["market-good", "film-bad"]
SEEN = [name for name in TEXTS if name not in UNSEEN]
WIDTH = 12
# random weights say nearly the same of every text
ENCODER = 'encoder = "encoder", attribute_ridges = [0.001, 0.01, 0.1]'


def a_job(folder, root="root", more=ENCODER, texts=TEXTS):
    (folder / "classes.csv").write_text(
        "class,text\n" + "".join(f"{name},{said}\n" for name, said in texts.items())
    )
    classes = ", ".join(f'"{name}"' for name in SEEN)
    return tiny_job(folder, JOB.format(root=root, more=more, classes=classes))


def write_rows(folder, attributes, classes, rows, spoilt=()):
    """Rows that show their class's attributes, in one pool; returns features and classes."""
    draw = np.random.default_rng(len(classes))
    shows = np.random.default_rng(1).normal(size=(attributes.shape[1], WIDTH))
    target = draw.permutation(np.resize(classes, rows))
    x = (attributes[target] @ shows + 0.05 * draw.normal(size=(rows, WIDTH))).astype(np.float32)
    names = [None if row in spoilt else list(TEXTS)[number] for row, number in enumerate(target)]
    folder.mkdir()
    table = pa.table(
        {"x": pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), WIDTH), "kind": names}
    )
    for number, start in enumerate(range(0, rows, 250)):
        pq.write_table(table.slice(start, 250), folder / f"part-{number}.parquet")
    return x, target


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(files.CACHE, str(tmp_path / "cache"))
    save_encoder(tmp_path / "encoder")
    return tmp_path


def test_classes_that_only_a_text_describes_are_never_said_or_said_otherwise_by_the_next_run(
    ray, folder
):
    job = a_job(folder)
    names, rows = JobTables(job).descriptions("base")
    uri = JobTables(job).model_uri(job.fit["base"].model.encoder)
    attributes = class_attributes(rows, files.identify_model(uri, None, "encoder"))
    assert list(names) == list(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(attributes, axis=1), 1, rtol=1e-5)
    write_rows(folder / "labelled", attributes, [names.index(name) for name in SEEN], 600)
    _, target = write_rows(folder / "unlabelled", attributes, range(len(TEXTS)), 400)
    first = fit_labeler(job, "base")
    assert first.now
    assert not fit_labeler(load_job(job.path), "base").now
    (labelled,) = label_pool(job, "zero_shot")
    assert (labelled.labelled, labelled.rejected) == (400, 0)
    labels = label_set(job, "zero_shot", "unlabelled")
    assert labels.contract.classes == names
    said = stored_outputs(labels).argmax(axis=1)
    unseen = np.isin(target, [names.index(name) for name in UNSEEN])
    assert (said == target)[unseen].mean() > 0.7
    assert (said == target)[~unseen].mean() > 0.7

    other = load_job(write_job(folder, job.path.read_text("utf-8").replace('"root"', '"again"')))
    assert fit_labeler(other, "base").record.sha256 == first.record.sha256
    (again,) = label_pool(other, "zero_shot", engine="local")
    assert again.label_hash == labelled.label_hash


@pytest.mark.parametrize("changed", [SEEN[0], UNSEEN[0]])
def test_another_text_of_a_class_or_another_encoder_goes_on_with_the_first_fit(folder, changed):
    write_rows(folder / "labelled", np.eye(len(TEXTS)), range(len(SEEN)), 60)
    before = fit_folder(a_job(folder), "base").uri
    assert fit_folder(a_job(folder), "base").uri == before
    assert fit_folder(a_job(folder, texts=TEXTS | {changed: "the game"}), "base").uri != before
    shutil.rmtree(folder / "encoder")
    save_encoder(folder / "encoder", seed=1)
    assert fit_folder(a_job(folder), "base").uri != before


def test_tasks_fit_another_model_than_the_equation_or_count_unusable_rows(ray, folder):
    attributes = np.random.default_rng(0).normal(size=(len(TEXTS), 4))
    texts = {
        name: ",".join(map(repr, map(float, row)))
        for name, row in zip(TEXTS, attributes, strict=True)
    }
    seen = np.array([list(TEXTS).index(name) for name in SEEN])
    spoilt = [0, 77, 599]
    x, target = write_rows(folder / "labelled", attributes, seen, 600, spoilt)
    job = a_job(folder, more="feature_ridges = [0.01, 0.1]", texts=texts)
    trained = fit_labeler(job, "base")
    assert trained.record.details["sampled"] == 597
    used = np.setdiff1d(np.arange(600), spoilt)
    chosen = trained.record.details["chosen"]
    x1, y = (
        np.hstack([x[used], np.ones((597, 1))]).astype(np.float64),
        np.eye(len(TEXTS))[target[used]][:, seen],
    )
    s = attributes[seen]
    left = np.linalg.inv(x1.T @ x1 + chosen["feature_ridge"] * 597 * np.eye(WIDTH + 1))
    v = left @ x1.T @ y @ s @ np.linalg.inv(s.T @ s + chosen["attribute_ridge"] * np.eye(4))
    weights = safetensors.numpy.load(read_weights(*find_fit(job, "base")))
    due = chosen["scale"] * v @ attributes.T
    np.testing.assert_allclose(weights["weight"], due, rtol=1e-6, atol=1e-6 * np.abs(due).max())
    bias = -chosen["scale"] * chosen["calibration"] * np.isin(np.arange(len(TEXTS)), seen)
    np.testing.assert_allclose(weights["bias"], bias, rtol=1e-6)
