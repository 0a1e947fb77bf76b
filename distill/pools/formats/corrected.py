"""Rows of a pool with the labels that people gave them: files of addresses, each with a label.

As a selection's file (`formats.selection`), row i is the row of the base pool that address i names,
read from the base pool's own shard, with its key and number beside it; here also with what people
said, as the column that the job calls the target. Where the base pool has a column of that name,
people's word stands in its place.

Jobs cannot name this format, and no ending tells it: `distill.pools.corrections` writes its files
from what people hand in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property

import pyarrow as pa

from distill.core.errors import StorageError
from distill.core.schema import table_note
from distill.pools.formats.selection import ADDRESS_KEYS, ADDRESSES, BasePool, SelectionShard

ENDING = ".corrected"
_CLASS = "label"
_VALUE = "value"
# one row an address, and what people said: a class, or a number
CORRECTED = pa.schema([*ADDRESSES, pa.field(_CLASS, pa.string()), pa.field(_VALUE, pa.float64())])


def corrected_note(base: BasePool, target: str, *, is_class: bool) -> str:
    """Return what a file of corrections says of the base pool, and of what people said."""
    note = base.to_note()
    plain = json.loads(note)
    return json.dumps({**plain, "target": target, "column": _CLASS if is_class else _VALUE})


class CorrectedShard(SelectionShard):
    """One file of corrections, read as the rows that they are of. Raises StorageError for a damaged
    file."""

    name = "corrected"
    title = "corrections"
    addresses = CORRECTED

    @cached_property
    def own(self) -> Mapping[str, str]:
        """Columns of the file itself by the name that readers ask for."""
        try:
            text = table_note(self._addresses)
            note = json.loads(text)
            target = {note["target"]: note["column"]}
        except (ValueError, KeyError) as error:
            raise StorageError(
                f"{self._where} does not say what its labels are: {error}. Restore it from a copy."
            ) from None
        return {**dict(zip(ADDRESS_KEYS, ADDRESS_KEYS, strict=True)), **target}
