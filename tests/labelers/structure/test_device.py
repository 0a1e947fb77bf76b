"""What passes compute on a device, by torch's own CPU (`cpu:0`): no GPU, but the same program."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from distill.labelers.structure import device as device_module
from distill.labelers.structure.device import (
    columns_on_device,
    moments_on_device,
    scatter_on_device,
)
from distill.labelers.structure.kind import fit_of, fit_on
from distill.labelers.structure.kmeans import Kmeans
from distill.labelers.structure.parts import columns_of, scatter_of
from distill.labelers.structure.pca import Pca
from distill.labelers.structure.som import Som
from tests.labelers.structure.passes import KEY, fitted

DEVICE = "cpu:0"
DRAW = np.random.default_rng(3)
GROUP = DRAW.integers(6, size=900)
X = (4 * DRAW.normal(size=(6, 12))[GROUP] + DRAW.normal(size=(900, 12))).astype(np.float32)
X[:, 5] = X[:, 2]
X[:, 7] = 3.0


@pytest.fixture(autouse=True)
def in_blocks(monkeypatch):
    """Blocks of some hundred rows, so that there are several."""
    monkeypatch.setattr(device_module, "_DOUBLES", 2_400)
    monkeypatch.setattr(device_module, "_SCORES", 2_000)


class OnDevice:
    """A model whose fit computes on the device."""

    def __init__(self, model):
        self.model = model

    def fit(self, seed, where):
        moved = fit_on(self.model.fit(seed, where), DEVICE)
        assert moved.device == DEVICE
        return moved


def both(model, monkeypatch, x=X):
    """What is found by numpy and on the device."""
    from tests.labelers.structure import passes

    own = fitted(model, x, ends=(100, 500))
    with monkeypatch.context() as patch:
        patch.setattr(passes, "fit_of", lambda model, seed, where: OnDevice(model).fit(seed, where))
        there = fitted(model, x, ends=(100, 500))
    return own, there


@pytest.mark.parametrize("rows", [900, 1, 0])
def test_columns_on_a_device_are_other_ones(rows):
    x, row = X[:rows], np.arange(rows)
    own, there = columns_of(x, row), columns_on_device(x, row, DEVICE)
    assert there.rows == rows
    for name in ("mean", "square", "mark"):
        assert_allclose(getattr(there, name), getattr(own, name), rtol=1e-12, atol=1e-9)
    for name in ("low", "high"):
        assert_array_equal(getattr(there, name), getattr(own, name))
    if rows > 1:
        assert there.duplicates() == own.duplicates() == [(2, 5)]


@pytest.mark.parametrize("rows", [900, 1, 0])
def test_moments_on_a_device_are_not_those_of_columns_and_scatter(rows):
    x, row = X[:rows], np.arange(rows)
    columns, scatter = moments_on_device(x, row, DEVICE)
    apart = columns_on_device(x, row, DEVICE)
    for name in ("mean", "square", "low", "high", "mark"):
        assert_allclose(getattr(columns, name), getattr(apart, name), rtol=1e-9, atol=1e-9)
    assert_allclose(scatter.product, scatter_of(x).product, rtol=1e-10, atol=1e-8)
    assert columns.duplicates() == apart.duplicates()


@pytest.mark.parametrize("directions", [None, np.linalg.qr(DRAW.normal(size=(12, 4)))[0]])
def test_a_scatter_on_a_device_is_another_one(directions):
    own, there = scatter_of(X, directions), scatter_on_device(X, directions, DEVICE)
    assert_allclose(there.product, own.product, rtol=1e-10, atol=1e-8)
    assert_allclose(there.mean, own.mean, rtol=1e-12)


@pytest.mark.parametrize("solver", ["exact", "randomized"])
@pytest.mark.parametrize("whiten", [False, True])
def test_components_found_on_a_device_are_others(solver, whiten, monkeypatch):
    model = Pca(kind="pca", components=4, solver=solver, whiten=whiten)
    own, there = both(model, monkeypatch)
    assert_allclose(there.arrays["variance"], own.arrays["variance"], rtol=1e-9)
    seen = [each.transform(X, "coordinates") for each in (own, there)]
    assert_allclose(seen[1], seen[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"start": "random"},
        {"spherical": True},
        {"sample_fraction": 0.5},
        {"levels": 2, "k": 9},
    ],
)
def test_clusters_found_on_a_device_are_others(table, monkeypatch):
    model = Kmeans(**{"kind": "kmeans", "k": 6, "passes": 8, **table})
    own, there = both(model, monkeypatch)
    assert_allclose(there.arrays["centres"], own.arrays["centres"], rtol=1e-4, atol=1e-4)
    assert_array_equal(there.arrays["counts"], own.arrays["counts"])
    for name in ("inertia", "davies_bouldin", "silhouette"):
        details = [each.plain["details"][name] for each in (own, there)]
        assert details[0] == pytest.approx(details[1], rel=1e-4)


def test_a_map_is_refused_a_device_or_moved_there():
    fit = fit_of(Som(kind="som", rows=2, columns=2), 0, KEY)
    assert fit_on(fit, DEVICE) is fit
    assert not Som.on_gpu
    kmeans = fit_of(Kmeans(kind="kmeans", k=2), 0, KEY)
    assert fit_on(kmeans, "cpu") is kmeans
