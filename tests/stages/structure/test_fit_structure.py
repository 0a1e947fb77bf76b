"""A structure from a job to its artifact, and on to label sets: with two engines, killed, chained,
and over the values of a label set."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.core.errors import ContractError, PoolError, ResourceError
from distill.engine.local import LocalEngine
from distill.labelers.structure import centres
from distill.plan.plan import Plan
from distill.plan.workspace import Workspace
from distill.pools.features import as_matrix
from distill.pools.row_cache import read_chunk
from distill.run import fit_structures, label_pool, run_job, verify_labels
from distill.stages.structure import fit_structure as stage
from tests.making import stored_outputs
from tests.resolved import label_set
from tests.stages.structure.conftest import arrays

LOOSE = "max_rejected_fraction = 0.9"
AGAIN = """
    [structure.again]
    of = "structure.centre"
    model = { kind = "centre", columns = 4 }
"""
IMAGES = """
    [pools.images]
    path = "images/"
    features = { kind = "image", column = "image", shape = [2, 1, 3] }
    [structure.seen]
    of = "pools.images"
    model = { kind = "centre", columns = 6 }
"""
EMBEDDED = """
    [labels.embedding]
    labeler = { kind = "custom", file = "embedding.py" }
    over = ["rows"]
    max_rejected_fraction = 0.9
    [structure.embedded]
    of = "labels.embedding"
    model = { kind = "centre", columns = 4 }
    [labels.soft]
    labeler = { kind = "structure", structure = "embedded", gives = "soft" }
    over = ["rows"]
    max_rejected_fraction = 0.9
