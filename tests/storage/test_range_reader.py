"""Reading by ranges: the same bytes as a plain file, in few requests."""

import io

from hypothesis import given
from hypothesis import strategies as st

from distill.storage.range_reader import TAIL_BYTES, RangeReader

CONTENT = bytes(range(251)) * 800  # about 3 tails


def reader(content=CONTENT, tail=TAIL_BYTES):
    asked = []

    def fetch(ranges):
        assert all(0 <= start < stop <= len(content) for start, stop in ranges)
        asked.extend(ranges)
        return [content[start:stop] for start, stop in ranges]

    return RangeReader(
        fetch, len(content), content[len(content) - min(tail, len(content)) :]
    ), asked


seeks = st.tuples(st.just("seek"), st.integers(0, len(CONTENT) + 10), st.sampled_from([0]))
ends = st.tuples(st.just("seek"), st.integers(-len(CONTENT), 10), st.sampled_from([2]))
reads = st.tuples(st.just("read"), st.integers(-1, len(CONTENT)))


@given(st.lists(st.one_of(seeks, ends, reads)))
def test_any_seeks_and_reads_give_what_a_plain_file_gives(steps):
    plain, (ranged, _) = io.BytesIO(CONTENT), reader()
    for name, *arguments in steps:
        assert getattr(ranged, name)(*arguments) == getattr(plain, name)(*arguments)
        assert ranged.tell() == plain.tell()


def test_reading_in_small_steps_does_not_cost_a_request_a_step():
    ranged, asked = reader()
    assert b"".join(iter(lambda: ranged.read(1000), b"")) == CONTENT
    assert len(asked) < 12


def test_a_seek_fetches_what_is_asked_and_no_more():
    ranged, asked = reader()
    ranged.seek(5000)
    ranged.read(100)
    assert asked == [(5000, 5100)]


def test_the_index_at_the_end_costs_no_request():
    ranged, asked = reader()
    ranged.seek(-100, io.SEEK_END)
    assert ranged.read() == CONTENT[-100:]
    assert asked == []


def test_an_empty_object_is_at_its_end():
    ranged, asked = reader(b"")
    assert ranged.read() == ranged.read(10) == b""
    assert ranged.seek(0, io.SEEK_END) == 0
    assert asked == []


def test_lines_are_read_through_a_buffer():
    lines = b"".join(b"line %d\n" % number for number in range(20_000))
    ranged, asked = reader(lines)
    assert list(io.BufferedReader(ranged)) == lines.splitlines(keepends=True)
    assert len(asked) < 12


def test_ranges_known_beforehand_are_asked_for_once_and_near_ones_together():
    ranged, asked = reader()
    ranged.prefetch([(0, 100), (200, 300), (120_000, 120_100), (len(CONTENT) - 50, len(CONTENT))])
    assert asked == [(0, 300), (120_000, 120_100)]
    for start, stop in [
        (0, 100),
        (210, 290),
        (120_000, 120_100),
        (len(CONTENT) - 50, len(CONTENT)),
    ]:
        ranged.seek(start)
        assert ranged.read(stop - start) == CONTENT[start:stop]
    assert len(asked) == 2
