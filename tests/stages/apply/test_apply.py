"""A student over a whole pool: every row once, in files that others read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.core.errors import ContractError, JobError, LimitError, StorageError
from distill.labelers.network import NetworkLabeler
from distill.labels.encryption import read_encrypted
from distill.plan.load import load_job
from distill.pools.chosen import chosen_addresses, read_rounds
from distill.run import apply_student, export_students, label_pool, plan_cascades, train_students
from distill.stages.apply import send_on
from distill.storage.open import open_storage
from tests.resolved import find_student
from tests.stages.apply.conftest import CASCADE, TABLES, write_rows_of
from tests.tiny import pixels, write_job

ROWS = 440


def silent(_line: str) -> None:
    pass


def interrupt(*_arguments: object) -> None:
    raise KeyboardInterrupt


def applied(job, name, pool="rows", say=silent):
    """What the command has written, verified."""
    found = apply_student(job, name, pool, say, engine="local", verify=True)
    assert not found.problems
    return found.applied


def table_of(uri):
    """All that was written, by DuckDB, in the pool's order."""
    query = f"FROM read_parquet('{uri}/*.parquet') ORDER BY shard, row"
    return duckdb.sql(query).to_arrow_table()


def cascade(to="labels.teacher", at_least=0.9, by="confidence"):
    return CASCADE.format(to=to, at_least=at_least, by=by)


def logits_of(job):
    """The student's own outputs of the pool's rows, asked in this process."""
    folder, record = find_student(job, job.variants[0])
    rows = pq.read_table(job.folder / "rows")
    return rows, NetworkLabeler.load(folder.uri, record).label(pixels(rows))


def test_duckdb_reads_every_row_once_with_its_key_and_the_students_class(applying):
    job = applying()
    uri = applied(job, "small").uri
    counts = duckdb.sql(
        f"SELECT count(*), count(DISTINCT (shard, row)), count(class), count(*) FILTER (rejected)"
        f" FROM read_parquet('{uri}/*.parquet')"
    ).fetchall()
    assert counts == [(ROWS, ROWS, ROWS, 0)]
    found = table_of(uri)
    rows, logits = logits_of(job)
    assert found["email"].to_pylist() == rows["email"].to_pylist()
    classes = np.array(["a", "b", "c"])
    assert found["class"].to_pylist() == classes[logits.argmax(axis=1)].tolist()
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    due = odds / odds.sum(axis=1, keepdims=True)
    probabilities = np.array(found["probabilities"].to_pylist())
    np.testing.assert_allclose(probabilities, due, atol=1e-5)
    np.testing.assert_allclose(found["probability"].to_numpy(), due.max(axis=1), atol=1e-5)


def test_readers_of_folders_see_no_file_beside_the_rows(applying):
    """Spark and pyarrow skip names that begin with `_`; all files have one schema."""
    uri = applied(applying(), "small").uri
    assert pq.read_table(uri).num_rows == ROWS
    others = [each.name for each in Path(uri).iterdir() if each.suffix != ".parquet"]
    assert sorted(others) == ["_README.md", "_manifest.json"]
    assert "440 rows, 9 files" in (Path(uri) / "_README.md").read_text("utf-8")


def test_a_second_command_writes_nothing(applying):
    job = applying(cascade())
    lines = []
    for name in ("small", "sure"):
        applied(job, name)
    before = {
        each: each.stat().st_mtime_ns
        for folder in ("applied", "labels", "cascades", "selections", "spent")
        for each in (job.folder / "runs" / folder).rglob("*")
    }
    for name in ("small", "sure"):
        assert applied(job, name, say=lines.append).written_now == 0
    after = {each: each.stat().st_mtime_ns for each in before}
    assert after == before
    assert all("done before" in line for line in lines if line.startswith("labels."))


