"""Looks at fitted structures: what people see of them is what the rows are."""

from __future__ import annotations

import base64
import io
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from distill.engine.select import engine_of
from distill.job.job import Job
from distill.labelers.structure.labeler import read_structure
from distill.plan.plan import Plan
from distill.plan.structure_identity import find_structure
from distill.plan.workspace import Workspace
from distill.run import fit_structures
from distill.stages.structure import look
from distill.stages.structure.look import look_at
from tests.tiny import pixels, tiny_job, write_pool

ROWS = 60
JOB = """
    root = "runs"
    fragment_rows = 64
    [pools.rows]
    path = "rows/"
    features = { kind = "image", column = "picture", shape = [2, 2, 1], encoded = false }
    target = "kind"
    classes = ["low", "high"]
    private = ["secret"]
    [structure.axes]
    of = "pools.rows"
    model = { kind = "pca", components = 2 }
    [structure.groups]
    of = "pools.rows"
    model = { kind = "kmeans", k = 2 }
    [structure.map]
    of = "structure.axes"
    model = { kind = "som", rows = 2, columns = 3, passes = 5 }
"""


@pytest.fixture
def job(tmp_path) -> Job:
    """Two shards of pictures of 2 × 2 pixels, two thirds of them dark; of every tenth no class is
    known. All structures are fitted."""
    folder = tmp_path / "rows"
    folder.mkdir()
    for shard in range(2):
        draw = np.random.default_rng(shard)
        is_high = np.arange(ROWS) % 3 == 0
        level = np.where(is_high, 200, 40)[:, None]
        pixels = (level + draw.integers(0, 30, (ROWS, 4))).astype(np.uint8)
        names = np.where(is_high, "high", "low").astype(object)
        names[::10] = None
        table = {
            "picture": pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), 4),
            "kind": pa.array(names, pa.string()),
            "secret": pa.array(["canary-0451"] * ROWS),
        }
        pq.write_table(pa.table(table), folder / f"part-{shard}.parquet", row_group_size=16)
    made = tiny_job(tmp_path, JOB)
    list(fit_structures(made, engine="local"))
    return made


def looks(job: Job):
    """A look at each structure of the job, by name."""
    engine = engine_of("local")
    return {step.name: look_at(step, engine) for step in Plan(job).looks()}


def test_clusters_hold_the_classes_that_their_rows_have(job: Job) -> None:
    groups = looks(job)["groups"]
    assert [cluster.rows for cluster in groups.clusters] == [80, 40]
    low, high = groups.clusters
    assert (low.classes, high.classes) == ({"low": 72}, {"high": 36})
    assert groups.sample is not None
    assert len(groups.sample.x) == 2 * ROWS
    assert sorted(groups.sample.target) == [-1] * 12 + [0] * 72 + [1] * 36


def test_examples_are_the_rows_nearest_to_the_centre_as_pictures(job: Job, tmp_path) -> None:
    high = looks(job)["groups"].clusters[1]
    shards = [pq.read_table(tmp_path / "rows" / f"part-{n}.parquet")["picture"] for n in range(2)]
    pixels = np.array([shard.to_pylist() for shard in shards], np.float64)
    is_high = pixels.mean(axis=2) > 128
    centre = pixels[is_high].mean(axis=0)
    away = np.where(is_high, ((pixels - centre) ** 2).sum(axis=2), np.inf)
    order = np.argsort(away.ravel(), kind="stable")[:10]
    expected = [(f"part-{place // ROWS}.parquet", int(place % ROWS)) for place in order]
    assert [(example.shard, example.row) for example in high.nearest] == expected
    picture = Image.open(io.BytesIO(base64.b64decode(high.nearest[0].png)))
    shown = np.asarray(picture).ravel()
    np.testing.assert_array_equal(shown, pixels.reshape(-1, 4)[order[0]])


def test_a_map_has_every_row_at_one_unit(job: Job) -> None:
    found = looks(job)["map"]
    assert found.grid is not None
    assert (found.grid.rows, found.grid.columns, sum(found.grid.hits)) == (2, 3, 2 * ROWS)
    assert found.all_clusters == 6
    assert sum(cluster.rows for cluster in found.clusters) == 2 * ROWS
    assert found.measures["quantization_error"] > 0


def test_components_explain_what_they_do_of_all_rows(job: Job) -> None:
    axes = looks(job)["axes"]
    assert axes.measures["explained"] == pytest.approx(sum(axes.explained))
    assert not axes.clusters


def test_private_columns_are_in_no_look(job: Job, tmp_path) -> None:
    looks(job)
    files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert any(path.name.startswith("look-") for path in files)
    assert not [path for path in files if b"canary-0451" in path.read_bytes()]


def test_what_was_looked_at_is_not_read_again(job: Job, tmp_path) -> None:
    looks(job)
    first = looks(job)  # as it is stored
    for path in (tmp_path / "rows").iterdir():
        stat = path.stat()
        path.write_bytes(bytes(stat.st_size))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert looks(job) == first


def test_a_large_pool_is_looked_at_in_part(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "MOST_ROWS", 60)
    monkeypatch.setattr(look, "_CHUNK_ROWS", 16)
    groups = looks(job)["groups"]
    assert groups.sample is not None
    assert 40 <= len(groups.sample.x) <= 80
    assert [cluster.rows for cluster in groups.clusters] == [80, 40]  # the fit's own


SPHERICAL = """
    root = "runs"
    [pools.rows]
    path = "rows/"
    features = { kind = "vector", columns = ["pixels"] }
    [structure.groups]
    of = "pools.rows"
    model = { kind = "kmeans", k = 3, spherical = true }
"""


def test_of_spherical_clusters_examples_are_the_nearest_by_their_cosine(tmp_path) -> None:
    write_pool(tmp_path / "rows", [200])
    job = tiny_job(tmp_path, SPHERICAL)
    list(fit_structures(job, engine="local"))
    values = pixels(pq.read_table(tmp_path / "rows"))
    folder, record = find_structure(Workspace(job), "groups")
    structure = read_structure(folder, record)
    cluster = structure.transform(values, "cluster")[:, 0]
    apart = structure.transform(values, "distances")
    found = looks(job)["groups"]
    for each in found.clusters:
        distance = np.where(cluster == each.number, apart[:, each.number], np.inf)
        expected = np.argsort(distance)[:10].tolist()
        assert [example.row for example in each.nearest] == expected
    assert found.sample is not None
    assert np.abs(found.sample.x).max() <= 2  # of rows of length 1


def test_other_names_of_classes_are_looked_at_again(job: Job, tmp_path) -> None:
    looks(job)
    other = tiny_job(tmp_path, JOB.replace('"low", "high"', '"high", "low"'))
    low, _ = looks(other)["groups"].clusters
    assert low.classes == {"low": 72}
    assert list(looks(other)["groups"].classes) == ["high", "low"]


def test_what_a_fit_lowers_is_no_distance_of_candidates(job: Job) -> None:
    """The start has more candidates than there are clusters, so its distances are shorter."""
    inertia = [each["inertia"] for each in looks(job)["groups"].passes if "inertia" in each]
    assert inertia == sorted(inertia, reverse=True)
    passes = looks(job)["groups"].passes
    assert len([each for each in passes if "candidate_inertia" in each]) >= 1
