"""The rows of a pool that a cascade's teacher was asked about: files of addresses, a fragment's rows in
files of their own.

    selections/cascade-…/v1/rows/<round>-<fragment's place>-<part>-<content>.selection

A file is put under a key of its content by conditional put: who is killed and comes back writes the
same. Later rounds name other rows, so that each is asked about once; a fragment's files are found by
its place in the pool, which growth does not move.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from distill.core.errors import StorageError
from distill.core.failpoints import reach
from distill.pools.chosen import ROWS
from distill.pools.formats.selection import (
    ADDRESSES,
    ENDING,
    SELECTED_ROW,
    BasePool,
    address_contents,
    read_addresses,
)
from distill.pools.inventory import Fragment
from distill.stages.apply.sureness import Float64, Int64
from distill.storage.open import open_storage

_REASON = "not sure"


@dataclass(frozen=True)
class AddressBook:
    """Where the addresses of one round go."""

    folder: str
    """Of the selection."""
    round: int
    base: BasePool

    def put(
        self, place: int, fragment: Fragment, rows: Int64, sureness: Float64
    ) -> tuple[str, ...]:
        """Write the addresses of some rows of a fragment, by their numbers within it; return the
        keys of their files. Raises StorageError."""
        folder = open_storage(self.folder).folder(ROWS)
        columns = [
            pa.repeat(fragment.shard.key, len(rows)),
            pa.array([bytes.fromhex(fragment.shard.id)] * len(rows), pa.binary(16)),
            pa.array(fragment.start + rows),
            pa.repeat(_REASON, len(rows)),
            pa.array(sureness),
        ]
        files: list[str] = []
        for content in address_contents(self.base, pa.table(columns, ADDRESSES)):
            name = hashlib.sha256(content).hexdigest()[:12]
            key = f"{self.round:03d}-{place:07d}-{len(files):03d}-{name}{ENDING}"
            if not folder.put_if_absent(key, content):
                raise StorageError(f"{folder.url(key)} holds something else. Move it away.")
            reach("cascade.after_file")
            files.append(key)
        return tuple(files)


def asked_rows(folder: str, files: Sequence[str]) -> Int64:
    """Read the numbers, within their shard, of the rows that some files name."""
    rows = open_storage(folder).folder(ROWS)
    found = [read_addresses(rows, key)[SELECTED_ROW].to_numpy() for key in files]
    return np.concatenate([np.empty(0, np.int64), *found])
