"""Rows that people should see of a real job, and what they say handed back to it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.core.errors import ContractError, JobError
from distill.plan.load import load_job
from distill.run import run_job
from distill.run.review import review_pool
from tests.tiny import write_job

CLASSES = ("a", "b", "c")
LABELERS = """
class Large:
    revision = "1"
    classes = ("a", "b", "c")

    def label(self, features):
        return 6 * features[:, :3]


class Other:
    revision = "1"
    classes = ("c", "b", "a")

    def label(self, features):
        return 6 * features[:, 3:6]
"""
JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["x"] }
    target = "kind"
    classes = ["a", "b", "c"]
    keys = ["name"]
    private = ["email"]
    mask = { name = { kind = "truncate", letters = 5 } }
    [pools.test]
    path = "test"
    features = { kind = "vector", columns = ["x"] }
    keys = ["name"]
    mask = { name = { kind = "truncate", letters = 5 } }
    target = "kind"
    classes = ["a", "b", "c"]
    [labels.large]
    labeler = { kind = "custom", file = "labelers.py", name = "Large" }
    over = ["rows", "test"]
    [labels.other]
    labeler = { kind = "custom", file = "labelers.py", name = "Other" }
    encoding = { kind = "topk", k = 2 }
    over = ["rows"]
    [students.small]
    model = { kind = "linear" }
    on = ["rows"]
    training = { epochs = 10, learning_rate = 0.1, batch_rows = 64 }
    [[students.small.terms]]
    learns = "labels.large"
    loss = { kind = "kl" }
    [evaluate]
    on = "test"
    slices = ["columns.source"]
    [review]
    over = "rows"
    rows = 60
"""
ROWS = 300
FLIPPED = (3, 77, 205)
APART = (10, 250)


def write_rows(folder, seed, weak=False):
    """Rows whose first three numbers say the class, and the next three the same the other way
    round; some classes of the first file are wrong, and on some rows the two differ. With `weak` the
    source `bad` has classes that nothing tells."""
    random = np.random.default_rng(seed)
    truth = random.integers(3, size=ROWS)
    x = np.zeros((ROWS, 6), np.float32)
    x[np.arange(ROWS), truth] = 1
    x[np.arange(ROWS), 5 - truth] = 1
    x += random.normal(0, 0.05, x.shape).astype(np.float32)
    given = truth.copy()
    if weak:
        bad = np.arange(ROWS) % 3 == 0
        given[bad] = random.integers(3, size=bad.sum())
    else:
        given[list(FLIPPED)] = (truth[list(FLIPPED)] + 1) % 3
        for row in APART:
            x[row, 3:6] = np.roll(x[row, 3:6], 1)
    folder.mkdir()
    table = pa.table(
        {
            "x": pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 6),
            "kind": [CLASSES[number] for number in given],
            "source": ["bad" if row % 3 == 0 else "good" for row in range(ROWS)],
            "name": [f"row-{row}" for row in range(ROWS)],
            "email": [f"secret-{row}@example.org" for row in range(ROWS)],
        }
    )
    for number, start in enumerate((0, 200)):
        part = table.slice(start, 200 if number == 0 else ROWS)
        pq.write_table(part, folder / f"part-{number}.parquet", row_group_size=50)
    return truth


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("review")
    (folder / "labelers.py").write_text(LABELERS)
    truth = write_rows(folder / "rows", 1)
    write_rows(folder / "test", 2, weak=True)
    run_job(load_job(write_job(folder, JOB)), lambda _: None, engine="local")
    return folder, truth


def address(row):
    return (f"part-{int(row >= 200)}.parquet", row % 200 if row >= 200 else row)


def reviewed_lines(folder, text=JOB):
    reviewed = review_pool(load_job(write_job(folder, text)), engine="local")
    with open(reviewed.url) as file:
        return reviewed, [json.loads(line) for line in file]


def rows_by(lines, reason):
    return [
        (line["shard"], line["row"])
        for line in lines
        if reason in [each["reason"] for each in line["reasons"]]
    ]


def test_wrong_labels_disagreements_and_weak_slices_are_not_shown_with_their_reasons(place):
    folder, truth = place
    reviewed, lines = reviewed_lines(folder)
    assert reviewed.rows == len(lines) == 60
    assert set(rows_by(lines, "suspects")) == {address(row) for row in FLIPPED}
    assert set(rows_by(lines, "disagreement")) == {address(row) for row in APART}
    assert len(rows_by(lines, "slices")) > 20
    assert all(row % 3 == 0 for shard, row in rows_by(lines, "slices") if shard == "part-0.parquet")
    by_address = {(line["shard"], line["row"]): line for line in lines}
    suspect = by_address[address(77)]
    likely = CLASSES[truth[77]]
    assert suspect["kind"] is None
    assert suspect["given"] == CLASSES[(truth[77] + 1) % 3]
    assert f"large says {likely!r}" in suspect["reasons"][0]["why"]
    assert suspect["says"][0]["class"] == likely
    assert suspect["says"][1]["labels"] == "other"
    assert suspect["keys"] == {"name": "row-7"}  # as the pool's rule makes it
    assert len(suspect["numbers"]) == 6
    weak = by_address[rows_by(lines, "slices")[0]]["reasons"]
    why = next(each["why"] for each in weak if each["reason"] == "slices")
    assert why.startswith("students are weak on columns.source 'bad': accuracy 0.")
    table = pq.read_table(reviewed.parquet)
    assert table["row"].to_pylist() == [line["row"] for line in lines]
    assert table["reasons"].to_pylist() == [line["reasons"] for line in lines]


