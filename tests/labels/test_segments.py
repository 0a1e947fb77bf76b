from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from distill.labels.manifest import Manifest, ManifestEntry, entries_table
from distill.labels.segments import SegmentWriter, read_segments
from distill.storage.open import open_storage
from distill.storage.request_counts import requests


def some_entries(count: int, first: int = 0) -> list[ManifestEntry]:
    draw = np.random.default_rng(first)
    return [
        ManifestEntry(
            shard=number // 7,
            number=number % 7,
            generation=0,
            start=number % 7 * 64,
            rows=64,
            rejected=0,
            bytes=1_000,
            format="arrow",
            attempt=draw.bytes(16).hex(),
            shard_id=draw.bytes(16).hex(),
            sha256=draw.bytes(32).hex(),
            xxh3=draw.bytes(16).hex(),
            columns_sha256=draw.bytes(32).hex(),
            made_on="cpu numpy=2",
        )
        for number in range(first, first + count)
    ]


@pytest.fixture
def folder(tmp_path):
    return open_storage(str(tmp_path / "manifest"))


def read(folder) -> list[ManifestEntry]:
    return list(Manifest(read_segments(folder).table))


def names(folder) -> list[str]:
    return [entry.key for entry in folder.list_objects()]


def writer_of(folder) -> SegmentWriter:
    return SegmentWriter(read_segments(folder))


def delete_superseded(folder) -> None:
    """As gc does."""
    for segment in read_segments(folder).superseded:
        folder.delete(segment.key)


def written(folder, parts: int) -> tuple[SegmentWriter, list[ManifestEntry]]:
    writer = writer_of(folder)
    entries = some_entries(parts * 3)
    for number in range(parts):
        writer.append(entries_table(entries[3 * number : 3 * number + 3]))
    return writer, entries


def test_many_entries_are_too_large_for_one_segment(folder):
    entries = some_entries(13_000)
    writer_of(folder).replace(Manifest(entries_table(entries)))
    assert len(names(folder)) == 3
    assert read(folder) == entries


def test_a_manifest_of_many_pieces_stays_one(folder):
    _, entries = written(folder, 9)
    stored = read_segments(folder)
    late = SegmentWriter(stored)
    assert late.are_many(len(stored.table))
    late.replace(Manifest(stored.table))
    assert not late.are_many(len(stored.table))
    assert names(folder)[-1] == "000009.arrow"
    again = read_segments(folder)
    assert list(Manifest(again.table)) == entries
    assert [each.key for each in again.superseded] == [f"{number:06d}.arrow" for number in range(9)]
    delete_superseded(folder)
    assert read(folder) == entries
    more = some_entries(4, first=27)
    writer_of(folder).append(entries_table(more))
    assert names(folder)[-1] == "000010.arrow"
    assert read(folder) == entries + more


def test_a_segment_speaks_for_one_that_its_writer_never_read(folder):
    mine, entries = written(folder, 6)
    more = some_entries(2, first=18)
    writer_of(folder).append(entries_table(more))
    mine.replace(Manifest(entries_table(entries)))
    assert names(folder)[-2:] == ["000006.arrow", "000007.arrow"]
    assert read(folder) == entries + more


def test_entries_of_many_small_segments_are_too_large_for_one(folder):
    entries = some_entries(300)
    table = entries_table(entries)
    # as a segment a minute leaves them
    parts = [table.slice(number, 1) for number in range(300)] * 4
    writer_of(folder).replace(Manifest(pa.concat_tables(parts)))
    assert Path(folder.uri, "000000.arrow").stat().st_size < 200_000
    assert read(folder) == entries


def test_after_gc_the_manifest_grows_at_each_run(folder):
    writer, entries = written(folder, 9)
    writer.replace(Manifest(entries_table(entries)))
    delete_superseded(folder)
    for number in range(6):
        more = some_entries(1, first=27 + number)
        entries += more
        writer_of(folder).append(entries_table(more))
    for _ in range(3):
        stored = read_segments(folder)
        late = SegmentWriter(stored)
        if late.are_many(len(stored.table)):
            late.replace(Manifest(stored.table))
        assert read(folder) == entries
    assert len(names(folder)) - len(read_segments(folder).superseded) == 1


def test_drivers_that_claim_the_same_number_lose_one_segment(folder):
    entries = some_entries(6)
    first = writer_of(folder)
    second = writer_of(folder)
    first.append(entries_table(entries[:3]))
    second.append(entries_table(entries[3:]))
    assert names(folder) == ["000000.arrow", "000001.arrow"]
    assert read(folder) == entries


def test_a_driver_tries_every_number_that_others_have_written(folder):
    late = writer_of(folder)
    early = writer_of(folder)
    entries = some_entries(40)
    for entry in entries[:-1]:
        early.append(entries_table([entry]))
    before = requests()
    late.append(entries_table(entries[-1:]))
    spent = requests() - before
    assert spent.put + spent.get + spent.list <= 5
    assert read(folder) == entries
    assert len(names(folder)) == 40


def test_a_damaged_replacement_hides_what_it_stands_for(folder, caplog):
    writer, entries = written(folder, 6)
    writer.replace(Manifest(entries_table(entries)))
    whole = Path(folder.uri, names(folder)[-1])
    whole.write_bytes(whole.read_bytes()[:-40])
    again = read_segments(folder)
    assert list(Manifest(again.table)) == entries
    assert again.damaged == (str(whole),)
    assert "is damaged" in caplog.text
    assert again.superseded == []
    assert SegmentWriter(again).are_many(len(entries))


def test_objects_of_others_are_read_as_segments(folder):
    _, entries = written(folder, 1)
    folder.put("notes.txt", b"mine")
    folder.put("x.arrow", b"theirs")
    assert read(folder) == entries


def test_the_higher_generation_is_found_in_an_older_segment(folder):
    writer, entries = written(folder, 2)
    mended = replace(entries[0], generation=1, sha256="ab" * 32)
    writer.append(entries_table([mended]))
    assert read(folder) == [mended, *entries[1:]]
