"""Encryption by the store, asked for and checked: SSE-S3 and SSE-KMS by the store's own keys, SSE-C
by a key of the customer's that goes with every request and is kept nowhere.

Each written object is checked by what the store answers. One that leaves a header out which it does
not know would otherwise store plain bytes; the first object that a run writes is a probe without
content, so it is found before anything of a pool is there.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from distill.core.errors import JobError, StorageError
from distill.core.secret_keys import secret_key

CUSTOMER_KEY = "sse_customer_key"
"""Setting: where the customer's key lies."""
_KEY_BYTES = 32


def customer_options(reference: str | None) -> dict[str, Any]:
    """Return what every request for an object says where a customer's key encrypts it. Raises
    JobError where there is none of 32 bytes."""
    if reference is None:
        return {}
    key = secret_key(reference)
    if len(key) != _KEY_BYTES:
        raise JobError(
            f"storage.s3.{CUSTOMER_KEY}: the key {reference} has {len(key)} bytes; S3 takes"
            f" {_KEY_BYTES}. Make one by `openssl rand -base64 {_KEY_BYTES}`."
        )
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}


def require_encrypted(asked: Mapping[str, Any], answer: Mapping[str, Any], where: str) -> None:
    """Refuse an object that the store did not encrypt as it was asked to. Raises StorageError."""
    due = {name: asked[name] for name in ("ServerSideEncryption", "SSEKMSKeyId") if name in asked}
    if "SSECustomerKey" in asked:
        md5 = hashlib.md5(asked["SSECustomerKey"], usedforsecurity=False).digest()
        due["SSECustomerAlgorithm"] = asked["SSECustomerAlgorithm"]
        due["SSECustomerKeyMD5"] = base64.b64encode(md5).decode()
    for name, value in due.items():
        found = answer.get(name)
        # of a KMS key it is the whole address, which an alias does not tell
        is_same = found == value
        if name == "SSEKMSKeyId" and found is not None:
            is_same = "alias/" in value or found.endswith(value)
        if not is_same:
            raise StorageError(
                f"{where}: was to be encrypted with {name} = {value!r}, and the store answers"
                f" {found!r}. What is there is not encrypted so: delete it, and mend [storage.s3]"
                " or use a store that does."
            )
