"""Drift: rows that come in are held against those that a structure was fitted on."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.core.errors import ContractError, JobError, PoolError
from distill.engine.select import engine_of
from distill.labelers.structure.kmeans_fitted import FittedKmeans
from distill.plan.plan import Plan
from distill.run import run_job
from distill.stages.structure.drift import measure_drift
from tests.command import distill
from tests.stages.structure.conftest import write_rows
from tests.tiny import tiny_job, write_job

JOB = """
    root = "runs"
    [pools.rows]
    path = "rows/"
    features = {{ kind = "vector", columns = ["x", "y"] }}
    [pools.alike]
    path = "alike/"
    [pools.other]
    path = "other/"
    [structure.groups]
    of = "pools.rows"
    model = {{ kind = "kmeans", k = 4 }}
    watch = ["alike", "other"]
    {more}
"""
CORNERS = np.array([[0, 0], [0, 10], [10, 0], [10, 10]], np.float32)


def write_corners(folder, shares, rows=2_000, seed=0):
    """Rows around four corners; returns the corner of each."""
    draw = np.random.default_rng(seed)
    corner = draw.choice(4, rows, p=shares)
    values = CORNERS[corner] + draw.normal(0, 0.5, (rows, 2)).astype(np.float32)
    folder.mkdir()
    pq.write_table(pa.table({"x": values[:, 0], "y": values[:, 1]}), folder / "part-0.parquet")
    return corner


@pytest.fixture
def corners(tmp_path):
    """The three pools, the corner of each of their rows, by pool."""
    even = [0.25, 0.25, 0.25, 0.25]
    return {
        "rows": write_corners(tmp_path / "rows", even),
        "alike": write_corners(tmp_path / "alike", even, seed=1),
        "other": write_corners(tmp_path / "other", [0.7, 0.1, 0.1, 0.1], seed=2),
    }


def test_the_index_is_the_one_of_the_corners_shares(tmp_path, corners) -> None:
    job = tiny_job(tmp_path, JOB.format(more=""))
    run_job(job, say=[].append, engine="local")
    drifts = {step.pool: measure_drift(step, engine_of("local")) for step in Plan(job).drifts()}

    def shares(pool):
        sizes = np.bincount(corners[pool], minlength=4) + 0.5
        return sizes / sizes.sum()

    before = shares("rows")
    for pool in ("alike", "other"):
        now = shares(pool)
        due = ((now - before) * np.log(now / before)).sum()
        assert drifts[pool].index == pytest.approx(due, rel=1e-9)
    assert drifts["alike"].index < 0.02
    assert drifts["other"].index > 0.5
    worst = drifts["other"].worst[0]
    assert worst.now == pytest.approx(0.7, abs=0.05)


def test_a_run_beyond_its_limit_ends_with_3_when_all_is_done(tmp_path, corners) -> None:
    file = write_job(tmp_path, JOB.format(more="most_drift = 0.25"))
    for _ in range(2):  # what is done is told again, and ends alike
        ended = distill("run", str(file), "--local")
        assert ended.code == 3, ended.output
        assert "other drifted by" in ended.output
    assert len(list((tmp_path / "runs" / "structures").rglob("drift-*.json"))) == 2


def test_what_has_no_clusters_cannot_watch(tmp_path, corners) -> None:
    text = JOB.format(more="").replace('"kmeans", k = 4', '"pca", components = 1')
    with pytest.raises(JobError, match="a pca has none"):
        tiny_job(tmp_path, text)


def test_a_limit_without_a_pool_is_refused(tmp_path) -> None:
    text = JOB.format(more="most_drift = 0.1").replace('watch = ["alike", "other"]', "")
    with pytest.raises(JobError, match="watches no pool"):
        tiny_job(tmp_path, text)


def with_features(**of_pools):
    """The job, with features of its pools `alike` and `other`."""
    text = JOB.format(more="")
    for pool in ("alike", "other"):
        features = of_pools.get(pool, '{ kind = "vector", columns = ["x", "y"] }')
        path = f'path = "{pool}/"'
        text = text.replace(path, f"{path}\n    features = {features}")
    return text


def test_a_pool_of_other_rows_is_refused_before_work(tmp_path, corners) -> None:
    job = tiny_job(tmp_path, with_features(other='{ kind = "vector", columns = ["x"] }'))
    with pytest.raises(PoolError, match=r"groups\.watch: a row of other has 1 numbers, and one of"):
        run_job(job, say=[].append, engine="local")
    assert not (tmp_path / "runs" / "structures").exists()


def test_a_pool_of_another_kind_cannot_be_watched(tmp_path, corners) -> None:
    with pytest.raises(JobError, match="other has features of kind 'text', and the structure sees"):
        tiny_job(tmp_path, with_features(other='{ kind = "text", column = "x" }'))


def test_other_columns_of_a_watched_pool_are_measured_again(tmp_path, corners) -> None:
    found = []
    for columns in ('"x", "y"', '"y", "x"'):
        features = f'{{ kind = "vector", columns = [{columns}] }}'
        job = tiny_job(tmp_path, with_features(alike=features))
        run_job(job, say=[].append, engine="local")
        found.append({step.key for step in Plan(job).drifts() if step.pool == "alike"})
    assert found[0].isdisjoint(found[1])


WATCHED = """
    watch = ["more"]
    [pools.more]
    path = "more/"
"""


def test_a_structure_from_outside_cannot_be_watched(structure_job, tmp_path):
    write_rows(tmp_path / "more", [40], spoilt=())
    job, _ = structure_job(WATCHED)
    lines = []
    run_job(job, lines.append, engine="local")
    (line,) = [each for each in lines if "drifted" in each]
    assert line.startswith("structure.centre: more drifted by ")


def test_what_promises_groups_and_tells_none_ends_in_a_bare_error(tmp_path, corners, monkeypatch):
    monkeypatch.setattr(FittedKmeans, "groups", lambda _: None)
    with pytest.raises(ContractError, match="watch: a kmeans says by `has_groups`"):
        run_job(tiny_job(tmp_path, JOB.format(more="")), say=[].append, engine="local")
