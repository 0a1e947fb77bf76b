"""Outputs of a labeler to columns of bytes, and back. Torch-free: a laptop with pyarrow alone can
read a label set. FORMAT.md says the same for readers without us.

    dense   logits          C × float32 or float16
    topk    index_0 …       k × uint8 each: byte 0 (the lowest), 1, … of the k class numbers, the
                            largest logit first
            gap             k × uint8: differences of consecutive codes (`quantize`) of how far a
                            logit lies below the row's largest
         or logit           k × float16, less the row's largest logit, so that fp16 spends its bits
                            where they matter
            log_normalizer  one float32 a declared temperature T:
                            log Σ_c exp((z_c − max z) / T) over *all* classes
    value   value           W × float32 or float16
    each    as much of the outputs as the contract reveals (`reveal`)
            disagreement    one float32, where the labeler is an ensemble
            view_1.… …      the same columns once more for each view of the row, if there are any

From `topk`, log p_T(c) = logit_c / T − log_normalizer_T at declared temperatures; unknown at
others, and refused there. Bytes a row in comments are of the top 16 of 1,000 classes, after zstd
(tests/benchmarks/results/encoding.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distill.core.errors import ContractError
from distill.labels.columns import (
    DISAGREEMENT,
    LOG_NORMALIZER,
    Bool,
    dense_name,
    float_type,
    label_schema,
    label_validity,
    of_view,
    pack,
    plane_names,
    topk_name,
    unpack,
    view_name,
)
from distill.labels.contract import Contract
from distill.labels.quantize import to_gaps, to_logits
from distill.labels.reveal import revealed
from distill.labels.topk import largest

Float = npt.NDArray[np.float32]
Index = npt.NDArray[np.int64]
Columns = dict[str, npt.NDArray[np.generic]]

# Logits that are worked on at once: 4 MiB, so that 128,000 classes a row need no second copy of the
# batch, and the cache serves.
_BLOCK_NUMBERS = 1 << 20


@dataclass
class DenseLabels:
    """`logits` or values (B, C) float32."""

    outputs: Float
    labelled: Bool
    disagreement: Float | None = None  # of an ensemble's members (B,)


@dataclass
class TopKLabels:
    """Log-probabilities at one temperature: `index` (B, k) int64 into the contract's classes,
    `log_probs` (B, k) float32."""

    index: Index
    log_probs: Float
    labelled: Bool
    disagreement: Float | None = None


SoftLabels = DenseLabels | TopKLabels


def storable(outputs: Float, contract: Contract) -> Bool:
    """Find which rows (B,) the encoding can hold: finite, and within the dtype's range."""
    # `topk` stores how far a logit lies below the largest, and has a least value for what is beyond
    halves = contract.dtype == "float16" and contract.encoding != "topk"
    kind = np.float16 if halves else np.float32
    limits = np.finfo(kind)
    limit = limits.max
    if outputs.size:
        # of all rows together first, which takes a tenth of the time
        least = outputs.min()
        most = outputs.max()
        if -limit <= least and most <= limit:
            return np.ones(len(outputs), np.bool_)
    # A NaN is neither, so its row is not storable.
    below = outputs.max(axis=1) <= limit
    smallest = outputs.min(axis=1)
    above = smallest >= -limit
    is_within = below & above
    return np.asarray(is_within)


def encode(
    outputs: Float,
    labelled: Bool,
    contract: Contract,
    disagreement: Float | None = None,
    views: Sequence[Float] = (),
) -> pa.Table:
    """Turn outputs (B, width) into columns; rows that are not `labelled` become null.

    `disagreement` (B,) says how far members disagree, where the contract has it; `views` are the
    outputs of each view, (B, width) each."""
    columns = _encode_outputs(outputs, labelled, contract)
    for view, seen in enumerate(views, 1):
        of_one = _encode_outputs(seen, labelled, contract)
        columns |= {view_name(view, name): values for name, values in of_one.items()}
    if disagreement is not None:
        known = disagreement[labelled]
        numbers = known.astype("<f4")
        columns[DISAGREEMENT] = numbers[:, None]
    schema = label_schema(contract)
    arrays = [pack(columns[field.name], labelled, field.type) for field in schema]
    return pa.table(arrays, schema=schema)


def _encode_outputs(outputs: Float, labelled: Bool, contract: Contract) -> Columns:
    good = outputs if labelled.all() else outputs[labelled]
    good = revealed(good, contract)
    if contract.encoding == "topk":
        return _encode_topk(good, contract)
    # A copy: the labeler may write its next answer into the same array.
    kind = float_type(contract)
    packed = good.astype(kind)
    return {dense_name(contract): packed}


def decode_view(
    table: pa.Table, contract: Contract, view: int, temperature: float | None = None
) -> SoftLabels:
    """Turn the columns of one view into soft labels. Raises as `decode`."""
    # each view has the encoding of the row as it is, but for the disagreement
    alone = replace(contract, views=0, disagreement=False)
    return decode(of_view(table, contract, view), alone, temperature)


