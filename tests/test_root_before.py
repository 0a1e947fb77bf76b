"""A root that distill wrote before its house was rebuilt (`tests/fixtures/root_before`) is read,
verified and finished: stored bytes and digests are a promise to those who have paid for labels."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from safetensors.numpy import load_file

import distill.labels
from distill.labels.state import read_state
from distill.plan import workspace
from distill.plan.load import load_job
from distill.run import run_job, status, verify_labels

BEFORE = Path(__file__).parent / "fixtures" / "root_before"
LISTED = 1_700_000_000 * 10**9
"""When every pool file was written, in ns: a local file is known by its size and time."""


@pytest.fixture
def folder(tmp_path):
    copy = shutil.copytree(BEFORE, tmp_path / "before")
    for file in copy.rglob("*.parquet"):
        if "runs" not in file.parts:
            os.utime(file, ns=(LISTED, LISTED))
    return copy


def stored(folder):
    """sha256 of each object under the root, by its path."""
    files = [file for file in (folder / "runs").rglob("*") if file.is_file()]
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def weights(folder):
    """The tensors of each model, by its folder, which is named by the digest of what it is made of."""
    runs = folder / "runs"
    found = {}
    for done in [*runs.glob("fits/*/*/done.json"), *runs.glob("students/*/*/done.json")]:
        (file,) = done.parent.glob("*-weights.safetensors")
        found[str(done.parent.relative_to(folder))] = load_file(file)
    return found


def label_sets(folder):
    """The decoded labels of each label set, by name, version and pool."""
    pools = sorted((folder / "runs" / "labels").glob("*/v1/*"))
    return {pool.parts[-3:]: decoded(distill.labels.open(pool)) for pool in pools}


def decoded(labels):
    temperature = max(labels.contract.temperatures, default=None)
    table = pa.concat_tables(labels.decoded(temperature))
    found = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        found[name] = np.array(
            pc.list_flatten(column) if pa.types.is_nested(column.type) else column
        )
        found[f"{name} is there"] = np.array(column.is_valid())
    return found


def require_same(after, before):
    """Numbers to a unit of rounding: a CPU of another make has another `exp`."""
    assert after.keys() == before.keys()
    for name, columns in before.items():
        assert after[name].keys() == columns.keys()
        for column, values in columns.items():
            if values.dtype.kind == "f":
                np.testing.assert_allclose(after[name][column], values, 1e-5, 1e-6, err_msg=column)
            else:
                assert np.array_equal(after[name][column], values), (name, column)


def test_a_finished_root_is_not_known_and_labelled_or_trained_again(folder):
    job, before = load_job(folder / "job.toml"), stored(folder)
    assert all(line.left == 0 for line in status(job))
    said = []
    finished = run_job(job, said.append, engine="local")
    assert not [line for line in said if "trained now" in line or "labelled now" in line]
    after = stored(folder)
    assert {path: after[path] for path in before} == before
    # what was found out about inputs is kept, and the report is not in the fixture
    new = {path for path in after.keys() - before.keys() if not path.startswith("runs/checks/")}
    assert new == {str(Path(finished.report).relative_to(folder))}


def test_a_finished_run_reads_a_label_set_more_than_once(folder, monkeypatch):
    read = []

    def counted(where, *arguments, **options):
        read.append(where.uri)
        return read_state(where, *arguments, **options)

    monkeypatch.setattr(workspace, "read_state", counted)
    run_job(load_job(folder / "job.toml"), lambda _line: None, engine="local")
    assert len(read) == len(set(read)) == len(label_sets(folder))


def test_an_old_root_is_not_whole_or_its_labeler_is_not_the_one_that_labelled(folder):
    found = verify_labels(load_job(folder / "job.toml"), None, canaries=2)
    assert [each.problems for each in found] == [()] * 6


def test_what_was_begun_by_the_version_before_is_finished_otherwise(folder):
    """Half of it is taken away: what is made anew has the digests, labels and weights of before."""
    labels, models = label_sets(folder), weights(folder)
    runs = folder / "runs"
    shutil.rmtree(runs / "students")
    shutil.rmtree(runs / "fits" / "zero")
    # those that students learn stay: a student's digest has their hashes, to the last bit
    shutil.rmtree(runs / "labels" / "zero" / "v1" / "test")
    for part in ("commits", "manifest", "data"):
        shutil.rmtree(runs / "labels" / "large" / "v1" / "test" / part)
    run_job(load_job(folder / "job.toml"), lambda _line: None, engine="local")
    require_same(label_sets(folder), labels)
    require_same(weights(folder), models)
