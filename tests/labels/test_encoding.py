from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.core.errors import ContractError
from distill.labels.columns import label_schema
from distill.labels.encoding import best_class, decode, encode, storable
from distill.labels.quantize import BELOW, to_gaps, to_logits
from distill.labels.topk import largest
from tests.making import a_contract, a_topk_contract, a_value_contract


@st.composite
def logits(draw, most_classes=12):
    """(B, C) float32 with ties, and a mask of labelled rows."""
    rows, classes = draw(st.integers(1, 6)), draw(st.integers(1, most_classes))
    number = st.one_of(st.integers(-3, 3).map(float), st.floats(-60, 60, width=32))
    outputs = draw(
        st.lists(st.lists(number, min_size=classes, max_size=classes), min_size=rows, max_size=rows)
    )
    labelled = draw(st.lists(st.booleans(), min_size=rows, max_size=rows))
    return np.array(outputs, np.float32), np.array(labelled)


def columns(soft):
    """What soft labels hold."""
    return {name: values for name, values in vars(soft).items() if values is not None}


def plain_topk(row, k, temperature):
    """One row slowly, in float64: index and log-probabilities of the k largest, ties by class
    number."""
    row = [float(value) for value in row]
    order = sorted(range(len(row)), key=lambda number: (-row[number], number))[:k]
    normalizer = (
        np.log(sum(np.exp((value - max(row)) / temperature) for value in row))
        + max(row) / temperature
    )
    return order, [row[number] / temperature - normalizer for number in order]


@given(logits(), st.sampled_from(["float32", "float16"]), st.booleans())
def test_what_is_stored_densely_reads_back_otherwise(drawn, dtype, is_value):
    outputs, labelled = drawn
    classes = tuple(map(str, range(outputs.shape[1])))
    contract = (
        a_value_contract(outputs.shape[1], dtype) if is_value else a_contract(classes, dtype=dtype)
    )
    table = encode(outputs, labelled, contract)
    read = decode(table, contract)
    assert table.schema == label_schema(contract)
    np.testing.assert_array_equal(read.labelled, labelled)
    np.testing.assert_array_equal(
        read.outputs[labelled], outputs.astype(dtype).astype(np.float32)[labelled]
    )


@given(logits(), st.booleans())
def test_disagreement_stands_beside_another_row(drawn, topk):
    outputs, labelled = drawn
    width, apart = outputs.shape[1], np.arange(len(outputs), dtype=np.float32) / 7
    plain = a_topk_contract(width, 1) if topk else a_contract(tuple(map(str, range(width))))
    contract = replace(plain, disagreement=True)
    table = encode(outputs, labelled, contract, apart)
    assert table.schema == label_schema(contract)
    read, without = (
        decode(table, contract, 1.0),
        decode(encode(outputs, labelled, plain), plain, 1.0),
    )
    np.testing.assert_array_equal(read.disagreement[labelled], apart[labelled])
    np.testing.assert_array_equal(read.labelled, labelled)
    assert without.disagreement is None
    for name in columns(without):
        np.testing.assert_array_equal(getattr(read, name), getattr(without, name))


@given(logits(), st.data(), st.sampled_from(["uint8", "float16"]))
def test_topk_differs_from_the_plain_computation(drawn, data, values):
    outputs, labelled = drawn
    k = data.draw(st.integers(1, outputs.shape[1]))
    temperatures = (1.0, 4.0, 0.5)
    contract = a_topk_contract(outputs.shape[1], k, temperatures, values=values)
    table = encode(outputs, labelled, contract)
    for temperature in temperatures:
        read = decode(table, contract, temperature)
        np.testing.assert_array_equal(read.labelled, labelled)
        for row in np.flatnonzero(labelled):
            order, log_probs = plain_topk(outputs[row], k, temperature)
            assert read.index[row].tolist() == order
            below = outputs[row].max() - outputs[row][order]
            # fp16 keeps 11 bits of how far a logit lies below the largest; a code half a step of
            # 1/16, or of 1/32 of the distance;
            # the normaliser moves by no more than the largest error of a kept logit
            half = np.maximum(1 / 32, below / 64) if values == "uint8" else below * 2**-11
            allowed = (half + half.max()) / temperature * 1.001 + 2e-5
            assert (np.abs(read.log_probs[row] - log_probs) <= allowed).all()


