"""Pools that share files, or contradict the rest of the job, are refused when the job is read."""

import pytest

from tests.job.right_job import JOB, refused
from tests.tiny import tiny_job


@pytest.mark.parametrize(
    "path", ["pool", "pool/", "./pool", "pool/part", ".", "x/../pool", "file://{here}/pool"]
)
def test_two_pools_that_share_files_are_refused_however_their_paths_are_spelled(tmp_path, path):
    here = path.replace("{here}", str(tmp_path))
    refused(
        tmp_path,
        'path = "labelled/"',
        f'path = "{here}"',
        "pools.labelled.path",
        "pools.unlabelled",
        "a folder of its own",
    )


def test_a_pool_of_a_like_name_shares_no_files(tmp_path):
    assert (
        tiny_job(tmp_path, JOB.replace('"labelled/"', '"pool2"'))
        .pool_uri("labelled")
        .endswith("pool2")
    )


def test_a_root_inside_a_pool_is_refused_since_its_objects_would_become_shards(tmp_path):
    refused(tmp_path, 'root = "runs"', 'root = "pool/runs"', "root = ", "pools.unlabelled")


def test_pools_inside_the_root_are_fine(tmp_path):
    assert tiny_job(tmp_path, JOB.replace('"pool/"', '"{root}/pool"')).pool_uri(
        "unlabelled"
    ) == str(tmp_path / "runs/pool")


def test_a_private_column_is_not_read_by_way_of_another_pools_features(tmp_path):
    refused(
        tmp_path,
        'path = "labelled/"',
        'path = "labelled/"\n    private = ["pixels"]',
        "pools.labelled.private = ['pixels']",
        "features",
    )


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ('keys = ["id", "id"]', "keys = ['id', 'id'] names ['id'] twice"),
        ('keys = ["email"]', "private columns ['email'] are used"),
        ('format = "orc"', "'parquet', 'arrow', 'jsonl' or 'csv'"),
    ],
)
def test_keys_or_formats_that_cannot_be_are_taken(tmp_path, new, said):
    refused(
        tmp_path, 'private = ["email"]', f'private = ["email"]\n    {new}', "pools.unlabelled", said
    )


def test_a_made_pool_of_another_format_is_refused(tmp_path):
    (tmp_path / "make.py").write_text("")
    refused(
        tmp_path,
        'private = ["email"]',
        'made_by = "make.py:f"\n    format = "csv"',
        "pools.unlabelled.format = 'csv': a pool that is made is Parquet",
    )
