"""What an answer of a store, or the lack of one, means: pass by itself, no such object, a lost
race, or an error with a name.

Not asked again: refused credentials (401, 403 and their codes), 404, 412 and every other 4xx, for
they will be answered the same. Asked again: 5xx, 408, 429, S3's 409 (another conditional write is
under way), lines that break, time-outs, and bodies that are not whole.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TypeVar

import aiohttp
import urllib3
from botocore.exceptions import (
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

from distill.core.errors import StorageError
from distill.storage.base import NotImplementedByStoreError, ObjectMissingError
from distill.storage.retry import until_answered

_ENCRYPTED = re.compile(r"(?i)server.side encryption|encryption (key|parameters)|SSE-?C")
"""In S3's words on a request that does not fit an object's encryption."""
_PASSING_STATUSES = (408, 409, 429)
# of 400; other codes of this kind come with a status that says so
_PASSING_CODES = ("RequestTimeout", "Throttling", "ThrottlingException")
_NO_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    ProfileNotFound,
)
_IDENTITY = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or the role",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, gcloud's login or the service account",
    "abfs": "AZURE_STORAGE_ACCOUNT_NAME and _KEY, AZURE_STORAGE_CONNECTION_STRING or the identity",
    "hf": "HF_TOKEN, or log in by `hf auth login`",
}
_ELSEWHERE = (
    "the bucket is in another region",
    "Say which: [storage.s3] region, or AWS_DEFAULT_REGION.",
)
_ADVICE = {
    "NoSuchBucket": ("there is no such bucket", "Make it, or correct the address."),
    "ExpiredToken": ("the token has expired", "Renew it, then run the same command again."),
    "RequestTimeTooSkewed": ("this machine's clock is wrong", "Set it."),
    "InvalidObjectState": ("the object lies in an archive (Glacier)", "Restore it there first."),
    "PermanentRedirect": _ELSEWHERE,
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "301": _ELSEWHERE,  # what a HEAD has for a code
}
"""What is wrong and what to do, by S3's code."""

T = TypeVar("T")


class BrokenBodyError(Exception):
    """What came is not what the store announced."""


class PreconditionError(StorageError):
    """The store refused a conditional request: an object is there, or is another one."""


_BROKEN_LINES = (
    HTTPClientError,
    ConnectingError,
    IncompleteReadError,
    ResponseParserError,
    BrokenBodyError,
    aiohttp.ClientError,
    urllib3.exceptions.HTTPError,
    asyncio.TimeoutError,
    TimeoutError,
    ConnectionError,
)
_WRONG_REDIRECTS = (aiohttp.InvalidURL, aiohttp.RedirectClientError, aiohttp.TooManyRedirects)
"""To what is no http(s) address, or in a circle."""
_BROKEN_LINES_OF_OTHERS = (
    "ServiceRequestError",
    "ServiceResponseError",
    "IncompleteReadError",
    "TransportError",
)
"""Names of Azure's and of huggingface_hub's, which need not be installed."""


def answered(where: str, ask: Callable[[], T]) -> T:
    """Return what the store says in the end. Raises ObjectMissingError, PreconditionError or
    StorageError."""
    try:
        return until_answered(ask, where, passing)
    except StorageError:
        raise
    except Exception as error:
        raise as_storage_error(original(error), where) from error


def passing(error: Exception) -> str | None:
    """Tell why it is worth asking again, or None where the answer would be the same."""
    error = original(error)
    status = status_of(error)
    code = _code(error)
    if status:
        # a listing that breaks off is no XML, which botocore calls an error of its status
        broken = status < 300
        # 501 is how a store says that it has no conditional put
        failing = status >= 500 and status != 501
        busy = status in _PASSING_STATUSES or code in _PASSING_CODES
        return f"{status} {code}" if broken or failing or busy else None
    if isinstance(error, _NO_CREDENTIALS) or "CERTIFICATE_VERIFY_FAILED" in str(error):
        return None
    if isinstance(error, _WRONG_REDIRECTS):
        return None
    names = {each.__name__ for each in type(error).__mro__}
    is_broken = isinstance(error, _BROKEN_LINES) or names & {*_BROKEN_LINES_OF_OTHERS}
    return without_secrets(error) if is_broken else None


