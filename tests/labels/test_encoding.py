from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.errors import ContractError
from distill.labels import decode, encode, label_schema, storable
from distill.labels.encoding import best_class
from tests.making import a_contract, a_topk_contract, a_value_contract


@st.composite
def logits(draw, most_classes=12):
    """(B, C) float32 with ties, and a mask of labelled rows."""
    rows, classes = draw(st.integers(1, 6)), draw(st.integers(1, most_classes))
    number = st.one_of(st.integers(-3, 3).map(float), st.floats(-60, 60, width=32))
    outputs = draw(st.lists(st.lists(number, min_size=classes, max_size=classes), min_size=rows, max_size=rows))
    labelled = draw(st.lists(st.booleans(), min_size=rows, max_size=rows))
    return np.array(outputs, np.float32), np.array(labelled)


def plain_topk(row, k, temperature):
    """One row slowly, in float64: index and log-probabilities of the k largest, ties by class number."""
    row = [float(value) for value in row]
    order = sorted(range(len(row)), key=lambda number: (-row[number], number))[:k]
    normalizer = np.log(sum(np.exp((value - max(row)) / temperature) for value in row)) + max(row) / temperature
    return order, [row[number] / temperature - normalizer for number in order]


@given(logits(), st.sampled_from(["float32", "float16"]), st.booleans())
def test_what_is_stored_densely_reads_back_otherwise(drawn, dtype, is_value):
    outputs, labelled = drawn
    classes = tuple(map(str, range(outputs.shape[1])))
    contract = a_value_contract(outputs.shape[1], dtype) if is_value else a_contract(classes, dtype=dtype)
    table = encode(outputs, labelled, contract)
    read = decode(table, contract)
    assert table.schema == label_schema(contract)
    np.testing.assert_array_equal(read.labelled, labelled)
    np.testing.assert_array_equal(read.outputs[labelled], outputs.astype(dtype).astype(np.float32)[labelled])


@given(logits(), st.data())
def test_topk_differs_from_the_plain_computation(drawn, data):
    outputs, labelled = drawn
    k = data.draw(st.integers(1, outputs.shape[1]))
    temperatures = (1.0, 4.0, 0.5)
    contract = a_topk_contract(outputs.shape[1], k, temperatures)
    table = encode(outputs, labelled, contract)
    for temperature in temperatures:
        read = decode(table, contract, temperature)
        np.testing.assert_array_equal(read.labelled, labelled)
        for row in np.flatnonzero(labelled):
            order, log_probs = plain_topk(outputs[row], k, temperature)
            below_top = outputs[row].max() - outputs[row][read.index[row]]
            np.testing.assert_array_equal(outputs[row][read.index[row]], outputs[row][order])
            assert len(set(read.index[row])) == k
            # fp16 keeps 11 bits of how far a logit lies below the row's largest
            assert (np.abs(read.log_probs[row] - log_probs) <= below_top / temperature * 2**-11 + 2e-5).all()


@given(logits(), st.integers(1, 12))
def test_a_class_stands_first_that_is_not_the_best(drawn, k):
    outputs, labelled = drawn
    contracts = [
        a_contract(tuple(map(str, range(outputs.shape[1])))),
        a_topk_contract(outputs.shape[1], min(k, outputs.shape[1])),
    ]
    for contract in contracts:
        best = best_class(encode(outputs, labelled, contract), contract)
        assert (best[~labelled] == -1).all()
        mine = best[labelled]
        np.testing.assert_array_equal(outputs[labelled, mine], outputs[labelled].max(axis=1))


def test_a_temperature_that_was_not_declared_is_answered_with_wrong_probabilities():
    contract = a_topk_contract(5, 2, (1.0, 4.0))
    table = encode(np.zeros((2, 5), np.float32), np.ones(2, bool), contract)
    for temperature in (2.0, None):
        with pytest.raises(ContractError, match=r"\[1\.0, 4\.0\]"):
            decode(table, contract, temperature)


