"""What an answer of a store, or the lack of one, means: pass by itself, no such object, a lost
race, or an error with a name.

Asked again: 5xx, 408, 429, S3's 409 (another conditional write is under way), lines that break,
time-outs, and bodies that are not whole. All else would be answered the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import TypeVar

from botocore.exceptions import ClientError

from distill.core.errors import StorageError
from distill.storage.base import NotImplementedByStoreError, ObjectMissingError
from distill.storage.retry import until_answered

_ENCRYPTED = re.compile(r"(?i)server.side encryption|encryption (key|parameters)|SSE-?C")
"""In S3's words on a request that does not fit an object's encryption."""
_PASSING_STATUSES = (408, 409, 429)
# of 400; other codes of this kind come with a status that says so
_PASSING_CODES = ("RequestTimeout", "Throttling", "ThrottlingException")
# names of classes, by which the errors of all clients are known: some need not be installed
_NO_CREDENTIALS = {
    "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound"
}  # fmt: skip
# of urllib3, to what is no http(s) address or in a circle
_WRONG_REDIRECTS = {"LocationValueError", "ResponseError"}
_FINAL = _NO_CREDENTIALS | _WRONG_REDIRECTS
_BROKEN_LINES = {
    "BrokenBodyError", "CancelledError", "TimeoutError", "ConnectionError",
    "HTTPClientError", "IncompleteReadError", "ResponseParserError",  # botocore's
    "ClientConnectionError", "ClientPayloadError",  # aiohttp's
    "HTTPError",  # urllib3's
    "ServiceRequestError", "ServiceResponseError",  # Azure's
    "TransportError",  # huggingface_hub's
}  # fmt: skip
_IDENTITY = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or the role",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, gcloud's login or the service account",
    "abfs": "AZURE_STORAGE_ACCOUNT_NAME and _KEY, AZURE_STORAGE_CONNECTION_STRING or the identity",
    "hf": "HF_TOKEN, or log in by `hf auth login`",
}
_ELSEWHERE = (
    "the bucket is in another region ({code})."
    " Say which: [storage.s3] region, or AWS_DEFAULT_REGION."
)
_REFUSED = "the store refused the credentials ({code}). Check {identity}."
_WORDS = {
    "SSE": (
        "how the request and the object are encrypted does not fit ({detail}). Check sse,"
        " sse_kms_key_id and sse_customer_key of [storage.s3]: what a customer's key encrypts is"
        " read with that key alone."
    ),
    "NoSuchBucket": "there is no such bucket ({code}). Make it, or correct the address.",
    "ExpiredToken": "the token has expired ({code}). Renew it, then run the same command again.",
    "RequestTimeTooSkewed": "this machine's clock is wrong ({code}). Set it.",
    "InvalidObjectState": "the object lies in an archive (Glacier, {code}). Restore it there first.",
    "PermanentRedirect": _ELSEWHERE,
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "301": _ELSEWHERE,  # what a HEAD has for a code
    "AccessDenied": (
        "who asks has no right to this ({code}). Grant the right to list, read and write there, or"
        " check {identity}."
    ),
    **dict.fromkeys(("InvalidAccessKeyId", "InvalidToken", "401", "403"), _REFUSED),
    **dict.fromkeys(_NO_CREDENTIALS, "{detail}. Set {identity}."),
    **dict.fromkeys(
        _WRONG_REDIRECTS,
        "the server redirects to where no file is ({detail}). Correct the address.",
    ),
    "Exception": (
        "the store refused the request: {name}: {detail}."
        " Correct the address, the key or the settings of the store."
    ),
}
"""What is wrong and what to do, by S3's code, the status, or the class of the error."""

T = TypeVar("T")


class BrokenBodyError(Exception):
    """What came is not what the store announced."""


class PreconditionError(StorageError):
    """The store refused a conditional request: an object is there, or is another one."""


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
    if status:
        code = _code(error)
        # a listing that breaks off is no XML, which botocore calls an error of its status
        broken = status < 300
        # 501 is how a store says that it has no conditional put
        failing = status >= 500 and status != 501
        busy = status in _PASSING_STATUSES or code in _PASSING_CODES
        return f"{status} {code}" if broken or failing or busy else None
    is_final = _is_one_of(error, _FINAL) or "CERTIFICATE_VERIFY_FAILED" in str(error)
    return without_secrets(error) if _is_one_of(error, _BROKEN_LINES) and not is_final else None


def as_storage_error(error: Exception, where: str) -> StorageError:
    """Return the error as distill names it, with what to mend."""
    status = status_of(error)
    code = _code(error)
    if code != "NoSuchBucket" and (isinstance(error, FileNotFoundError) or status == 404):
        return ObjectMissingError(where)
    if isinstance(error, FileExistsError) or status == 412:
        return PreconditionError(
            f"{where}: the object changed while it was being read. Run the same command again."
        )
    if status == 501:
        return NotImplementedByStoreError(
            f"{where}: the store does not know this request ({code}). Use another store."
        )
    detail = without_secrets(error)
    keys = [code, str(status), *(each.__name__ for each in type(error).__mro__)]
    if _ENCRYPTED.search(detail) or code == "400":  # a HEAD has no words
        keys.insert(0, "SSE")
    words = next(_WORDS[key] for key in keys if key in _WORDS)
    identity = _IDENTITY.get(where.partition("://")[0], "the store's credentials")
    said = words.format(
        code=code or status, detail=detail, identity=identity, name=type(error).__name__
    )
    return StorageError(f"{where}: {said}")


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
    # huggingface_hub's, azure.core's, aiohttp's (whose `code` warns) and ours, gcsfs's
    response = getattr(error, "response", None)
    places = ((response, "status_code"), (error, "status_code"), (error, "status"), (error, "code"))
    said = (str(getattr(holder, name, "")) for holder, name in places)
    return next((int(status) for status in said if status.isdecimal()), 0)


def original(error: Exception) -> Exception:
    """Return the store's own error under the OSError that s3fs makes of it."""
    cause = error.__cause__
    return cause if isinstance(cause, ClientError) else error


def _code(error: Exception) -> str:
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return ""


def _is_one_of(error: Exception, names: Collection[str]) -> bool:
    return any(each.__name__ in names for each in type(error).__mro__)