"""


def fit(job, name=None, engine="local"):
    return {each.name: each for each in fit_structures(job, name, engine=engine)}


def centred(values):
    usable = values[np.isfinite(values).all(axis=1)].astype(np.float64)
    return usable.mean(axis=0), usable.std(axis=0)


def test_a_structure_differs_from_one_fitted_at_once(structure_job, caplog):
    caplog.set_level(logging.INFO)
    job, values = structure_job()
    found = fit(job)["structure.centre"]
    mean, deviation = centred(values)
    np.testing.assert_allclose(arrays(job, "centre")["mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(arrays(job, "centre")["deviation"], deviation, rtol=1e-6)
    assert found.now
    assert found.record.details["rows"] == [238]
    assert found.record.details["left_out"] == 2
    assert "pass 2 (deviation): 238 rows" in caplog.text
    assert "2 rows left out" in caplog.text


def test_images_are_seen_in_another_order_than_models_see_them(structure_job, tmp_path):
    images = np.random.default_rng(0).integers(256, size=(40, 2, 1, 3), dtype=np.uint8)
    (tmp_path / "images").mkdir()
    column = pa.FixedSizeListArray.from_arrays(pa.array(images.ravel()), 6)
    pq.write_table(pa.table({"image": column}), tmp_path / "images" / "part.parquet")
    job, _ = structure_job(IMAGES)
    fit(job, "seen")
    due = as_matrix(images).mean(axis=0)
    np.testing.assert_allclose(arrays(job, "seen")["mean"], due, rtol=1e-6)


def test_a_finished_structure_is_fitted_again(structure_job, monkeypatch):
    job, _ = structure_job()
    fit(job)
    monkeypatch.setattr(LocalEngine, "fold", None)
    assert not fit(job)["structure.centre"].now


class KilledError(Exception):
    pass


@pytest.mark.parametrize("calls", [1, 3, 5, 6, 9])
def test_a_fit_that_is_killed_comes_to_something_else(structure_job, monkeypatch, calls):
    """Five chunks a pass: within the first, between the two, and within the second."""
    job, _ = structure_job()
    left = calls
    gather = stage._Pass.__call__

    def killed(this, chunk):
        nonlocal left
        left -= 1
        if left < 0:
            raise KilledError
        return gather(this, chunk)

    fit_killed(job, monkeypatch, stage._Pass, "__call__", killed)
    stored = list(Path(job.root_uri).glob("structures/centre/*/passes/*.json"))
    assert len(stored) == (calls >= 5)
    seen = []

    def counted(this, chunk):
        seen.append(this.state.passes)
        return gather(this, chunk)

    monkeypatch.setattr(stage._Pass, "__call__", counted)
    resumed = fit(job)["structure.centre"].record.sha256
    assert set(seen) == ({1} if stored else {0, 1})
    whole = job.model_copy(update={"root": f"{job.root_uri}-whole"})
    whole._folder = job.folder
    assert fit(whole)["structure.centre"].record.sha256 == resumed


def test_a_fit_killed_before_its_record_goes_over_the_rows_again(structure_job, monkeypatch):
    job, _ = structure_job()
    fit_killed(job, monkeypatch, stage, "write_record", _killed)
    monkeypatch.setattr(LocalEngine, "fold", None)
    assert fit(job)["structure.centre"].now


def _killed(*_):
    raise KilledError


def fit_killed(job, monkeypatch, owner, name, killed):
    """Fit, and be killed where `killed` stands in for something."""
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, killed)
        with pytest.raises(KilledError):
            fit(job)


def test_a_damaged_pass_stops_a_fit_for_ever(structure_job, monkeypatch, caplog):
    job, _ = structure_job()
    fit_killed(job, monkeypatch, stage, "write_record", _killed)
    (second,) = Path(job.root_uri).glob("structures/centre/*/passes/000002.json")
    second.write_bytes(second.read_bytes()[:-9])
    assert fit(job)["structure.centre"].now
    assert "The pass before it is taken" in caplog.text


def test_a_structure_on_another_sees_the_rows_themselves(structure_job):
    job, _ = structure_job(AGAIN)
    assert list(fit(job)) == ["structure.centre", "structure.again"]
    np.testing.assert_allclose(arrays(job, "again")["mean"], np.zeros(4), atol=1e-6)
    np.testing.assert_allclose(arrays(job, "again")["deviation"], np.ones(4), rtol=1e-5)


def test_a_structure_is_fitted_before_the_one_below_it(structure_job):
    job, _ = structure_job(AGAIN)
    with pytest.raises(ContractError, match=r"structure.centre is not fitted yet.*distill structu"):
        fit(job, "again")
    fit(job, "centre")
    assert list(fit(job, "again")) == ["structure.again"]


def test_a_structure_over_labels_sees_the_pool_or_rejected_rows(structure_job):
    job, values = structure_job(EMBEDDED)
    run_job(job, engine="local")
    embedding = values[:, :1] + values
    embedding[values[:, 0] > 1.5] = np.nan
    mean, deviation = centred(embedding)
    found = arrays(job, "embedded")
    np.testing.assert_allclose(found["mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(found["deviation"], deviation, rtol=1e-6)
    known = np.isfinite(embedding).all(axis=1)
    soft = label_set(job, "soft", "rows")
    assert soft.entries.rejected == np.sum(~known)
    labelled = (embedding[known] - mean) / deviation
    np.testing.assert_allclose(stored_outputs(soft)[known], labelled, rtol=1e-4, atol=1e-5)
    assert soft.contract.classes == ("0", "1", "2", "3")
    assert not any(each.problems for each in verify_labels(job, canaries=2))


def test_a_chain_on_finished_labels_opens_the_pool(structure_job):
    job, _ = structure_job(EMBEDDED)
    fit(job, "centre")
    label_pool(job, "embedding", engine="local")
    for file in (job.folder / "rows").iterdir():
        listed = file.stat()
        file.write_bytes(bytes(listed.st_size))
        os.utime(file, ns=(listed.st_atime_ns, listed.st_mtime_ns))
    fit(job, "embedded")
    (summary,) = label_pool(job, "soft", engine="local")
    assert summary.labelled_now == 5
    with pytest.raises(PoolError):
        read_chunk(Workspace(job).pool("rows").inventory, 0, range(5), ("pixels",))


def test_a_structure_is_fitted_on_part_of_a_label_set(structure_job):
    job, _ = structure_job(EMBEDDED)
    with pytest.raises(ContractError, match=r"labels\.embedding"):
        fit(job, "embedded")


def test_labels_of_another_structure_are_taken_for_its_own(structure_job):
    """The contract pins weights of the whole chain, and what is given."""
    table = """
    [labels.{name}]
    labeler = {{ kind = "structure", structure = "{structure}", gives = "{gives}" }}
    over = ["rows"]
    """
    named = [("one", "centre", "coordinates"), ("two", "centre", "soft"), ("on", "again", "soft")]
    more = AGAIN + "".join(
        table.format(name=name, structure=structure, gives=gives)
        for name, structure, gives in named
    )
    job, _ = structure_job(more)
    fit(job)
    contracts = [Plan(job).labels(name).contract for name, _, _ in named]
    assert len({contract.revision for contract in contracts}) == 3
    assert [contract.kind for contract in contracts] == ["value", "logits", "logits"]
    (record,) = [part.record for part in Plan(job).labels("on").recipe.parts()]
    assert record.name == "centre"


def test_rows_too_few_once_bad_ones_are_left_out(structure_job):
    job, _ = structure_job()
    model = job.structure["centre"].model.model_copy(update={"least": 239})
    job.structure["centre"] = job.structure["centre"].model_copy(update={"model": model})
    with pytest.raises(PoolError, match=r"least = 239: there are 238 rows.*2 could not be used"):
        fit(job)
    assert not list(Path(job.root_uri).glob("structures/centre/*/passes/*"))


def test_a_pool_without_a_usable_row_has_a_structure(structure_job):
    job, _ = structure_job(shard_rows=(30,), spoilt=range(30))
    with pytest.raises(PoolError, match="none of its 30 rows can be used"):
        fit(job)


CLUSTERS = """
    [structure.groups]
    of = "pools.rows"
    model = { kind = "kmeans", k = 3 }
    compute = { gpus = GPUS }
"""


def test_a_fit_computes_elsewhere_than_the_engine_says(structure_job, monkeypatch):
    job, _ = structure_job(CLUSTERS.replace("GPUS", '"auto"'))
    fit(job, "groups")
    due = arrays(job, "groups")
    assert not called_on(monkeypatch)
    other = job.model_copy(update={"root": f"{job.root_uri}-there"})
    other._folder = job.folder
    monkeypatch.setattr(stage, "current_device", lambda: "cpu:0")
    devices = called_on(monkeypatch)
    fit(other, "groups")
    assert set(devices) == {"cpu:0"}
    found = arrays(other, "groups")
    np.testing.assert_array_equal(found["counts"], due["counts"])
    np.testing.assert_allclose(found["centres"], due["centres"], rtol=1e-5, atol=1e-6)


def called_on(monkeypatch):
    """The devices on which sums by centre are computed from now on."""
    devices = []
    real = centres.sums_on_device

    def noting(shifted, offsets, device):
        devices.append(device)
        return real(shifted, offsets, device)

    monkeypatch.setattr(centres, "sums_on_device", noting)
    return devices


def test_one_process_fits_without_the_gpu_that_was_asked_for(structure_job):
    job, _ = structure_job(CLUSTERS.replace("GPUS", "1"))
    with pytest.raises(ResourceError, match=r"compute\.gpus = 1: a GPU is what only Ray gives"):
        fit(job, "groups")