@pytest.mark.parametrize(
    "contract", [a_contract(), a_contract(dtype="float16"), a_topk_contract(3, 2), a_value_contract(3)]
)
def test_a_rejected_row_disturbs_its_neighbours(contract):
    outputs = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    bad = outputs.copy()
    bad[1], bad[3] = np.nan, np.inf
    labelled = np.array([True, False, True, False, True])
    temperature = 1.0 if contract.encoding == "topk" else None
    alone = decode(encode(outputs[labelled], np.ones(3, bool), contract), contract, temperature)
    among = decode(encode(bad, labelled, contract), contract, temperature)
    for name, values in vars(alone).items():
        np.testing.assert_array_equal(vars(among)[name][labelled], values)
    for values in vars(among).values():
        assert np.isfinite(values).all()  # a weight of 0 times NaN would still be NaN
    nulls = [column.is_null().to_pylist() for column in encode(bad, labelled, contract).columns]
    assert all(each == [False, True, False, True, False] for each in nulls)


@pytest.mark.parametrize(("classes", "width"), [(3, 1), (256, 1), (257, 2), (65_536, 2), (65_537, 4)])
def test_a_class_number_overflows_its_index(classes, width):
    contract = a_topk_contract(classes, 2)
    outputs = np.zeros((2, classes), np.float32)
    outputs[0, classes - 1], outputs[0, 0] = 9, 5
    outputs[1, classes // 2], outputs[1, classes - 1] = 9, 5
    read = decode(encode(outputs, np.ones(2, bool), contract), contract, 1.0)
    np.testing.assert_array_equal(read.index, [[classes - 1, 0], [classes // 2, classes - 1]])
    assert label_schema(contract).field("index").type.byte_width == 2 * width


@given(logits(), st.data())
def test_slices_and_chunks_are_decoded_otherwise_than_the_whole(drawn, data):
    outputs, labelled = drawn
    contract = a_topk_contract(outputs.shape[1], 1)
    table = encode(outputs, labelled, contract)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(table)), max_size=3)) | {0, len(table)})
    parts = [table.slice(start, stop - start) for start, stop in itertools.pairwise(cuts)]
    whole, joined = decode(table, contract, 1.0), decode(pa.concat_tables(parts), contract, 1.0)
    for name, values in vars(whole).items():
        np.testing.assert_array_equal(vars(joined)[name], values)


@pytest.mark.parametrize(
    ("contract", "stored"),
    [
        (a_contract(), [True, True, False, False, False]),
        (a_contract(dtype="float16"), [True, False, False, False, False]),
        (a_value_contract(3, "float16"), [True, False, False, False, False]),
        (a_topk_contract(3, 2), [True, True, False, False, False]),
    ],
)
def test_a_row_that_the_encoding_cannot_hold_is_stored_as_infinity(contract, stored):
    outputs = np.zeros((5, 3), np.float32)
    outputs[:, 1] = [65_504, 65_600, np.nan, np.inf, -np.inf]
    fits = storable(outputs, contract)
    assert fits.tolist() == stored
    read = decode(encode(outputs, fits, contract), contract, 1.0 if contract.k else None)
    for values in vars(read).values():
        assert np.isfinite(values).all()


def test_logits_far_apart_overflow_to_infinity_or_warn():
    contract = a_topk_contract(3, 3, (1.0, 0.5))
    outputs = np.array([[3e38, -3e38, 0], [1e5, 0, -1e5]], np.float32)
    assert storable(outputs, contract).all()
    read = decode(encode(outputs, np.ones(2, bool), contract), contract, 0.5)
    assert np.isfinite(read.log_probs).all()
    np.testing.assert_allclose(np.exp(read.log_probs), [[1, 0, 0], [1, 0, 0]], atol=1e-6)


def test_equal_logits_at_the_border_leave_the_choice_to_the_cpu():
    logits = np.zeros((3, 1000), np.float32)
    logits[1, 500] = 1
    logits[2, 990:] = 1
    contract = a_topk_contract(1000, 7)
    index = decode(encode(logits, np.ones(3, np.bool_), contract), contract, 1.0).index
    assert index.tolist() == [list(range(7)), [500, *range(6)], list(range(990, 997))]
