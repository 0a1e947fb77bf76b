"""A secret in a URI is refused, and shown by no message."""

import pytest

from tests.job.right_job import refused


@pytest.mark.parametrize("key", ['root = "runs"', 'path = "test/"'])
def test_a_secret_in_a_uri_is_refused_before_any_message_shows_it(tmp_path, key):
    name = key.split(" ")[0]
    told = refused(tmp_path, key, f'{name} = "s3://AKIAX:SEKRET@bucket/x"', "carries credentials")
    assert "SEKRET" not in told
