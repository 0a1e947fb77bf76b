"""What an answer of S3, or the lack of one, means: pass by itself, no such object, a lost race, or
an error with a name.

Not asked again: refused credentials (401, 403 and their codes), 404, 412 and every other 4xx, for
they will be answered the same. Asked again: 5xx, 408, 429, 409 (another conditional write is under
way), lines that break, time-outs, and bodies that are not whole.
"""

from __future__ import annotations

import re

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.exceptions import (
    ConnectionError as ConnectingError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from distill.core.errors import StorageError
from distill.storage.base import NotImplementedByStoreError, ObjectMissingError

FAILED = (ClientError, BotoCoreError, HTTPError, ResponseParserError)
"""All that the client raises; `BrokenBodyError` is ours."""

_PASSING_STATUSES = (408, 409, 429)
_PASSING_CODES = (
    "RequestTimeout",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "InternalError",
    "ServiceUnavailable",
)
_REFUSED_CODES = (
    "AccessDenied",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "RequestTimeTooSkewed",
)
_NOT_GIVEN = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    ProfileNotFound,
)


_BROKEN_LINES = (
    HTTPClientError,
    ConnectingError,
    IncompleteReadError,
    HTTPError,
    ResponseParserError,
)


class BrokenBodyError(HTTPError):
    """What came is not what the store announced."""


class PreconditionError(StorageError):
    """The store refused a conditional request: an object is there, or is another one."""


def passing(error: Exception) -> str | None:
    """Tell why it is worth asking again, or None where the answer would be the same."""
    if isinstance(error, ClientError):
        status = _status(error)
        code = _code(error)
        # a listing that breaks off is no XML, which botocore calls an error of its status
        broken = status < 300
        # 501 is how a store says that it has no conditional put
        failing = status >= 500 and status != 501
        busy = status in _PASSING_STATUSES or code in _PASSING_CODES
        return f"{status} {code}" if broken or failing or busy else None
    if isinstance(error, _NOT_GIVEN) or "CERTIFICATE_VERIFY_FAILED" in str(error):
        return None
    return without_secrets(error) if isinstance(error, _BROKEN_LINES) else None


def as_storage_error(error: Exception, where: str) -> Exception:
    """Return the error as distill names it, with what to mend."""
    if isinstance(error, _NOT_GIVEN):
        return StorageError(
            f"{where}: {error}."
            " Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or a role."
        )
    if isinstance(error, ClientError):
        return _refused(_status(error), _code(error), error, where)
    return StorageError(
        f"{where}: {type(error).__name__}: {without_secrets(error)}."
        " Correct the address or the settings of the store."
    )


def _refused(status: int, code: str, error: ClientError, where: str) -> Exception:
    if code == "NoSuchBucket":
        return StorageError(
            f"{where}: there is no such bucket (NoSuchBucket). Make it, or correct the address."
        )
    if status == 404:
        return ObjectMissingError(where)
    if status == 501:
        return NotImplementedByStoreError(
            f"{where}: the store does not know this request ({code}). Use another store."
        )
    if status == 412:
        return PreconditionError(
            f"{where}: the object changed while it was being read. Run the same command again."
        )
    if status in (401, 403) or code in _REFUSED_CODES:
        return StorageError(
            f"{where}: the store refused the credentials ({code})."
            " Check AWS_ACCESS_KEY_ID, AWS_PROFILE or the role."
        )
    message = error.response.get("Error", {}).get("Message") or "no message"
    return StorageError(
        f"{where}: the store refused the request: {status} {code}, {message}."
        " Correct the address or the key."
    )


def without_secrets(error: Exception) -> str:
    """Return an error's words; whoever writes a password into an endpoint shall not find it in a
    log."""
    return re.sub(r"//[^/@\s]*@", "//…@", str(error)) or type(error).__name__


def is_empty_object(error: ClientError) -> bool:
    """Whether a range was refused because the object has no byte at all."""
    return _status(error) == 416


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