def test_a_cascade_asks_the_teacher_about_the_rows_that_are_sent_on_alone(applying):
    job = applying(cascade())
    found = apply_student(job, "sure", "rows", silent, engine="local", verify=True)
    result = found.cascade
    table = table_of(found.applied.uri)
    assert len(table) == ROWS
    by = np.array(table["answered_by"].to_pylist())
    assert (by == "labels.teacher").sum() == result.sent
    assert (by == "student").sum() == ROWS - result.sent
    assert 0 < result.sent < ROWS
    (teacher,) = (job.folder / "runs/labels/teacher/v1").glob("select.*")
    commits = list((teacher / "commits").iterdir())
    labelled = sum(json.loads(each.read_text("utf-8"))["body"]["rows"] for each in commits)
    assert labelled == result.sent
    rows, _ = logits_of(job)
    said = np.array(["a", "b", "c"])[pixels(rows)[:, :3].argmax(axis=1)]
    sent = by == "labels.teacher"
    assert (np.array(table["class"].to_pylist())[sent] == said[sent]).all()
    (cost,) = plan_cascades(job)
    assert cost.result == result
    assert cost.share is not None
    assert cost.share > result.share_sent
    # the student is sure of all that it answers, and of none that it sends on
    sureness = table["student_probability"].to_numpy()
    assert sureness[~sent].min() >= result.threshold.threshold > sureness[sent].max()


def test_a_teacher_that_labelled_the_pool_before_is_not_asked_again(applying):
    job = applying(cascade())
    asked = table_of(applied(job, "sure").uri)
    over = TABLES.replace('over = ["taught"]', 'over = ["taught", "rows"]')
    # what the student sees stays: it learned from `taught` alone
    over = over.replace(
        'model = { kind = "linear" }', 'model = { kind = "linear" }\non = ["taught"]'
    )
    file = write_job(job.folder, over + cascade())
    other = load_job(file, root="other")
    label_pool(other, "teacher", engine="local")
    train_students(other, engine="local")
    lines = []
    read = table_of(applied(other, "sure", say=lines.append).uri)
    assert not any(line.startswith("labels.teacher") for line in lines)
    assert read.drop_columns("probabilities") == asked.drop_columns("probabilities")


