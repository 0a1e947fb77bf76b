"""Numbers from Arrow to numpy and back, by their buffers.

pyarrow's own ways (`to_numpy`, `pa.array`) import pandas where that is installed, as Ray does: 0.3
CPU-seconds, a third of what it takes to find a job finished.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def to_numbers(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    """Return the numbers or truth values of a column, (rows,); where it has nulls, whatever its
    writer left there."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [_chunk_numbers(chunk) for chunk in chunks if len(chunk)]
    if len(parts) == 1:
        return parts[0]
    empty = np.empty(0, column.type.to_pandas_dtype())
    return np.concatenate([empty, *parts])


def to_arrow(numbers: npt.NDArray[np.integer[Any] | np.floating[Any]]) -> pa.Array:
    """Return numbers (rows,) as a column, not copied."""
    kind = pa.from_numpy_dtype(numbers.dtype)
    content = pa.py_buffer(np.ascontiguousarray(numbers))
    return pa.Array.from_buffers(kind, len(numbers), [None, content])


def _chunk_numbers(chunk: pa.Array) -> npt.NDArray[Any]:
    _, content = chunk.buffers()
    end = chunk.offset + len(chunk)
    if pa.types.is_boolean(chunk.type):
        packed = np.frombuffer(content, np.uint8)
        bits = np.unpackbits(packed, count=end, bitorder="little")
        return bits[chunk.offset :].view(np.bool_)
    kind = chunk.type.to_pandas_dtype()
    return np.frombuffer(content, kind, end)[chunk.offset :]
