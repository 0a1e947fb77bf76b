"""Outputs of a labeler to columns of bytes, and back. Torch-free: a laptop with pyarrow alone can read a label set.

Columns are fixed-size binary, little-endian, packed by us (3 to 5 times faster than list columns). A rejected row is null in all.

    dense   logits          C × float32 or float16
    topk    index           k × uint8, uint16 or uint32, by the number of classes; the largest logit first
            logit           k × float16, less the row's largest logit, so that fp16 spends its bits where they matter
            log_normalizer  one float32 a declared temperature T: log Σ_c exp((z_c − max z) / T) over *all* classes
    value   value           W × float32 or float16

From `topk`, log p_T(c) = logit_c / T − log_normalizer_T: exact (to fp16) at declared temperatures, unknown at others, and refused there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distill.errors import ContractError
from distill.labels.contract import Contract

Float = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]


@dataclass
class DenseLabels:
    """`logits` or values (B, C) float32."""

    outputs: Float
    labelled: Bool


@dataclass
class TopKLabels:
    """Log-probabilities at one temperature: `index` (B, k) int64 into the contract's classes, `log_probs` (B, k) float32."""

    index: npt.NDArray[np.int64]
    log_probs: Float
    labelled: Bool


SoftLabels = DenseLabels | TopKLabels


def label_schema(contract: Contract) -> pa.Schema:
    """The columns of a data file under `contract`."""
    return pa.schema([pa.field(name, pa.binary(width)) for name, width in _widths(contract).items()])


def storable(outputs: Float, contract: Contract) -> Bool:
    """Which rows (B,) the encoding can hold: finite, and within the dtype's range."""
    limit = (
        np.finfo(np.float16).max
        if contract.dtype == "float16" and contract.encoding != "topk"
        else np.finfo(np.float32).max
    )
    return np.asarray(np.all(np.abs(outputs) <= limit, axis=1))


def encode(outputs: Float, labelled: Bool, contract: Contract) -> pa.Table:
    """Outputs (B, width) to columns; rows that are not `labelled` become null."""
    safe = np.where(labelled[:, None], outputs, np.float32(0))
    if contract.encoding == "topk":
        parts = _encode_topk(safe, contract)
    else:
        name = "logits" if contract.encoding == "dense" else "value"
        parts = {name: safe.astype(_float(contract.dtype))}
    schema = label_schema(contract)
    return pa.table([_packed(parts[field.name], labelled, field.type) for field in schema], schema=schema)


def decode(table: pa.Table, contract: Contract, temperature: float | None = None) -> SoftLabels:
    """Columns to soft labels. `topk` needs one of its temperatures. Raises ContractError for any other."""
    labelled = _validity(table.column(0))
    if contract.encoding != "topk":
        return DenseLabels(
            _unpacked(table.column(0), _float(contract.dtype), contract.width).astype(np.float32), labelled
        )
    if temperature not in contract.temperatures:
        raise ContractError(
            f"{contract.labeler} keeps its top {contract.k} at temperatures {list(contract.temperatures)}, not {temperature}."
        )
    index = _unpacked(table["index"], _index_type(contract.width), contract.k).astype(np.int64)
    logits = _unpacked(table["logit"], np.dtype("<f2"), contract.k).astype(np.float32)
    normalizers = _unpacked(table["log_normalizer"], np.dtype("<f4"), len(contract.temperatures)).astype(np.float32)
    chosen = normalizers[:, contract.temperatures.index(temperature)]
    return TopKLabels(index, logits / np.float32(temperature) - chosen[:, None], labelled)


def best_class(table: pa.Table, contract: Contract) -> npt.NDArray[np.int64]:
    """The class with the largest logit of each row (B,); −1 where the row is rejected."""
    labelled = _validity(table.column(0))
    if contract.encoding == "topk":
        first = _unpacked(table["index"], _index_type(contract.width), contract.k)[:, 0].astype(np.int64)
    else:
        first = _unpacked(table.column(0), _float(contract.dtype), contract.width).argmax(axis=1)
    return np.where(labelled, first, -1)


def _encode_topk(logits: Float, contract: Contract) -> dict[str, npt.NDArray[np.generic]]:
    top = _largest(logits, contract.k)
    values = np.take_along_axis(logits, top, axis=1)
    order = np.lexsort((top, -values), axis=1)
    top, values = np.take_along_axis(top, order, axis=1), np.take_along_axis(values, order, axis=1)
    with np.errstate(
        over="ignore"
    ):  # −∞ where float32 cannot hold how far a logit lies below the largest: probability 0
        shifted, kept = logits - values[:, :1], values - values[:, :1]
        normalizers = [
            np.log(np.exp(shifted / np.float32(temperature)).sum(axis=1)) for temperature in contract.temperatures
        ]
    return {
        "index": top.astype(_index_type(contract.width)),
        "logit": np.maximum(kept, np.finfo(np.float16).min).astype("<f2"),
        "log_normalizer": np.stack(normalizers, axis=1).astype("<f4"),
    }


def _largest(logits: Float, k: int) -> npt.NDArray[np.int64]:
    """Where the k largest of each row stand (B, k); among equals the lowest index, which a partition alone leaves to the CPU."""
    if k == logits.shape[1]:
        return np.broadcast_to(np.arange(k), logits.shape)
    top = np.argpartition(-logits, k - 1, axis=1)[:, :k]
    smallest = np.take_along_axis(logits, top, axis=1).min(axis=1, keepdims=True)
    tied = (logits >= smallest).sum(axis=1) > k
    top[tied] = np.argsort(-logits[tied], axis=1, kind="stable")[:, :k]
    return top


def _widths(contract: Contract) -> dict[str, int]:
    if contract.encoding == "topk":
        return {
            "index": contract.k * _index_type(contract.width).itemsize,
            "logit": contract.k * 2,
            "log_normalizer": len(contract.temperatures) * 4,
        }
    return {"logits" if contract.encoding == "dense" else "value": contract.width * _float(contract.dtype).itemsize}


def _float(dtype: str) -> np.dtype[np.floating]:
    return np.dtype("<f2" if dtype == "float16" else "<f4")


def _index_type(classes: int) -> np.dtype[np.unsignedinteger]:
    return np.dtype("u1" if classes <= 1 << 8 else "<u2" if classes <= 1 << 16 else "<u4")


def _packed(values: npt.NDArray[np.generic], labelled: Bool, kind: pa.DataType) -> pa.Array:
    validity = None if labelled.all() else pa.py_buffer(np.packbits(labelled, bitorder="little").tobytes())
    return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(np.ascontiguousarray(values).tobytes())])


def _unpacked(column: pa.ChunkedArray, dtype: np.dtype[np.generic], width: int) -> npt.NDArray[np.generic]:
    parts = []
    for chunk in column.chunks:
        size = chunk.type.byte_width
        packed = np.frombuffer(chunk.buffers()[1], np.uint8)[chunk.offset * size : (chunk.offset + len(chunk)) * size]
        parts.append(packed.view(dtype).reshape(-1, width))
    return np.concatenate(parts) if len(parts) != 1 else parts[0]


def _validity(column: pa.ChunkedArray) -> Bool:
    valid: Bool = column.is_valid().to_numpy()
    return valid