def as_storage_error(error: Exception, where: str) -> StorageError:
    """Return the error as distill names it, with what to mend."""
    status = status_of(error)
    code = _code(error)
    if code in _ADVICE:
        what, advice = _ADVICE[code]
        return StorageError(f"{where}: {what} ({code}). {advice}")
    if isinstance(error, FileNotFoundError) or status == 404:
        return ObjectMissingError(where)
    if status == 501:
        return NotImplementedByStoreError(
            f"{where}: the store does not know this request ({code}). Use another store."
        )
    if isinstance(error, _WRONG_REDIRECTS):
        return StorageError(
            f"{where}: the server redirects to where no file is ({without_secrets(error)})."
            " Correct the address."
        )
    if isinstance(error, FileExistsError) or status == 412:
        return PreconditionError(
            f"{where}: the object changed while it was being read. Run the same command again."
        )
    return _refused(error, where)


def _refused(error: Exception, where: str) -> StorageError:
    identity = _IDENTITY.get(where.partition("://")[0], "the store's credentials")
    status = status_of(error)
    code = _code(error)
    detail = without_secrets(error)
    if isinstance(error, _NO_CREDENTIALS):
        return StorageError(f"{where}: {detail}. Set {identity}.")
    # a HEAD has no words
    if _ENCRYPTED.search(detail) or (code == "400" and where.startswith("s3://")):
        return StorageError(
            f"{where}: how the request and the object are encrypted does not fit ({detail}). Check"
            " sse, sse_kms_key_id and sse_customer_key of [storage.s3]: what a customer's key"
            " encrypts is read with that key alone."
        )
    if code == "AccessDenied":
        return StorageError(
            f"{where}: who asks has no right to this (AccessDenied). Grant the right to list, read"
            f" and write there, or check {identity}."
        )
    if status in (401, 403) or code in ("InvalidAccessKeyId", "InvalidToken"):
        return StorageError(
            f"{where}: the store refused the credentials ({code or status}). Check {identity}."
        )
    return StorageError(
        f"{where}: the store refused the request: {type(error).__name__}: {detail}."
        " Correct the address, the key or the settings of the store."
    )


def without_secrets(error: Exception) -> str:
    """Return an error's words; whoever writes a password into an endpoint, or is redirected to an
    address with a signature, shall not find it in a log."""
    words = re.sub(r"//[^/@\s]*@", "//…@", str(error))
    words = re.sub(r"(https?://[^\s?'\"]*)\?[^\s'\"]+", r"\1?…", words)
    # http.client's words have no host before the path
    words = re.sub(r"\?[^\s'\"]*Signature=[^\s'\"]*", "?…", words)
    return words or type(error).__name__


def status_of(error: Exception) -> int:
    """Return the HTTP status that an error of any client carries; 0 where it carries none."""
    if isinstance(error, ClientError):
        return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    # gcsfs has no number for this one
    if isinstance(error, OSError) and str(error).startswith("Forbidden"):
        return 403
    response = getattr(error, "response", None)
    # huggingface_hub's, azure.core's, aiohttp's (whose `code` warns), gcsfs's
    for holder, name in (
        (response, "status_code"),
        (error, "status_code"),
        (error, "status"),
        (error, "code"),
    ):
        status = str(getattr(holder, name, ""))
        if status.isdecimal():
            return int(status)
    return 0


def original(error: Exception) -> Exception:
    """Return the store's own error under the OSError that s3fs makes of it."""
    cause = error.__cause__
    return cause if isinstance(cause, ClientError) else error


def _code(error: Exception) -> str:
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return ""
