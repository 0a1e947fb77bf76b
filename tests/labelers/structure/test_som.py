"""Self-organising maps: errors beside torchsom's, however rows are cut, what they give and refuse."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pydantic import ValidationError
from sklearn.datasets import load_digits

from distill.core.errors import PoolError
from distill.labelers.structure.kind import load_structure
from distill.labelers.structure.som import Som
from tests.labelers.structure.passes import KEY, details_of, fitted, next_state

ROWS, COLUMNS = 8, 6
UNITS = ROWS * COLUMNS


def som(**keys):
    return Som(kind="som", **{"rows": ROWS, "columns": COLUMNS, **keys})


@pytest.fixture(scope="module")
def x():
    digits = load_digits().data[:600]
    scaled = (digits - digits.mean(axis=0)) / (digits.std(axis=0) + 1e-9)
    return scaled.astype(np.float32)


TORCHSOM = {
    ("rectangular", 1.0): (4.7893, 0.0633),
    ("rectangular", 2.5): (5.3129, 0.0067),
    ("hexagonal", 1.0): (4.9583, 0.0617),
    ("hexagonal", 2.5): (5.3532, 0.0283),
}
"""By grid and sigma: the quantization and topographic error that torchsom 1.3.1 ends at on `x`, after
ten epochs from its start by PCA. Where torchsom is installed, a test finds them anew."""


@pytest.mark.parametrize("case", TORCHSOM)
def test_errors_are_no_more_than_torchsoms(x, case):
    grid, sigma = case
    last_radius = {1.0: 0.55, 2.5: 1.0}[sigma]
    structure = fitted(som(grid=grid, passes=10, last_radius=last_radius), x)
    details = structure.plain["details"]
    found = (details["quantization_error"], details["topographic_error"])
    assert_allclose(found, plain_errors(x, structure), atol=1e-4)
    assert (np.array(found) <= 1.05 * np.array(TORCHSOM[case])).all()


def plain_errors(x, structure):
    """Both errors in plain numpy, neighbours by the definition of each grid."""
    units = structure.arrays["units"].astype(np.float64)
    apart = np.linalg.norm(x[:, None] - units, axis=2)
    nearest, second = np.argsort(apart, axis=1)[:, :2].T
    row, column = np.divmod(np.arange(UNITS), COLUMNS)
    if structure.plain["grid"] == "rectangular":
        steps = np.maximum(abs(row[nearest] - row[second]), abs(column[nearest] - column[second]))
    else:  # in axial coordinates of a grid whose odd rows lie to the right
        down = row[second] - row[nearest]
        axial = column - (row - row % 2) // 2
        along = axial[second] - axial[nearest]
        steps = np.max([abs(along), abs(down), abs(along + down)], axis=0)
    return apart.min(axis=1).mean(), (steps > 1).mean()


@pytest.mark.parametrize("case", TORCHSOM)
@pytest.mark.filterwarnings("ignore")
def test_torchsom_ends_elsewhere_than_is_written_here(x, case):
    torchsom = pytest.importorskip("torchsom")
    import torch
    from torchsom.utils.distances import DISTANCE_FUNCTIONS
    from torchsom.utils.metrics import calculate_quantization_error, calculate_topographic_error

    grid, sigma = case
    shape = (ROWS, COLUMNS, x.shape[1])
    keys = {"epochs": 10, "batch_size": 32, "sigma": sigma, "topology": grid, "device": "cpu"}
    theirs = torchsom.SOM(*shape, **keys)
    rows = torch.from_numpy(x)
    theirs.initialize_weights(rows, mode="pca")
    # its own error functions loop over rows in each batch of its training
    theirs.quantization_error = theirs.topographic_error = lambda _batch: 0.0
    theirs.fit(rows, verbose=False)
    units = theirs.weights.data
    distance = DISTANCE_FUNCTIONS["euclidean"]
    quantization = calculate_quantization_error(rows, units, distance)
    topographic = calculate_topographic_error(rows, units, distance, grid)
    assert_allclose((quantization, topographic), TORCHSOM[case], rtol=0.01, atol=0.002)


@pytest.mark.parametrize("ends", [(1, 2, 3), tuple(range(50, 600, 50)), (300, 300)])
@pytest.mark.parametrize("grid", ["rectangular", "hexagonal"])
def test_any_cut_into_chunks_gives_the_same(x, ends, grid):
    whole = fitted(som(grid=grid, passes=6), x)
    cut = fitted(som(grid=grid, passes=6), x, ends=ends)
    assert_allclose(cut.arrays["units"], whole.arrays["units"], rtol=1e-6, atol=1e-5)
    assert_array_equal(cut.arrays["hits"], whole.arrays["hits"])


def test_a_pass_is_the_batch_algorithm(x):
    """w_j = Σ_i h(j, i) x_i / Σ_i h(j, i) over rows, i being the unit of each row."""
    fit = som(grid="rectangular").fit(0, KEY)
    before = next_state(fit, fit.begin(x.shape[1], len(x)), x)
    after = next_state(fit, before, x)
    units = before.arrays["offsets"] + before.arrays["shift"]
    apart = np.linalg.norm(x[:, None].astype(np.float64) - units, axis=2)
    row, column = np.divmod(np.arange(UNITS), COLUMNS)
    position = np.stack([column, row], axis=1)
    mine = position[apart.argmin(axis=1)]
    between = ((position[:, None] - mine) ** 2).sum(axis=2)
    weights = np.exp(-between / (2 * 2.0**2))
    due = weights @ x / weights.sum(axis=1, keepdims=True)
    assert_allclose(after.arrays["offsets"] + after.arrays["shift"], due, atol=1e-4)
    assert_allclose(after.measures[-1]["quantization_error"], apart.min(axis=1).mean(), rtol=1e-5)


def test_the_radius_falls_by_one_factor_a_pass(x):
    passes = details_of(som(passes=5), x)["passes"]
    radius = [each["radius"] for each in passes if "radius" in each]
    assert_allclose(radius, 2.0 * (0.55 / 2.0) ** np.linspace(0, 1, 5))


def test_it_begins_on_the_plane_of_the_principal_components(x):
    from sklearn.decomposition import PCA

    flat = x[:, [20, 30]] @ np.random.default_rng(0).normal(size=(2, 12)).astype(np.float32)
    fit = som(grid="rectangular").fit(0, KEY)
    state = next_state(fit, fit.begin(12, len(flat)), flat)
    units = state.arrays["offsets"] + state.arrays["shift"]
    theirs = PCA(2).fit(flat)
    coordinates = theirs.transform(units)
    deviation = np.sqrt(theirs.explained_variance_)
    assert_allclose(np.abs(coordinates).max(axis=0), deviation, rtol=0.01)
    back = theirs.inverse_transform(coordinates)
    assert_allclose(back, units, atol=1e-3)


def test_what_it_gives_of_a_row(x):
    structure = fitted(som(), x)
    apart = np.linalg.norm(x[:, None] - structure.arrays["units"], axis=2)
    unit = apart.argmin(axis=1)
    assert_array_equal(structure.transform(x, "unit")[:, 0], unit)
    assert_allclose(structure.transform(x, "position"), structure.arrays["position"][unit])
    assert_array_equal(structure.arrays["hits"], np.bincount(unit, minlength=UNITS))
    for gives in som().gives:
        assert structure.transform(x, gives).shape[1] == som().output(gives).width


def test_the_u_matrix_is_the_mean_distance_to_the_six_around(x):
    structure = fitted(som(grid="hexagonal"), x)
    units = structure.arrays["units"].reshape(ROWS, COLUMNS, -1).astype(np.float64)
    # unit (2, 2) is in an even row, which lies half a unit to the left
    around = [(2, 1), (2, 3), (1, 1), (1, 2), (3, 1), (3, 2)]
    apart = [np.linalg.norm(units[2, 2] - units[each]) for each in around]
    found = structure.arrays["u_matrix"].reshape(ROWS, COLUMNS)[2, 2]
    assert_allclose(found, np.mean(apart), rtol=1e-3)


def test_it_is_loaded_from_what_was_stored(x):
    structure = fitted(som(), x)
    again = load_structure(dict(structure.arrays), json.loads(json.dumps(structure.plain)))
    assert_array_equal(again.transform(x, "position"), structure.transform(x, "position"))


@pytest.mark.parametrize("shape", [(1, 12), (12, 1), (2, 1)])
def test_a_line_of_units_is_a_map_too(x, shape):
    rows, columns = shape
    details = details_of(som(rows=rows, columns=columns, passes=8), x)
    assert np.isfinite(details["quantization_error"])


def test_rows_of_one_number_have_a_map(x):
    structure = fitted(som(passes=8), x[:, 20:21])
    assert np.isfinite(structure.arrays["units"]).all()


def test_constant_columns_are_named_and_give_no_nan(x):
    structure = fitted(som(passes=8), x)
    assert structure.plain["details"]["first_constant_columns"][0] == 0
    assert all(np.isfinite(array).all() for array in structure.arrays.values())


def test_equal_rows_are_refused_by_name(x):
    with pytest.raises(PoolError, match=f"{KEY}: all 9 rows are equal"):
        fitted(som(), np.repeat(x[:1], 9, axis=0))


def test_a_map_of_one_unit_is_refused():
    with pytest.raises(ValidationError, match="a map has 2 to 10,000"):
        som(rows=1, columns=1)


def test_a_worker_needs_no_table_of_all_pairs_of_units(x):
    """Of 10,000 units it took 2.4 GB of each."""
    fit = som(rows=40, columns=40).fit(0, KEY)
    state = next_state(fit, fit.begin(x.shape[1], len(x)), x)
    fresh = som(rows=40, columns=40).fit(0, KEY)
    tracemalloc.start()
    fresh.partial(state, x, np.arange(len(x)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_600**2 * 8
