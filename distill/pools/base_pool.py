"""What the files of a selection say of the pool whose rows they name."""

from __future__ import annotations

import pyarrow as pa

from distill.pools.formats.open import format_named
from distill.pools.formats.options import with_mask
from distill.pools.formats.selection import BasePool
from distill.pools.open_pool import OpenPool


def base_pool(pool: OpenPool) -> BasePool:
    """Return what a selection's files say of the pool that it is of: all its columns but private
    ones. Keys of a format without types are text, as everywhere."""
    # as the files have them: the job's rules are for the selection's readers to apply
    stored_format = pool.inventory.format
    format = with_mask(stored_format, {})
    schema = pool.unmasked_schema
    # what is not there can never be read through the selection
    for name in pool.spec.dropped:
        if name in schema.names:
            index = schema.get_field_index(name)
            schema = schema.remove(index)
    if not format_named(format).typed:
        for name in pool.spec.keys:
            number = schema.get_field_index(name)
            schema = schema.set(number, pa.field(name, pa.string()))
    uri = pool.inventory.uri
    return BasePool(uri, format, schema)