def test_rows_for_people_are_written_beside_and_stay_open(applying):
    job = applying(cascade(to="review"))
    found = apply_student(job, "sure", "rows", silent, engine="local")
    table = table_of(found.applied.uri)
    open_rows = [row for row in table.to_pylist() if row["class"] is None]
    assert len(open_rows) == found.cascade.sent
    assert {row["answered_by"] for row in open_rows} == {"review"}
    lines = []
    for file in sorted(Path(found.applied.uri, "_review").iterdir()):
        lines += [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    places = {(line["shard"], line["row"]): line for line in lines}
    assert places.keys() == {(row["shard"], row["row"]) for row in open_rows}
    assert all(line["email"] and line["student_class"] and line["reason"] for line in lines)


def test_a_student_that_abstains_leaves_rows_open(applying):
    found = apply_student(applying(cascade(to="nobody")), "sure", "rows", silent, engine="local")
    table = table_of(found.applied.uri)
    assert table["class"].null_count == found.cascade.sent == table["answered_by"].null_count
    assert table["student_class"].null_count == 0
    assert not (Path(found.applied.uri) / "_review").exists()


def test_conformal_sets_are_written_and_those_of_one_class_are_answers(applying):
    found = apply_student(applying(cascade(by="sets")), "sure", "rows", silent, engine="local")
    rows = table_of(found.applied.uri).to_pylist()
    for row in rows:
        alone = len(row["set"]) == 1
        assert (row["answered_by"] == "student") == alone
        if alone:
            assert row["set"] == [row["class"]]
    assert 0 < sum(len(row["set"]) > 1 for row in rows) == found.cascade.sent


def test_a_temperature_is_found_once_and_changes_no_class(applying):
    calibrated = '[apply.small]\ncalibrate_on = "people"\nprobabilities = false\n'
    job = applying()
    plain = table_of(applied(job, "small").uri)
    job = load_job(write_job(job.folder, TABLES + calibrated))
    warm = table_of(applied(job, "small").uri)
    assert warm["class"] == plain["class"]
    assert "probabilities" not in warm.column_names
    (file,) = (job.folder / "runs/calibrations").rglob("done.json")
    temperature = json.loads(file.read_text("utf-8"))["body"]["temperature"]
    _, logits = logits_of(job)
    scaled = logits / temperature
    odds = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    due = 1 / odds.sum(axis=1)
    np.testing.assert_allclose(warm["probability"].to_numpy(), due, atol=1e-5)
    assert abs(temperature - 1) > 0.05


def test_an_exported_student_answers_as_the_one_that_was_trained(applying):
    job = applying()
    (exported,) = export_students(job, ["small"], engine="local")
    own = table_of(applied(job, "small").uri)
    assert table_of(applied(job, exported.uri).uri) == own
    model = f'[apply.away]\nmodel = "{exported.uri}"\n' + cascade().replace('"small"', '"away"')
    job = load_job(write_job(job.folder, TABLES + model))
    assert table_of(applied(job, "away").uri) == own
    assert table_of(applied(job, "sure").uri)["student_class"] == own["class"]


def test_a_pool_that_grew_is_labelled_where_it_grew(applying):
    job = applying()
    applied(job, "small")
    write_rows_of(job.folder / "more", [70], seed=9)
    (job.folder / "more/part-00000.parquet").rename(job.folder / "rows/part-00009.parquet")
    lines = []
    found = applied(load_job(job.path), "small", say=lines.append)
    assert found.rows == ROWS + 70
    assert "11 fragments (2 labelled now)" in lines[0]


def bought(job):
    """How many rows the teacher was asked about, over all selections of what is sent on."""
    commits = (job.folder / "runs/labels/teacher/v1").glob("select.*/commits/*")
    return sum(json.loads(each.read_text("utf-8"))["body"]["rows"] for each in commits)


def sent_to_teacher(uri):
    """Where the rows that the teacher answered lie, and its classes of them."""
    rows = table_of(uri).to_pylist()
    return {
        (row["shard"], row["row"]): row["class"]
        for row in rows
        if row["answered_by"] == "labels.teacher"
    }


def test_a_teacher_is_asked_twice_about_a_row_that_was_sent_on_before_the_pool_grew(applying):
    job = applying(cascade())
    before = sent_to_teacher(applied(job, "sure").uri)
    write_rows_of(job.folder / "more", [70], seed=9)
    (job.folder / "more/part-00000.parquet").rename(job.folder / "rows/part-00009.parquet")
    lines = []
    after = sent_to_teacher(applied(load_job(job.path), "sure", say=lines.append).uri)
    assert before.keys() & after.keys()
    assert any(shard == "part-00009.parquet" for shard, _ in after)
    assert bought(job) == len(before.keys() | after.keys())
    rows, _ = logits_of(job)
    kinds = iter(rows["kind"].to_pylist())
    due = {
        (file.name, number): next(kinds)
        for file in sorted((job.folder / "rows").iterdir())
        for number in range(pq.read_metadata(file).num_rows)
    }
    assert after == {place: due[place] for place in after}


def test_a_teacher_is_asked_twice_about_a_row_that_another_threshold_sent_on(applying):
    job = applying(cascade(at_least=0.8))
    few = sent_to_teacher(applied(job, "sure").uri)
    (folder,) = (job.folder / "runs/labels/teacher/v1").glob("select.*")
    job = load_job(write_job(job.folder, TABLES + cascade(at_least=0.9)))
    many = sent_to_teacher(applied(job, "sure").uri)
    assert few.keys() < many.keys()
    assert bought(job) == len(many)
    # what was chosen first is whole as it was
    job = load_job(write_job(job.folder, TABLES + cascade(at_least=0.8)))
    assert sent_to_teacher(applied(job, "sure").uri) == few
    assert bought(job) == len(many)
    assert [folder] == list((job.folder / "runs/labels/teacher/v1").glob("select.*"))


def test_a_selection_that_is_lost_is_asked_for_by_a_command_that_nobody_can_give(applying):
    job = applying(cascade())
    applied(job, "sure")
    for lost in ("selections", "applied"):
        shutil.rmtree(job.folder / "runs" / lost)
    with pytest.raises(StorageError, match="Restore it from a copy, or give the cascade another"):
        applied(load_job(job.path), "sure")


def test_another_teacher_is_asked_about_rows_that_only_the_first_was_sent(applying):
    other = (
        '[labels.other]\nlabeler = { kind = "custom", file = "teacher.py" }\nover = ["taught"]\n'
    )
    job = applying(cascade(at_least=0.9))
    applied(job, "sure")
    more = other + cascade("labels.other", at_least=0.8)
    job = load_job(write_job(job.folder, TABLES + more))
    found = apply_student(job, "sure", "rows", silent, engine="local")
    commits = (job.folder / "runs/labels/other/v1").glob("select.*/commits/*")
    asked = sum(json.loads(each.read_text("utf-8"))["body"]["rows"] for each in commits)
    assert asked == found.cascade.sent


def test_nobody_is_told_that_a_teacher_is_paid_for_a_choice_that_was_given_up(
    applying, monkeypatch, caplog
):
    job = applying(cascade(at_least=0.9))
    with monkeypatch.context() as patched:
        patched.setattr("distill.run.apply._answered", interrupt)
        with pytest.raises(KeyboardInterrupt):
            applied(job, "sure")
    assert "earlier choice" not in caplog.text
    job = load_job(write_job(job.folder, TABLES + cascade(at_least=0.8)))
    few = sent_to_teacher(applied(job, "sure").uri)
    assert f"though {len(few)} are sent on: an earlier choice" in caplog.text
    caplog.clear()
    # under another name there is another account
    renamed = cascade(at_least=0.8).replace("cascade.sure", "cascade.surer")
    before = bought(job)
    job = load_job(write_job(job.folder, TABLES + renamed))
    assert sent_to_teacher(applied(job, "surer").uri) == few
    assert bought(job) == before + len(few)
    assert "earlier choice" not in caplog.text


def test_a_record_of_very_many_files_is_too_large_to_be_written(applying, monkeypatch):
    due = sent_to_teacher(applied(applying(cascade()), "sure").uri)
    monkeypatch.setattr(send_on, "_RECORD_FILES", 4)
    job = applying(cascade(), "other")
    assert sent_to_teacher(applied(job, "sure").uri) == due
    assert bought(job) == len(due)
    (rounds,) = (job.folder / "runs/selections").glob("*/v1/rounds")
    records = [json.loads(each.read_text("utf-8"))["body"] for each in sorted(rounds.iterdir())]
    assert [len(each["files"]) for each in records] == [4, 4, 1]
    assert sum(each["rows"] for each in records) == len(due)


def test_a_file_that_changed_is_answered_as_it_was(applying):
    relabel = TABLES.replace('path = "rows"', 'path = "rows"\n    on_change = "relabel"')
    job = applying()
    job = load_job(write_job(job.folder, relabel + cascade()))
    applied(job, "sure")
    write_rows_of(job.folder / "other", [120], seed=8)
    (job.folder / "other/part-00000.parquet").rename(job.folder / "rows/part-00001.parquet")
    found = table_of(applied(load_job(job.path), "sure").uri)
    assert len(found) == 150 + 120 + 200
    assert found["class"].null_count == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('[evaluate]\non = "people"\n', "judges by pools.people, which has the same rows"),
        ("", "people were shown the doubtful rows first"),
    ],
)
def test_nobody_is_told_of_labelled_rows_that_promise_less_than_they_seem_to(
    applying, more, message, caplog
):
    corrected = """
    [pools.looked_at]
    path = "looked_at"
    corrects = "pools.rows"
    target = "kind"
    classes = ["a", "b", "c"]
    """
    job = applying()
    tables = TABLES + more + cascade()
    if not more:
        (job.folder / "looked_at").mkdir()
        rows = pq.read_table(job.folder / "rows/part-00000.parquet")
        said = pa.table({"shard": ["part-00000.parquet"] * 150, "row": range(150)})
        said = said.append_column("kind", rows["kind"])
        pq.write_table(said, job.folder / "looked_at/part.parquet")
        tables = TABLES + corrected + cascade().replace("people", "looked_at")
    applied(load_job(write_job(job.folder, tables)), "sure")
    assert message in caplog.text
    assert "cascade.sure.on = " in caplog.text


