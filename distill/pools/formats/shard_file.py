"""What a pool format is: a class that opens one file and gives its rows by number.

A format is one class. It says what jobs call it, which files it reads and how; defining it
registers it, so nothing else names it. One from outside the package stands in a plugin's file:

    class NumbersShard(ShardFile):
        name = "numbers"
        title = "Numbers"
        endings = (".numbers",)

        def footer(self) -> Footer: ...
        def read(self, rows: range, columns: Sequence[str]) -> RowBatch: ...

An indexed format (Parquet, Arrow IPC) has row groups, and a run of rows is read with its row groups
alone: it costs all that it touches, so row groups of about `fragment_rows` rows are the cheapest to
label. The others (JSONL, CSV) are one group, read whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import pyarrow as pa

from distill.pools.formats.base import RowBatch, check_columns, groups_of
from distill.pools.formats.whole_file import PACKED_ENDINGS
from distill.spec.pools import POOL_FORMATS


@dataclass(frozen=True)
class Footer:
    """Rows of each row group of a file, and its Arrow schema (by its first rows, if need be)."""

    row_groups: tuple[int, ...]
    schema: pa.Schema
    # columns of the schema that stand in the file's path alone (`path_columns`)
    path_columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Streamed:
    """Consecutive rows of a shard, in parts; an indexed format decodes each when it is taken."""

    rows: range
    parts: Iterator[RowBatch]


class ShardFile(ABC):
    """One open file of a pool; each format is a subclass.

    Whatever of Arrow's errors and OSErrors it raises, where it is opened or where it is read,
    becomes an error that names the file."""

    name: ClassVar[str]  # what jobs and inventories call the format
    title: ClassVar[str]  # what messages call it
    endings: ClassVar[tuple[str, ...]]  # endings of its files' names, in lower case, with their dot
    # whether its files may also end in one of `PACKED_ENDINGS`, such as `.gz`. The class unpacks
    # them (`whole_file.read_whole`).
    may_be_packed: ClassVar[bool] = False
    # whether a run of rows is read alone. Of the others a shard is one fragment.
    indexed: ClassVar[bool] = False
    # whether the files say what type a column has. Where they do not, two files could differ in
    # it, so key columns are stored as text.
    typed: ClassVar[bool] = False
    # whether a job may name it. One that may not is read where distill itself says so.
    declared: ClassVar[bool] = True
    # the command that installs a library which it imports and distill does not bring
    install: ClassVar[str] = ""

    # fetches ranges (first byte, byte after the last) at once, where the file lies in a store
    prefetch: Callable[[Sequence[tuple[int, int]]], None] | None = None

    def __init__(
        self,
        source: pa.NativeFile,
        where: str,
        dialect: Mapping[str, Any] | None = None,  # noqa: ARG002  of formats that have several
    ) -> None:
        """Open the file that `source` reads; messages call it `where`.

        A format of several dialects is given what the pool says of its own, where it says
        something."""
        self._source = source
        self._where = where

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" in vars(cls):  # others are bases of formats
            _register(cls)

    @classmethod
    def all_endings(cls) -> tuple[str, ...]:
        """Return the endings of its files, packed ones included."""
        if not cls.may_be_packed:
            return cls.endings
        packed = [f"{ending}{packing}" for ending in cls.endings for packing in PACKED_ENDINGS]
        return (*cls.endings, *packed)

    @classmethod
    def recognises(cls, head: bytes) -> bool:  # noqa: ARG003  a format may have no mark
        """Whether a file that begins so is one, where its name does not tell."""
        return False

    @abstractmethod
    def footer(self) -> Footer:
        """Return its row groups and schema."""

    @abstractmethod
    def read(self, rows: range, columns: Sequence[str]) -> RowBatch:
        """Read `columns` of its rows of `rows`. Raises PoolError where it lacks a column."""

    def stream(self, rows: range, columns: Sequence[str], part_rows: int) -> Streamed:  # noqa: ARG002
        """Read `rows` and what else lies in their row groups, decoded about `part_rows` at a time
        where the format can; this one reads them at once. Raises PoolError likewise."""
        return Streamed(rows, iter([self.read(rows, columns)]))

    def _groups(self, rows: range, columns: Sequence[str]) -> tuple[list[int], range]:
        """The row groups that hold `rows`, and all their rows. Raises PoolError where the file
        lacks one of `columns`."""
        footer = self.footer()
        check_columns(footer.schema, columns, self._where)
        return groups_of(footer.row_groups, rows)


# each format's class by its name, in the order of their definition
FORMATS = cast("dict[str, type[ShardFile]]", POOL_FORMATS)


UNDECLARED: dict[str, type[ShardFile]] = {}  # those that no job names and no ending tells, by name


def _register(defined: type[ShardFile]) -> None:
    """Raises TypeError for a name or an ending of another format."""
    # which of the two reads a file would depend on which is defined last
    if not defined.declared:
        UNDECLARED[defined.name] = defined
        return
    for known in FORMATS.values():
        # a plugin's file that was edited defines its class anew
        if known.name == defined.name and known.__qualname__ == defined.__qualname__:
            continue
        shared = sorted({*known.all_endings()} & {*defined.all_endings()})
        if known.name == defined.name:
            raise TypeError(f"{defined.__qualname__}: {known.name!r} is the name of another format")
        if shared:
            raise TypeError(f"{defined.__qualname__}: {shared[0]!r} is an ending of {known.name}")
    FORMATS[defined.name] = defined
