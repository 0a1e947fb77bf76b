"""PCA against scikit-learn's, however rows are cut, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA

from distill.core.errors import JobError, PoolError
from distill.labelers.structure.pca import EXACT_WIDTH, Pca
from tests.labelers.structure.passes import KEY, details_of, fitted

ROWS, WIDTH, COMPONENTS = 900, 24, 5


def pca(components=COMPONENTS, **keys):
    return Pca(kind="pca", components=components, **keys)


@pytest.fixture(scope="module")
def x():
    """Rows whose columns hang together, far from the origin."""
    draw = np.random.default_rng(0)
    mixed = draw.normal(size=(ROWS, WIDTH)) @ draw.normal(size=(WIDTH, WIDTH))
    return (mixed * 2.0 ** -np.arange(WIDTH) + 30).astype(np.float32)


def as_sklearn(x, **keys):
    return PCA(COMPONENTS, svd_solver="full", **keys).fit(x.astype(np.float64))


def signed(components):
    """Rows with their largest number positive, as ours are."""
    largest = np.abs(components).argmax(axis=1)
    return np.sign(components[np.arange(len(components)), largest])


@pytest.mark.parametrize("whiten", [False, True])
def test_exact_is_scikit_learns(x, whiten):
    ours = fitted(pca(whiten=whiten), x, ends=(7, 500))
    theirs = as_sklearn(x, whiten=whiten)
    signs = signed(theirs.components_)
    assert_allclose(ours.arrays["components"], theirs.components_ * signs[:, None], atol=1e-5)
    assert_allclose(ours.arrays["variance"], theirs.explained_variance_, rtol=1e-5)
    due = theirs.transform(x.astype(np.float64)) * signs
    assert_allclose(ours.transform(x, "coordinates"), due, atol=1e-5 * np.abs(due).max())
    details = ours.plain["details"]
    ratio = theirs.explained_variance_ratio_
    assert_allclose(details["explained_variance_ratio"], ratio, rtol=1e-5)


def test_randomized_is_scikit_learns_exact_one(x):
    ours = fitted(pca(solver="randomized", passes=6), x, ends=(7, 500))
    theirs = as_sklearn(x)
    due = theirs.components_ * signed(theirs.components_)[:, None]
    assert_allclose(ours.arrays["components"], due, atol=1e-5)
    assert_allclose(ours.arrays["variance"], theirs.explained_variance_, rtol=1e-5)


@pytest.mark.parametrize("solver", ["exact", "randomized"])
@pytest.mark.parametrize("ends", [(1, 2, 3), (450,), tuple(range(10, ROWS, 10)), (ROWS,)])
def test_any_cut_into_chunks_gives_the_same(x, solver, ends):
    """The last cut leaves an empty chunk."""
    model = pca(solver=solver)
    whole = fitted(model, x)
    cut = fitted(model, x, ends=ends)
    for name, array in whole.arrays.items():
        assert_allclose(cut.arrays[name], array, rtol=1e-6, atol=1e-6)


def test_rows_far_from_the_origin_lose_no_digits(x):
    near = fitted(pca(), x)
    rows = x.astype(np.float64) - x.mean(axis=0)
    far = rows + 4_096.0
    moved = fitted(pca(), far.astype(np.float32), ends=(100,))
    assert_allclose(moved.arrays["components"], near.arrays["components"], atol=2e-4)
    due = near.transform(x, "coordinates")
    given = moved.transform(far.astype(np.float32), "coordinates")
    assert_allclose(given, due, atol=5e-3)


def test_a_row_is_transformed_alike_alone(x):
    structure = fitted(pca(), x)
    all_rows = structure.transform(x, "coordinates")
    alone = np.concatenate([structure.transform(row[None], "coordinates") for row in x[:20]])
    assert_allclose(alone, all_rows[:20], atol=1e-4)


def test_constant_and_equal_columns_are_named_and_give_no_nan(x):
    rows = x[:, [0, 1, 0, 2, 3, 3]].copy()
    rows[:, 3] = 7
    for solver in ("exact", "randomized"):
        structure = fitted(pca(components=6, whiten=True, solver=solver), rows, ends=(11,))
        details = structure.plain["details"]
        assert details["constant_columns"] == 1
        assert details["first_constant_columns"] == [3]
        assert details["equal_columns"] == 2
        assert details["first_equal_columns"] == [[0, 2], [4, 5]]
        assert details["directions_with_variance"] == 3
        coordinates = structure.transform(rows, "coordinates")
        assert np.isfinite(coordinates).all()
        assert (coordinates[:, 3:] == 0).all()


def test_components_are_orthonormal_where_rows_have_fewer_directions(x):
    flat = np.repeat(x[:, :1], WIDTH, axis=1)
    for solver in ("exact", "randomized"):
        components = fitted(pca(solver=solver), flat).arrays["components"]
        assert_allclose(components @ components.T, np.eye(COMPONENTS), atol=1e-9)


def test_equal_rows_are_refused_by_name(x):
    equal = np.repeat(x[:1], 10, axis=0)
    with pytest.raises(PoolError, match=f"{KEY}: all 10 rows are equal in all 24 columns"):
        fitted(pca(), equal)


def test_no_usable_row_is_refused_by_name():
    fit = pca().fit(0, KEY)
    state = fit.begin(WIDTH, 100)
    empty = fit.partial(state, np.empty((0, WIDTH), np.float32), np.empty(0, np.int64))
    with pytest.raises(PoolError, match="not one row is usable"):
        fit.update(state, empty)


def test_fewer_usable_rows_than_components_are_refused(x):
    fit = pca().fit(0, KEY)
    state = fit.begin(WIDTH, 100)
    with pytest.raises(PoolError, match="components = 5, but only 3 rows are usable"):
        fit.update(state, fit.partial(state, x[:3], np.arange(3)))


def test_more_components_than_columns_are_refused_before_work():
    with pytest.raises(JobError, match=f"{KEY}.model.components = 5: a row has 3 numbers"):
        pca().fit(0, KEY).begin(3, 100)


def test_too_wide_a_covariance_is_refused_before_work():
    with pytest.raises(JobError, match='Set solver = "randomized"'):
        pca().fit(0, KEY).begin(EXACT_WIDTH + 1, 100)


def test_a_statistic_does_not_grow_with_the_rows(x):
    fit = pca().fit(0, KEY)
    state = fit.begin(WIDTH, len(x))
    few = fit.partial(state, x[:10], np.arange(10))
    many = fit.partial(state, x, np.arange(len(x)))
    assert few["scatter"].product.nbytes == many["scatter"].product.nbytes


def test_passes_of_randomized_explain_more_and_more(x):
    passes = details_of(pca(solver="randomized", passes=6), x)["passes"]
    explained = [each["explained"] for each in passes if "explained" in each]
    assert len(passes) == 6
    assert explained[-1] > 0.99
    # of the components alone, in each pass, though more directions are turned
    assert explained == pytest.approx(sorted(explained), abs=1e-9)
