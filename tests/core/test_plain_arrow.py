"""Numbers from Arrow to numpy and back are pyarrow's own, whatever the chunks, offsets and nulls."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from distill.core.plain_arrow import to_arrow, to_numbers

CHUNKS = [[], [5], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]]


@pytest.mark.parametrize("kind", [pa.int64(), pa.int32(), pa.uint8(), pa.float32(), pa.float64()])
@pytest.mark.parametrize("start", [0, 1, 9])
def test_a_slice_or_a_chunk_begins_at_another_number(kind, start):
    column = pa.chunked_array(CHUNKS, kind).slice(start)
    numbers = to_numbers(column)
    assert numbers.tolist() == column.to_pylist()
    assert numbers.dtype == kind.to_pandas_dtype()
    assert to_arrow(numbers).equals(column.combine_chunks())


@pytest.mark.parametrize("start", [0, 3, 8, 13])
def test_a_truth_value_is_taken_from_another_bit(start):
    values = np.random.default_rng(0).random(40) < 0.5
    column = pa.chunked_array([pa.array(values), pa.array(~values)]).slice(start, 50)
    assert to_numbers(column).tolist() == column.to_pylist()
    assert to_numbers(column.chunk(0)).tolist() == column.chunk(0).to_pylist()
    assert to_numbers(column.slice(0, 0)).dtype == bool


def test_a_null_moves_the_numbers_behind_it():
    column = pa.array([1, None, 3], pa.int64())
    assert to_numbers(column)[[0, 2]].tolist() == [1, 3]
    assert to_numbers(column.is_valid()).tolist() == [True, False, True]
