from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from distill.labels.manifest import Manifest, ManifestEntry, entries_table
from distill.labels.segments import Segments
from distill.storage.open import open_storage


def some_lines(count: int, first: int = 0) -> list[ManifestEntry]:
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
    return list(Manifest(Segments(folder).read()))


def names(folder) -> list[str]:
    return [entry.key for entry in folder.list_objects()]


def written(folder, parts: int) -> tuple[Segments, list[ManifestEntry]]:
    segments, lines = Segments(folder), some_lines(parts * 3)
    segments.read()
    for number in range(parts):
        segments.append(entries_table(lines[3 * number : 3 * number + 3]))
    return segments, lines


def test_many_lines_are_too_large_for_one_segment(folder):
    segments, lines = Segments(folder), some_lines(13_000)
    segments.read()
    segments.replace(Manifest(entries_table(lines)))
    assert len(names(folder)) == 3
    assert read(folder) == lines


def test_a_manifest_of_many_pieces_stays_one(folder):
    _, lines = written(folder, 9)
    late = Segments(folder)
    table = late.read()
    assert late.are_many(len(table))
    late.replace(Manifest(table))
    assert not late.are_many(len(table))
    assert names(folder)[-1] == "000009.arrow"
    again = Segments(folder)
    assert list(Manifest(again.read())) == lines
    assert [key for key, _ in again.superseded()] == [f"{number:06d}.arrow" for number in range(9)]
    for key, _ in again.superseded():
        folder.delete(key)
    assert read(folder) == lines
    more = some_lines(4, first=27)
    again = Segments(folder)
    again.read()
    again.append(entries_table(more))
    assert names(folder)[-1] == "000010.arrow"
    assert read(folder) == lines + more


def test_a_segment_speaks_for_one_that_its_writer_never_read(folder):
    mine, lines = written(folder, 6)
    theirs = Segments(folder)
    theirs.read()
    more = some_lines(2, first=18)
    theirs.append(entries_table(more))
    mine.replace(Manifest(entries_table(lines)))
    assert names(folder)[-2:] == ["000006.arrow", "000007.arrow"]
    assert read(folder) == lines + more


def test_lines_of_many_small_segments_are_too_large_for_one(folder):
    lines, segments = some_lines(300), Segments(folder)
    table = entries_table(lines)
    segments.read()
    parts = [
        table.slice(number, 1) for number in range(300)
    ] * 4  # as a segment a minute leaves them
    segments.replace(Manifest(pa.concat_tables(parts)))
    assert Path(folder.uri, "000000.arrow").stat().st_size < 200_000
    assert read(folder) == lines


def test_after_gc_the_manifest_grows_at_each_run(folder):
    segments, lines = written(folder, 9)
    segments.replace(Manifest(entries_table(lines)))
    again = Segments(folder)
    again.read()
    for key, _ in again.superseded():
        folder.delete(key)
    for number in range(6):
        late = Segments(folder)
        late.read()
        more = some_lines(1, first=27 + number)
        lines += more
        late.append(entries_table(more))
    for _ in range(3):
        late = Segments(folder)
        table = late.read()
        if late.are_many(len(table)):
            late.replace(Manifest(table))
        assert read(folder) == lines
    late.read()
    assert len(names(folder)) - len(late.superseded()) == 1


def test_drivers_that_claim_the_same_number_lose_one_segment(folder):
    lines = some_lines(6)
    first, second = Segments(folder), Segments(folder)
    first.read(), second.read()
    first.append(entries_table(lines[:3]))
    second.append(entries_table(lines[3:]))
    assert names(folder) == ["000000.arrow", "000001.arrow"]
    assert read(folder) == lines


def test_a_damaged_replacement_hides_what_it_stands_for(folder, caplog):
    segments, lines = written(folder, 6)
    segments.replace(Manifest(entries_table(lines)))
    whole = Path(folder.uri, names(folder)[-1])
    whole.write_bytes(whole.read_bytes()[:-40])
    again = Segments(folder)
    assert list(Manifest(again.read())) == lines
    assert again.damaged == [str(whole)]
    assert "is damaged" in caplog.text
    assert again.superseded() == []
    assert again.are_many(len(lines))


def test_objects_of_others_are_read_as_segments(folder):
    _, lines = written(folder, 1)
    folder.put("notes.txt", b"mine")
    folder.put("x.arrow", b"theirs")
    assert read(folder) == lines


def test_the_higher_generation_is_found_in_an_older_segment(folder):
    segments, lines = written(folder, 2)
    mended = replace(lines[0], generation=1, sha256="ab" * 32)
    segments.append(entries_table([mended]))
    assert read(folder) == [mended, *lines[1:]]