def test_a_reader_meets_types_that_spark_does_not_read(applying):
    """Of plain types, whose encodings Spark's own reader has had since 2.0: no nanoseconds, no int96,
    no dictionary but of text, no list but of numbers or text, names that differ by more than case."""
    uri = applied(applying(cascade(by="sets")), "sure").uri
    for file in Path(uri).glob("*.parquet"):
        metadata = pq.read_metadata(file)
        assert metadata.metadata is None
        names = [metadata.schema.column(number).path for number in range(metadata.num_columns)]
        assert len({name.lower() for name in names}) == len(names)
        for number in range(metadata.num_columns):
            column = metadata.schema.column(number)
            logical = column.logical_type.type
            assert (column.physical_type, logical) in {
                ("BYTE_ARRAY", "STRING"),
                ("INT64", "NONE"),
                ("FLOAT", "NONE"),
                ("BOOLEAN", "NONE"),
            }
            assert column.max_repetition_level == ("list" in column.path)
            encodings = set(metadata.row_group(0).column(number).encodings)
            assert encodings <= {"PLAIN", "RLE", "RLE_DICTIONARY", "PLAIN_DICTIONARY"}


def test_a_row_that_cannot_be_read_keeps_its_place(applying):
    job = applying("[apply.small]\nmax_rejected_fraction = 0.1\n" + cascade())
    write_rows_of(job.folder / "more", [70], seed=9)
    table = pq.read_table(job.folder / "more/part-00000.parquet")
    rows = table["pixels"].to_pylist()
    rows[5] = [float("nan")] * 4
    table = table.set_column(0, "pixels", pa.array(rows, table.schema.field("pixels").type))
    pq.write_table(table, job.folder / "rows/part-00009.parquet")
    for name in ("small", "sure"):
        found = table_of(applied(load_job(job.path), name).uri).to_pylist()
        bad = [(row["shard"], row["row"]) for row in found if row["rejected"]]
        assert bad == [("part-00009.parquet", 5)]
        assert [row["class"] for row in found].count(None) == 1
        assert len(found) == ROWS + 70


