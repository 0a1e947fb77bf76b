"""How k logits a row become bytes in one layout or another, and how they are read again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distill.labels.columns import label_schema, pack
from distill.labels.contract import Contract
from distill.labels.encoding import decode, topk_columns
from distill.labels.files import data_bytes, read_data
from distill.labels.quantize import to_gaps
from tests.making import a_topk_contract

PIECE = 2_048
"""Rows packed at once: enough that calls cost nothing, few enough for the cache."""


@dataclass
class Layout:
    """How k logits a row become bytes, and bytes become classes and log-probabilities."""

    write: Callable[[np.ndarray, np.ndarray, np.ndarray], bytes]
    read: Callable[[bytes], tuple[np.ndarray, np.ndarray]]


def ours(contract: Contract) -> Layout:
    def write(index: np.ndarray, below: np.ndarray, normalizer: np.ndarray) -> bytes:
        made = []
        for start in range(0, len(index), PIECE):
            rows = slice(start, start + PIECE)
            kept = (
                to_gaps(below[rows]) if contract.dtype == "uint8" else (-below[rows]).astype("<f2")
            )
            made.append(
                topk_columns(index[rows], kept, normalizer[rows, None].astype("<f4"), contract)
            )
        parts = {name: np.concatenate([each[name] for each in made]) for name in made[0]}
        schema, labelled = label_schema(contract), np.ones(len(index), bool)
        return data_bytes(
            pa.table([pack(parts[f.name], labelled, f.type) for f in schema], schema=schema),
            contract,
        )

    def read(content: bytes) -> tuple[np.ndarray, np.ndarray]:
        soft = decode(read_data(content, contract), contract, 1.0)
        return soft.index, soft.log_probs

    return Layout(write, read)


def lists(classes: int, k: int, *, parquet: bool) -> Layout:
    """List columns of classes and fp16 log-probabilities, made the quick way: from flat arrays and
    offsets."""
    kind = np.uint16 if classes <= 1 << 16 else np.uint32

    def write(index: np.ndarray, below: np.ndarray, normalizer: np.ndarray) -> bytes:
        offsets = pa.array(np.arange(0, index.size + 1, k, dtype=np.int32))
        log_probs = (-below - normalizer[:, None].astype(np.float32)).astype(np.float16)
        flat = {
            "index": pa.array(index.astype(kind).ravel()),
            "log_prob": pa.array(log_probs.ravel()),
        }
        table = pa.table(
            {name: pa.ListArray.from_arrays(offsets, values) for name, values in flat.items()}
        )
        sink = pa.BufferOutputStream()
        if parquet:
            pq.write_table(table, sink, compression="zstd")
        else:
            options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
            with pa.ipc.new_file(sink, table.schema, options=options) as writer:
                writer.write_table(table)
        return bytes(sink.getvalue())

    def read(content: bytes) -> tuple[np.ndarray, np.ndarray]:
        buffer = pa.py_buffer(content)
        table = (
            pq.read_table(pa.BufferReader(buffer), use_threads=False)
            if parquet
            else pa.ipc.open_file(buffer).read_all()
        )
        flat = [
            table[name].combine_chunks().flatten().to_numpy().reshape(-1, k)
            for name in ("index", "log_prob")
        ]
        return flat[0].astype(np.int64), flat[1].astype(np.float32)

    return Layout(write, read)


def tinyvit(k: int) -> Layout:
    def write(index: np.ndarray, below: np.ndarray, normalizer: np.ndarray) -> bytes:
        probabilities = np.exp(-below - normalizer[:, None].astype(np.float32)).astype("<f2")
        return np.hstack([index.astype("<i2").view("u1"), probabilities.view("u1")]).tobytes()

    def read(content: bytes) -> tuple[np.ndarray, np.ndarray]:
        rows = np.frombuffer(content, "u1").reshape(-1, 4 * k)
        with np.errstate(divide="ignore"):
            log_probs = np.log(
                np.ascontiguousarray(rows[:, 2 * k :]).view("<f2").astype(np.float32)
            )
        return np.ascontiguousarray(rows[:, : 2 * k]).view("<i2").astype(np.int64), log_probs

    return Layout(write, read)


def layouts(classes: int, k: int) -> dict[str, Layout]:
    parquet = replace(a_topk_contract(classes, k), format="parquet")
    made = {
        "uint8": ours(a_topk_contract(classes, k)),
        "float16": ours(a_topk_contract(classes, k, values="float16")),
        "uint8, Parquet": ours(parquet),
        "lists, Parquet": lists(classes, k, parquet=True),
        "lists, Arrow": lists(classes, k, parquet=False),
    }
    return made | ({"TinyViT": tinyvit(k)} if classes <= 1 << 15 else {})
