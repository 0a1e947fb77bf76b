"""What a store refuses is told in words of its own, with what to do."""

import aiohttp
import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from distill.core.errors import StorageError
from distill.storage.answers import as_storage_error, passing, status_of
from distill.storage.base import NotImplementedByStoreError, ObjectMissingError

WHERE = "s3://bucket/key"


def refusal(status, code):
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "GetObject")


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (404, "NoSuchBucket", "no such bucket"),
        (403, "AccessDenied", "AWS_ACCESS_KEY_ID"),
        (403, "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
        (400, "ExpiredToken", "the token has expired"),
        (403, "RequestTimeTooSkewed", "clock"),
        (403, "InvalidObjectState", "Glacier"),
        (301, "PermanentRedirect", "another region"),
        (400, "AuthorizationHeaderMalformed", "another region"),
        (400, "KeyTooLongError", "Correct the address, the key"),
    ],
)
def test_a_refusal_is_asked_again_or_does_not_say_what_to_do(status, code, words):
    error = refusal(status, code)
    assert passing(error) is None
    told = as_storage_error(error, WHERE)
    assert str(told).startswith(WHERE)
    assert words in str(told)


@pytest.mark.parametrize(
    "error",
    [
        refusal(503, "SlowDown"),
        refusal(500, "InternalError"),
        refusal(409, "ConditionalRequestConflict"),
        refusal(400, "RequestTimeout"),
        refusal(200, "BrokenListing"),
        aiohttp.ServerDisconnectedError(),
        TimeoutError(),
    ],
)
def test_what_passes_by_itself_is_given_up_at_once(error):
    assert passing(error)


def test_a_missing_object_or_an_unknown_request_is_any_error():
    assert isinstance(as_storage_error(refusal(404, "NoSuchKey"), WHERE), ObjectMissingError)
    assert isinstance(as_storage_error(FileNotFoundError("x"), WHERE), ObjectMissingError)
    unknown = as_storage_error(refusal(501, "NotImplemented"), WHERE)
    assert isinstance(unknown, NotImplementedByStoreError)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (WHERE, "AWS_PROFILE"),
        ("gs://bucket/key", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("abfs://c/key", "AZURE_STORAGE"),
    ],
)
def test_another_stores_credentials_are_asked_for(where, words):
    told = as_storage_error(OSError("Forbidden: b/key\nno right"), where)
    assert words in str(told)
    assert status_of(OSError("Forbidden: b/key")) == 403


def test_a_password_in_an_endpoint_is_shown():
    error = aiohttp.ClientError("Cannot connect to http://user:hunter2@127.0.0.1:9")
    assert "hunter2" not in str(as_storage_error(error, WHERE))
    assert "hunter2" not in (passing(error) or "")
    assert isinstance(as_storage_error(NoCredentialsError(), WHERE), StorageError)