def test_damage_of_a_written_file_is_found(applying):
    job = applying()
    found = applied(job, "small")
    file = Path(found.uri) / found.files[3].file
    content = bytearray(file.read_bytes())
    content[40] ^= 1
    file.write_bytes(content)
    again = apply_student(job, "small", "rows", silent, engine="local", verify=True)
    assert [problem.endswith("is not what the manifest pins") for problem in again.problems] == [
        True
    ]


def test_an_answer_lies_in_plain_text_where_a_key_is_given(applying, monkeypatch):
    monkeypatch.setenv("APPLY_KEY", "q" * 43 + "=")
    job = applying('[apply.small]\nencryption = { key = "env:APPLY_KEY" }\n')
    there = {file for file in (job.folder / "runs").rglob("*") if file.is_file()}
    found = applied(job, "small")
    (first, *_) = found.files
    content = Path(found.uri, first.file).read_bytes()
    table = read_encrypted(content, first.file)
    emails = table["email"].to_pylist()
    written = {file for file in (job.folder / "runs").rglob("*") if file.is_file()} - there
    assert not [file for file in written if emails[0].encode() in file.read_bytes()]
    assert emails[:2] == ["0-0@example.org", "0-1@example.org"]
    # another folder than that of plain answers, which are never taken for encrypted ones
    monkeypatch.setenv("APPLY_KEY", "r" * 43 + "=")
    with pytest.raises(StorageError, match="is not the one that this was encrypted with"):
        read_encrypted(content, first.file)


def test_addresses_say_how_sure_a_student_is_whose_answers_are_encrypted(applying, monkeypatch):
    monkeypatch.setenv("APPLY_KEY", "q" * 43 + "=")
    more = '[apply.small]\nencryption = { key = "env:APPLY_KEY" }\n'
    job = applying(more + cascade(to="labels.teacher"))
    applied(job, "sure")
    (rows,) = (job.folder / "runs/selections").glob("cascade-*/v1")
    folder = open_storage(str(rows))
    addresses = chosen_addresses(folder, read_rounds(folder))
    assert len(addresses)
    assert set(addresses["score"].to_pylist()) == {0.0}


