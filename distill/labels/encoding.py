"""Outputs of a labeler to columns of bytes, and back. Torch-free: a laptop with pyarrow alone can read a label set.

Columns are fixed-size binary, little-endian, packed by us. A rejected row is null in all. FORMAT.md says the same for readers without us.

    dense   logits          C × float32 or float16
    topk    index_0 …       k × uint8 each: byte 0 (the lowest), 1, … of the k class numbers, the largest logit first
            gap             k × uint8: differences of consecutive codes (`codes.py`) of how far a logit lies below the row's largest
         or logit           k × float16, less the row's largest logit, so that fp16 spends its bits where they matter
            log_normalizer  one float32 a declared temperature T: log Σ_c exp((z_c − max z) / T) over *all* classes
    value   value           W × float32 or float16
    each    disagreement    one float32, where the labeler is an ensemble

From `topk`, log p_T(c) = logit_c / T − log_normalizer_T at declared temperatures; unknown at others, and refused there. The sum takes the
kept logits as they are *stored* and the others as they were, so that what is read back is a proper distribution.

Why so (top-16 of 1,000 classes, bytes a row after zstd; tests/benchmarks/results/encoding.md): class numbers take 24 as uint16 and 19 as
byte planes, since zstd codes bytes and a high byte says little; packing them to 10 bits by hand takes 20 and is slow. Logits take
26 as float16, 13 as codes, 7 as gaps. The normaliser's 4 bytes do not shrink; 16 bits of it would break the distribution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distill.core.errors import ContractError
from distill.labels.contract import Contract
from distill.labels.quantize import to_gaps, to_logits
from distill.labels.topk import largest

Float = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

Number = TypeVar("Number", bound=np.generic)

_DISAGREEMENT = "disagreement"
_BLOCK_NUMBERS = 1 << 20
"""Logits that are worked on at once: 4 MiB, so that 128,000 classes a row need no second copy of
the batch, and the cache serves."""


@dataclass
class DenseLabels:
    """`logits` or values (B, C) float32."""

    outputs: Float
    labelled: Bool
    disagreement: Float | None = None
    """Of an ensemble's members (B,)."""


@dataclass
class TopKLabels:
    """Log-probabilities at one temperature: `index` (B, k) int64 into the contract's classes,
    `log_probs` (B, k) float32."""

    index: npt.NDArray[np.int64]
    log_probs: Float
    labelled: Bool
    disagreement: Float | None = None


SoftLabels = DenseLabels | TopKLabels


def label_schema(contract: Contract, keys: Mapping[str, pa.DataType] | None = None) -> pa.Schema:
    """The columns of a data file under `contract`: the pool's keys, if it has any, then the labels."""
    labels = [pa.field(name, pa.binary(width)) for name, width in _widths(contract).items()]
    return pa.schema([*(pa.field(name, kind) for name, kind in (keys or {}).items()), *labels])


def storable(outputs: Float, contract: Contract) -> Bool:
    """Which rows (B,) the encoding can hold: finite, and within the dtype's range."""
    limit = np.finfo(
        np.float16 if contract.dtype == "float16" and contract.encoding != "topk" else np.float32
    ).max
    return np.asarray(
        (outputs.max(axis=1) <= limit) & (outputs.min(axis=1) >= -limit)
    )  # NaN is neither


def encode(
    outputs: Float, labelled: Bool, contract: Contract, disagreement: Float | None = None
) -> pa.Table:
    """Outputs (B, width), and how far members disagree (B,) where the contract says so, to columns;
    rows that are not `labelled` become null."""
    good = outputs if labelled.all() else outputs[labelled]
    parts = (
        _encode_topk(good, contract)
        if contract.encoding == "topk"
        else _encode_dense(good, contract)
    )
    if disagreement is not None:
        parts[_DISAGREEMENT] = disagreement[labelled].astype("<f4")[:, None]
    schema = label_schema(contract)
    return pa.table(
        [_packed(parts[field.name], labelled, field.type) for field in schema], schema=schema
    )


def decode(table: pa.Table, contract: Contract, temperature: float | None = None) -> SoftLabels:
    """Columns to soft labels. `topk` needs one of its temperatures. Raises ContractError for any
    other."""
    labelled = label_validity(table, contract)
    disagreement = (
        _unpacked(table[_DISAGREEMENT], np.float32)[:, 0] if contract.disagreement else None
    )
    if contract.encoding != "topk":
        return DenseLabels(
            _outputs(table, contract).astype(np.float32, copy=False), labelled, disagreement
        )
    if temperature not in contract.temperatures:
        raise ContractError(
            f"{contract.labeler} keeps its top {contract.k} at temperatures"
            f" {list(contract.temperatures)}, not {temperature}."
        )
    if contract.dtype == "uint8":
        log_probs = to_logits(_unpacked(table["gap"], np.uint8), temperature)
    else:
        log_probs = _unpacked(table["logit"], np.float16).astype(np.float32)
        log_probs /= np.float32(temperature)
    log_probs -= _unpacked(table["log_normalizer"], np.float32)[
        :, [contract.temperatures.index(temperature)]
    ]
    return TopKLabels(_index(table, contract), log_probs, labelled, disagreement)


def best_class(table: pa.Table, contract: Contract) -> npt.NDArray[np.int64]:
    """The class with the largest logit of each row (B,); −1 where the row is rejected."""
    topk = contract.encoding == "topk"
    best = _index(table, contract)[:, 0] if topk else _outputs(table, contract).argmax(axis=1)
    return np.where(label_validity(table, contract), best, -1)


