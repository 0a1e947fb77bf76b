"""The label columns of a data file: their names and widths, and arrays packed into them.

Columns are fixed-size binary, little-endian. A rejected row is null in all. `encoding` says what
lies in each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distill.core.plain_arrow import to_numbers
from distill.labels.contract import Contract

Bool = npt.NDArray[np.bool_]
Number = TypeVar("Number", bound=np.generic)

DISAGREEMENT = "disagreement"
LOG_NORMALIZER = "log_normalizer"


def label_schema(contract: Contract, keys: Mapping[str, pa.DataType] | None = None) -> pa.Schema:
    """Return the columns of a data file under `contract`: the pool's keys, then the labels."""
    columns: dict[str, pa.DataType] = dict(keys or {})
    widths = _widths(contract)
    for name, width in widths.items():
        columns[name] = pa.binary(width)
    for view in range(1, 1 + contract.views):
        for name in view_columns(contract):
            columns[view_name(view, name)] = pa.binary(widths[name])
    return pa.schema(columns)


def view_columns(contract: Contract) -> list[str]:
    """Name the columns that each view has too: all labels but the disagreement, which is told of
    the row as it is."""
    return [name for name in _widths(contract) if name != DISAGREEMENT]


def view_name(view: int, name: str) -> str:
    """Name the column that has of one view what the column `name` has of the row as it is."""
    return f"view_{view}.{name}"


def of_view(table: pa.Table, contract: Contract, view: int) -> pa.Table:
    """Return the label columns of one view, under the names of those of the row as it is."""
    names = view_columns(contract)
    columns = [table[view_name(view, name)] for name in names]
    return pa.table(columns, names=names)


def label_validity(table: pa.Table, contract: Contract) -> Bool:
    """Find which rows (B,) have labels."""
    first = next(iter(_widths(contract)))
    return to_numbers(table[first].is_valid())


def plane_names(contract: Contract) -> list[str]:
    """Name the byte planes of class numbers, the lowest byte first."""
    highest = contract.width - 1
    bits = highest.bit_length()
    planes = max(1, (bits + 7) // 8)
    return [f"index_{plane}" for plane in range(planes)]


def topk_name(contract: Contract) -> str:
    """Name the column of a row's largest logits."""
    are_gaps = contract.dtype == "uint8"
    return "gap" if are_gaps else "logit"


def dense_name(contract: Contract) -> str:
    """Name the column of all outputs of a row."""
    is_dense = contract.encoding == "dense"
    return "logits" if is_dense else "value"


def float_type(contract: Contract) -> np.dtype[np.floating]:
    """Return the type of a number in a dense column."""
    is_half = contract.dtype == "float16"
    name = "<f2" if is_half else "<f4"
    return np.dtype(name)


def pack(values: npt.NDArray[np.generic], labelled: Bool, kind: pa.DataType) -> pa.Array:
    """Make a column of the labelled rows' values, (labelled, n), and nulls between them."""
    if labelled.all():
        in_order = np.ascontiguousarray(values)
        content = pa.py_buffer(in_order)
        return pa.Array.from_buffers(kind, len(labelled), [None, content])
    shape = (len(labelled), *values.shape[1:])
    # zeros, so that the bytes of null rows are the same whatever stood there
    spread = np.zeros(shape, values.dtype)
    spread[labelled] = values
    bits = np.packbits(labelled, bitorder="little")
    buffers = [pa.py_buffer(bits), pa.py_buffer(spread)]
    return pa.Array.from_buffers(kind, len(labelled), buffers)


def unpack(column: pa.ChunkedArray, dtype: type[Number] | np.dtype[Number]) -> npt.NDArray[Number]:
    """Read a column as numbers (B, n), whatever lies in its null rows."""
    parts = [_chunk_bytes(chunk) for chunk in column.chunks if len(chunk)]
    if len(parts) == 1:
        packed = parts[0]  # in the file's own buffer, nothing copied
    else:
        packed = np.concatenate([np.empty(0, np.uint8), *parts])
    numbers = packed.view(dtype)
    byte_width = column.type.byte_width
    width = byte_width // numbers.itemsize
    rows = len(column)
    return numbers.reshape(rows, width)


def _chunk_bytes(chunk: pa.Array) -> npt.NDArray[np.uint8]:
    width = chunk.type.byte_width
    _, content = chunk.buffers()
    rows = len(chunk)
    size = rows * width
    return np.frombuffer(content, np.uint8, size, chunk.offset * width)


def _widths(contract: Contract) -> dict[str, int]:
    """Return the bytes of a row in each label column, by name."""
    if contract.encoding == "topk":
        widths = _topk_widths(contract)
    else:
        itemsize = float_type(contract).itemsize
        width = contract.width * itemsize
        name = dense_name(contract)
        widths = {name: width}
    if contract.disagreement:
        widths[DISAGREEMENT] = 4
    return widths


def _topk_widths(contract: Contract) -> dict[str, int]:
    # index and value columns apart, each of one kind of byte, which zstd shrinks most
    widths = dict.fromkeys(plane_names(contract), contract.k)
    are_gaps = contract.dtype == "uint8"
    logit_bytes = 1 if are_gaps else 2
    widths[topk_name(contract)] = contract.k * logit_bytes
    widths[LOG_NORMALIZER] = len(contract.temperatures) * 4
    return widths