@pytest.mark.parametrize(
    ("to", "encrypted", "message"),
    [
        ("review", "apply", "rows for people are written as plain"),
        ("labels.teacher", "labels", "would be plain"),
    ],
)
def test_a_cascade_writes_plainly_what_is_encrypted_elsewhere(applying, to, encrypted, message):
    job = applying()
    key = 'encryption = { key = "env:APPLY_KEY" }\n'
    more = cascade(to=to)
    tables = TABLES
    if encrypted == "apply":
        more += f"[apply.small]\n{key}"
    else:
        tables = TABLES.replace("[labels.teacher]", f'[labels.teacher]\nformat = "parquet"\n{key}')
    with pytest.raises(JobError, match=message):
        load_job(write_job(job.folder, tables + more))


@pytest.mark.parametrize(
    ("more", "name", "message"),
    [
        ("", "nobody", "no student 'nobody', and no exported one"),
        ('[apply.small]\nhead = "other"\n', "small", "no such head. It has: main"),
        (
            '[cascade.sure]\nstudent = "small"\non = "people"\nto = "labels.other"\nat_least = 0.9\n'
            '[labels.other]\nlabeler = { kind = "custom", file = "other.py" }\nover = ["taught"]\n',
            "sure",
            "Send to a labeler of the same classes",
        ),
    ],
)
def test_what_cannot_be_applied_is_refused_by_name(applying, more, name, message):
    job = applying()
    other = (job.folder / "teacher.py").read_text("utf-8").replace('"c"', '"d"')
    (job.folder / "other.py").write_text(other, "utf-8")
    job = load_job(write_job(job.folder, TABLES + more))
    with pytest.raises(JobError, match=message):
        apply_student(job, name, "rows", silent, engine="local")


def test_a_pool_that_the_job_lacks_is_refused_by_name(applying):
    with pytest.raises(JobError, match=r"no pool 'elsewhere'\. There is: taught, rows, people"):
        apply_student(applying(), "small", "elsewhere", silent, engine="local")


def test_an_untrained_student_is_refused_with_what_trains_it(applying):
    job = applying()
    other = load_job(write_job(job.folder, TABLES.replace("epochs = 20", "epochs = 21")))
    with pytest.raises(ContractError, match="Run `distill train"):
        apply_student(other, "small", "rows", silent, engine="local")


@pytest.mark.parametrize(("by", "at_least"), [("confidence", 0.995), ("sets", 0.999)])
def test_an_accuracy_that_is_not_proven_is_refused_before_the_teacher_is_asked(
    applying, by, at_least
):
    job = applying(cascade(at_least=at_least, by=by))
    with pytest.raises(
        LimitError, match=r"cascade.sure: no threshold .* is proven on pools.people"
    ):
        apply_student(job, "sure", "rows", silent, engine="local")
    assert not list((job.folder / "runs").rglob("select.*"))
    assert not (job.folder / "runs/applied").exists()


def keyed(applying, *keys):
    """A job with a pool `named`, whose rows have columns of these names too, and keeps them."""
    job = applying()
    (job.folder / "named").mkdir()
    for file in (job.folder / "rows").glob("*.parquet"):
        table = pq.read_table(file)
        for key in keys:
            table = table.append_column(key, table["email"])
        pq.write_table(table, job.folder / "named" / file.name)
    names = ", ".join(f'"{key}"' for key in keys)
    pool = f'[pools.named]\n    path = "named"\n    keys = [{names}]\n'
    return load_job(write_job(job.folder, TABLES + "    " + pool + cascade(to="review")))


def test_a_key_that_is_called_as_an_answer_is_written_beside_it(applying):
    job = keyed(applying, "class", "Set", "reason", "email2")
    uri = applied(job, "sure", "named").uri
    table = table_of(uri)
    emails = table["email2"].to_pylist()
    for name in ("key_class", "key_Set", "key_reason"):
        assert table[name].to_pylist() == emails
    assert set(table["class"].to_pylist()) <= {"a", "b", "c", None}
    review = next((Path(uri) / "_review").iterdir()).read_text("utf-8")
    line = json.loads(review.splitlines()[0])
    assert line["reason"] == "the student is not sure"
    assert line["key_class"] == line["key_reason"] == line["email2"]


