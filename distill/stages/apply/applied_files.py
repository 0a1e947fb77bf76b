"""The files that `distill apply` writes, as they are: the manifest, Parquet, and the README beside
them. Which rows lie in each is `write_rows`' affair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from distill.core.cascades import CascadeResult
from distill.core.schema import unseal
from distill.labels.encryption import encryption_of
from distill.plan.apply_steps import WriteStep
from distill.storage.base import HasSha256
from distill.storage.open import open_storage

MANIFEST = "_manifest.json"
README = "_README.md"


@dataclass(frozen=True)
class FileRecord:
    """One file of what was written."""

    file: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Applied:
    """What `distill apply` has written."""

    name: str
    pool: str
    uri: str
    files: tuple[FileRecord, ...]
    columns: tuple[str, ...]
    written_now: int
    """Files that this run wrote."""

    @property
    def rows(self) -> int:
        """Of all files."""
        return sum(each.rows for each in self.files)


def read_applied(uri: str) -> Applied | None:
    """Read the manifest of a folder; None before it is done. Raises StorageError."""
    folder = open_storage(uri)
    content = folder.read_or_none(MANIFEST)
    if content is None:
        return None
    body = unseal(content, folder.url(MANIFEST))
    files = tuple(FileRecord(**each) for each in body["files"])
    about = body["about"]
    return Applied(about["name"], about["pool"], uri, files, tuple(body["columns"]), 0)


def verify_applied(uri: str, rows: int) -> list[str]:
    """Return what is wrong with the files in a folder, of which `rows` rows are due: each file is
    read. Raises StorageError."""
    applied = read_applied(uri)
    folder = open_storage(uri)
    if applied is None:
        return [f"{folder.url(MANIFEST)} is not there: it is not done"]
    problems = []
    for record in applied.files:
        is_pinned = HasSha256(record.sha256)
        content = folder.read_or_none(record.file, is_pinned)
        if content is None:
            problems.append(f"{folder.url(record.file)} is gone")
        elif not is_pinned(content):
            problems.append(f"{folder.url(record.file)} is not what the manifest pins")
    if applied.rows != rows:
        problems.append(f"{uri}: {applied.rows:,} rows are written, where {rows:,} are due")
    return problems


def parquet_content(table: pa.Table, key: str) -> bytes:
    """Return rows as one Parquet file, encrypted where `key` says where a key lies."""
    sink = pa.BufferOutputStream()
    names = [field.name for field in table.schema if not pa.types.is_list(field.type)]
    # without Arrow's own schema: plain types for every reader, and the same bytes
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        # numbers rarely repeat: to look for it was half of the time that writing took
        use_dictionary=[name for name in table.column_names if _is_repeated(table, name)],
        write_statistics=names,
        store_schema=False,
        write_page_checksum=True,
        encryption_properties=encryption_of(key) if key else None,
    ) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _is_repeated(table: pa.Table, name: str) -> bool:
    return bool(pa.types.is_dictionary(table.schema.field(name).type))


def _promise(result: CascadeResult) -> str:
    """Say what labelled rows prove of a cascade: of sets it is no accuracy of who answers alone."""
    answered = f"{100 * (1 - result.share_sent):.1f}% of the rows"
    promised = (
        f"at confidence {result.confidence:g}, of rows drawn as those of pools.{result.on};"
        f" the others go to {result.to}"
    )
    if result.threshold.by == "sets":
        return (
            f"- cascade: sets of classes hold the truth of at least {result.at_least:g} of all rows;"
            f" the student answers {answered}, those whose set has one class; {promised}"
        )
    return (
        f"- cascade: the student answers {answered}, of which at least {result.at_least:g} are"
        f" right, {promised}"
    )


def readme(step: WriteStep, body: Mapping[str, Any]) -> str:
    """Return the README beside the files, of their manifest's body."""
    about = body["about"]
    lines = [
        f"# {about['name']} over pools.{about['pool']}",
        "",
        f"Written by `distill apply` of the job `{about['job']}`: {body['rows']:,} rows,"
        f" {len(body['files']):,} files, each row of the pool once.",
        "",
        f"- student: {about['student']} (its labels: `labels/{about['labels']}`)",
        f"- columns: {', '.join(body['columns'])}",
    ]
    if body["classes"]:
        lines.append(f"- order of `probabilities`: {', '.join(body['classes'])}")
    if step.sent is not None:
        lines.append(_promise(step.sent.result))
    if step.key:
        lines.append(
            f"- encrypted (Parquet modular encryption): a reader needs the key `{step.key}`"
        )
    lines += [
        "",
        "```",
        f"FROM read_parquet('{step.folder}/*.parquet')  -- DuckDB",
        f'spark.read.parquet("{step.folder}")  # Spark',
        "```",
        "",
    ]
    return "\n".join(lines)
