"""By what the columns of a fragment are known again: in its commit, and from there in `label_hash`.

Of a plain label set that is the sha256 of its columns. Of an encrypted one it would tell them:
commits are plain, and whoever guesses the few values of a short fragment sees by their sha256 that
the guess is right. There it is an HMAC of it, under a random key of the set's own, which lies in
`contract.json` encrypted as the data is. So the same columns have the same digest within a set,
whoever wrote them, and nobody without the key can make it.

Label sets that were begun before keep plain digests: such a contract has no key of them.
"""

from __future__ import annotations

import base64
import functools
import hmac
import secrets

import pyarrow as pa

from distill.core.errors import StorageError
from distill.core.schema import columns_sha256
from distill.labels.contract import CONTRACT, Contract
from distill.labels.encryption import is_encrypted
from distill.labels.files import hidden_bytes, shown_bytes

_KEY_BYTES = 32


def new_digest_key(reference: str) -> str:
    """Return a key for the digests of one label set, encrypted by the key at `reference`, as text.
    Raises JobError where that is missing."""
    hidden = hidden_bytes(secrets.token_bytes(_KEY_BYTES), reference)
    return base64.b64encode(hidden).decode()


def columns_digest(labels: pa.Table, contract: Contract) -> str:
    """Return the digest, in hex, of a fragment's columns. Raises JobError and StorageError where
    the key of an encrypted set is missing or another one."""
    plain = columns_sha256(labels)
    if not contract.digest_key:
        return plain
    key = _shown_key(contract.digest_key)
    return hmac.digest(key, bytes.fromhex(plain), "sha256").hex()


# for each fragment of a few label sets, and a key service may be asked over a network
@functools.lru_cache(maxsize=64)
def _shown_key(hidden: str) -> bytes:
    content = base64.b64decode(hidden)
    where = f"the key of digests in {CONTRACT}"
    # anybody who can write there may have put one that he knows
    if not is_encrypted(content):
        raise StorageError(f"{where} is not encrypted. Restore {CONTRACT} from a copy.")
    return shown_bytes(content, where)
