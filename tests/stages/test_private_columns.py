"""A whole job over rows with private columns, and everything that it leaves behind: the private
values are found nowhere."""

from __future__ import annotations

import base64
import json
import logging
import traceback

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.core.errors import DistillError, JobError, PoolError
from distill.labels.reader import open_labels
from distill.plan.load import load_job
from distill.pools.scan import take_inventory
from distill.run import label_pool, run_job
from distill.spec.pools import Pool
from distill.storage.open import open_storage
from tests.canaries import CANARY, DAY, NUMBER, found_in, leaks
from tests.command import distill
from tests.tiny import write_job

KEY = base64.b64encode(bytes(32)).decode()
ROWS = 96
TEACHER = """
import numpy as np

class Labeler:
    revision = "1"
    classes = ("cat", "dog")

    def label(self, texts):
        if any("raise" in text for text in texts):
            raise ValueError(f"cannot read {texts[0]!r} of {list(texts)}")
        print("teacher saw", list(texts))
        scores = np.array([[text.count("cat"), text.count("dog")] for text in texts], np.float32)
        scores[["reject" in text for text in texts]] = np.nan
        return scores
"""
PROBES = """
import numpy as np

class Labeler:
    revision = "1"
    kind = "value"
    width = 2

    def label(self, texts):
        return np.array([[len(text), "cat" in text] for text in texts], np.float32)
"""
JOB = """
    root = "root"
    fragment_rows = 64
    [pools.notes]
    path = "notes"
    features = { kind = "text", column = "note" }
    target = "kind"
    classes = ["cat", "dog"]
    keys = ["person", "code", "income", "born"]
    private = ["email", "photo", "note"]
    [pools.notes.mask]
    person = { kind = "hash", key = "env:MASK_KEY" }
    code = { kind = "truncate", letters = 3 }
    income = { kind = "bins", width = 1000000 }
    born = { kind = "dates", to = "year" }
    note = { kind = "redact", find = ["email", "phone", "card"], patterns = { member = "M-\\\\w+" } }
    [pools.test]
    path = "test"
    features = { kind = "text", column = "note" }
    target = "kind"
    classes = ["cat", "dog"]
    keys = ["person", "code", "income", "born"]
    private = ["email", "photo", "note"]
    [pools.test.mask]
    person = { kind = "hash", key = "env:MASK_KEY" }
    code = { kind = "truncate", letters = 3 }
    income = { kind = "bins", width = 1000000 }
    born = { kind = "dates", to = "year" }
    note = { kind = "redact", find = ["email", "phone", "card"], patterns = { member = "M-\\\\w+" } }
    [labels.teacher]
    labeler = { kind = "custom", file = "teacher.py" }
    over = ["notes", "test"]
    max_rejected_fraction = 0.5
    [structure.groups]
    of = "labels.probes"
    model = { kind = "kmeans", k = 2 }
    [labels.probes]
    labeler = { kind = "custom", file = "probes.py" }
    over = ["notes"]
    [labels.cluster]
    labeler = { kind = "structure", structure = "groups", gives = "cluster" }
    over = ["notes"]
    [select.few]
    of = "pools.notes"
    rows = 16
    by = { kind = "balanced", structure = "groups" }
    [students.small]
    model = { kind = "ngram_bag", buckets = 64, hidden = 4 }
    training = { epochs = 2, batch_rows = 16 }
    on = ["notes"]
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl" }
    [evaluate]
    on = "test"
    slices = ["class", "columns.born", "columns.code", "length"]
"""


SHORT_JOB = JOB[: JOB.index("    [structure.groups]")]
"""Its pools and its teacher alone."""


