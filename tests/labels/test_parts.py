from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.core.errors import JobError
from distill.core.schema import INVENTORY
from distill.labels.parts import Part, parse_part, part_of_fragments
from distill.pools.fragments import WHOLE
from distill.pools.inventory import Inventory

CUT = 64
groups = st.lists(st.integers(0, 300), max_size=4)
segments = st.lists(st.lists(groups, min_size=1, max_size=6), min_size=1, max_size=4)


def listed(segments, retired=()) -> Inventory:
    """The inventory of files with those row groups, segment by segment."""
    shards = [shard for segment in segments for shard in segment]
    rows = [
        {
            "number": number,
            "key": f"part-{number}",
            "id": f"id-{number}",
            "bytes": 1,
            "rows": sum(shard),
            "row_groups": list(shard),
            "format": "parquet",
            "retires": None,
        }
        for number, shard in enumerate(shards)
    ]
    for number in retired:
        rows.append(dict(rows[number], number=len(rows), id=None, rows=0, row_groups=[]))
        rows[-1]["retires"] = number
    starts = np.cumsum([0, *map(len, segments)])
    starts = starts if retired else starts[:-1]
    table = pa.Table.from_pylist(rows, INVENTORY)
    return Inventory("p", "u", "parquet", "d", len(starts), table, tuple(starts.tolist()))


def parts_by_fragment(inventory, count):
    cut = inventory.fragment_table(CUT)
    parts = part_of_fragments(inventory, cut, count)
    ids = zip(cut.shard.tolist(), cut.number.tolist(), strict=True)
    return dict(zip(ids, parts.tolist(), strict=True))


@given(segments, st.integers(1, 70))
def test_a_fragment_belongs_to_no_part_or_a_row_group_to_two(segments, count):
    inventory = listed(segments)
    cut = inventory.fragment_table(CUT)
    parts = part_of_fragments(inventory, cut, count)
    assert len(parts) == len(cut)
    assert ((parts >= 0) & (parts < count)).all()
    owner: dict[tuple[int, int], int] = {}
    for shard, group, part in zip(cut.shard, cut.group, parts, strict=True):
        if group != WHOLE:
            assert owner.setdefault((shard, group), part) == part


@given(segments, st.lists(st.lists(groups, min_size=1, max_size=3), max_size=2), st.integers(1, 70))
def test_growth_moves_fragments_between_parts(segments, growth, count):
    before = parts_by_fragment(listed(segments), count)
    after = parts_by_fragment(listed([*segments, *growth]), count)
    assert {fragment: after[fragment] for fragment in before} == before


@given(segments, st.integers(1, 70), st.data())
def test_a_changed_file_moves_fragments_between_parts(segments, count, data):
    shards = sum(map(len, segments))
    retired = data.draw(st.integers(0, shards - 1))
    before = parts_by_fragment(listed(segments), count)
    after = parts_by_fragment(listed(segments, [retired]), count)
    assert after == {each: part for each, part in before.items() if each[0] != retired}


@pytest.mark.parametrize(
    ("files", "group_rows"), [(1_000, [640]), (64, [640] * 10), (1, [64] * 6_400)]
)
def test_parts_are_uneven(files, group_rows):
    inventory = listed([[group_rows] * files])
    cut = inventory.fragment_table(CUT)
    parts = part_of_fragments(inventory, cut, 64)
    rows = np.bincount(parts, cut.rows, minlength=64)
    share = inventory.rows / 64
    assert (abs(rows - share) <= share / 4).all()
    # contiguous: a part reads a run of files
    assert (np.diff(parts) != 0).sum() == 63


def test_a_small_file_is_read_by_two_parts():
    inventory = listed([[[130, 130, 130]] * 200])
    cut = inventory.fragment_table(CUT)
    parts = part_of_fragments(inventory, cut, 7)
    for shard in range(200):
        assert len(set(parts[cut.shard == shard].tolist())) == 1


def test_files_that_came_one_by_one_all_fall_to_one_part():
    inventory = listed([[[640]]] * 64)
    cut = inventory.fragment_table(CUT)
    assert len(set(part_of_fragments(inventory, cut, 16).tolist())) == 16


@pytest.mark.parametrize(
    "text", ["65/64", "64/64", "0/0", "x", "-1/4", "3", "3/", "1/2/3", "auto/"]
)
def test_a_wrong_part_is_taken(text):
    with pytest.raises(JobError, match=r"--part .*NUMBER/COUNT, numbers from 0.*0/64 to"):
        parse_part(text, {})


def test_a_part_in_python_is_not_checked():
    with pytest.raises(JobError, match="--part 4/4"):
        Part(4, 4)


SLURM = {
    "SLURM_ARRAY_TASK_ID": "7",
    "SLURM_ARRAY_TASK_COUNT": "4",
    "SLURM_ARRAY_TASK_MIN": "1",
    "SLURM_ARRAY_TASK_STEP": "2",
}
NODE = {"SKYPILOT_NODE_RANK": "0", "SKYPILOT_NUM_NODES": "1"}


@pytest.mark.parametrize(
    ("text", "environment", "part"),
    [
        ("3/64", {}, Part(3, 64)),
        ("3/64", SLURM, Part(3, 64)),
        ("auto", SLURM, Part(3, 4)),
        ("auto", {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "64"}, Part(0, 64)),
        ("auto/64", {"JOB_COMPLETION_INDEX": "63"}, Part(63, 64)),
        ("auto", {"SKYPILOT_NODE_RANK": "2", "SKYPILOT_NUM_NODES": "4"}, Part(2, 4)),
        ("auto", {"SKYPILOT_JOB_RANK": "9", "SKYPILOT_NUM_JOBS": "10", **NODE}, Part(9, 10)),
    ],
)
def test_a_scheduler_is_misread(text, environment, part):
    assert parse_part(text, environment) == part


@pytest.mark.parametrize(
    ("text", "environment", "said"),
    [
        ("auto", {}, "none of SLURM_ARRAY_TASK_ID, .*JOB_COMPLETION_INDEX.* is set"),
        ("auto", {"JOB_COMPLETION_INDEX": "3"}, "nothing says how many.*--part auto/COUNT"),
        ("auto/3", {"JOB_COMPLETION_INDEX": "3"}, "this number 3, counted from 0, of 3 drivers"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "3"}, "without gaps"),
        ("auto/2", {"SKYPILOT_NODE_RANK": "one"}, "SKYPILOT_NODE_RANK = 'one' is no number"),
    ],
)
def test_a_scheduler_that_says_too_little_is_guessed(text, environment, said):
    with pytest.raises(JobError, match=said):
        parse_part(text, environment)