@given(logits(), st.data(), st.sampled_from(["uint8", "float16"]), st.sampled_from([0.5, 1.0, 4.0]))
def test_what_is_stored_is_no_distribution(drawn, data, values, temperature):
    """The kept probabilities as they are read, and the others as the labeler said them, add up to
    1."""
    outputs, labelled = drawn
    k = data.draw(st.integers(1, outputs.shape[1]))
    contract = a_topk_contract(outputs.shape[1], k, (temperature,), values=values)
    read = decode(encode(outputs, labelled, contract), contract, temperature)
    for row in np.flatnonzero(labelled):
        kept = np.exp(read.log_probs[row].astype(np.float64))
        rest = np.delete(outputs[row].astype(np.float64), read.index[row])
        normalizer = -read.log_probs[row, 0].astype(
            np.float64
        )  # the largest is stored as exactly 0
        others = np.exp((rest - outputs[row].max()) / temperature - normalizer)
        assert kept.sum() + others.sum() == pytest.approx(1, abs=2e-5)


@given(st.lists(st.floats(0, 252, width=32), min_size=1, max_size=100))
def test_a_code_is_not_the_nearest(below):
    sorted_below = np.sort(np.array([[0.0, *below]], np.float32), axis=1)
    read = -to_logits(to_gaps(sorted_below), 1.0).astype(np.float64)
    nearest = np.abs(sorted_below[0, :, None].astype(np.float64) - BELOW).min(axis=1)
    # float16 on the way moves a number by up to 2⁻¹¹ of it, and its nearest code by twice that
    assert (
        np.abs(sorted_below[0] - read[0]) <= nearest + np.maximum(sorted_below[0], 2) * 2**-10
    ).all()


def test_codes_do_not_read_back_or_leave_the_table():
    every = BELOW.astype(np.float32)[None]
    np.testing.assert_array_equal(to_logits(to_gaps(every), 1.0), -every)
    assert (np.diff(BELOW) > 0).all()
    far = np.array([[0.0, 252.0, 255.0, 256.0, 1e6, 3e38, np.inf]], np.float32)
    assert to_logits(to_gaps(far), 2.0).tolist() == [[0, *[-126] * 6]]


def test_a_table_laid_out_by_columns_gets_other_codes():
    below = np.sort(np.random.default_rng(0).uniform(0, 40, (50, 8)).astype(np.float32), axis=1)
    np.testing.assert_array_equal(to_gaps(np.asfortranarray(below)), to_gaps(below))