def test_a_private_column_stands_nowhere_in_what_people_are_shown(place):
    folder, _ = place
    reviewed, _ = reviewed_lines(folder)
    for path in (reviewed.url, reviewed.parquet):
        with open(path, "rb") as file:
            content = file.read()
        assert b"secret" not in content
    assert "email" not in pq.read_schema(reviewed.parquet).names


def test_a_finished_review_is_found_again_and_another_one_is_another(place):
    folder, _ = place
    first, lines = reviewed_lines(folder)
    again, same = reviewed_lines(folder)
    assert (again, same) == (first, lines)
    few, other = reviewed_lines(
        folder, JOB.replace("rows = 60", "rows = 5\n    by = ['suspects', 'disagreement']")
    )
    assert few.url != first.url
    assert len(other) == 5
    assert few.reasons == {"suspects": 3, "disagreement": 2}


def test_how_rows_are_cut_changes_what_people_are_shown(place, monkeypatch):
    from distill.stages.review import find_rows

    folder, _ = place
    _, lines = reviewed_lines(folder)
    shutil.rmtree(folder / "root" / "reviews")
    monkeypatch.setattr(find_rows, "_CHUNK_ROWS", 64)
    _, cut = reviewed_lines(folder)
    assert cut == lines


PEOPLE = """
    [pools.people]
    path = "said"
    corrects = "pools.rows"
    target = "kind"
    classes = ["a", "b", "c"]
    [pools.judged]
    path = "said_of_test"
    corrects = "pools.test"
    target = "kind"
    classes = ["a", "b", "c"]
    [fit.by_people]
    on = "people"
    model = { kind = "linear" }
    training = { epochs = 40, learning_rate = 0.1, batch_rows = 16 }
    [labels.by_people]
    labeler = { kind = "fitted", fit = "by_people" }
    over = ["judged"]
"""


def test_what_people_say_is_not_learned_or_judged_by(place):
    folder, truth = place
    _, lines = reviewed_lines(folder)
    for line in lines[:50]:
        row = line["row"] + (200 if line["shard"] == "part-1.parquet" else 0)
        line["kind"] = CLASSES[truth[row]]
    write_said(folder / "said", lines)
    of_test = [
        {"shard": "part-0.parquet", "row": row, "kind": CLASSES[place_of_test(folder)[row]]}
        for row in range(0, 200, 5)
    ]
    write_said(folder / "said_of_test", of_test)
    text = JOB.replace('on = "test"', 'on = "judged"').replace("    slices = ", "    # slices = ")
    text = text.replace('over = ["rows", "test"]', 'over = ["rows", "test", "judged"]')
    job = load_job(write_job(folder, text + PEOPLE, "people.toml"))
    evaluation = run_job(job, lambda _: None, engine="local").evaluation
    assert evaluation is not None
    assert (evaluation.rows, evaluation.left_out) == (40, 0)
    by_name = {method.name: method.measures["accuracy"] for method in evaluation.methods}
    assert by_name["by_people"] == 1.0
    assert by_name["large"] == 1.0


def write_said(folder, lines):
    folder.mkdir()
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))


def place_of_test(folder):
    """What the first three numbers of the test rows say, whatever their file does."""
    x = pq.read_table(folder / "test" / "part-0.parquet")["x"]
    return np.array(x.to_pylist())[:, :3].argmax(axis=1)


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        (
            'over = "rows"\n    rows',
            'over = "nowhere"\n    rows',
            JobError,
            "review.over = 'nowhere': there is no such pool",
        ),
        (
            "rows = 60",
            'rows = 60\n    labels = ["x"]',
            JobError,
            "review.labels = 'x': there is no such label set",
        ),
        ("rows = 60", 'rows = 60\n    by = ["doubt"]', JobError, "review.by"),
        (
            'over = "rows"\n    rows',
            'over = "test"\n    by = ["disagreement"]\n    rows',
            ContractError,
            "needs two label sets",
        ),
        ("[review]", "[revue]", JobError, "revue: unknown key. Did you mean 'review'"),
    ],
)
def test_a_review_of_nothing_is_begun(place, old, new, error, message):
    folder, _ = place
    with pytest.raises(error, match=message):
        review_pool(
            load_job(write_job(folder, JOB.replace(old, new), "wrong.toml")), engine="local"
        )


def test_a_job_without_a_review_says_how_to_ask_for_one(place):
    folder, _ = place
    text = JOB[: JOB.index("    [review]")]
    with pytest.raises(JobError, match=r"no \[review\] table"):
        review_pool(load_job(write_job(folder, text, "none.toml")), engine="local")