def decode(table: pa.Table, contract: Contract, temperature: float | None = None) -> SoftLabels:
    """Turn columns into soft labels. `topk` needs one of its temperatures. Raises ContractError."""
    labelled = label_validity(table, contract)
    disagreement = None
    if contract.disagreement:
        numbers = unpack(table[DISAGREEMENT], np.float32)
        disagreement = numbers[:, 0]
    if contract.encoding != "topk":
        outputs = _dense_outputs(table, contract).astype(np.float32, copy=False)
        return DenseLabels(outputs, labelled, disagreement)
    if temperature not in contract.temperatures:
        raise ContractError(
            f"{contract.labeler} keeps its top {contract.k} at temperatures"
            f" {list(contract.temperatures)}, not {temperature}."
        )
    log_probs = _log_probs(table, contract, temperature)
    index = _topk_index(table, contract)
    return TopKLabels(index, log_probs, labelled, disagreement)


def best_class(table: pa.Table, contract: Contract) -> Index:
    """Find the class with the largest logit of each row (B,); −1 where the row is rejected."""
    if contract.encoding == "topk":
        best = _topk_index(table, contract)[:, 0]
    else:
        outputs = _dense_outputs(table, contract)
        best = outputs.argmax(axis=1)
    labelled = label_validity(table, contract)
    return np.where(labelled, best, -1)


def _dense_outputs(table: pa.Table, contract: Contract) -> npt.NDArray[np.floating]:
    name = dense_name(contract)
    return unpack(table[name], float_type(contract))


def _encode_topk(logits: Float, contract: Contract) -> Columns:
    fitting = _BLOCK_NUMBERS // contract.width
    rows = max(1, fitting)
    starts = range(0, max(1, len(logits)), rows)
    blocks = [keep_largest(logits[start : start + rows], contract) for start in starts]
    index, stored, normalizers = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return topk_columns(index, stored, normalizers, contract)


def keep_largest(logits: Float, contract: Contract) -> tuple[Index, npt.NDArray[np.generic], Float]:
    """Find the largest logits of some rows: where they stand (B, k), how they are stored (B, k),
    and the log-normalisers (B, temperatures) with them as stored."""
    index = largest(logits, contract.k)
    first = np.take_along_axis(logits, index[:, :1], axis=1)
    # −∞ where float32 cannot hold how far a logit lies below the largest: probability 0.
    with np.errstate(over="ignore"):
        below = logits - first
    top = np.take_along_axis(below, index, axis=1)
    stored: npt.NDArray[np.generic]
    if contract.dtype == "uint8":
        # 7 bytes a row; the codes themselves take 13, float16 takes 26
        stored = to_gaps(-top)
        read_back = to_logits(stored, 1.0)
    else:
        lowest = np.finfo(np.float16).min
        stored = np.maximum(top, lowest).astype("<f2")
        read_back = stored.astype(np.float32)
    # the sum takes the k logits as they are stored and the others as they were, so that what is
    # read back is a proper distribution
    np.put_along_axis(below, index, read_back, axis=1)
    normalizers = _log_normalizers(below, contract)
    return index, stored, normalizers


def _log_normalizers(below: Float, contract: Contract) -> Float:
    """(B, temperatures), of how far each logit (B, C) lies below the row's largest."""
    sums = []
    for temperature in contract.temperatures:
        divisor = np.float32(temperature)
        scaled = below / divisor
        sums.append(np.exp(scaled).sum(axis=1))
    total = np.stack(sums, axis=1)
    # these 4 bytes a temperature do not shrink; 16 bits of it would break the distribution
    normalizers: Float = np.log(total).astype("<f4")
    return normalizers


def topk_columns(
    index: Index, stored: npt.NDArray[np.generic], normalizers: Float, contract: Contract
) -> Columns:
    """Name the columns of what `keep_largest` found, class numbers byte by byte."""
    narrow = index.astype(np.uint32)
    columns: Columns = {}
    # 19 bytes a row, where uint16 takes 24: zstd codes bytes, and a high byte says little (10 bits,
    # packed by hand, take 20 and are slow)
    for number, name in enumerate(plane_names(contract)):
        shift = 8 * number
        bits = np.uint8(shift)
        shifted = narrow >> bits
        columns[name] = shifted.astype(np.uint8)
    columns[topk_name(contract)] = stored
    columns[LOG_NORMALIZER] = normalizers
    return columns


def _topk_index(table: pa.Table, contract: Contract) -> Index:
    planes = plane_names(contract)
    names = reversed(planes)
    highest, *lower = [unpack(table[name], np.uint8) for name in names]
    if not lower:
        return highest.astype(np.int64)
    # In 16 bits where they suffice: half the time of shifting int64.
    narrow = np.uint16 if len(lower) == 1 else np.uint32
    index: npt.NDArray[np.unsignedinteger] = highest.astype(narrow)
    for plane in lower:
        index = index << np.uint8(8) | plane
    return index.astype(np.int64)


def _log_probs(table: pa.Table, contract: Contract, temperature: float) -> Float:
    name = topk_name(contract)
    column = table[name]
    if contract.dtype == "uint8":
        gaps = unpack(column, np.uint8)
        log_probs = to_logits(gaps, temperature)
    else:
        log_probs = unpack(column, np.float16).astype(np.float32)
        log_probs /= np.float32(temperature)
    normalizers = unpack(table[LOG_NORMALIZER], np.float32)
    number = contract.temperatures.index(temperature)
    log_probs -= normalizers[:, [number]]
    return log_probs
