"""The stage `review`: rows that people should see, as JSON lines and Parquet.

    reviews/<job>/<digest>/rows.jsonl  rows.parquet  review.json (last: it says that all is there)

A line has the row's address (`shard`, `row`), an empty place for what people say of it, named as the
pool's target (`label` where it has none), what the pool itself gives, the reasons, what each label
set says, the pool's keys, what a model sees of the row, and which file it was (`shard_id`). Whoever fills the empty place hands the
same file back as a pool that `corrects` this one.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from distill.core.schema import seal, unseal
from distill.engine.protocol import Engine
from distill.plan.review import ReviewStep
from distill.stages.review.find_rows import ReviewedRows, chosen_rows, find_rows
from distill.stages.review.show_rows import ShowRows, place_of_labels
from distill.storage.open import open_storage

LINES = "rows.jsonl"
PARQUET = "rows.parquet"
_DONE = "review.json"

_REASON = pa.struct([("reason", pa.string()), ("score", pa.float64()), ("why", pa.string())])
_WORD = pa.struct([("labels", pa.string()), ("class", pa.string()), ("probability", pa.float64())])
_TYPES = {
    "shard": pa.string(),
    "row": pa.int64(),
    "given": pa.string(),
    "reasons": pa.list_(_REASON),
    "says": pa.list_(_WORD),
    "text": pa.string(),
    "png": pa.binary(),
    "numbers": pa.list_(pa.float64()),
    "shard_id": pa.string(),
}


@dataclass(frozen=True)
class Reviewed:
    """What a review wrote."""

    pool: str
    rows: int
    reasons: dict[str, int]  # rows by reason; one may have several
    url: str  # of the lines
    parquet: str
    notes: tuple[str, ...] = ()


def review_rows(step: ReviewStep, engine: Engine) -> Reviewed:
    """Choose and write the rows, once. Raises PoolError, ContractError, StorageError."""
    folder = open_storage(step.folder)
    stored = folder.read_or_none(_DONE)
    if stored is None:
        reviewed = ReviewedRows.of(step)
        found, thresholds = find_rows(reviewed, engine)
        chosen = chosen_rows(found, step.rows)
        records = engine.call(ShowRows(reviewed, chosen, found, thresholds))
        lines = _lines(records)
        folder.put(LINES, lines)
        table = _parquet(records, step)
        folder.put(PARQUET, table)
        counts = Counter(reason for reasons in chosen.values() for reason in reasons)
        summary = Reviewed(
            pool=step.pool.name,
            rows=len(records),
            reasons={reason: counts[reason] for reason in step.reasons},
            url=folder.url(LINES),
            parquet=folder.url(PARQUET),
            notes=tuple(_notes(step)),
        )
        folder.put(_DONE, seal(asdict(summary)))
        stored = folder.read(_DONE)
    where = folder.url(_DONE)
    body = unseal(stored, where)
    # a root may have been moved since
    here = {"url": folder.url(LINES), "parquet": folder.url(PARQUET)}
    return Reviewed(**{**body, **here, "notes": tuple(body["notes"])})


def _notes(step: ReviewStep) -> list[str]:
    first = step.labels[0] if step.labels else None
    if first is None or not first.learned_it or "suspects" not in step.reasons:
        return []
    return [
        f"labels.{first.name} was fitted on pools.{step.pool.name} itself: rows whose wrong class it"
        " learned by heart are not among the suspects. A label set of a model that never saw them"
        " finds more."
    ]


def _lines(records: Sequence[dict[str, Any]]) -> bytes:
    lines = [json.dumps(_plain(record), ensure_ascii=False) for record in records]
    return "".join(f"{line}\n" for line in lines).encode()


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """A record with its picture in base64."""
    if "png" not in record:
        return record
    return {**record, "png": base64.b64encode(record["png"]).decode()}


def _parquet(records: Sequence[dict[str, Any]], step: ReviewStep) -> bytes:
    label = place_of_labels(step)
    text = pa.string()
    types = {**_TYPES, label: text}
    if step.pool.spec.keys:
        types["keys"] = pa.struct([(name, pa.string()) for name in step.pool.spec.keys])
    names = list(records[0]) if records else ["shard", "row", label]
    schema = pa.schema([(name, types[name]) for name in names])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(records), schema), sink, compression="zstd")
    return bytes(sink.getvalue())
