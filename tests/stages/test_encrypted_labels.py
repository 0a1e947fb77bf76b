"""What is made of encrypted labels: nothing that says what stands in a row of them is plain."""

from __future__ import annotations

import base64
import hashlib
import logging

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy

import distill.labels
from distill.core.errors import ContractError, JobError, StorageError
from distill.labels.class_counts import class_counts
from distill.labels.encryption import is_encrypted
from distill.models.record import read_record, read_weights
from distill.plan.load import load_job
from distill.pools.chosen import chosen_addresses, read_rounds, selection_folder
from distill.run import label_pool, run_job, select_pool_rows
from distill.storage.open import open_storage
from tests.tiny import write_job

LABELER = """
import numpy as np

class Labeler:
    revision = "{name}"
    classes = ("no", "yes")

    def label(self, features):
        # numbers that nothing else comes to
        score = features[:, 0] + np.float32({apart}) * features[:, 1]
        return np.stack([np.float32(0.7315) * score, -score], axis=1)
"""
JOB = """
    root = "root"
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["x", "y"] }
    target = "kind"
    classes = ["no", "yes"]
    [labels.one]
    labeler = { kind = "custom", file = "one.py" }
    over = ["rows"]
    format = "parquet"
    encryption = { key = "env:LABELS_KEY" }
    [labels.two]
    labeler = { kind = "custom", file = "two.py" }
    over = ["rows"]
    format = "parquet"
    encryption = { key = "env:LABELS_KEY" }
    [labels.agreed]
    labeler = { kind = "merge", of = ["labels.one", "labels.two"], by = "dawid_skene" }
    over = ["rows"]
    format = "parquet"
    encryption = { key = "env:LABELS_KEY" }
    [select.unsure]
    of = "pools.rows"
    rows = 20
    by = { kind = "uncertain", labels = "one", measure = "margin" }
"""


def new_key():
    return base64.b64encode(np.random.default_rng().bytes(32)).decode()


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.setenv("LABELS_KEY", new_key())
    draw = np.random.default_rng(5)
    x, y = draw.normal(size=(2, 200)).astype(np.float32)
    kind = np.where(x > 0, "no", "yes")
    (tmp_path / "rows").mkdir()
    pq.write_table(pa.table({"x": x, "y": y, "kind": kind}), tmp_path / "rows" / "a.parquet")
    for name, apart in (("one", 0.25), ("two", -0.5)):
        (tmp_path / f"{name}.py").write_text(LABELER.format(name=name, apart=apart), "utf-8")
    return write_job(tmp_path, JOB)


def numbers_in(root):
    """Bytes and texts of what the labels of `one` say, of which each is a number of its own."""
    stored = distill.labels.open(root / "labels/one/v1/rows")
    (table,) = stored.decoded()
    logits = np.array(table["logits"].to_pylist(), np.float32)
    chance = 1 / (1 + np.exp(-(logits[:, 0] - logits[:, 1]).astype(np.float64)))
    found = [each.tobytes() for each in logits.ravel()]
    found += [each.tobytes() for each in np.abs(2 * chance - 1)]
    return found + [repr(float(each))[:8].encode() for each in logits[:, 1]]


def test_what_is_made_of_encrypted_labels_says_what_they_say(job, tmp_path, monkeypatch, caplog):
    loaded = load_job(job)
    with caplog.at_level(logging.INFO):
        for name in ("one", "two", "agreed"):
            label_pool(loaded, name, engine="local")
        list(select_pool_rows(loaded, "unsure", engine="local"))
    root = tmp_path / "root"
    needles = numbers_in(root)
    files = [each for each in root.rglob("*") if each.is_file()]
    for file in files:
        content = file.read_bytes()
        assert not [each for each in needles if each in content], file
    folder = selection_folder(open_storage(str(root)), "unsure")
    scores = chosen_addresses(folder, read_rounds(folder))["score"].to_pylist()
    assert set(scores) == {0.0}
    (tables,) = [
        each.parent for each in files if "agreed" in str(each) and each.name == "done.json"
    ]
    assert "parties are right on" not in caplog.text
    assert b"accuracy" not in (tables / "done.json").read_bytes()
    record = read_record(open_storage(str(tables)))
    (stored,) = tables.glob("*.safetensors")
    assert is_encrypted(stored.read_bytes())
    known = safetensors.numpy.load(read_weights(open_storage(str(tables)), record))
    plain = hashlib.sha256(safetensors.numpy.save(known)).hexdigest()
    assert plain[:16] not in stored.name
    assert plain.encode() not in (tables / "done.json").read_bytes()
    assert known["errors"].shape == (2, 2, 2)
    monkeypatch.setenv("LABELS_KEY", new_key())
    with pytest.raises(StorageError, match=r"the key env:LABELS_KEY is not the one"):
        read_weights(open_storage(str(tables)), record)


def test_commits_say_the_class_of_a_fragments_only_row(job, tmp_path):
    (summary,) = label_pool(load_job(job), "one", engine="local")
    commits = list((tmp_path / "root/labels/one/v1/rows/commits").iterdir())
    assert commits
    assert all(b'"histogram":{}' in each.read_bytes().replace(b" ", b"") for each in commits)
    counts = class_counts(summary.labels, summary.labels.contract)
    assert counts.min() > 0
    assert counts.sum() == 200


def test_a_party_elsewhere_whose_labels_are_encrypted_is_merged_plainly(job, tmp_path):
    loaded = load_job(job)
    for name in ("one", "two"):
        label_pool(loaded, name, engine="local")
    text = JOB[: JOB.index("    [labels.one]")] + (
        "[labels.agreed]\nover = ['rows']\n"
        'labeler = { kind = "merge", of = ["root/labels/one/v1", "root/labels/two/v1"] }\n'
    )
    other = load_job(write_job(tmp_path, text.replace('"root"', '"elsewhere"'), "other.toml"))
    with pytest.raises(ContractError, match=r"a party are encrypted.*`encryption` too"):
        label_pool(other, "agreed", engine="local")
    assert not (tmp_path / "elsewhere" / "labels").exists()


def test_centroids_of_encrypted_labels_are_plain(job, tmp_path):
    text = (
        JOB
        + "    [structure.groups]\n    of = 'labels.one'\n    model = { kind = 'kmeans', k = 2 }\n"
    )
    with pytest.raises(JobError, match=r"structure\.groups\.of.*are encrypted.*would be plain"):
        load_job(write_job(tmp_path, text, "other.toml"))


def test_examples_of_an_evaluation_show_encrypted_labels(job, tmp_path):
    text = JOB[: JOB.index("    [labels.two]")] + (
        "    [evaluate]\n    on = 'rows'\n    teacher = 'one'\n    slices = ['class']\n"
    )
    finished = run_job(load_job(write_job(tmp_path, text, "other.toml")), engine="local")
    assert finished.evaluation.slices
    assert not [each for each in finished.evaluation.slices if each.examples]
