"""What a job says of a pool, held against its files before any work."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.core.errors import PoolError
from tests.resolved import check_pools, open_pool, pool_outputs
from tests.tiny import tiny_job, write_pool

JOB = """
    root = "runs"
    [pools.labelled]
    path = "pool"
    features = { kind = "vector", columns = ["pixels"] }
    target = "kind"
    classes = ["a", "b", "c"]
"""


def test_a_pool_that_fits_its_job_is_opened(tmp_path):
    write_pool(tmp_path / "pool", [20, 30], width=6)
    job = tiny_job(tmp_path, JOB)
    check_pools(job)
    pool = open_pool(job, "labelled")
    assert (pool.width, pool.target_width(pool_outputs(job, "labelled")), pool.inventory.rows) == (
        6,
        3,
        50,
    )


@pytest.mark.parametrize(("old", "new"), [('"pixels"', '"pixel"'), ('"kind"', '"knid"')])
def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path, old, new):
    write_pool(tmp_path / "pool", [20])
    job = tiny_job(
        tmp_path,
        JOB.replace(
            f"target = {old}" if "kind" in old else old, f"target = {new}" if "kind" in old else new
        ),
    )
    with pytest.raises(
        PoolError,
        match=rf"job\.toml: pools\.labelled: .*no column '{new[1:-1]}'. It has: pixels, kind",
    ):
        check_pools(job)


def test_one_number_a_row_is_taken_for_flags_of_every_class(tmp_path):
    write_pool(tmp_path / "pool", [20], width=3)
    text = JOB + '    outputs = "independent"\n'
    with pytest.raises(
        PoolError, match=r"pools\.labelled: column 'kind' of type .*0 or 1 for each of 3 classes"
    ):
        check_pools(tiny_job(tmp_path, text))
    check_pools(tiny_job(tmp_path, text.replace('"kind"', '"pixels"')))


def test_every_pool_that_is_wrong_is_told_at_once(tmp_path):
    job = tiny_job(tmp_path, JOB + '    [pools.other]\n    path = "other"\n')
    with pytest.raises(PoolError) as told:
        check_pools(job)
    assert "pools.labelled.path: no file lies at" in str(told.value)
    assert "pools.other.path: no file lies at" in str(told.value)


def test_text_as_features_is_told_with_the_pool_and_column(tmp_path):
    write_pool(tmp_path / "pool", [20])
    job = tiny_job(tmp_path, JOB.replace('"pixels"', '"email"'))
    with pytest.raises(PoolError, match=r"pools\.labelled.*'email'.*holds no numbers"):
        check_pools(job)


def test_a_first_shard_without_rows_does_not_hide_the_width(tmp_path):
    schema = pa.schema([("pixels", pa.list_(pa.float32())), ("kind", pa.string())])
    (tmp_path / "pool").mkdir()
    pq.write_table(schema.empty_table(), tmp_path / "pool" / "part-0.parquet")
    pq.write_table(
        pa.table({"pixels": [[1.0, 2.0]], "kind": ["a"]}, schema),
        tmp_path / "pool" / "part-1.parquet",
    )
    job = tiny_job(tmp_path, JOB)
    check_pools(job)
    assert open_pool(job, "labelled").width == 2


@pytest.mark.parametrize(
    ("keys", "said"),
    [('["id"]', "no column 'id'"), ('["pixels"]', "the key 'pixels' is of type fixed_size_list")],
)
def test_keys_that_cannot_be_copied_are_found_only_while_labelling(tmp_path, keys, said):
    write_pool(tmp_path / "pool", [20])
    check_pools(tiny_job(tmp_path, f"{JOB}    keys = ['email', 'kind']\n"))
    with pytest.raises(PoolError, match=said):
        check_pools(tiny_job(tmp_path, f"{JOB}    keys = {keys}\n"))


@pytest.mark.parametrize(
    ("features", "width"),
    [
        ('{ kind = "vector", columns = ["y", "x"] }', 2),
        ('{ kind = "text", column = "said" }', 1),
        ('{ kind = "image", column = "said", shape = [2, 2, 1] }', 4),
    ],
)
def test_a_pool_of_csv_is_as_wide_as_its_features(tmp_path, features, width):
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "a.csv").write_text("x,y,said,kind\n1,2,here,a\n,3,there,b\n")
    job = tiny_job(tmp_path, JOB.replace('{ kind = "vector", columns = ["pixels"] }', features))
    check_pools(job)
    pool = open_pool(job, "labelled")
    assert (pool.width, pool.inventory.format, pool.inventory.rows) == (width, "csv", 2)
    wrong = features.replace('"y", "x"', '"y", "said"').replace(
        '"said", shape', '"said", encoded = false, shape'
    )
    if wrong != features:
        with pytest.raises(PoolError, match=r"pools\.labelled: column 'said'"):
            check_pools(
                tiny_job(tmp_path, JOB.replace('{ kind = "vector", columns = ["pixels"] }', wrong))
            )
