"""k-means against scikit-learn's, however rows are cut, what it gives, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, make_blobs
from sklearn.metrics import davies_bouldin_score, silhouette_score

from distill.core.errors import JobError, PoolError
from distill.labelers.structure.base import State
from distill.labelers.structure.kind import load_structure
from distill.labelers.structure.kmeans import Kmeans
from tests.labelers.structure.passes import KEY, details_of, fitted, next_state

CUTS = [(1, 2, 3), tuple(range(100, 1700, 100)), (900, 900)]


def kmeans(k, **keys):
    return Kmeans(kind="kmeans", k=k, **keys)


@pytest.fixture(scope="module")
def digits():
    return load_digits().data.astype(np.float32)


@pytest.fixture(scope="module")
def blobs():
    """Rows of twelve groups, far from the origin."""
    x, _ = make_blobs(3_000, 8, centers=12, cluster_std=1.5, random_state=0)
    return (x + 500).astype(np.float32)


def from_centres(model, x, centres):
    """What comes of passes that begin at these centres."""
    fit = model.fit(0, KEY)
    looked = next_state(fit, fit.begin(x.shape[1], len(x)), x)
    offsets = centres - looked.arrays["shift"]
    arrays = {**looked.arrays, "offsets": offsets.astype(np.float32)}
    state = State(arrays, {**looked.plain, "phase": "means"})
    while not state.done:
        state = next_state(fit, state, x)
    return fit.finish(state)


@pytest.mark.parametrize("k", [10, 60])
def test_from_the_same_centres_it_ends_where_scikit_learn_does(digits, k):
    start = digits[np.random.default_rng(0).permutation(len(digits))[:k]]
    ours = from_centres(kmeans(k, passes=100), digits, start)
    theirs = KMeans(k, init=start, n_init=1, max_iter=100).fit(digits.astype(np.float64))
    inertia = ours.plain["details"]["inertia"]
    assert inertia <= 1.02 * theirs.inertia_
    assert_allclose(inertia, theirs.inertia_, rtol=2e-3)


@pytest.mark.parametrize("k", [10, 60])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_from_its_own_start_it_is_as_good_as_scikit_learns(digits, k, seed):
    inertia = details_of(kmeans(k), digits, seed=seed)["inertia"]
    theirs = [KMeans(k, n_init=1, random_state=each).fit(digits).inertia_ for each in range(5)]
    assert inertia <= 1.05 * np.mean(theirs)


def test_it_finds_groups_far_from_the_origin(blobs):
    theirs = KMeans(12, n_init=10, random_state=0).fit(blobs.astype(np.float64))
    assert details_of(kmeans(12), blobs)["inertia"] <= 1.02 * theirs.inertia_


@pytest.mark.parametrize("ends", CUTS)
@pytest.mark.parametrize("keys", [{}, {"start": "random"}, {"sample_fraction": 0.3}, {"levels": 2}])
def test_any_cut_into_chunks_gives_the_same(digits, ends, keys):
    model = kmeans(40, passes=6, **keys)
    whole = fitted(model, digits)
    cut = fitted(model, digits, ends=ends)
    assert_allclose(cut.arrays["centres"], whole.arrays["centres"], rtol=1e-6, atol=1e-5)
    assert_array_equal(cut.arrays["counts"], whole.arrays["counts"])


def test_another_seed_begins_elsewhere(digits):
    first = fitted(kmeans(10, passes=1), digits, seed=0)
    second = fitted(kmeans(10, passes=1), digits, seed=1)
    assert not np.allclose(first.arrays["centres"], second.arrays["centres"])


def test_a_state_that_was_stored_goes_on_to_the_same_end(digits):
    model = kmeans(20, passes=4)
    fit = model.fit(0, KEY)
    state = fit.begin(64, len(digits))
    while not state.done:
        plain = json.loads(json.dumps(state.plain))
        state = next_state(fit, State(dict(state.arrays), plain), digits)
    whole = fitted(model, digits)
    assert_array_equal(fit.finish(state).arrays["centres"], whole.arrays["centres"])


def test_inertia_falls_with_each_pass_and_is_the_rows_own(digits):
    structure = fitted(kmeans(20), digits)
    details = structure.plain["details"]
    inertia = [each["inertia"] for each in details["passes"] if each["phase"] == "means"]
    assert inertia == sorted(inertia, reverse=True)
    nearest = structure.transform(digits, "cluster")[:, 0].astype(int)
    apart = digits.astype(np.float64) - structure.arrays["centres"][nearest]
    assert_allclose(details["inertia"], (apart**2).sum(), rtol=1e-5)
    assert details["passes"][-1]["inertia"] == details["inertia"]


def test_what_it_gives_of_a_row(digits):
    structure = fitted(kmeans(20), digits)
    centres = structure.arrays["centres"].astype(np.float64)
    apart = np.linalg.norm(digits[:, None].astype(np.float64) - centres, axis=2)
    assert_allclose(structure.transform(digits, "distances"), apart, rtol=1e-4)
    assert_array_equal(structure.transform(digits, "cluster")[:, 0], apart.argmin(axis=1))
    scale = structure.plain["details"]["inertia"] / len(digits)
    assert_allclose(structure.transform(digits, "soft"), -(apart**2) / scale, rtol=1e-4)
    for gives in kmeans(20).gives:
        assert structure.transform(digits, gives).shape[1] == kmeans(20).output(gives).width
        assert structure.transform(digits, gives).dtype == np.float32


def test_it_is_loaded_from_what_was_stored(digits):
    structure = fitted(kmeans(20, levels=2, spherical=True), digits)
    plain = json.loads(json.dumps(structure.plain))
    again = load_structure(dict(structure.arrays), plain)
    for gives in ("cluster", "soft", "distances"):
        due = structure.transform(digits, gives)
        assert_array_equal(again.transform(digits, gives), due)


def test_measures_are_scikit_learns(digits):
    structure = fitted(kmeans(10, passes=200, tolerance=0.0), digits)
    details = structure.plain["details"]
    cluster = structure.transform(digits, "cluster")[:, 0]
    # 1,797 rows are all in the sample; centres that move no more are their rows' means
    assert details["silhouette_rows"] == len(digits)
    assert_allclose(details["silhouette"], silhouette_score(digits, cluster), atol=1e-5)
    assert_allclose(details["davies_bouldin"], davies_bouldin_score(digits, cluster), rtol=1e-5)
    counts = np.bincount(cluster.astype(int), minlength=10)
    assert_array_equal(structure.arrays["counts"], counts)
    assert details["fewest_rows"] == counts.min()
    assert details["most_rows"] == counts.max()


def test_spherical_compares_directions_alone(digits):
    lengths = np.random.default_rng(0).uniform(0.5, 50, size=(len(digits), 1))
    scaled = (digits * lengths).astype(np.float32)
    model = kmeans(10, spherical=True)
    plain = fitted(model, digits)
    structure = fitted(model, scaled)
    assert_allclose(structure.arrays["centres"], plain.arrays["centres"], atol=1e-4)
    assert_allclose(np.linalg.norm(structure.arrays["centres"], axis=1), 1, atol=1e-5)
    assert_array_equal(structure.transform(scaled, "cluster"), plain.transform(digits, "cluster"))


def test_a_row_of_zeros_has_a_cluster_though_it_has_no_direction(digits):
    rows = np.concatenate([digits, np.zeros((3, 64), np.float32)])
    structure = fitted(kmeans(10, spherical=True), rows)
    assert np.isfinite(structure.transform(rows, "soft")).all()


def test_mini_batches_end_near_all_rows(blobs):
    whole = details_of(kmeans(12), blobs)
    shares = details_of(kmeans(12, sample_fraction=0.2, passes=40), blobs)
    assert shares["inertia"] <= 1.05 * whole["inertia"]
    counted = [each["rows"] for each in shares["passes"] if each["phase"] == "means"]
    assert 0.15 * len(blobs) < np.mean(counted) < 0.25 * len(blobs)
    assert len(set(counted)) > 1


def test_two_levels_end_near_one(digits):
    one = details_of(kmeans(100), digits)
    two = details_of(kmeans(100, levels=2), digits)
    assert two["inertia"] <= 1.15 * one["inertia"]
    assert two["clusters"] == 100
    assert two["empty_clusters"] == 0


def test_centres_without_rows_move_to_far_ones(blobs):
    centres = np.repeat(blobs[:1], 12, axis=0)
    structure = from_centres(kmeans(12, passes=60), blobs, centres)
    details = structure.plain["details"]
    empty = [each["empty"] for each in details["passes"] if each["phase"] == "means"]
    assert empty[0] == 11
    assert empty[-1] == 0
    assert details["empty_clusters"] == 0


@pytest.mark.parametrize("levels", [1, 2])
def test_far_outliers_of_one_place_take_one_centre(blobs, levels):
    """Were all empty centres moved to the very furthest rows, they would be empty again."""
    far = np.repeat(blobs[:1] + 1_000, 50, axis=0)
    rows = np.concatenate([blobs, far])
    structure = fitted(kmeans(13, levels=levels, start="random", passes=60), rows, ends=(1_000,))
    assert structure.plain["details"]["empty_clusters"] == 0
    assert len(np.unique(structure.transform(far, "cluster"))) == 1


@pytest.mark.parametrize("start", ["k-means||", "random"])
def test_fewer_distinct_rows_than_clusters_are_refused_by_number(blobs, start):
    rows = np.repeat(blobs[:7], 30, axis=0)
    with pytest.raises(PoolError, match=f"{KEY}: k = 9, but there are only 7 distinct rows"):
        fitted(kmeans(9, start=start), rows, ends=(50, 100))


@pytest.mark.parametrize("levels", [1, 2])
def test_clusters_beyond_the_distinct_rows_are_refused_although_means_are_rounded(levels):
    distinct = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)
    rows = np.repeat(distinct, 10, axis=0)
    with pytest.raises(PoolError, match=f"{KEY}: k = 100, but there are only 90 distinct rows"):
        fitted(kmeans(100, levels=levels, start="random"), rows)


def test_rare_rows_that_no_sample_has_are_found_among_many_equal_ones():
    """The start looks at 1,024 of 20,000 rows, which are all equal."""
    rows = np.full((20_000, 4), 7, np.float32)
    rows[-30:] = np.random.default_rng(0).normal(size=(30, 4))
    details = details_of(kmeans(8), rows, ends=(9_000,))
    assert details["empty_clusters"] == 0


def test_rows_of_very_uneven_frequency_are_each_a_centre():
    """Three rounds of k rows each draw the frequent ones time and again."""
    distinct = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    rows = np.repeat(distinct, 3 ** np.arange(10), axis=0)
    structure = fitted(kmeans(10), rows, ends=(9_000,))
    assert_array_equal(np.sort(structure.arrays["counts"]), 3 ** np.arange(10))


@pytest.mark.parametrize("factor", [1e25, 1e-25])
def test_numbers_without_squares_in_float32_are_refused_by_name(blobs, factor):
    with pytest.raises(PoolError, match=f"{KEY}: numbers up to .* have no squares in float32"):
        fitted(kmeans(3), blobs * np.float32(factor))


def test_large_numbers_are_brought_to_length_1(blobs):
    near = fitted(kmeans(3, spherical=True), blobs - 500)
    far = fitted(kmeans(3, spherical=True), (blobs - 500) * np.float32(2.0**90))
    assert_array_equal(far.arrays["counts"], near.arrays["counts"])


def test_rows_of_one_direction_are_refused_where_lengths_do_not_count():
    rows = np.outer(np.arange(1, 300), np.arange(1, 7)).astype(np.float32)
    with pytest.raises(PoolError, match=f"{KEY}: brought to length 1, all 299 rows are equal"):
        fitted(kmeans(3, spherical=True), rows)


@pytest.mark.parametrize("keys", [{}, {"start": "random"}, {"levels": 2}])
def test_as_many_distinct_rows_as_clusters_are_each_a_centre(blobs, keys):
    rows = np.repeat(blobs[:9], 30, axis=0)
    structure = fitted(kmeans(9, **keys), rows, ends=(50, 100))
    assert_allclose(structure.plain["details"]["inertia"], 0, atol=1e-3)
    assert np.isfinite(structure.transform(rows, "soft")).all()
    assert_array_equal(structure.arrays["counts"], np.full(9, 30))


def test_equal_rows_are_refused_by_name(blobs):
    with pytest.raises(PoolError, match=f"{KEY}: all 20 rows are equal"):
        fitted(kmeans(2), np.repeat(blobs[:1], 20, axis=0))


def test_fewer_rows_than_clusters_are_refused_before_work(blobs):
    with pytest.raises(JobError, match=f"{KEY}.model.k = 30: there are 20 rows"):
        kmeans(30).fit(0, KEY).begin(8, 20)


def test_fewer_usable_rows_than_clusters_are_refused(blobs):
    fit = kmeans(30).fit(0, KEY)
    state = fit.begin(8, 100)
    with pytest.raises(PoolError, match=f"{KEY}: k = 30, but only 20 rows are usable"):
        next_state(fit, state, blobs[:20])


def test_constant_and_equal_columns_are_named(blobs):
    rows = blobs[:, [0, 1, 1, 2]].copy()
    rows[:, 0] = 3
    details = details_of(kmeans(4), rows)
    assert details["first_constant_columns"] == [0]
    assert details["first_equal_columns"] == [[1, 2]]


def test_statistics_do_not_grow_with_the_rows(blobs):
    many = np.concatenate([blobs] * 8)
    fit = kmeans(5).fit(0, KEY)
    state = fit.begin(8, len(many))
    while not state.done:
        few = fit.partial(state, blobs, np.arange(len(blobs)))
        all_rows = fit.partial(state, many, np.arange(len(many)))
        if "sample" not in few:
            assert size_of(all_rows) <= size_of(few), state.phase
        state = fit.update(state, all_rows)


def size_of(statistic):
    arrays = [array for part in statistic.values() for array in vars(part).values()]
    return sum(getattr(array, "nbytes", 8) for array in arrays)
