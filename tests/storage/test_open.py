"""Which store a URI means, and which URIs are refused."""

import pytest

from distill.core.errors import JobError
from distill.storage.local import LocalStorage
from distill.storage.open import open_storage, require_conditional_put


@pytest.mark.parametrize(
    "uri",
    [
        "s3://AKIAEXAMPLE:wJalrXUtnFEMI@bucket/prefix",
        "s3://AKIAEXAMPLE:wJalr/XUtnFEMI@bucket/prefix",  # secrets of AWS do hold slashes
        "https://AKIAEXAMPLE:wJalrXUtnFEMI@host/bucket",
    ],
)
def test_credentials_in_a_uri_are_refused_and_not_shown(uri):
    with pytest.raises(JobError, match="carries credentials") as told:
        open_storage(uri)
    assert "AKIAEXAMPLE" not in str(told.value)
    assert "wJalr" not in str(told.value)
    assert "XUtnFEMI" not in str(told.value)
    assert "environment" in str(told.value)


def test_an_at_sign_in_a_prefix_is_not_taken_for_credentials():
    assert open_storage("s3://bucket/team@home/pool").uri == "s3://bucket/team@home/pool"


@pytest.mark.parametrize("uri", ["ftp://bucket/x", "hdfs://host/x"])
def test_an_unknown_scheme_is_refused_by_name_and_the_known_ones_told(uri):
    with pytest.raises(JobError) as told:
        open_storage(uri)
    assert repr(uri.partition(":")[0]) in str(told.value)
    assert "file, s3, gs, abfs" in str(told.value)


def test_a_path_and_its_file_uri_are_the_same_folder(tmp_path):
    open_storage(str(tmp_path)).put("a/b", b"x")
    assert open_storage(f"file://{tmp_path}").read("a/b") == b"x"
    assert open_storage(f"file://{tmp_path}/").uri == open_storage(str(tmp_path)).uri


def test_a_trailing_slash_does_not_make_another_prefix():
    assert (
        open_storage("s3://bucket/a/").url("key")
        == open_storage("s3://bucket/a").url("key")
        == "s3://bucket/a/key"
    )


class _Forgetful(LocalStorage):
    """A store that ignores the condition, as some S3 look-alikes do."""

    def create(self, key: str, content: bytes) -> bool:
        self.put(key, content)
        return True


def test_a_store_that_lets_two_writers_win_is_used(tmp_path, store):
    require_conditional_put(store)
    assert store.list_objects() == []
    with pytest.raises(JobError, match="has no conditional put"):
        require_conditional_put(_Forgetful(tmp_path))