def private_rows(rows=ROWS, more=""):
    """Rows with a secret in each private column; what is public says the kind alone."""
    kinds = ["cat" if row % 2 else "dog" for row in range(rows)]
    notes = [
        f"a {kind} of bob.{CANARY}@example.org M-{CANARY}{row} {more} {(row % 5 and 'ok') or 'reject'}"
        for row, kind in enumerate(kinds)
    ]
    return {
        "note": notes,
        "kind": kinds,
        "person": [f"{CANARY} {row % 7}" for row in range(rows)],
        "code": [f"DE-{CANARY}" for _ in range(rows)],
        "income": [NUMBER] * rows,
        "born": [DAY] * rows,
        "email": [f"{CANARY}{row}@example.org" for row in range(rows)],
        "photo": [f"{CANARY}.png" for _ in range(rows)],
    }


def job_in(folder, text=JOB, name="job.toml"):
    """The job file, its labelers beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "teacher.py").write_text(TEACHER, "utf-8")
    (folder / "probes.py").write_text(PROBES, "utf-8")
    return write_job(folder, text, name)


def write_rows(folder, columns, ending="parquet"):
    folder.mkdir(parents=True, exist_ok=True)
    if ending == "parquet":
        pq.write_table(pa.table(columns), folder / "part.parquet", row_group_size=32)
        return
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if ending == "jsonl":
        text = "\n".join(json.dumps(row) for row in rows)
    else:
        text = "\n".join([",".join(columns), *(",".join(map(str, row.values())) for row in rows)])
    (folder / f"part.{ending}").write_text(text, "utf-8")


def everywhere(error):
    """All that is ever shown of an error: words, causes, traceback, and what is pickled."""
    return "".join(traceback.format_exception(error)).encode() + repr(error).encode()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("private")
    write_rows(folder / "notes", private_rows())
    write_rows(folder / "test", private_rows(64), "csv")
    return job_in(folder)


@pytest.fixture(scope="module")
def printed(file):
    """What each command printed, of a job that is run to its end."""
    outputs = []
    for arguments in (
        ("show", file, "teacher"),
        ("run", file, "--local"),
        ("select", file, "--local"),
        ("verify", file),
        ("status", file),
        ("report", file),
        ("gc", file),
    ):
        ended = distill(*arguments, MASK_KEY=KEY)
        assert ended.code == 0, ended.output
        outputs.append(ended.output)
    return outputs


def test_a_private_value_is_stored_printed_or_shown(file, printed):
    folder = file.parent
    assert leaks([folder], skip=[folder / "notes", folder / "test"]) == []
    assert [found_in(output.encode()) for output in printed] == [[]] * len(printed)
    # the test would find them: they are where they came from
    assert {each.partition(": ")[2] for each in leaks([folder / "notes"])} >= {CANARY, DAY}
    assert "[email]" in printed[0]
    assert "[member]" in printed[0]


@pytest.mark.usefixtures("printed")
def test_masked_columns_are_of_no_use_any_more(file):
    labels = open_labels(file.parent / "root/labels/teacher/v1/notes")
    table = pa.concat_tables(labels)
    assert table["code"].unique().to_pylist() == ["DE-"]
    assert table["income"].unique().to_pylist() == [731_000_000]
    assert table["born"].unique().to_pylist() == ["1931"]
    people = table["person"].to_pylist()
    assert len(set(people)) == 7
    assert people[:7] == people[7:14]
    rejects = table["logits"].null_count
    assert rejects == sum(row % 5 == 0 for row in range(ROWS))


@pytest.mark.usefixtures("printed")
def test_an_exported_student_is_asked_about_rows_that_are_not_masked(file, tmp_path):
    ended = distill("export", file, "small", MASK_KEY=KEY)
    assert ended.code == 0, ended.output
    (export,) = file.parent.glob("root/students/small/*/export")
    ended = distill("predict", export, file.parent / "notes", tmp_path / "out", MASK_KEY=KEY)
    assert ended.code == 0, ended.output
    assert leaks([tmp_path, file.parent / "root"]) == []
    assert found_in(ended.output.encode()) == []
    predicted = pq.read_table(tmp_path / "out")
    assert "email" not in predicted.column_names
    assert predicted["code"].unique().to_pylist() == ["DE-"]


def test_a_labeler_that_raises_shows_what_it_never_saw(file, monkeypatch, caplog):
    monkeypatch.setenv("MASK_KEY", KEY)
    write_rows(file.parent / "raising/notes", private_rows(more="raise"))
    write_rows(file.parent / "raising/test", private_rows(64), "csv")
    job = job_in(file.parent / "raising")
    with caplog.at_level(logging.DEBUG), pytest.raises(DistillError) as raised:
        run_job(load_job(job), lambda _line: None, engine="local")
    assert "[email]" in str(raised.value)
    assert found_in(everywhere(raised.value)) == []
    assert found_in(caplog.text.encode()) == []
    assert leaks([job.parent], [job.parent / "notes", job.parent / "test"]) == []


DAMAGES = {
    "a line is no object": ("jsonl", lambda text: text + f'\n{{"note": "{CANARY}"'),
    "no line is one": ("jsonl", lambda _: f'"{CANARY}"\n{NUMBER}\n'),
    "a private value is of another kind": (
        "jsonl",
        lambda text: (
            text + "\n" + json.dumps({"note": "x", "born": {"at": CANARY}, "income": CANARY})
        ),
    ),
    "all private values are objects": (
        "jsonl",
        lambda text: text.replace(f'"born": "{DAY}"', f'"born": {{"at": "{CANARY}"}}'),
    ),
    "a row has more cells": ("csv", lambda text: f"{text}\n{CANARY},{CANARY},1,2,3,4,5,6,7,8"),
    "a quote is stray": ("csv", lambda text: f'{text}\n"{CANARY}" x,dog,1,2,3,4,5,6'),
    "a quote is never closed": ("csv", lambda text: f'{text}\n"{CANARY},dog,1,2,3,4,5,6'),
    "the header is misquoted": ("csv", lambda text: f'"{text}'.replace("\n", f'\n{CANARY}"x', 1)),
    "it is no UTF-8": (
        "csv",
        lambda text: text.encode() + f"\n{CANARY}\xe9,dog,1,2,3,4,5,6".encode("latin-1"),
    ),
    "it is UTF-16": ("csv", lambda text: text.encode("utf-16")),
    "a date is none": ("csv", lambda text: text.replace(DAY, f"{CANARY} {DAY}")),
    "a number is none": ("csv", lambda text: text.replace(str(NUMBER), f"{CANARY}")),
    "it is cut off": ("parquet", lambda content: content[: len(content) // 2]),
    "a page is damaged": (
        "parquet",
        lambda content: content[:40] + bytes(60) + content[100:],
    ),
    "it is another format": ("parquet", lambda _: CANARY.encode() * 100),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_error_or_a_reject_quotes_what_is_private(damage, tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.setenv("MASK_KEY", KEY)
    ending, change = DAMAGES[damage]
    write_rows(tmp_path / "notes", private_rows(40), ending)
    write_rows(tmp_path / "test", private_rows(64))
    part = tmp_path / f"notes/part.{ending}"
    content = part.read_bytes() if ending == "parquet" else part.read_text("utf-8")
    changed = change(content)
    part.write_bytes(changed if isinstance(changed, bytes) else changed.encode())
    job = job_in(tmp_path, SHORT_JOB.replace("fraction = 0.5", "fraction = 0"))
    with caplog.at_level(logging.DEBUG), pytest.raises(DistillError) as raised:
        label_pool(load_job(job), "teacher", engine="local")
    assert not isinstance(raised.value, JobError)
    print(raised.value)
    assert found_in(everywhere(raised.value)) == []
    assert found_in(caplog.text.encode()) == []
    assert found_in("".join(capfd.readouterr()).encode()) == []
    assert leaks([tmp_path], skip=[tmp_path / "notes", tmp_path / "test"]) == []


def test_a_target_that_is_masked_is_quoted_as_it_was(tmp_path, caplog):
    write_rows(tmp_path / "pool", {"x": [1.0] * 4, "kind": [f"{CANARY}{row}" for row in range(4)]})
    text = """
        root = "root"
        [pools.rows]
        path = "pool"
        features = { kind = "vector", columns = ["x"] }
        target = "kind"
        classes = ["ka", "b"]
        mask = { kind = { kind = "truncate", letters = 4 } }
        [fit.it]
        model = { kind = "linear" }
        on = "rows"
    """
    with caplog.at_level(logging.DEBUG), pytest.raises(DistillError) as raised:
        run_job(load_job(write_job(tmp_path, text)), lambda _line: None, engine="local")
    assert found_in(everywhere(raised.value)) == []
    assert found_in(caplog.text.encode()) == []
    assert leaks([tmp_path], skip=[tmp_path / "pool"]) == []


def test_a_private_path_is_listed(tmp_path):
    folder = tmp_path / f"pool/person={CANARY}"
    write_rows(folder, {"x": [1.0]})
    spec = Pool.model_validate_json(
        '{"path": "pool", "mask": {"person": {"kind": "truncate", "letters": 1}}}'
    )
    root = open_storage(str(tmp_path / "root"))
    with pytest.raises(PoolError, match="stand in the paths") as raised:
        take_inventory(root, "rows", open_storage(str(tmp_path / "pool")), spec=spec)
    assert found_in(everywhere(raised.value)) == []
    assert leaks([tmp_path / "root"]) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("person = {", "persn = {"), "no column 'persn'"),
        (
            ('kind = "bins", width = 1000000', 'kind = "redact", find = ["email"]'),
            "cannot be masked",
        ),
        (('"M-\\\\w+"', '"(?<=M)-"'), "note.patterns.member"),
        (("env:MASK_KEY", "env:OTHER_KEY"), "the key env:OTHER_KEY is missing"),
    ],
)
def test_a_wrong_rule_is_found_when_rows_were_paid_for(file, tmp_path, monkeypatch, change, words):
    monkeypatch.setenv("MASK_KEY", KEY)
    for name in ("notes", "test"):
        (tmp_path / name).symlink_to(file.parent / name)
    text = SHORT_JOB.replace(*change)
    with pytest.raises((PoolError, JobError)) as raised:
        label_pool(load_job(job_in(tmp_path, text)), "teacher", engine="local")
    assert words in str(raised.value)
    assert not (tmp_path / "root/labels").exists()


def test_another_rule_reads_labels_of_the_one_before(file, printed, tmp_path, monkeypatch):
    assert printed
    monkeypatch.setenv("MASK_KEY", KEY)
    text = JOB.replace("letters = 3", "letters = 4").replace(
        "fragment_rows", "plugins = []\n    fragment_rows"
    )
    other = write_job(file.parent, text, "other.toml")
    with pytest.raises(DistillError, match="preprocessing"):
        label_pool(load_job(other), "teacher", engine="local")
    monkeypatch.setenv("MASK_KEY", base64.b64encode(bytes(range(32))).decode())
    with pytest.raises(DistillError, match="preprocessing"):
        label_pool(load_job(file), "teacher", engine="local")


def test_a_key_in_a_job_is_quoted_in_its_error(tmp_path):
    text = JOB.replace('"env:MASK_KEY"', f'"{KEY}"')
    with pytest.raises(JobError, match=r"mask\.person\.key") as raised:
        load_job(write_job(tmp_path, text))
    assert KEY not in everywhere(raised.value).decode()
    text = JOB.replace('kind = "hash", key = "env:MASK_KEY"', f'kind = "hsah", key = "{KEY}"')
    with pytest.raises(JobError, match=r"mask\.person") as raised:
        load_job(write_job(tmp_path, text))
    assert KEY not in str(raised.value)


def test_rows_are_opened_elsewhere_than_where_they_are_masked():
    # whoever opens a pool's file goes through `open_shard`, which masks it
    import subprocess

    from tests.command import REPOSITORY

    found = subprocess.run(
        ["grep", "-rlE", r"open_shard\(|kind\(file, where", "distill", "--include=*.py"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    names = {each.removeprefix("distill/pools/formats/") for each in found}
    assert names == {"open.py", "reader.py", "registry.py", "selection.py"}
