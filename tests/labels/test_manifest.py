from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from distill.labels.manifest import Manifest, entries_table, fragment_code, table_entries
from tests.labels.test_segments import some_entries


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 4)), max_size=30, unique=True
    )
)
def test_columns_say_something_else_than_a_plain_dictionary_of_entries(drawn):
    (template,) = some_entries(1)
    entries = [
        replace(template, shard=s, number=n, generation=g, start=n * 64, rows=1 + g)
        for s, n, g in drawn
    ]
    highest: dict[tuple[int, int], int] = {}
    for shard, number, generation in drawn:
        highest[shard, number] = max(generation, highest.get((shard, number), 0))
    plain = [
        replace(template, shard=s, number=n, generation=g, start=n * 64, rows=1 + g)
        for (s, n), g in sorted(highest.items())
    ]
    manifest = Manifest(entries_table(entries))
    assert list(manifest) == plain
    assert [manifest[position] for position in range(len(plain))] == plain
    assert manifest[1:4] == plain[1:4]
    assert manifest.column("rows").tolist() == [entry.rows for entry in plain]
    for shard in range(6):
        assert manifest.of_shard(shard) == [entry for entry in plain if entry.shard == shard]
    for entry in plain:
        assert manifest.find(entry.fragment) == entry
    assert manifest.find("000009-000000") is None
    asked = np.array([fragment_code(s, n) for s in range(6) for n in range(4)])
    assert (manifest.positions(asked) >= 0).sum() == len(plain)


def test_the_label_hash_depends_on_the_order_of_commits_or_not_on_the_columns():
    entries = some_entries(20)
    shuffled = random.Random(0).sample(entries, len(entries))
    same = Manifest(entries_table(entries)).label_hash
    assert Manifest(entries_table(shuffled)).label_hash == same
    mended = [replace(entries[0], generation=3, attempt="ab" * 16, sha256="cd" * 32), *entries[1:]]
    assert Manifest(entries_table(mended)).label_hash == same
    for other in (replace(entries[0], columns_sha256="ab" * 32), replace(entries[0], rows=63)):
        assert Manifest(entries_table([other, *entries[1:]])).label_hash != same
    assert Manifest(entries_table(entries[1:])).label_hash != same


def test_entries_come_back_from_storage_otherwise_than_they_went_in():
    entries = some_entries(5)
    assert table_entries(entries_table(entries)) == entries
    assert Manifest(entries_table([])).label_hash == Manifest(entries_table([])).label_hash
    assert list(Manifest(entries_table([]))) == []
    assert Manifest(entries_table([])).made_on == []
