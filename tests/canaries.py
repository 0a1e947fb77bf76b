"""Values that stand in private columns and are to be found nowhere else: not in raw bytes, nor in
what is compressed or encoded in them."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

CANARY = "kanarie"
"""Is in every private value that is text, a letter of each kind changed."""
NUMBER = 731_942_817
DAY = "1931-07-23"
SECRETS = (CANARY, str(NUMBER), DAY)


def found_in(content: bytes) -> list[str]:
    """The secrets in some bytes, whatever the case of their letters or the width of a letter."""
    texts = [content.lower(), content.replace(b"\0", b"").lower()]
    numbers = (NUMBER.to_bytes(8, "little"), NUMBER.to_bytes(8, "big"))
    found = [each for each in SECRETS if any(each.lower().encode() in text for text in texts)]
    return found + [repr(each) for each in numbers if each in content]


def leaks(folders: Iterable[Path], skip: Iterable[Path] = ()) -> list[str]:
    """Where secrets lie in files below some folders, their columns read where they are tables."""
    skipped = tuple(skip)
    return [
        f"{file}: {secret}"
        for folder in folders
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not any(file.is_relative_to(each) for each in skipped)
        for content in [str(file).encode(), *_contents(file)]
        for secret in found_in(content)
    ]


def _contents(file: Path) -> Iterator[bytes]:
    """A file's bytes; and those of its columns, or of what is packed in it."""
    content = file.read_bytes()
    yield content
    if content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content)
    if content[:4] == b"PAR1":
        yield from _columns(pq.read_table(pa.py_buffer(content)))
    if content[:6] == b"ARROW1":
        yield from _columns(pa.ipc.open_file(pa.py_buffer(content)).read_all())


def _columns(table: pa.Table) -> Iterator[bytes]:
    yield str(table.schema.metadata).encode()
    for name, column in zip(table.column_names, table.columns, strict=True):
        yield name.encode()
        if pa.types.is_fixed_size_binary(column.type) or pa.types.is_binary(column.type):
            yield b"".join(value or b"" for value in column.to_pylist())
        else:
            yield repr(column.to_pylist()).encode()
