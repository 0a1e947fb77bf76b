"""`distill predict`, with an export that needs no training: a linear network of four pixels as it
was drawn."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy

from distill.core.errors import PoolError, RejectedError, StorageError
from distill.core.schema import seal
from distill.pools.formats.arrow import ArrowShard
from distill.pools.formats.base import RowBatch
from distill.pools.formats.csv import CsvShard
from distill.pools.formats.jsonl import JsonlShard
from distill.spec.outputs import Outputs
from distill.spec.pools import CsvDialect
from distill.stages import predict
from distill.stages.predict import predict_files
from tests.command import distill
from tests.making import keep_network
from tests.pools.formats.writing import file_of, table_file
from tests.tiny import write_pool

PIXELS = {"kind": "vector", "columns": ["pixels"]}
HEADS = {"main": Outputs("logits", ("a", "b", "c"), exclusive=True), "size": Outputs("value")}


def export(
    folder: Path, *, features=PIXELS, times: float = 1.0, width: int = 1, heads=HEADS, format=None
) -> str:
    """As `distill export` writes it, the network's weights multiplied; its value is `width`
    numbers. Exports of usual pools say no format."""
    record, network = keep_network(folder / "kept", heads, 4, width=width)
    weights = safetensors.numpy.save(
        {name: each.numpy() * np.float32(times) for name, each in network.state_dict().items()}
    )
    record = replace(record, sha256=hashlib.sha256(weights).hexdigest())
    made = folder / "export"
    made.mkdir()
    (made / "weights.safetensors").write_bytes(weights)
    body = {"record": asdict(record), "features": features, "private": []}
    body |= {"format": format} if format else {}
    (made / "model.json").write_bytes(seal(body))
    return str(made)


def write(file: Path, column: pa.Array) -> Path:
    file.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"pixels": column}), file)
    return file


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("in/part-00000.parquet", "in"),
        ("in/part-00000.parquet", "in/part-00000.parquet"),
        ("in", "in/"),
        ("in", "link"),
        ("link", "in"),
        ("links", "in"),
        ("links", "links"),
        ("in", "links"),
    ],
)
def test_predictions_are_written_over_the_input(tmp_path, source, target):
    write_pool(tmp_path / "in", [5])
    (tmp_path / "link").symlink_to("in")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "part-00000.parquet").symlink_to(tmp_path / "in" / "part-00000.parquet")
    held = (tmp_path / "in" / "part-00000.parquet").read_bytes()
    with pytest.raises(PoolError, match=r"would be written over the input\. Give another folder"):
        predict_files(export(tmp_path), str(tmp_path / source), str(tmp_path / target))
    assert (tmp_path / "in" / "part-00000.parquet").read_bytes() == held
    assert len(list((tmp_path / "in").iterdir())) == 1


def test_predictions_of_two_files_are_written_over_each_other(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.jsonl", "a.ndjson"):
        (tmp_path / "in" / name).write_text('{"pixels": [1, 2, 3, 4]}\n')
    with pytest.raises(
        PoolError, match=r"predictions of a\.ndjson would be written over those of a\.jsonl"
    ):
        predict_files(export(tmp_path), str(tmp_path / "in"), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_one_file_is_predicted_beside_itself_or_named_wrongly(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"pixels": [1, 2, 3, 4]}\n{"pixels": [1, 2]}\n')
    (done,) = predict_files(export(tmp_path), str(tmp_path / "a.jsonl"), str(tmp_path))
    assert done.url == str(tmp_path / "a.parquet")
    assert done.why == f"{tmp_path}/a.jsonl: row 1: shape: column 'pixels' has 2 numbers, not 4"


def test_an_answer_that_is_not_finite_is_a_prediction(tmp_path):
    rows = np.full((9, 4), 1e6, np.float32)
    rows[3] = 0
    column = pa.FixedSizeListArray.from_arrays(
        pa.array(np.concatenate([rows, rows[:1] * np.nan]).ravel()), 4
    )
    write(tmp_path / "in" / "a.parquet", column)
    (done,) = predict_files(
        export(tmp_path, times=3e38), str(tmp_path / "in"), str(tmp_path / "out")
    )
    assert (done.rows, done.rejected) == (10, 9)
    made = pq.read_table(done.url).drop_columns(["rejected"]).to_pylist()
    said = pq.read_table(done.url)["rejected"].to_pylist()
    assert said[:3] == ["output: the network's answer is NaN or infinite"] * 3
    assert said[9] == "not_finite: column 'pixels' holds a null, NaN or infinite number"
    assert said[3] is None
    assert None not in made[3].values()
    assert all(set(made[row].values()) == {None} for row in range(10) if row != 3)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"pixels": [1, 2]}\n' * 2, "shape: column 'pixels' has 2 numbers, not 4"),
        ("a.jsonl", '{"pixels": "dark"}\n' * 2, "column 'pixels' holds 'dark', which is no number"),
        (
            "a.csv",
            'pixels\n"[1,2,3,4]"\n"[1,2,3,4]"\n',
            "column 'pixels' holds '[1,2,3,4]', which is no number",
        ),
    ],
)
def test_an_input_of_which_no_row_is_labelled_ends_well(tmp_path, name, content, said):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_text(content)
    ended = distill("predict", export(tmp_path), tmp_path / "in", tmp_path / "out")
    assert ended.code == 1, ended.output
    assert f"{tmp_path}/in/{name}: row 0: " in ended.output
    assert said in ended.output
    assert f"All 2 rows of {tmp_path}/in are rejected" in ended.output
    assert f"what was written to {tmp_path}/out holds no predictions" in ended.output


def test_files_without_rows_or_beside_a_good_one_end_badly(tmp_path):
    lists = pa.array([[1.0, 2.0], [1.0]], pa.list_(pa.float32()))
    write(tmp_path / "in" / "a.parquet", lists)
    write(tmp_path / "in" / "b.parquet", lists.slice(0, 0))
    made = export(tmp_path)
    with pytest.raises(RejectedError, match=r"a\.parquet: row 0: .*All 2 rows"):
        predict_files(made, str(tmp_path / "in"), str(tmp_path / "out"))
    write(tmp_path / "in" / "c.parquet", pa.array([[1.0, 2.0, 3.0, 4.0]], pa.list_(pa.float32())))
    assert len(predict_files(made, str(tmp_path / "in"), str(tmp_path / "out"))) == 3
    write(tmp_path / "none" / "b.parquet", lists.slice(0, 0))
    assert len(predict_files(made, str(tmp_path / "none"), str(tmp_path / "out"))) == 1


def test_a_wrong_path_is_told_in_words_of_a_job(tmp_path):
    write_pool(tmp_path / "in", [5])
    made = export(tmp_path)
    with pytest.raises(
        PoolError, match=rf"^no file lies at {tmp_path}/nowhere\. Check the path\.$"
    ):
        predict_files(made, str(tmp_path / "nowhere"), str(tmp_path / "out"))
    (tmp_path / "file").write_text("")
    with pytest.raises(
        StorageError, match=r"cannot be written: Not a directory\. Mend that, or write elsewhere\.$"
    ):
        predict_files(made, str(tmp_path / "in"), str(tmp_path / "file" / "out"))


EMPTY = pa.table({"pixels": pa.array([], pa.list_(pa.float32(), 4))})


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize(
    ("name", "content", "copied"),
    [
        ("b.jsonl", b"", []),
        ("b.jsonl", b" \n\n", []),
        ("b.jsonl.gz", gzip.compress(b"", mtime=0), []),
        ("b.csv", b"pixels,id\n", ["id"]),
        ("b.csv.gz", gzip.compress(b"id,pixels\n", mtime=0), ["id"]),
        ("b.parquet", table_file(pa.table({}), "parquet"), []),
        ("b.parquet", table_file(EMPTY, "parquet"), []),
        ("b.arrow", table_file(EMPTY, "arrow"), []),
    ],
)
def test_a_file_without_rows_gets_no_output(tmp_path, name, content, copied, width):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(content)
    (done,) = predict_files(
        export(tmp_path, width=width), str(tmp_path / "in"), str(tmp_path / "out")
    )
    assert (done.url, done.rows, done.rejected) == (f"{tmp_path}/out/b.parquet", 0, 0)
    made = pq.read_table(done.url)
    assert made.schema == pa.schema(
        [
            *((each, pa.string()) for each in copied),
            ("predicted_main", pa.string()),
            ("predicted_main_probability", pa.float64()),
            ("predicted_size", pa.float64() if width == 1 else pa.list_(pa.float64())),
            ("rejected", pa.string()),
        ]
    )
    assert len(made) == 0


def test_rows_without_columns_are_told_to_need_some(tmp_path):
    (tmp_path / "a.jsonl").write_text("{}\n")
    with pytest.raises(
        PoolError, match=r"a\.jsonl: no column 'pixels', nor any other\. Put rows there, or take"
    ):
        predict_files(export(tmp_path), str(tmp_path / "a.jsonl"), str(tmp_path / "out"))


TWO = ("a", "b")


@pytest.mark.parametrize(
    "second", [Outputs("value"), Outputs("logits", TWO), Outputs("logits", TWO, exclusive=False)]
)
def test_two_heads_have_a_column_of_one_name(tmp_path, second):
    write_pool(tmp_path / "in", [5])
    made = export(tmp_path, heads={"X": HEADS["main"], "X_probability": second})
    with pytest.raises(PoolError) as told:
        predict_files(made, str(tmp_path / "in"), str(tmp_path / "out"))
    assert str(told.value) == (
        f"{made}: the heads 'X' and 'X_probability' would both have a column 'predicted_X_probability'. "
        f"Rename one in the job, train and export again."
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("first", [Outputs("value"), Outputs("logits", TWO, exclusive=False)])
def test_a_head_without_a_probability_is_refused_for_its_name(tmp_path, first):
    write(
        tmp_path / "in" / "a.parquet", pa.array([[1.0, 2.0, 3.0, 4.0]], pa.list_(pa.float32(), 4))
    )
    made = export(tmp_path, heads={"X": first, "X_probability": HEADS["main"]})
    (done,) = predict_files(made, str(tmp_path / "in"), str(tmp_path / "out"))
    assert pq.read_table(done.url).column_names == [
        "predicted_X",
        "predicted_X_probability",
        "predicted_X_probability_probability",
        "rejected",
    ]


def test_a_column_that_holds_no_text_is_told_without_its_file(tmp_path):
    made = export(tmp_path, features={"kind": "text", "column": "pixels"})
    file = write(tmp_path / "in" / "a.parquet", pa.array([1, 2]))
    with pytest.raises(
        PoolError, match=rf"^{file}: column 'pixels' of type int64 holds no text\. Store text there"
    ):
        predict_files(made, str(tmp_path / "in"), str(tmp_path / "out"))


@pytest.mark.parametrize("bad", [range(8_192), range(8_192, 8_200), range(8_200)])
def test_a_piece_of_rejected_rows_has_another_type_of_lists(tmp_path, bad):
    rows = [None if row in bad else [1.0, 2.0, 3.0, 4.0] for row in range(8_200)]
    write(tmp_path / "in" / "a.parquet", pa.array(rows, pa.list_(pa.float32(), 4)))
    write(
        tmp_path / "in" / "b.parquet", pa.array([[1.0, 2.0, 3.0, 4.0]], pa.list_(pa.float32(), 4))
    )
    write(tmp_path / "in" / "empty.parquet", pa.array([], pa.list_(pa.float32(), 4)))
    done = predict_files(export(tmp_path, width=3), str(tmp_path / "in"), str(tmp_path / "out"))
    assert [(each.rows, each.rejected) for each in done] == [(8_200, len(bad)), (1, 0), (0, 0)]
    sizes = pq.read_table(done[0].url)["predicted_size"]
    assert [row for row, said in enumerate(sizes.to_pylist()) if said is None] == list(bad)
    for each in done:
        assert pq.read_schema(each.url).field("predicted_size").type == pa.list_(pa.float64())


@pytest.mark.parametrize(
    ("ending", "times"), [("parquet", 1), ("arrow", 1), ("jsonl", 1), ("csv", 2)]
)
def test_a_file_is_decoded_anew_for_each_piece(tmp_path, monkeypatch, ending, times):
    """Of CSV the rows are counted too, before they are read."""
    rows, decoded = 30_000, []

    def counted(real):
        def counting(*args, **options):
            made = real(*args, **options)
            decoded.append(len(made.table if isinstance(made, RowBatch) else made))
            return made

        return counting

    def batches(*args, real=pq.ParquetFile.iter_batches, **options):
        for batch in real(*args, **options):
            decoded.append(len(batch))
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", batches)
    for shard, name in (
        (pq.ParquetFile, "read_row_groups"),
        (ArrowShard, "_decode"),
        (JsonlShard, "_fast"),
        (CsvShard, "_parse"),
    ):
        monkeypatch.setattr(shard, name, counted(getattr(shard, name)))
    table = pa.table({name: pa.array(np.arange(rows, dtype=np.float32)) for name in "abcd"})
    (tmp_path / "in").mkdir()
    content = (
        table_file(table, ending, rows)
        if ending in ("parquet", "arrow")
        else file_of(table.to_pylist(), ending)
    )
    (tmp_path / "in" / f"a.{ending}").write_bytes(content)
    made = export(tmp_path, features={"kind": "vector", "columns": list("abcd")})
    (done,) = predict_files(made, str(tmp_path / "in"), str(tmp_path / "out"))
    assert (done.rows, done.rejected) == (rows, 0)
    assert len(pq.read_table(done.url)["predicted_main"].drop_null()) == rows
    assert sum(decoded) == times * rows


def test_a_rejected_row_of_a_later_piece_is_told_at_another_place(tmp_path):
    lines = [f'{{"id": {row}, "pixels": [1, 2, 3, 4]}}\n' for row in range(20_000)]
    lines[9_000] = lines[16_384] = "{broken\n"
    (tmp_path / "a.jsonl").write_text("".join(lines))
    (done,) = predict_files(export(tmp_path), str(tmp_path / "a.jsonl"), str(tmp_path / "out"))
    assert (done.rows, done.rejected) == (20_000, 2)
    assert done.why.startswith(
        f"{tmp_path}/a.jsonl: row 9000: undecodable: the line is no JSON object"
    )
    made = pq.read_table(done.url).to_pylist()
    assert [row for row, each in enumerate(made) if each["rejected"]] == [9_000, 16_384]
    assert all(each["id"] == (None if each["rejected"] else row) for row, each in enumerate(made))


OTHERS = [
    (["a1", 7, "a2", None, {"b": [1.5, "c"]}], ["a1", "7", "a2", None, '{"b": [1.5, "c"]}']),
    ([{"b": 1}, None, {}, ["x"], "\ud800"], ['{"b": 1}', None, "{}", '["x"]', '"\\ud800"']),
    ([1, True, 2.5, [3], 4], ["1", "true", "2.5", "[3]", "4"]),
    ([1, 2, None, 3, 4], [1, 2, None, 3, 4]),
    ([[1], [2, 3], None, [], [4]], [[1], [2, 3], None, [], [4]]),
]


@pytest.mark.parametrize(("given", "copied"), OTHERS)
def test_a_column_that_the_student_does_not_read_rejects_a_row(tmp_path, given, copied):
    rows = [{"pixels": [1, 2, 3, 4], "other": value} for value in given]
    (tmp_path / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (done,) = predict_files(export(tmp_path), str(tmp_path / "a.jsonl"), str(tmp_path / "out"))
    assert done.rejected == 0
    made = pq.read_table(done.url)
    assert made["other"].to_pylist() == copied
    assert made["predicted_main"].null_count == 0


def test_a_column_that_the_student_reads_is_copied_as_text(tmp_path):
    rows = [[1, 2, 3, 4], "dark", {"b": 1}]
    (tmp_path / "a.jsonl").write_text(
        "".join(f"{json.dumps({'pixels': row, 'other': row})}\n" for row in rows)
    )
    (done,) = predict_files(export(tmp_path), str(tmp_path / "a.jsonl"), str(tmp_path / "out"))
    made = pq.read_table(done.url)
    assert made["other"].to_pylist() == ["[1, 2, 3, 4]", "dark", '{"b": 1}']
    assert made["rejected"].to_pylist() == [
        None,
        "undecodable: column 'pixels' holds 'dark', where most rows hold lists of numbers",
        "undecodable: column 'pixels' holds {'b': 1}, where most rows hold lists of numbers",
    ]


def test_columns_of_a_path_are_copied_into_the_file_or_integers_lose_digits(tmp_path):
    """The output's path has them too, and readers of Hive's folders refuse a column twice."""
    pool = tmp_path / "in" / "day=1"
    pool.mkdir(parents=True)
    ids = [2**53 + 1, 0.5]
    lines = [json.dumps({"pixels": [1, 2, 3, 4], "id": each, "deep": [each]}) for each in ids]
    (pool / "a.jsonl").write_text("\n".join(lines))
    predict_files(export(tmp_path), str(tmp_path / "in"), str(tmp_path / "out"))
    table = pq.ParquetFile(tmp_path / "out" / "day=1" / "a.parquet").read()
    assert "day" not in table.column_names
    assert table["id"].to_pylist() == [str(each) for each in ids]
    assert table["deep"].to_pylist() == [f"[{each}]" for each in ids]


COLUMNS = {"kind": "vector", "columns": list("abcd")}
GERMAN = 'csv {"csv":{"delimiter":";"}}'


def csv_file(folder: Path, content: str, name: str = "a.csv") -> str:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(content)
    return str(folder)


def predicted(folder: Path, files: str, format: str | None, **options) -> list:
    made = export(folder, features=COLUMNS, format=format)
    (done,) = predict_files(made, files, str(folder / "out"), **options)
    return pq.read_table(done.url)["predicted_main"].to_pylist()


@pytest.mark.parametrize(
    ("format", "name", "content", "csv"),
    [
        (GERMAN, "a.csv", "a;b;c;d\n1;2;3;4\n", None),
        (GERMAN, "a.tsv", "a\tb\tc\td\n1\t2\t3\t4\n", {}),
        (GERMAN, "a.csv", "a|b|c|d\n1|2|3|4\n", {"delimiter": "|"}),
        (GERMAN, "a.jsonl", '{"a": 1, "b": 2, "c": 3, "d": 4}\n', None),
        ("csv", "a.txt", "a,b,c,d\n1,2,3,4\n", None),
        (None, "a.csv", "1;2;3;4\n", {"delimiter": ";", "header": list("abcd")}),
        (None, "a.csv", "a,b,c,d\n1,2,3,4\n", None),
    ],
)
def test_files_are_read_in_another_dialect_than_the_students_pool(
    tmp_path, format, name, content, csv
):
    given = None if csv is None else CsvDialect.model_validate(csv, strict=False)
    files = csv_file(tmp_path / "in", content, name)
    assert len(set(predicted(tmp_path, files, format, csv=given))) == 1


@pytest.mark.parametrize(
    ("format", "content", "said"),
    [
        (GERMAN, "a,b,c,d\n1,2,3,4\n", r'no column \'a\'.*It was read by csv = {"delimiter": ";"}'),
        (None, "a;b;c;d\n1;2;3;4\n", r"another delimiter.*It was read by csv = {}; say by `--csv`"),
    ],
)
def test_a_file_in_another_dialect_is_told_as_one_without_columns(tmp_path, format, content, said):
    with pytest.raises(PoolError, match=said):
        predicted(tmp_path, csv_file(tmp_path / "in", content), format)


def test_a_dialect_is_given_for_files_that_are_no_csv(tmp_path):
    write_pool(tmp_path / "in", [5])
    with pytest.raises(PoolError, match=r"--csv: the files at .*/in are parquet\. Leave it out\."):
        predict_files(
            export(tmp_path), str(tmp_path / "in"), str(tmp_path / "out"), csv=CsvDialect()
        )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (";", "is no table of TOML. Write as in a job"),
        ("3", "csv = 3: must be a table."),
        ('{ delim = ";" }', "csv.delim: unknown key. Did you mean 'delimiter'?"),
    ],
)
def test_the_dialect_of_an_option_is_refused_in_no_words_of_a_job(tmp_path, given, said):
    files = csv_file(tmp_path / "in", "a,b\n1,2\n")
    ended = distill("predict", export(tmp_path), files, tmp_path / "out", "--csv", given)
    assert ended.code == 2, ended.output
    assert said in ended.output


def test_all_rows_of_large_images_are_computed_at_once(tmp_path, monkeypatch):
    rows = 1_000
    pixels = np.random.default_rng(0).random((rows, 4), np.float32)
    write(tmp_path / "in" / "a.parquet", pa.array(pixels.tolist(), pa.list_(pa.float32(), 4)))
    made = export(tmp_path)
    (whole,) = predict_files(made, str(tmp_path / "in"), str(tmp_path / "whole"))
    monkeypatch.setattr(predict, "_PART_NUMBERS", 4 * 64)
    computed = []

    def counting(network, features, real=predict.as_input):
        computed.append(len(features))
        return real(network, features)

    monkeypatch.setattr(predict, "as_input", counting)
    (parts,) = predict_files(made, str(tmp_path / "in"), str(tmp_path / "parts"))
    assert max(computed) == 64
    assert sum(computed) == rows
    assert pq.read_metadata(parts.url).num_row_groups == 1
    labelled = [pq.read_table(each.url)["predicted_main"] for each in (whole, parts)]
    assert labelled[0].equals(labelled[1])