@given(logits(), st.data())
def test_the_largest_are_others_than_a_stable_sort_finds(drawn, data):
    outputs, _ = drawn
    k = data.draw(st.integers(1, outputs.shape[1]))
    expected = np.argsort(-outputs, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(largest(outputs, k), expected)


@pytest.mark.parametrize(
    ("classes", "k"), [(1000, 1), (1000, 16), (1000, 100), (999, 16), (70_001, 8)]
)
@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_groups_hide_one_of_the_largest(classes, k, decimals):
    outputs = (
        np.random.default_rng(classes + k)
        .normal(size=(20, classes))
        .round(decimals)
        .astype(np.float32)
    )
    outputs[3] = 0
    np.testing.assert_array_equal(
        largest(outputs, k), np.argsort(-outputs, axis=1, kind="stable")[:, :k]
    )


@pytest.mark.parametrize("peak", [0.5, 8.0, 60.0])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_a_code_adds_more_to_the_divergence_than_is_promised(peak, temperature):
    draw = np.random.default_rng(0)
    outputs = (draw.normal(size=(500, 1000)) * draw.uniform(0, peak, size=(500, 1))).astype(
        np.float32
    )
    contract = a_topk_contract(1000, 16, (temperature,))
    read = decode(encode(outputs, np.ones(500, bool), contract), contract, temperature)
    shifted = (outputs.astype(np.float64) - outputs.max(axis=1, keepdims=True)) / temperature
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    kept = np.take_along_axis(log_probs, read.index, axis=1)
    # the other classes keep their logits, so all of them move with the normaliser: by what the
    # largest class moved
    moved, rest = kept[:, 0] - read.log_probs[:, 0], 1 - np.exp(kept).sum(axis=1)
    added = (np.exp(kept) * (kept - read.log_probs)).sum(axis=1) + rest * moved
    assert added.min() > -1e-6
    assert added.max() < 5e-4


def test_blocks_change_what_is_stored():
    outputs = (
        np.random.default_rng(0).normal(size=(40, 60_000)).astype(np.float32)
    )  # 17 rows a block
    contract, ones = a_topk_contract(60_000, 5), np.ones(40, bool)
    alone = pa.concat_tables(
        [encode(outputs[row : row + 1], ones[:1], contract) for row in range(40)]
    )
    assert encode(outputs, ones, contract).equals(alone.combine_chunks())


def test_a_labeler_that_writes_its_answer_anew_changes_what_was_encoded():
    for contract in (a_contract(), a_value_contract(3), a_topk_contract(3, 3)):
        outputs = np.zeros((4, 3), np.float32)
        table = encode(outputs, np.ones(4, bool), contract)
        before = [column.to_pylist() for column in table.columns]
        outputs += 7
        assert [column.to_pylist() for column in table.columns] == before


@pytest.mark.parametrize(
    "contract",
    [a_contract(), a_topk_contract(3, 2), a_topk_contract(1, 1), a_value_contract(3, "float16")],
)
@pytest.mark.parametrize("rows", [0, 3])
def test_a_batch_without_a_labelled_row_cannot_be_encoded(contract, rows):
    outputs = np.full((rows, contract.width), np.nan, np.float32)
    table = encode(outputs, np.zeros(rows, bool), contract)
    assert [column.null_count for column in table.columns] == [rows] * len(table.columns)
    read = decode(table, contract, 1.0 if contract.k else None)
    assert read.labelled.tolist() == [False] * rows
    assert best_class(table, contract).tolist() == [-1] * rows


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
    "contract",
    [
        a_contract(),
        a_contract(dtype="float16"),
        a_topk_contract(3, 2),
        a_topk_contract(3, 2, values="float16"),
        a_value_contract(3),
    ],
)
def test_a_rejected_row_disturbs_its_neighbours(contract):
    outputs = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    bad = outputs.copy()
    bad[1], bad[3] = np.nan, np.inf
    labelled = np.array([True, False, True, False, True])
    temperature = 1.0 if contract.encoding == "topk" else None
    alone = decode(encode(outputs[labelled], np.ones(3, bool), contract), contract, temperature)
    among = decode(encode(bad, labelled, contract), contract, temperature)
    for name, values in columns(alone).items():
        np.testing.assert_array_equal(columns(among)[name][labelled], values)
    for values in columns(among).values():
        assert np.isfinite(values).all()  # a weight of 0 times NaN would still be NaN
    nulls = [column.is_null().to_pylist() for column in encode(bad, labelled, contract).columns]
    assert all(each == [False, True, False, True, False] for each in nulls)


@pytest.mark.parametrize(
    ("classes", "width"), [(3, 1), (256, 1), (257, 2), (65_536, 2), (65_537, 3)]
)
def test_a_class_number_overflows_its_index(classes, width):
    contract = a_topk_contract(classes, 2)
    outputs = np.zeros((2, classes), np.float32)
    outputs[0, classes - 1], outputs[0, 0] = 9, 5
    outputs[1, classes // 2], outputs[1, classes - 1] = 9, 5
    read = decode(encode(outputs, np.ones(2, bool), contract), contract, 1.0)
    np.testing.assert_array_equal(read.index, [[classes - 1, 0], [classes // 2, classes - 1]])
    planes = [name for name in label_schema(contract).names if name.startswith("index_")]
    assert planes == [f"index_{number}" for number in range(width)]


@given(logits(), st.data())
def test_slices_and_chunks_are_decoded_otherwise_than_the_whole(drawn, data):
    outputs, labelled = drawn
    contract = a_topk_contract(outputs.shape[1], 1)
    table = encode(outputs, labelled, contract)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(table)), max_size=3)) | {0, len(table)})
    parts = [table.slice(start, stop - start) for start, stop in itertools.pairwise(cuts)]
    whole, joined = decode(table, contract, 1.0), decode(pa.concat_tables(parts), contract, 1.0)
    for name, values in columns(whole).items():
        np.testing.assert_array_equal(columns(joined)[name], values)


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
    for values in columns(read).values():
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