@pytest.mark.parametrize("key", ["row", "logits"])
def test_a_key_that_stands_where_labels_do_is_refused_before_any_work(applying, key):
    job = keyed(applying, key)
    with pytest.raises(JobError, match=rf"pools.named.keys: it keeps \['{key}'\]"):
        apply_student(job, "small", "named", silent, engine="local")
    assert not (job.folder / "runs" / "applied").exists()


def test_of_sets_no_accuracy_of_the_student_alone_is_promised(applying):
    lines = []
    uri = applied(applying(cascade(by="sets")), "sure", say=lines.append).uri
    readme = (Path(uri) / "_README.md").read_text("utf-8")
    assert "sets of classes hold the truth of at least 0.9 of all rows" in readme
    assert "are right" not in readme
    (line,) = [each for each in lines if each.startswith("cascade.")]
    assert "are right there" not in line
    assert "sets hold the truth of" in line


def test_an_exported_student_is_proven_on_rows_that_taught_it(applying):
    """Checks of the job know only what its own students learn from."""
    of_people = """
    [students.taught]
    model = { kind = "linear" }
    training = { epochs = 1, batch_rows = 64, workers = 1 }
    terms = [{ learns = "pools.people", loss = { kind = "cross_entropy" } }]
    """
    job = applying(of_people)
    train_students(job, ["taught"], engine="local")
    (exported,) = export_students(job, ["taught"], engine="local")
    more = f'[apply.there]\nmodel = "{exported.uri}"\n' + cascade().replace("small", "there")
    job = load_job(write_job(job.folder, TABLES + more))
    with pytest.raises(
        JobError, match=r"cascade.sure.on = 'people': the model learned from the very"
    ):
        apply_student(job, "sure", "rows", silent, engine="local")


def test_rows_are_sent_to_a_merge_of_label_sets_that_have_none_of_them(applying):
    """Refused before the student is asked; what it has said of the whole pool it may say again."""
    one = '{ kind = "custom", file = "teacher.py" }'
    merged = f"""
    [labels.one]
    labeler = {one}
    over = ["rows"]
    [labels.other]
    labeler = {one}
    over = ["rows"]
    [labels.both]
    labeler = {{ kind = "merge", of = ["labels.one", "labels.other"] }}
    over = ["rows"]
    """
    job = applying(merged + cascade(to="labels.both"))
    with pytest.raises(JobError, match=r"cascade.sure.to = 'labels.both': is made of other label"):
        apply_student(job, "sure", "rows", silent, engine="local")
    assert not list((job.folder / "runs" / "labels").glob("applied-*"))
    for name in ("one", "other", "both"):
        label_pool(job, name, engine="local")
    assert "labels.both" in table_of(applied(job, "sure").uri)["answered_by"].to_pylist()


def test_teachers_are_asked_about_the_rows_that_they_have_seen(applying):
    """The job's checks hold against each other the pools that the label set itself is over."""
    votes = """
    [pools.private]
    path = "private"
    keys = ["email"]
    target = "kind"
    classes = ["a", "b", "c"]
    [fit.voters]
    model = { kind = "linear" }
    on = "private"
    training = { workers = 1 }
    teachers = { count = 8, by = "email" }
    [labels.votes]
    labeler = { kind = "pate", fit = "voters", scale = 1.5, epsilon = 20.0, delta = 1e-5 }
    over = ["rows"]
    """
    job = applying()
    write_rows_of(job.folder / "private", [200], seed=5)
    job = load_job(write_job(job.folder, TABLES + votes + cascade(to="labels.votes")))
    with pytest.raises(JobError, match="teachers have seen rows of 'private'"):
        apply_student(job, "sure", "private", silent, engine="local")
    assert not list((job.folder / "runs" / "labels").glob("applied-*"))
