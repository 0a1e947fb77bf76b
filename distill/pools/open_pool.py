"""A listed pool as a stage meets it: `OpenPool` puts the job's words beside the inventory.

What only the files can tell (the schema, the width of a list of any length) is read from the first
shard that has rows and tells it, when it is first needed. The other shards are checked where they
are decoded (`features`), so a pool of 100,000 files is opened at the cost of one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distill.pools.features import decode_features, feature_width
from distill.pools.formats.options import with_mask
from distill.pools.formats.registry import read_footer, read_rows
from distill.pools.inventory import Inventory, Shard
from distill.pools.nested_lists import is_lists_of_lists, list_sides
from distill.pools.numbers import check_flags, check_numbers, column_width, one_array
from distill.spec.outputs import Outputs
from distill.spec.pools import Features, Pool, VectorFeatures
from distill.storage.base import Storage
from distill.storage.open import open_storage

_LOOKED_AT_ROWS = 64
_MEASURED_ROWS = 1_024  # of lists, whose most frequent length is the width
_MOST_SHARDS = 64  # that are opened where the first ones have a column of nothing but nulls


@dataclass(frozen=True)
class OpenPool:
    """One pool of a job, and the shards that it has."""

    name: str
    spec: Pool
    inventory: Inventory

    @property
    def files(self) -> Storage:
        """The folder of its shards."""
        return open_storage(self.inventory.uri)

    @property
    def features(self) -> Features:
        """What a model sees of a row."""
        assert self.spec.features is not None
        return self.spec.features

    @property
    def first_shard(self) -> Shard:
        """The first shard that has rows."""
        return next(self._filled_shards)

    @property
    def _filled_shards(self) -> Iterator[Shard]:
        return (shard for shard in self.inventory.shards if shard.rows)

    @cached_property
    def schema(self) -> pa.Schema:
        """The schema of the first shard that tells it. Raises PoolError."""
        _, schema = self._telling
        return schema

    @cached_property
    def unmasked_schema(self) -> pa.Schema:
        """The schema of the same shard as it lies in the file, private columns and all."""
        shard, _ = self._telling
        stored_format = self.inventory.format
        format = with_mask(stored_format, {})
        return read_footer(self.files, shard.key, format).schema

    @cached_property
    def _telling(self) -> tuple[Shard, pa.Schema]:
        """The first shard that has rows and no feature or target that is null throughout, and its
        schema; the very first where there is none such."""
        found = None
        for shard in itertools.islice(self._filled_shards, _MOST_SHARDS):
            schema = read_footer(self.files, shard.key, self.inventory.format).schema
            found = found or (shard, schema)
            if not self._has_nulls_alone(schema):
                return shard, schema
        assert found is not None
        return found

    def _has_nulls_alone(self, schema: pa.Schema) -> bool:
        names = [*self.features.columns, self.spec.target]
        return any(field.name in names and pa.types.is_null(field.type) for field in schema)

    @cached_property
    def width(self) -> int:
        """Numbers in a row's features once they are a matrix; 1 for text. Raises PoolError."""
        is_vector = isinstance(self.features, VectorFeatures)
        most = _MEASURED_ROWS if is_vector else _LOOKED_AT_ROWS
        first = self._first_rows(self.features.columns, most)
        return feature_width(self.schema, self.features, first)

    @cached_property
    def seen_features(self) -> Features:
        """The features with the sides of lists of lists, so that odd rows are rejected wherever they
        stand. Raises PoolError."""
        features = self.features
        if not isinstance(features, VectorFeatures) or len(features.columns) > 1:
            return features
        (name,) = features.columns
        if not is_lists_of_lists(self.schema.field(name).type):
            return features
        first = self._first_rows(features.columns, _MEASURED_ROWS)
        return features.with_sides(list_sides(one_array(first[name]), self.width))

    def target_width(self, outputs: Outputs) -> int:
        """Return how many numbers a head must give for this pool's target. Raises PoolError."""
        spec = self.spec
        name = str(spec.target)
        classes = len(outputs.classes)
        if not classes:
            check_numbers(self._first_rows([name]), name)
            return column_width(self.schema, name)
        if not outputs.exclusive:
            check_flags(self.schema, name, classes)
        return classes

    def first_seen(self) -> npt.NDArray[np.generic]:
        """Return what a model sees of its first rows, at most 64; zeros or empty text where one
        cannot be used. Raises PoolError."""
        columns = self.features.columns
        table = self._first_rows(columns)
        return decode_features(table, self.features, self.width).values

    def _first_rows(self, columns: Sequence[str], most: int = _LOOKED_AT_ROWS) -> pa.Table:
        shard, _ = self._telling
        rows = range(min(most, shard.rows))
        format = self.inventory.format
        return read_rows(self.files, shard.key, rows, columns, format=format).table
