"""`distill init`: the kind of features is told by the columns, and the job that is written is one
that loads."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
import tomllib
from PIL import Image

from distill.core.errors import PoolError
from distill.stages.init import job_template
from tests.pools.formats.writing import file_of, table_file
from tests.tiny import tiny_job


def png(height, width):
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(sink := io.BytesIO(), "PNG")
    return sink.getvalue()


SENTENCES = [{"id": n, "title": f"t{n}", "said": f"some words that make row {n}"} for n in range(5)]
NUMBERS = [{"name": "only one", "x": n / 2, "y": n} for n in range(5)]
POOLS = {
    "parquet": (
        table_file(pa.table({"id": [1], "x": [[1.0, 2.0]], "said": ["a b c d e"]}), "parquet"),
        "vector",
        ["x"],
    ),
    "arrow": (
        table_file(pa.table({"id": [1, 2], "pic": [png(4, 6), png(4, 6)]}), "arrow"),
        "image",
        "pic",
    ),
    "jsonl.gz": (file_of(SENTENCES, "jsonl.gz"), "text", "said"),
    "csv": (file_of(NUMBERS, "csv"), "vector", ["x", "y"]),
    "csv.gz": (file_of(SENTENCES, "csv.gz"), "text", "said"),
}


@pytest.mark.parametrize("ending", POOLS)
def test_a_pool_gets_features_of_another_kind_than_it_holds(tmp_path, ending):
    content, kind, columns = POOLS[ending]
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / f"part.{ending}").write_bytes(content)
    text = job_template(str(tmp_path / "pool"))
    features = tomllib.loads(text)["pools"]["unlabelled"]["features"]
    assert features["kind"] == kind
    assert features.get("column", features.get("columns")) == columns
    job = tiny_job(tmp_path, text)
    assert job.pools["unlabelled"].features.columns == (
        (columns,) if isinstance(columns, str) else tuple(columns)
    )
    assert (
        job.students["small"].model.kind
        == {"vector": "mlp", "image": "cnn", "text": "ngram_bag"}[kind]
    )


def test_images_of_several_sizes_are_not_resized(tmp_path):
    file = tmp_path / "part.parquet"
    file.write_bytes(table_file(pa.table({"pic": [None, png(4, 6), png(5, 5)]}), "parquet"))
    assert tomllib.loads(job_template(str(file)))["pools"]["unlabelled"]["features"] == {
        "kind": "image",
        "column": "pic",
        "shape": [4, 6, 3],
        "resize": "bilinear",
    }


def test_a_pool_without_anything_to_see_gets_a_job(tmp_path):
    file = tmp_path / "part.parquet"
    file.write_bytes(table_file(pa.table({"blob": [b"1"]}), "parquet"))
    with pytest.raises(
        PoolError, match="no column holds numbers, lists of numbers, text, PNG or JPEG"
    ):
        job_template(str(file))


@pytest.mark.parametrize(
    ("content", "csv", "columns"),
    [
        ("name;x;y\nJosé;1;2\nb;3;4\n", {"delimiter": ";", "encoding": "cp1252"}, ["x", "y"]),
        ("1\t2\n3\t4\n", {"delimiter": "\t", "header": ["column_1", "column_2"]}, None),
        ("x,y\n1,2\n", None, ["x", "y"]),
    ],
)
def test_a_pool_of_another_dialect_gets_a_job_that_cannot_read_it(tmp_path, content, csv, columns):
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "a.csv").write_text(content, "cp1252")
    text = job_template(str(tmp_path / "pool"))
    pools = tomllib.loads(text)["pools"]
    assert [pool.get("csv") for pool in pools.values()] == [csv] * 3
    assert pools["unlabelled"]["features"]["columns"] == (columns or csv["header"])
    assert tiny_job(tmp_path, text).pools["unlabelled"].csv or not csv


def test_a_name_of_two_lines_breaks_the_job(tmp_path):
    (tmp_path / "a.csv").write_text('"x\ny",z\n1,2\n')
    assert tomllib.loads(job_template(str(tmp_path / "a.csv")))["pools"]


@pytest.mark.parametrize("ending", ["parquet", "arrow", "jsonl", "csv"])
def test_files_without_an_ending_cannot_be_looked_at(tmp_path, ending):
    rows = pa.table({"x": [1.0, 2.0], "y": [3.0, 4.0]})
    content = table_file(rows, ending) if ending in ("parquet", "arrow") else None
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "part-00000").write_bytes(content or file_of(NUMBERS, ending))
    pool = str(tmp_path / "pool")
    if ending == "csv":  # which has no mark
        with pytest.raises(PoolError, match=r"part-00000.*Say `format`"):
            job_template(pool)
        text = job_template(pool, "csv")
    else:
        text = job_template(pool)
    job = tiny_job(tmp_path, text)
    assert job.pools["unlabelled"].format == ending
    assert job.pools["unlabelled"].features.columns == ("x", "y")


def test_a_format_that_is_not_known_ends_in_a_traceback(tmp_path):
    (tmp_path / "part-00000").write_bytes(b"x")
    with pytest.raises(PoolError, match=r"'parket'.*parquet"):
        job_template(str(tmp_path), "parket")