def label_validity(table: pa.Table, contract: Contract) -> Bool:
    """Which rows (B,) have labels."""
    valid: Bool = table[next(iter(_widths(contract)))].is_valid().to_numpy()
    return valid


def _encode_dense(outputs: Float, contract: Contract) -> dict[str, npt.NDArray[np.generic]]:
    return {
        _dense_name(contract): outputs.astype(_float(contract.dtype))
    }  # a copy: the labeler may write its answer anew


def _outputs(table: pa.Table, contract: Contract) -> npt.NDArray[np.floating]:
    return _unpacked(table[_dense_name(contract)], _float(contract.dtype))


def _encode_topk(logits: Float, contract: Contract) -> dict[str, npt.NDArray[np.generic]]:
    rows = max(1, _BLOCK_NUMBERS // contract.width)
    blocks = [
        _keep(logits[start : start + rows], contract)
        for start in range(0, max(1, len(logits)), rows)
    ]
    index, kept, normalizers = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return _topk_parts(index, kept, normalizers, contract)


def _topk_parts(
    index: npt.NDArray[np.int64],
    kept: npt.NDArray[np.generic],
    normalizers: Float,
    contract: Contract,
) -> dict[str, npt.NDArray[np.generic]]:
    names, narrow = _plane_names(contract), index.astype(np.uint32)
    planes = {
        name: (narrow >> np.uint8(8 * place)).astype(np.uint8) for place, name in enumerate(names)
    }
    return {
        **planes,
        "gap" if contract.dtype == "uint8" else "logit": kept,
        "log_normalizer": normalizers,
    }


def _keep(
    logits: Float, contract: Contract
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.generic], Float]:
    """Of some rows, the largest logits: where they stand, how they are stored, and the
    log-normalisers with them as stored."""
    index = largest(logits, contract.k)
    with np.errstate(
        over="ignore"
    ):  # −∞ where float32 cannot hold how far a logit lies below the largest: probability 0
        rest = logits - np.take_along_axis(logits, index[:, :1], axis=1)
    below = np.take_along_axis(rest, index, axis=1)
    kept: npt.NDArray[np.generic]
    if contract.dtype == "uint8":
        kept = to_gaps(-below)
        stored = to_logits(kept, 1.0)
    else:
        kept = np.maximum(below, np.finfo(np.float16).min).astype("<f2")
        stored = kept.astype(np.float32)
    np.put_along_axis(rest, index, stored, axis=1)
    sums = [
        np.exp(rest / np.float32(temperature)).sum(axis=1) for temperature in contract.temperatures
    ]
    return index, kept, np.log(np.stack(sums, axis=1)).astype("<f4")


def _index(table: pa.Table, contract: Contract) -> npt.NDArray[np.int64]:
    highest, *lower = [
        _unpacked(table[name], np.uint8) for name in reversed(_plane_names(contract))
    ]
    if not lower:
        return highest.astype(np.int64)
    # in 16 bits where they suffice: half the time of shifting int64
    index: npt.NDArray[np.unsignedinteger] = highest.astype(
        np.uint16 if len(lower) == 1 else np.uint32
    )
    for plane in lower:
        index = index << np.uint8(8) | plane
    return index.astype(np.int64)


def _widths(contract: Contract) -> dict[str, int]:
    """Label columns by name, and the bytes of a row in each."""
    beside = {_DISAGREEMENT: 4} if contract.disagreement else {}
    if contract.encoding == "topk":
        values = {"gap": contract.k} if contract.dtype == "uint8" else {"logit": contract.k * 2}
        planes = dict.fromkeys(_plane_names(contract), contract.k)
        return {**planes, **values, "log_normalizer": len(contract.temperatures) * 4, **beside}
    return {_dense_name(contract): contract.width * _float(contract.dtype).itemsize, **beside}


def _plane_names(contract: Contract) -> list[str]:
    return [
        f"index_{number}" for number in range(max(1, ((contract.width - 1).bit_length() + 7) // 8))
    ]


def _dense_name(contract: Contract) -> str:
    return "logits" if contract.encoding == "dense" else "value"


def _float(dtype: str) -> np.dtype[np.floating]:
    return np.dtype("<f2" if dtype == "float16" else "<f4")


def _packed(values: npt.NDArray[np.generic], labelled: Bool, kind: pa.DataType) -> pa.Array:
    """Values of the labelled rows, and nulls (of zero bytes) between them."""
    if labelled.all():
        return pa.Array.from_buffers(
            kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))]
        )
    spread = np.zeros((len(labelled), *values.shape[1:]), values.dtype)
    spread[labelled] = values
    validity = pa.py_buffer(np.packbits(labelled, bitorder="little"))
    return pa.Array.from_buffers(kind, len(spread), [validity, pa.py_buffer(spread)])


def _unpacked(
    column: pa.ChunkedArray, dtype: type[Number] | np.dtype[Number]
) -> npt.NDArray[Number]:
    size = column.type.byte_width
    parts = [
        (
            np.frombuffer(chunk.buffers()[1], np.uint8, len(chunk) * size, chunk.offset * size)
            if len(chunk)
            else np.empty(0, np.uint8)
        )
        for chunk in column.chunks
    ]
    packed = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.uint8), *parts])
    return packed.view(dtype).reshape(len(column), size // np.dtype(dtype).itemsize)
