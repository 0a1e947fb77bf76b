"""From columns to numbers: equal to plain numpy, and a bad row keeps its slot and is named."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distill.core.errors import PoolError
from distill.pools.features import decode_features, decode_target, feature_width
from distill.pools.numbers import value_width
from distill.spec.outputs import Outputs
from distill.spec.pools import TextFeatures, VectorFeatures

NUMBERS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 20), st.integers(1, 5)),
    elements=st.floats(-100, 100, width=32),
)
CLASSES = Outputs("logits", ("a", "b", "c"))
FLAGS = Outputs("logits", ("a", "b"), exclusive=False)
VALUE = Outputs("value")


def features(*columns, scale=1.0):
    return VectorFeatures(kind="vector", columns=columns, scale=scale)


def as_column(kind, values):
    if kind == "fixed":
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    return pa.array(
        values.tolist(), pa.list_(pa.float32()) if kind == "list" else pa.large_list(pa.float64())
    )


@given(NUMBERS, st.sampled_from(["fixed", "list", "large"]), st.sampled_from([1.0, 1 / 255, -3.0]))
def test_a_list_column_is_what_numpy_has(values, kind, scale):
    table = pa.table({"x": as_column(kind, values)})
    rows = decode_features(table, features("x", scale=scale), values.shape[1])
    assert rows.values.dtype == np.float32
    assert not rows.rejected
    np.testing.assert_array_equal(rows.values, values * np.float32(scale))


@given(NUMBERS, st.data())
def test_a_slice_of_a_column_does_not_decode_other_rows(values, data):
    start = data.draw(st.integers(0, len(values)))
    for kind in ("fixed", "list"):
        table = pa.table({"x": as_column(kind, values)}).slice(start)
        np.testing.assert_array_equal(
            decode_features(table, features("x"), values.shape[1]).values, values[start:]
        )


def test_several_chunks_decode_like_one():
    parts = [
        pa.table({"x": pa.array([[float(n), 1.0]] * n, pa.list_(pa.float32(), 2))})
        for n in (3, 1, 0, 2)
    ]
    rows = decode_features(pa.concat_tables(parts), features("x"), 2)
    assert rows.values[:, 0].tolist() == [3, 3, 3, 1, 2, 2]


@given(NUMBERS)
def test_scalar_columns_stand_side_by_side_in_the_order_of_the_job(values):
    names = [f"c{number}" for number in range(values.shape[1])]
    table = pa.table({name: pa.array(values[:, number]) for number, name in enumerate(names)})
    rows = decode_features(table, features(*reversed(names)), len(names))
    np.testing.assert_array_equal(rows.values, values[:, ::-1])


@pytest.mark.parametrize("kind", [pa.uint8(), pa.int64(), pa.float16(), pa.float64(), pa.bool_()])
def test_every_kind_of_number_is_read(kind):
    values = np.array([0, 1, 1], kind.to_pandas_dtype())
    rows = decode_features(pa.table({"x": pa.array(values, kind)}), features("x"), 1)
    assert rows.values.tolist() == [[0], [1], [1]]


def test_fixed_lists_and_scalars_mix():
    table = pa.table({"x": pa.array([[1, 2], [3, 4]], pa.list_(pa.uint8(), 2)), "y": [0.5, 0.25]})
    assert decode_features(table, features("y", "x"), 3).values.tolist() == [
        [0.5, 1, 2],
        [0.25, 3, 4],
    ]


BAD = {"null": None, "shape": [1.0], "not_finite": [1.0, float("nan")]}


@given(st.lists(st.sampled_from(["good", *BAD]), min_size=1, max_size=12))
def test_a_bad_row_keeps_its_slot_and_is_named(kinds):
    rows = [
        [float(number), 7.0] if kind == "good" else BAD[kind] for number, kind in enumerate(kinds)
    ]
    decoded = decode_features(
        pa.table({"x": pa.array(rows, pa.list_(pa.float32()))}), features("x"), 2
    )
    assert {row: code for row, (code, _) in decoded.rejected.items()} == {
        row: kind for row, kind in enumerate(kinds) if kind != "good"
    }
    assert decoded.values.tolist() == [
        [number, 7.0] if kind == "good" else [0, 0] for number, kind in enumerate(kinds)
    ]
    assert all("'x'" in said for _, said in decoded.rejected.values())


@pytest.mark.parametrize(
    "bad", [[None, 1.0], [float("inf"), 1.0], [-float("inf"), 1.0], [1e300, 1.0]]
)
def test_numbers_that_float32_does_not_hold_reject_their_row(bad):
    table = pa.table({"x": pa.array([[1.0, 1.0], bad, [2.0, 2.0]], pa.list_(pa.float64(), 2))})
    decoded = decode_features(table, features("x"), 2)
    assert {row: code for row, (code, _) in decoded.rejected.items()} == {1: "not_finite"}
    assert decoded.values.tolist() == [[1, 1], [0, 0], [2, 2]]


def test_a_null_in_one_of_several_columns_empties_the_whole_row():
    table = pa.table({"x": [1.0, 2.0, 3.0], "y": pa.array([1.0, None, 3.0])})
    decoded = decode_features(table, features("x", "y"), 2)
    assert decoded.rejected == {1: ("null", "column 'y' is null")}
    assert decoded.values.tolist() == [[1, 1], [0, 0], [3, 3]]


def test_a_fixed_list_of_another_width_rejects_every_row_of_that_shard():
    table = pa.table({"x": pa.array([[1.0, 2.0, 3.0]] * 2, pa.list_(pa.float32(), 3))})
    decoded = decode_features(table, features("x"), 4)
    assert decoded.rejected == dict.fromkeys((0, 1), ("shape", "column 'x' has 3 numbers, not 4"))


def test_text_is_refused_with_its_column():
    table = pa.table({"x": pa.array([["a"]], pa.list_(pa.string()))})
    with pytest.raises(PoolError, match="column 'x'"):
        feature_width(table.schema, features("x"), table)


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.string()), pa.list_(pa.string(), 2), pa.large_list(pa.large_string())]
)
def test_one_text_in_a_list_that_is_no_number_stops_the_shard(kind):
    rows = [["1", " 2.5"], ["a", "b"], None, ["3", None], ["4", "5"]]
    table = pa.table({"x": pa.array(rows, kind)})
    assert feature_width(table.schema, features("x"), table) == 2
    decoded = decode_features(table, features("x"), 2)
    codes = {row: code for row, (code, _) in decoded.rejected.items()}
    assert codes == {1: "undecodable", 2: "null", 3: "not_finite"}
    assert decoded.rejected[1][1] == "column 'x' holds 'a', which is no number"
    assert decoded.values.tolist() == [[1, 2.5], [0, 0], [0, 0], [0, 0], [4, 5]]


def test_a_scale_that_overflows_rejects_the_row_and_teaches_no_infinity():
    decoded = decode_features(pa.table({"x": [1e38, 1.0]}), features("x", scale=1e3), 1)
    assert set(decoded.rejected) == {0}
    assert decoded.values.tolist() == [[0], [1000]]


def test_the_width_is_that_of_the_first_row_that_has_any():
    column = pa.array([None, [], [1.0, 2.0, 3.0]], pa.list_(pa.float32()))
    table = pa.table({"x": column})
    assert feature_width(table.schema, features("x"), table) == 3
    with pytest.raises(PoolError, match=r"'x'.*width is unknown"):
        feature_width(table.schema, features("x"), table.slice(0, 2))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_a_damaged_row_at_the_head_sets_the_width(lengths):
    column = pa.array([[1.0] * length for length in lengths], pa.list_(pa.float32()))
    table = pa.table({"x": column})
    counts = {length: lengths.count(length) for length in lengths if length}
    if not counts:
        return
    width = feature_width(table.schema, features("x"), table)
    assert counts[width] == max(counts.values())
    rejected = decode_features(table, features("x"), width).rejected
    assert set(rejected) == {row for row, length in enumerate(lengths) if length != width}


def nested(values, fixed):
    """(B, R, C) as lists of lists."""
    inner = pa.list_(pa.float32(), values.shape[2]) if fixed else pa.list_(pa.float32())
    outer = pa.list_(inner, values.shape[1]) if fixed else pa.large_list(inner)
    return pa.array(values.tolist(), outer)


@given(
    hnp.arrays(
        np.float32, hnp.array_shapes(min_dims=3, max_dims=3), elements=st.floats(-9, 9, width=32)
    ),
    st.booleans(),
)
def test_lists_of_lists_are_not_their_numbers_in_order(values, fixed):
    table = pa.table({"x": nested(values, fixed)})
    width = feature_width(table.schema, features("x"), table)
    rows = decode_features(table.slice(1), features("x"), width)
    assert not rows.rejected
    np.testing.assert_array_equal(rows.values, values.reshape(len(values), -1)[1:])


def test_ragged_lists_of_lists_are_folded_into_rows():
    rows = [[[1, 2], [3, 4]], [[1, 2, 3], [4]], [[1, 2]], None, [[1, 2], None], [[1, 2], [3, None]]]
    table = pa.table({"x": pa.array(rows, pa.list_(pa.list_(pa.float32())))})
    taken = decode_features(table, features("x"), 4)
    codes = {row: code for row, (code, _) in taken.rejected.items()}
    assert codes == {1: "shape", 2: "shape", 3: "null", 4: "shape", 5: "not_finite"}
    assert "several lengths" in taken.rejected[1][1]
    assert taken.values.tolist() == [[1, 2, 3, 4], *[[0] * 4] * 5]


@pytest.mark.parametrize("kind", [pa.timestamp("s"), pa.binary(), pa.struct([("a", pa.int8())])])
def test_lists_of_no_numbers_are_found_only_while_labelling(kind):
    table = pa.table({"x": pa.array([[None]], pa.list_(kind))})
    with pytest.raises(PoolError, match="holds no numbers"):
        feature_width(table.schema, features("x"), table)


@given(
    st.lists(st.none() | st.decimals(-1000, 1000, places=2), min_size=1),
    st.sampled_from([pa.decimal128(10, 2), pa.decimal256(50, 2)]),
)
def test_a_decimal_is_no_number(values, kind):
    table = pa.table({"x": pa.array(values, kind), "y": pa.array([2.5] * len(values))})
    rows = decode_features(table, features("x", "y"), 2)
    assert set(rows.rejected) == {row for row, value in enumerate(values) if value is None}
    for row, value in enumerate(values):
        due = [0, 0] if value is None else [np.float32(value), 2.5]
        assert rows.values[row].tolist() == due


@pytest.mark.parametrize("columns", [("x",), ("x", "y")])
def test_a_file_in_which_a_column_is_all_null_is_an_error(columns):
    table = pa.table({"x": pa.nulls(3), "y": [1.0, 2.0, 3.0]})
    rows = decode_features(table, features(*columns), len(columns))
    assert rows.rejected == dict.fromkeys(range(3), ("null", "column 'x' is null"))
    assert not rows.values.any()


def test_the_widths_of_several_columns_are_added():
    schema = pa.schema([("x", pa.list_(pa.float32(), 5)), ("y", pa.int8())])
    assert feature_width(schema, features("x", "y"), schema.empty_table()) == 6


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.list_(pa.float32()), pa.timestamp("s"), pa.struct([("a", pa.int8())])]
)
def test_a_type_without_a_count_of_numbers_is_refused(kind):
    with pytest.raises(PoolError, match="no numbers of a fixed count"):
        value_width(kind)


@pytest.mark.parametrize(
    ("column", "classes"),
    [
        (pa.array(["b", "a", "c", "b"]), ("a", "b", "c")),
        (pa.array(["b", "a", "c", "b"]).dictionary_encode(), ("a", "b", "c")),
        (pa.array([1, 0, 2, 1]), ("0", "1", "2")),
        (pa.array([11, 10, 12, 11], pa.uint8()), ("10", "11", "12")),
    ],
)
def test_a_target_is_its_classes_number_in_the_order_of_the_job(column, classes):
    rows = decode_target(
        pa.chunked_array([column.slice(0, 1), column.slice(1)]), Outputs("logits", classes)
    )
    assert rows.values.dtype == np.int64
    assert rows.values.tolist() == [1, 0, 2, 1]
    assert not rows.rejected


def test_a_target_outside_the_classes_keeps_its_slot_and_is_named():
    rows = decode_target(pa.chunked_array([["a", "z", None, "c"]]), CLASSES)
    assert rows.values.tolist() == [0, 0, 0, 2]
    assert rows.rejected == {
        1: ("target", "'z' is none of the target's classes"),
        2: ("target", "None is none of the target's classes"),
    }


def test_a_list_is_no_class_and_is_refused_without_a_traceback_of_arrow():
    with pytest.raises(PoolError, match="target"):
        decode_target(pa.chunked_array([[["a"], ["b"]]]), CLASSES)


def test_independent_targets_are_zeros_and_ones():
    column = pa.chunked_array([pa.array([[0, 1], [1, 1], [2, 0], None], pa.list_(pa.int8(), 2))])
    rows = decode_target(column, FLAGS)
    assert rows.values[:2].tolist() == [[0, 1], [1, 1]]
    assert rows.rejected[2][0] == "target"
    assert rows.rejected[3][0] == "null"


@given(hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats(-1e6, 1e6)))
def test_a_value_target_is_a_column_of_float32(values):
    rows = decode_target(pa.chunked_array([values]), VALUE)
    np.testing.assert_array_equal(rows.values, values.astype(np.float32)[:, None])


def test_a_vector_target_keeps_its_width():
    rows = decode_target(
        pa.chunked_array([pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2))]), VALUE, 2
    )
    assert rows.values.tolist() == [[1, 2], [0, 0]]
    assert rows.rejected == {1: ("null", "column 'target' is null")}


@pytest.mark.parametrize("kind", [pa.float32(), pa.list_(pa.float32(), 1), pa.list_(pa.float32())])
@pytest.mark.parametrize("rows", [7, 8])
def test_a_shard_of_another_width_is_folded_into_rows_of_others(kind, rows):
    """8 numbers are two rows of 4: the labels of 8 would be joined to them."""
    values = [float(row) for row in range(rows)]
    column = pa.array(values if kind == pa.float32() else [[value] for value in values], kind)
    column = pa.concat_arrays([column.slice(0, rows - 1), pa.nulls(1, kind)])
    for seen in (
        decode_features(pa.table({"x": column}), features("x"), 4),
        decode_target(
            pa.chunked_array([column]), Outputs("logits", ("a", "b", "c", "d"), exclusive=False)
        ),
        decode_target(pa.chunked_array([column]), VALUE, 4),
    ):
        assert seen.values.shape == (rows, 4)
        assert not seen.values.any()
        assert [seen.rejected[row][0] for row in range(rows)] == ["shape"] * (rows - 1) + ["null"]


def test_columns_of_a_shard_that_are_wider_together_are_features_of_another_width():
    table = pa.table({"x": [1.0, None], "y": pa.array([[1.0, 2.0]] * 2, pa.list_(pa.float32(), 2))})
    seen = decode_features(table, features("x", "y"), 2)
    assert seen.values.tolist() == [[0, 0], [0, 0]]
    assert seen.rejected[0] == ("shape", "columns ['x', 'y'] have 3 numbers together, not 2")
    assert seen.rejected[1] == ("null", "column 'x' is null")


CELLS = st.sampled_from(
    [
        "1",
        " 2.5 ",
        "-3e2",
        ".5",
        "7.",
        "nan",
        "-inf",
        "+inf",
        "+nan",
        "",
        "x",
        "1_0",
        "0x1",
        "+1",
        "1e",
        "٣",
        "1 2",
    ]
)


@given(st.lists(CELLS, min_size=1, max_size=10))
def test_a_cell_that_is_no_number_hides_another_or_goes_untold(cells):
    """Text as numbers, cell by cell against the whole column."""
    rows = decode_features(pa.table({"x": pa.array(cells)}), features("x"), 1)
    for row, cell in enumerate(cells):
        alone = decode_features(pa.table({"x": pa.array([cell])}), features("x"), 1)
        assert rows.rejected.get(row) == alone.rejected.get(0)
        assert rows.values[row] == alone.values[0]
    infinite = ("nan", "-inf", "+inf", "+nan")
    good = {"1": 1, " 2.5 ": 2.5, "-3e2": -300, ".5": 0.5, "7.": 7, "+1": 1}
    for row, cell in enumerate(cells):
        if cell in good:
            assert rows.values[row] == good[cell]
        else:
            assert rows.rejected[row][0] == ("not_finite" if cell in infinite else "undecodable")
            assert cell in infinite or repr(cell) in rows.rejected[row][1]


def test_text_without_any_number_is_found_only_while_labelling():
    table = pa.table({"x": ["red", "7 up", None]})
    with pytest.raises(
        PoolError, match="column 'x': holds no numbers in its first 3 rows, but text such as 'red'"
    ):
        feature_width(table.schema, features("x"), table)
    assert feature_width(table.schema, features("x"), pa.table({"x": ["red", "7"]})) == 1


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_texts_are_changed_or_their_nulls_moved(kind):
    spec = TextFeatures(kind="text", column="x")
    table = pa.table(
        {"x": pa.chunked_array([pa.array(["a b", None], kind), pa.array(["", "ü\n"], kind)])}
    )
    rows = decode_features(table, spec, feature_width(table.schema, spec, table))
    assert rows.values.tolist() == ["a b", "", "", "ü\n"]
    assert rows.values.dtype == object
    assert rows.rejected == {1: ("null", "column 'x' is null")}
    with pytest.raises(PoolError, match="holds no text"):
        feature_width(pa.schema([("x", pa.int8())]), spec, table)


def test_numbers_whose_sum_overflows_are_rejected_or_one_that_is_none_is_kept():
    large = np.full((4, 3), 3e38, np.float32)
    infinite = np.where(np.arange(4) == 2, -np.inf, 1)[:, None] * np.ones((4, 3))
    for numbers, bad in (
        (large, []),
        (np.where(np.eye(4, 3) > 0, np.nan, large), [0, 1, 2]),
        (infinite, [2]),
    ):
        values = numbers.astype(np.float32)
        column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 3)
        decoded = decode_features(
            pa.table({"x": column}), VectorFeatures(kind="vector", columns=("x",)), 3
        )
        assert sorted(decoded.rejected) == bad
        good = [row for row in range(4) if row not in bad]
        np.testing.assert_array_equal(decoded.values[good], values[good])
        assert not decoded.values[bad].any()


def test_lists_of_another_shape_and_as_many_numbers_are_mixed():
    wide = [[1, 2, 3], [4, 5, 6]]
    tall = [[1, 2], [3, 4], [5, 6]]
    table = pa.table({"x": [wide, tall, None, [[1, 2, 3]], wide]})
    decoded = decode_features(table, features("x"), 6)
    assert decoded.rejected == {
        1: ("shape", "column 'x' holds 3 × 2 numbers, where most rows hold 2 × 3"),
        2: ("null", "column 'x' is null"),
        3: ("shape", "column 'x' has 3 numbers, not 6"),
    }
    assert decoded.values[[0, 4]].tolist() == [[1, 2, 3, 4, 5, 6]] * 2
    assert not decoded.values[1].any()
